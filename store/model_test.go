package store_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"pgregory.net/rapid"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/store"
)

// Random sequences of everything that the store can do give what a plain map of
// maps gives.
func TestStoreIsAMapOfMaps(t *testing.T) {
	const shards = 4
	checks := 500
	switch {
	case os.Getenv("SHAREKV_TEST") == "ci":
		checks = 20_000
	case runtime.GOOS == "windows":
		checks = 24 // nothing is in memory there
	}
	setChecks(t, checks/shards)
	dir := modelDir(t)
	var files atomic.Int64
	for i := range shards {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(rt *rapid.T) {
				path := filepath.Join(dir, fmt.Sprint(files.Add(1)))
				newModel(rt, path).run()
			})
		})
	}
}

// setChecks is how many sequences rapid tries in each Check, unless its flag says so.
func setChecks(t *testing.T, n int) {
	const name = "rapid.checks"
	f := flag.Lookup(name)
	if f.Value.String() != f.DefValue {
		return
	}
	if err := flag.Set(name, strconv.Itoa(n)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { flag.Set(name, f.DefValue) })
}

// modelDir returns a directory of the test's own, in memory if there is such a
// thing.
func modelDir(t *testing.T) string {
	if runtime.GOOS != "linux" {
		return testdir.New(t)
	}
	dir, err := os.MkdirTemp("/dev/shm", "sharekv-test-")
	if err != nil {
		return testdir.New(t)
	}
	t.Cleanup(func() {
		if err := testdir.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// model is a store and what should be in it.
type model struct {
	*rapid.T
	path     string
	options  store.Options
	pageSize int
	handles  []*store.DB // on the same store
	now      *content    // as of the last commit; from then on it is not changed
	rev      store.Rev   // of that commit
	readers  []reader
}

// reader is a read transaction from Begin, and what it should see for ever.
type reader struct {
	tx    *store.Tx
	sees  *content
	stray bool // its handle has been closed
}

func newModel(t *rapid.T, path string) *model {
	m := &model{T: t, path: path, now: newContent()}
	m.pageSize = m.pick("page size", 4096, 4096, 4096, 4096, 4096, 8192, 65536)
	m.options = store.Options{PageSize: m.pageSize}
	m.options.SetBudget(m.pick("pages in memory", 0, 0, 1, 3, 10) * m.pageSize)
	if m.chance("MaxSize", 10) {
		m.options.MaxSize = int64(m.between("pages at most", 10, 100) * m.pageSize)
	}
	if m.chance("async", 3) {
		m.options.Async = time.Duration(m.pick("milliseconds", 1, 3600_000)) * time.Millisecond
	}
	m.options.FlushDataFirst = m.chance("FlushDataFirst", 4)
	t.Cleanup(m.cleanUp)
	for range m.pick("handles", 1, 1, 2) {
		m.handles = append(m.handles, m.open())
	}
	m.rev = m.glance()
	return m
}

func (m *model) open() *store.DB {
	db, err := store.Open(m.path, &m.options)
	if err != nil {
		m.Fatalf("open: %+v", err)
	}
	return db
}

func (m *model) cleanUp() {
	for _, r := range m.readers {
		r.tx.Rollback()
	}
	for _, db := range m.handles {
		db.Close()
	}
	os.Remove(m.path)
	os.Remove(m.path + "-lock")
}

// db returns one of the handles.
func (m *model) db() *store.DB {
	if len(m.handles) == 1 {
		return m.handles[0]
	}
	return m.handles[m.between("handle", 0, len(m.handles)-1)]
}

func (m *model) pick(label string, from ...int) int {
	return rapid.SampledFrom(from).Draw(m.T, label)
}

func (m *model) between(label string, lo, hi int) int {
	return rapid.IntRange(lo, hi).Draw(m.T, label)
}

// chance is true once in n times.
func (m *model) chance(label string, n int) bool { return m.between(label, 1, n) == n }

func (m *model) run() {
	type step struct {
		name string
		do   func()
	}
	steps := []step{
		{"write", m.write},
		{"write", m.write},
		{"write", m.write},
		{"write", m.write},
		{"short write", m.shortWrite},
		{"view", m.view},
		{"begin to read", m.beginToRead},
		{"read on", m.readOn},
		{"end a reader", m.endReader},
		{"reopen", m.reopen},
		{"sync", m.sync},
		{"check", m.check},
		{"preload", m.preload},
	}
	names := make([]string, len(steps))
	for i, s := range steps {
		names[i] = s.name
	}
	choice := rapid.IntRange(0, len(steps)-1)
	n := m.between("steps", 1, 10)
	if m.chance("old store", 50) {
		n *= 20
	}
	for range n {
		s := steps[choice.Draw(m.T, "step")]
		m.Log(s.name)
		s.do()
	}
	m.end()
}

// end looks at the store as a whole, closes it, and does the same again.
func (m *model) end() {
	for len(m.readers) > 0 {
		m.readOn()
		m.endReader()
	}
	m.check()
	for len(m.handles) > 0 {
		m.close(0)
	}
	m.handles = append(m.handles, m.open())
	m.check()
	m.view()
	m.compareSequences()
	m.close(0)
}

// compareSequences takes a number of each bucket and then gives it back.
func (m *model) compareSequences() {
	tx := m.begin(m.db())
	root, err := tx.Bucket()
	if err != nil {
		m.Fatalf("root bucket: %+v", err)
	}
	m.sameSequences(root, m.now)
	if err := tx.Rollback(); err != nil {
		m.Fatalf("Rollback: %+v", err)
	}
}

func (m *model) check() {
	report, err := m.db().Check(context.Background())
	if err != nil {
		m.Fatalf("check: %+v", err)
	}
	if n := m.now.size(); report.Entries != n {
		m.Fatalf("Check counts %d values of %d", report.Entries, n)
	}
	stats, err := m.db().Stats()
	if err != nil || stats.Readers != len(m.readers) {
		m.Fatalf("Stats counts %d readers of %d, %v", stats.Readers, len(m.readers), err)
	}
	if n := len(m.now.values) + len(m.now.buckets); stats.Entries != int64(n) {
		m.Fatalf("Stats counts %d entries of %d", stats.Entries, n)
	}
}

func (m *model) sync() {
	if err := m.db().Sync(context.Background()); err != nil {
		m.Fatalf("Sync: %+v", err)
	}
	if stats, err := m.db().Stats(); err != nil || stats.Durable != m.rev {
		m.Fatalf("revision %d is durable after Sync, not %d, %v", stats.Durable, m.rev, err)
	}
}

// close closes handle i, which takes readers of its own with it.
func (m *model) close(i int) {
	db := m.handles[i]
	m.handles = append(m.handles[:i:i], m.handles[i+1:]...)
	open := 0
	for j := range m.readers {
		if r := &m.readers[j]; !r.stray && len(m.handles) == 0 {
			open++
			r.stray = true
		}
	}
	if err := db.Close(); (err != nil) != (open > 0) {
		m.Fatalf("Close with %d transactions open: %v", open, err)
	}
	if _, err := db.Get([]byte("k")); !errors.Is(err, store.ErrClosed) {
		m.Fatalf("Get of a closed store: %v", err)
	}
}

func (m *model) reopen() {
	if len(m.handles) > 1 {
		return // readers do not say whose they are
	}
	m.close(0)
	m.handles = append(m.handles, m.open())
}

// view compares the last commit with the model.
func (m *model) view() {
	err := m.db().View(func(tx *store.Tx) error {
		m.compare(tx, m.now)
		return nil
	})
	if err != nil {
		m.Fatalf("View: %+v", err)
	}
}

// glance is a quick view. It returns the revision.
func (m *model) glance() (rev store.Rev) {
	key := m.key()
	got, err := m.db().AppendGet([]byte("before"), key)
	if !bytes.HasPrefix(got, []byte("before")) {
		m.Fatalf("AppendGet returns %.20q", got)
	}
	m.sameValue("AppendGet", key, got[len("before"):], err, m.now)
	got, err = m.db().Get(key)
	m.sameValue("Get", key, got, err, m.now)
	err = m.db().View(func(tx *store.Tx) error { rev = tx.Rev(); return nil })
	if err != nil {
		m.Fatalf("View: %+v", err)
	}
	return rev
}

func (m *model) preload() {
	if err := m.db().Preload(context.Background()); err != nil {
		m.Fatalf("Preload: %+v", err)
	}
}

func (m *model) beginToRead() {
	tx, err := m.db().Begin(context.Background(), false)
	if err != nil {
		m.Fatalf("Begin: %+v", err)
	}
	m.readers = append(m.readers, reader{tx: tx, sees: m.now})
}

func (m *model) readOn() {
	if len(m.readers) > 0 {
		r := m.readers[m.between("reader", 0, len(m.readers)-1)]
		m.compare(r.tx, r.sees)
		m.walk(r.tx, r.sees)
	}
}

func (m *model) endReader() {
	if len(m.readers) == 0 {
		return
	}
	i := m.between("reader", 0, len(m.readers)-1)
	r := m.readers[i]
	m.readers = append(m.readers[:i:i], m.readers[i+1:]...)
	end := r.tx.Rollback
	if m.chance("Commit", 2) {
		end = r.tx.Commit
	}
	if err := end(); err != nil {
		m.Fatalf("end of a reader: %+v", err)
	}
	if _, err := r.tx.Get([]byte("k")); err != store.ErrTxDone {
		m.Fatalf("Get after the end: %v", err)
	}
}

// shortWrite is one of the methods that are a transaction of their own.
func (m *model) shortWrite() {
	key := m.key()
	next := m.now.clone()
	var err, want error
	if m.chance("Delete", 3) {
		err, want = m.db().Delete(key), next.delete(key)
	} else {
		value := m.value(key)
		err, want = m.db().Put(key, value), next.put(key, value)
	}
	if m.isFull(err) {
		return
	}
	if err != want {
		m.Fatalf("short write of %.20q: %v instead of %v", key, err, want)
	}
	if err == nil {
		m.now = next
	}
	rev := m.glance()
	if rev < m.rev {
		m.Fatalf("revision %d after %d", rev, m.rev)
	}
	m.rev = rev
}

// compare compares a bucket, forwards and backwards, and all in it, with what it
// should be.
func (m *model) compare(tx *store.Tx, want *content) {
	root, err := tx.Bucket()
	if err != nil {
		m.Fatalf("root bucket: %+v", err)
	}
	m.compareBucket(root, want)
	if err := tx.Err(); err != nil {
		m.Fatalf("Err: %+v", err)
	}
}

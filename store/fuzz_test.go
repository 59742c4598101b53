package store_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/store"
)

// script is the input of a fuzz target as a list of choices. Behind its end all
// choices are zero.
type script []byte

func (s *script) next() int {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return int(b)
}

func (s *script) bool() bool { return s.next()&1 != 0 }

// key chooses a key, or the name of a bucket, of few enough that they meet again.
func (s *script) key() []byte {
	b := s.next()
	switch b >> 5 {
	case 7:
		return bytes.Repeat([]byte{'x'}, []int{0, 967, 968, 969, 500, 501, 502, 503}[b&7])
	case 6:
		return []byte{byte(s.next())}
	case 5:
		return []byte{0xff, 0xff, byte(b)}
	case 4:
		return fmt.Appendf(nil, "k%03d", s.next())
	}
	return fmt.Appendf(nil, "k%d", b%12)
}

func (s *script) value() []byte {
	sizes := [...]int{0, 1, 10, 100, 300, 900, 1500, 2100, 4064, 4065, 9000, 20, 30, 40, 50, 60}
	b := s.next()
	return bytes.Repeat([]byte{byte('a' + b>>4)}, sizes[b&15])
}

// bounds chooses the ends of a range; nil is none.
func (s *script) bounds() (lo, hi []byte) {
	form := s.next()
	if form&1 != 0 {
		lo = s.key()
	}
	if form&2 != 0 {
		hi = s.key()
	}
	return lo, hi
}

// bucketModel is what a bucket should hold.
type bucketModel struct {
	values   map[string]string
	buckets  map[string]*bucketModel
	sequence uint64
	gone     bool // it was deleted
}

func newBucketModel() *bucketModel {
	return &bucketModel{values: map[string]string{}, buckets: map[string]*bucketModel{}}
}

func (m *bucketModel) clone() *bucketModel {
	c := &bucketModel{values: maps.Clone(m.values), buckets: map[string]*bucketModel{}, sequence: m.sequence}
	for name, b := range m.buckets {
		c.buckets[name] = b.clone()
	}
	return c
}

func (m *bucketModel) forget() {
	m.gone = true
	for _, b := range m.buckets {
		b.forget()
	}
}

// keys returns those with lo <= key < hi in order; nil is no bound.
func (m *bucketModel) keys(lo, hi []byte) (keys []string) {
	for k := range m.values {
		if k >= string(lo) && (hi == nil || k < string(hi)) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// count returns how many values there are, further in too.
func (m *bucketModel) count() int64 {
	n := int64(len(m.values))
	for _, b := range m.buckets {
		n += b.count()
	}
	return n
}

// pair is a bucket and what it should hold.
type pair struct {
	*store.Bucket
	model *bucketModel
}

func (c *calls) rootOf(tx *store.Tx, m *bucketModel) pair {
	b, err := tx.Bucket()
	c.must(err)
	return pair{b, m}
}

// calls is a store under the calls of a script.
type calls struct {
	*testing.T
	script script
	path   string
	db     *store.DB
	model  *bucketModel // of the last commit
	work   int          // how much more may be done

	open []pair // in the write transaction under way, the root first

	old      *store.Tx // a read transaction that stays
	oldModel *bucketModel
}

func (c *calls) must(err error) {
	if err != nil {
		c.Helper()
		c.Fatalf("%+v", err)
	}
}

// is fails the test unless err is the one wanted, or one of several.
func (c *calls) is(what string, err error, want ...error) {
	c.Helper()
	for _, w := range want {
		if errors.Is(err, w) {
			return
		}
	}
	c.Fatalf("%s: %v instead of %v", what, err, want)
}

func (c *calls) reopen() {
	c.Helper()
	if c.db != nil {
		c.must(c.db.Close())
	}
	var err error
	c.db, err = store.Open(c.path, nil)
	c.must(err)
}

// agrees checks that a bucket holds what it should, and so do those in it.
func (c *calls) agrees(p pair) {
	c.Helper()
	c.same("All", p.All(), p.model, p.model.keys(nil, nil))
	for k, want := range p.model.values {
		v, err := p.Get([]byte(k))
		if err != nil || string(v) != want {
			c.Fatalf("Get(%q) = %.20q, %v instead of %.20q", k, v, err, want)
		}
	}
	names := slices.Sorted(maps.Keys(p.model.buckets))
	if got := slices.Collect(p.Buckets()); !slices.Equal(got, names) {
		c.Fatalf("buckets %q instead of %q", got, names)
	}
	for _, name := range names {
		in, err := p.Bucket.Bucket(name)
		c.must(err)
		c.agrees(pair{in, p.model.buckets[name]})
	}
}

// same checks that an iterator has these keys with their values.
func (c *calls) same(what string, got func(func(k, v []byte) bool), m *bucketModel, keys []string) {
	c.Helper()
	for k, v := range got {
		if len(keys) == 0 || string(k) != keys[0] || string(v) != m.values[keys[0]] {
			c.Fatalf("%s is at %q = %.20q, and should have %q", what, k, v, keys)
		}
		keys = keys[1:]
	}
	if len(keys) > 0 {
		c.Fatalf("%s has ended before %q", what, keys)
	}
}

// view checks what a new read transaction sees.
func (c *calls) view() {
	c.Helper()
	c.must(c.db.View(func(tx *store.Tx) error {
		c.agrees(c.rootOf(tx, c.model))
		return nil
	}))
}

func (c *calls) check() {
	c.Helper()
	report, err := c.db.Check(context.Background())
	c.must(err)
	if report.Entries != c.model.count() {
		c.Fatalf("Check counts %d values instead of %d", report.Entries, c.model.count())
	}
}

// endOld ends the read transaction that stays. It sees what it saw.
func (c *calls) endOld() {
	c.Helper()
	if c.old != nil {
		c.agrees(c.rootOf(c.old, c.oldModel))
		c.must(c.old.Rollback())
		c.old = nil
	}
}

var errRollback = errors.New("the script takes it back")

// operation does what comes next in the script, outside of any transaction.
func (c *calls) operation() {
	c.work--
	switch c.script.next() % 10 {
	case 0, 1, 2, 3:
		c.update()
	case 4:
		c.view()
	case 5:
		c.endOld() // Close would not end it
		c.reopen()
		c.view()
	case 6:
		c.check()
	case 7: // short forms
		k, v := c.script.key(), c.script.value()
		want := c.keyError(c.model, k)
		c.is("Put", c.db.Put(k, v), want)
		if want == nil {
			c.model.values[string(k)] = string(v)
		}
		got, err := c.db.AppendGet([]byte("before"), k)
		if want == nil && (err != nil || string(got) != "before"+string(v)) {
			c.Fatalf("AppendGet = %.20q, %v", got, err)
		}
	case 8:
		k := c.script.key()
		want := c.keyError(c.model, k)
		c.is("Delete", c.db.Delete(k), want)
		if want == nil {
			delete(c.model.values, string(k))
		}
		if _, err := c.db.Get(k); err != store.ErrNotFound {
			c.Fatalf("Get after Delete: %v", err)
		}
	case 9:
		c.endOld()
		var err error
		c.old, err = c.db.Begin(context.Background(), false)
		c.must(err)
		c.oldModel = c.model.clone()
	}
}

// keyError returns what a change of the value of key in m gives.
func (c *calls) keyError(m *bucketModel, key []byte) error {
	switch {
	case m.gone:
		return store.ErrBucketNotFound
	case len(key) == 0:
		return store.ErrKeyEmpty
	case len(key) > c.db.MaxKey():
		return store.ErrKeyTooLarge
	case m.buckets[string(key)] != nil:
		return store.ErrIsBucket
	}
	return nil
}

// update makes a write transaction, which is committed or taken back.
func (c *calls) update() {
	model := c.model.clone()
	err := c.db.Update(func(tx *store.Tx) error {
		c.open = []pair{c.rootOf(tx, model)}
		for range c.script.next() % 32 {
			if c.work > 0 {
				c.change(c.choose())
			}
			c.must(tx.Err())
		}
		c.agrees(c.open[0])
		if c.script.next()%8 == 7 {
			return errRollback
		}
		return nil
	})
	if err == nil {
		c.model = model
	} else if err != errRollback {
		c.Fatalf("%+v", err)
	}
	c.view()
}

// choose chooses one of the buckets that this transaction has asked for. It may be
// gone.
func (c *calls) choose() pair { return c.open[c.script.next()%len(c.open)] }

// change makes one change of a bucket, or looks at it.
func (c *calls) change(p pair) {
	c.work--
	if p.model.gone {
		c.useGone(p)
		return
	}
	switch c.script.next() % 14 {
	case 0, 1:
		c.put(p, c.script.key(), c.script.value())
	case 2:
		c.delete(p, c.script.key())
	case 3:
		c.putIf(p)
	case 4:
		c.deleteRange(p)
	case 5, 6:
		c.ensure(p)
	case 7:
		c.deleteBucket(p)
	case 8:
		n, err := p.NextSequence()
		if p.model.sequence++; err != nil || n != p.model.sequence {
			c.Fatalf("NextSequence = %d, %v instead of %d", n, err, p.model.sequence)
		}
	case 9:
		lo, hi := c.script.bounds()
		keys := p.model.keys(lo, hi)
		c.same("Range", p.Range(lo, hi), p.model, keys)
		slices.Reverse(keys)
		c.same("Backward", p.Backward(lo, hi), p.model, keys)
	case 10:
		prefix := c.script.key()
		keys := slices.DeleteFunc(p.model.keys(nil, nil), func(k string) bool { return !strings.HasPrefix(k, string(prefix)) })
		c.same("Prefix", p.Prefix(prefix), p.model, keys)
	case 11:
		c.changeWhileIterating(p)
	case 12:
		c.changeUnderCursor(p)
	case 13:
		k, v := c.script.key(), c.script.value()
		for i := range c.script.next() % 64 {
			c.put(p, fmt.Appendf(k, "%02d", i), v)
		}
	}
}

func (c *calls) put(p pair, k, v []byte) {
	c.Helper()
	c.work -= len(v) / 1000
	want := c.keyError(p.model, k)
	c.is("Put", p.Put(k, v), want)
	if want == nil {
		p.model.values[string(k)] = string(v)
	}
}

func (c *calls) delete(p pair, k []byte) {
	c.Helper()
	want := c.keyError(p.model, k)
	c.is("Delete", p.Delete(k), want)
	if want == nil {
		delete(p.model.values, string(k))
	}
	if _, err := p.Get(k); err != store.ErrNotFound {
		c.Fatalf("Get after Delete: %v", err)
	}
}

func (c *calls) putIf(p pair) {
	k, v := c.script.key(), c.script.value()
	var old []byte
	now, there := p.model.values[string(k)]
	switch c.script.next() % 3 {
	case 0:
		if there {
			old = []byte(now)
		}
	case 1:
		old = c.script.value()
	}
	want := []error{c.keyError(p.model, k)}
	matches := there == (old != nil) && now == string(old)
	switch {
	case matches:
	case want[0] == nil:
		want[0] = store.ErrConflict
	case want[0] == store.ErrIsBucket:
		want = append(want, store.ErrConflict)
	}
	c.is("PutIf", p.PutIf(k, old, v), want...)
	if want[0] == nil {
		p.model.values[string(k)] = string(v)
	}
}

func (c *calls) deleteRange(p pair) {
	lo, hi := c.script.bounds()
	keys := p.model.keys(lo, hi)
	if n, err := p.DeleteRange(lo, hi); n != len(keys) || err != nil {
		c.Fatalf("DeleteRange(%q, %q) = %d, %v instead of %d", lo, hi, n, err, len(keys))
	}
	for _, k := range keys {
		delete(p.model.values, k)
	}
}

// names chooses a path of at most three.
func (c *calls) names() (path []string) {
	for range c.script.next() % 4 {
		path = append(path, string(c.script.key()))
	}
	return path
}

// remember keeps a bucket for later calls.
func (c *calls) remember(p pair) {
	if len(c.open) < 16 {
		c.open = append(c.open, p)
	}
}

func (c *calls) ensure(p pair) {
	path := c.names()
	m := p.model
	var want error
	for _, name := range path {
		want = c.keyError(m, []byte(name))
		if _, isValue := m.values[name]; isValue {
			want = store.ErrNotBucket
		}
		if want != nil && want != store.ErrIsBucket {
			break
		}
		if want = nil; m.buckets[name] == nil {
			m.buckets[name] = newBucketModel()
		}
		m = m.buckets[name]
	}
	b, err := p.EnsureBucket(path...)
	c.is("EnsureBucket", err, want)
	if want != nil {
		return
	}
	again, err := p.Bucket.Bucket(path...)
	if again != b || err != nil {
		c.Fatalf("Bucket after EnsureBucket: another one, or %v", err)
	}
	c.remember(pair{b, m})
}

// find returns the bucket that path leads to in m, and the error if there is none.
func (m *bucketModel) find(path []string) (*bucketModel, error) {
	for _, name := range path {
		if _, isValue := m.values[name]; isValue {
			return nil, store.ErrNotBucket
		}
		if m = m.buckets[name]; m == nil {
			return nil, store.ErrBucketNotFound
		}
	}
	return m, nil
}

func (c *calls) deleteBucket(p pair) {
	path := c.names()
	in, want := p.model.find(path)
	b, err := p.Bucket.Bucket(path...)
	c.is("Bucket", err, want)
	if want == nil {
		c.remember(pair{b, in})
	}
	if len(path) == 0 {
		want = store.ErrBucketNotFound
	}
	c.is("DeleteBucket", p.DeleteBucket(path...), want)
	if want == nil {
		in.forget()
		parent, _ := p.model.find(path[:len(path)-1])
		delete(parent.buckets, path[len(path)-1])
	}
}

// useGone makes calls of a bucket that was deleted.
func (c *calls) useGone(p pair) {
	k, v := c.script.key(), c.script.value()
	_, err1 := p.Get(k)
	_, err2 := p.Bucket.Bucket(string(k))
	_, err3 := p.NextSequence()
	_, err4 := p.DeleteRange(nil, nil)
	for _, err := range []error{p.Put(k, v), p.Delete(k), p.PutIf(k, nil, v), err1, err2, err3, err4} {
		c.is("a call of a bucket that was deleted", err, store.ErrBucketNotFound)
	}
	for k := range p.All() {
		c.Fatalf("there is %q in a bucket that was deleted", k)
	}
}

// changeWhileIterating makes changes in the loop over a range, which goes on at the
// next key that is there then.
func (c *calls) changeWhileIterating(p pair) {
	lo, hi := c.script.bounds()
	backward := c.script.bool()
	iterator := p.Range(lo, hi)
	if backward {
		iterator = p.Backward(lo, hi)
	}
	left := p.model.keys(lo, hi)
	first := func() string {
		if backward {
			return left[len(left)-1]
		}
		return left[0]
	}
	steps := 0
	for k, v := range iterator {
		if len(left) == 0 || string(k) != first() || string(v) != p.model.values[string(k)] {
			c.Fatalf("iterator is at %q = %.20q, and %q is left", k, v, left)
		}
		at := string(k)
		if steps++; steps > 20 {
			return
		}
		switch c.script.next() % 6 {
		case 0:
			c.delete(p, []byte(at))
		case 1:
			c.put(p, c.script.key(), c.script.value())
		case 2:
			c.delete(p, c.script.key())
		case 3:
			c.ensure(p)
		case 4:
			c.deleteBucket(p)
		}
		if backward {
			left = p.model.keys(lo, []byte(at))
		} else {
			left = p.model.keys(append([]byte(at), 0), hi)
		}
	}
	if len(left) > 0 {
		c.Fatalf("iterator has ended before %q", left)
	}
}

// changeUnderCursor moves a cursor about, with changes between the steps.
func (c *calls) changeUnderCursor(p pair) {
	cursor := p.Cursor()
	at, there := "", false // where it is
	for range c.script.next() % 12 {
		keys := p.model.keys(nil, nil)
		i, found := slices.BinarySearch(keys, at)
		var ok bool
		switch c.script.next() % 8 {
		case 0:
			ok, i = cursor.First(), 0
		case 1:
			ok, i = cursor.Last(), len(keys)-1
		case 2:
			k := c.script.key()
			ok = cursor.Seek(k)
			i, _ = slices.BinarySearch(keys, string(k))
		case 3:
			if ok = cursor.Next(); !there {
				i = len(keys)
			} else if found {
				i++
			}
		case 4:
			if ok = cursor.Prev(); !there {
				i = -1
			} else {
				i--
			}
		case 5:
			c.put(p, c.script.key(), c.script.value())
			c.stays(cursor, p.model, at, there)
			continue
		case 6:
			c.delete(p, []byte(at))
			c.stays(cursor, p.model, at, there)
			continue
		case 7:
			c.delete(p, c.script.key())
			c.stays(cursor, p.model, at, there)
			continue
		}
		if there = i >= 0 && i < len(keys); ok != there {
			c.Fatalf("cursor at a key: %v instead of %v", ok, there)
		}
		if at = ""; there {
			at = keys[i]
		}
		c.stays(cursor, p.model, at, there)
	}
}

// stays checks where a cursor is.
func (c *calls) stays(cursor *store.Cursor, m *bucketModel, at string, there bool) {
	c.Helper()
	k, v := cursor.Key(), cursor.Value()
	want, isValue := m.values[at]
	if string(k) != at || (k != nil) != there || (v != nil) != (there && isValue) || there && string(v) != want {
		c.Fatalf("cursor is at %q = %.20q instead of %q = %.20q", k, v, at, want)
	}
}

// quickDir returns a directory of memory if the system has one: a fuzz target is
// called very often.
func quickDir(t *testing.T) string {
	if runtime.GOOS == "linux" {
		if dir, err := os.MkdirTemp("/dev/shm", "sharekv-test-"); err == nil {
			t.Cleanup(func() {
				if err := testdir.Remove(dir); err != nil {
					t.Error(err)
				}
			})
			return dir
		}
	}
	return testdir.New(t)
}

// A store does what nested maps do, whatever the calls.
func FuzzCalls(f *testing.F) {
	for op := range byte(14) {
		f.Add([]byte{0, 30, 0, 5, 1, 0, 1, 13, 140, 3, 40, 1, op, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, op, 5, 6, 7, 8, 1, 2, 3, 5, 6})
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		c := &calls{T: t, script: input, model: newBucketModel(), work: 120}
		c.path = filepath.Join(quickDir(t), "test.kv")
		c.reopen()
		for len(c.script) > 0 && c.work > 0 {
			c.operation()
		}
		c.endOld()
		c.reopen()
		c.view()
		c.check()
		c.must(c.db.Close())
	})
}

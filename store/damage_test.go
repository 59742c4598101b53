package store_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/store"
)

// memoryDir returns a directory of the test's own, in memory if the system has such
// a place: flushes take no time there.
func memoryDir(t testing.TB) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		return testdir.New(t)
	}
	dir, err := os.MkdirTemp("/dev/shm", "sharekv-test-")
	if err != nil {
		return testdir.New(t)
	}
	t.Cleanup(func() {
		if err := testdir.Remove(dir); err != nil {
			t.Errorf("remove test directory: %v", err)
		}
	})
	return dir
}

// seeded returns random numbers that come again with the seed that it prints.
func seeded(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("SHAREKV_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SHAREKV_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// filled is what a bucket should hold.
type filled struct {
	values   map[string]string
	buckets  map[string]filled
	sequence *uint64
}

func newFilled() filled {
	return filled{map[string]string{}, map[string]filled{}, new(uint64)}
}

func (f filled) clone() filled {
	c := filled{maps.Clone(f.values), map[string]filled{}, new(*f.sequence)}
	for name, in := range f.buckets {
		c.buckets[name] = in.clone()
	}
	return c
}

// errWrong says that something is not as it was written, and nothing noticed.
var errWrong = errors.New("wrong, and no error")

// read reads all that f has, in every way, from the bucket at path, each way in a
// transaction of its own. It returns the errors that db noticed, and errWrong if one
// is missing.
func (f filled) read(db *store.DB, path ...string) (noticed, wrong error) {
	view := func(what string, fn func(b *store.Bucket) error) {
		err := db.View(func(tx *store.Tx) error {
			b, err := tx.Bucket(path...)
			if err != nil {
				return err
			}
			err = fn(b)
			if tx.Err() != nil {
				return tx.Err() // and what came before it was right
			}
			return err
		})
		if errors.Is(err, errWrong) || errors.Is(err, store.ErrBucketNotFound) || errors.Is(err, store.ErrNotBucket) {
			wrong = errors.Wrapf(errWrong, "%s of bucket %q: %v", what, path, err)
		} else if err != nil {
			noticed = errors.Wrapf(err, "%s of bucket %q", what, path)
		}
	}
	keys := slices.Sorted(maps.Keys(f.values))
	view("values", func(b *store.Bucket) error {
		var noticed error
		for _, k := range keys {
			v, err := b.Get([]byte(k))
			switch {
			case err == store.ErrNotFound:
				return errors.Wrapf(errWrong, "%q is not found", k)
			case err != nil:
				noticed = err
			case string(v) != f.values[k]:
				return errors.Wrapf(errWrong, "%q = %.20q", k, v)
			}
		}
		return noticed
	})
	view("forward scan", func(b *store.Bucket) error { return f.walk(b.All(), keys) })
	view("backward scan", func(b *store.Bucket) error {
		slices.Reverse(keys)
		return f.walk(b.Backward(nil, nil), keys)
	})
	names := slices.Sorted(maps.Keys(f.buckets))
	view("names", func(b *store.Bucket) error {
		return inOrder(b.Buckets(), names)
	})
	for _, name := range names {
		n, w := f.buckets[name].read(db, append(slices.Clone(path), name)...)
		noticed, wrong = errors.CombineErrors(noticed, n), errors.CombineErrors(wrong, w)
	}
	return noticed, wrong
}

// walk compares an iterator with the keys that it should return. After an error of
// the transaction what is missing is no matter: its caller sees to that.
func (f filled) walk(entries func(func(k, v []byte) bool), keys []string) error {
	bad := error(nil)
	err := inOrder(func(yield func(string) bool) {
		for k, v := range entries {
			if want, ok := f.values[string(k)]; !ok || want != string(v) {
				bad = errors.Wrapf(errWrong, "%q = %.20q", k, v)
				return
			}
			if !yield(string(k)) {
				return
			}
		}
	}, keys)
	return errors.CombineErrors(bad, err)
}

func inOrder(names func(func(string) bool), want []string) error {
	n := 0
	for name := range names {
		if n == len(want) || name != want[n] {
			return errors.Wrapf(errWrong, "%q at %d", name, n)
		}
		n++
	}
	if n < len(want) {
		return errors.Wrapf(errWrong, "ends after %d of %d", n, len(want))
	}
	return nil
}

// specimen is a small store, byte by byte, and what it holds.
type specimen struct {
	name   string
	image  []byte
	newest int // the meta page in force
	rev    store.Rev
	now    filled
	// The commit before, if the other meta page has another one than the newest.
	old       bool
	revBefore store.Rev
	before    filled
}

// specimens returns a store that was closed, and the same one as a killed process
// leaves it. They have everything in a few pages: a branch, buckets in buckets,
// runs, free extents of one page and of several, and retired pages, some of which
// are listed as kept for a reader.
func specimens(t *testing.T) []specimen {
	path := filepath.Join(memoryDir(t), "specimen.kv")
	db, err := store.Open(path, nil)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	s := specimen{now: newFilled()}
	value := func(n, size int) string { return fmt.Sprintf("%0*d", size, n) }
	s.commit(t, db, func(b *filling) {
		for i := range 40 {
			b.put(fmt.Sprintf("key %02d", i), value(i, 80+i))
		}
		b.put("large", value(1, 5000))
		b.put("to go", value(2, 24000)) // six pages that become free
		b.in("second").put("of d", "")
		b.next()
		b = b.in("bucket")
		b.next()
		b.put("of b", value(3, 30))
		b.in("inner").put("of c", value(4, 60))
	})
	for i := range 4 {
		s.commit(t, db, func(b *filling) {
			b.delete("to go")
			b.put("key 20", value(i, 90))
		})
	}
	reader, err := db.Begin(t.Context(), false)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	kept := binary.BigEndian.AppendUint64([]byte("b"), uint64(reader.Rev()))
	for i := range 3 {
		s.commit(t, db, func(b *filling) { b.put("key 10", value(i, 95)) })
	}
	if err := reader.Rollback(); err != nil {
		t.Fatal(err)
	}
	report, err := db.Check(t.Context())
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Logf("%+v", *report)
	read := func(name string, old bool) specimen {
		image, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(image, kept) || report.Free < 3 || report.Retired == 0 {
			t.Fatalf("%s has no list of pages kept for a reader, or: %+v", name, report)
		}
		s := s
		s.name, s.image, s.old = name, image[:report.Pages*int64(report.PageSize)], old
		const sequence = 72 // of a meta page
		if binary.LittleEndian.Uint64(image[4096+sequence:]) > binary.LittleEndian.Uint64(image[sequence:]) {
			s.newest = 1
		}
		return s
	}
	left := read("left open", true)
	if err := db.Close(); err != nil {
		t.Fatalf("%+v", err)
	}
	return []specimen{read("closed", false), left}
}

// ofLastCommit reports whether the byte is in a page that the last commit wrote. After
// an unclean end damage there looks like a commit that did not reach the disk, and
// then the one before is in force.
func (s *specimen) ofLastCommit(at int) bool {
	const txid = 16 // of a page
	page := at &^ 4095
	return page >= 2*4096 && binary.LittleEndian.Uint64(s.image[page+txid:]) == uint64(s.rev)
}

// commit lets fn change db and s alike.
func (s *specimen) commit(t *testing.T, db *store.DB, fn func(b *filling)) {
	t.Helper()
	s.before, s.revBefore = s.now, s.rev
	s.now = s.now.clone()
	update(t, db, func(tx *store.Tx) (err error) {
		b, err := tx.Bucket()
		if err == nil {
			fn(&filling{b, s.now, &err})
		}
		return err
	})
	if err := db.View(func(tx *store.Tx) error { s.rev = tx.Rev(); return nil }); err != nil {
		t.Fatal(err)
	}
}

// filling is a bucket that is being changed, together with what it should hold. The
// first error stays.
type filling struct {
	bucket *store.Bucket
	filled filled
	err    *error
}

func (f *filling) put(key, value string) {
	f.filled.values[key] = value
	if *f.err == nil {
		*f.err = f.bucket.Put([]byte(key), []byte(value))
	}
}

func (f *filling) delete(key string) {
	delete(f.filled.values, key)
	if *f.err == nil {
		*f.err = f.bucket.Delete([]byte(key))
	}
}

// next takes a number of the bucket's sequence, which must be the right one.
func (f *filling) next() {
	*f.filled.sequence++
	if *f.err == nil {
		n, err := f.bucket.NextSequence()
		if err == nil && n != *f.filled.sequence {
			err = errors.Wrapf(errWrong, "%d of the sequence instead of %d", n, *f.filled.sequence)
		}
		*f.err = err
	}
}

func (f *filling) in(name string) *filling {
	in, ok := f.filled.buckets[name]
	if !ok {
		in = newFilled()
		f.filled.buckets[name] = in
	}
	inner := &filling{filled: in, err: f.err}
	if *f.err == nil {
		inner.bucket, *f.err = f.bucket.EnsureBucket(name)
	}
	return inner
}

// outcome is where damage showed first.
type outcome int

const (
	atOpen outcome = iota
	atCheck
	nowhere
	outcomes
)

// meets opens the damaged image at path, reads it, changes it, and closes and opens
// it again, which often can be spared if there was no damage. Everything is right or
// is one of the errors given. old says that the commit before is right, too.
func (s *specimen) meets(path string, image []byte, old, spare bool, atOpening ...error) (o outcome, err error) {
	if err := os.WriteFile(path, image, 0o600); err != nil {
		return o, err
	}
	db, err := store.Open(path, nil)
	if err != nil {
		if !isAny(err, atOpening) {
			return atOpen, err
		}
		return atOpen, nil
	}
	defer func() {
		if db != nil {
			err = errors.CombineErrors(err, db.Close())
		}
	}()
	var rev store.Rev
	if err := db.View(func(tx *store.Tx) error { rev = tx.Rev(); return nil }); err != nil {
		return nowhere, errors.Wrapf(err, "view")
	}
	want := s.now
	if old && rev == s.revBefore {
		want = s.before
	} else if rev != s.rev {
		return nowhere, errors.Wrapf(errWrong, "revision %d instead of %d", rev, s.rev)
	}
	clean, err := looksLike(db, want)
	if err != nil {
		return nowhere, err
	}
	o = nowhere
	if !clean {
		o = atCheck
	}
	want, err = want.change(db, clean)
	if err != nil {
		return o, err
	}
	if _, err := looksLike(db, want); err != nil {
		return o, errors.Wrapf(err, "after the change")
	}
	err = db.Close()
	db = nil
	if err != nil {
		return o, errors.Wrapf(err, "close")
	}
	if clean && spare {
		return o, nil
	}
	again, err := store.Open(path, nil)
	if err != nil {
		return o, errors.Wrapf(err, "open again")
	}
	clean2, err := looksLike(again, want)
	if err == nil && clean && !clean2 {
		err = errors.Wrapf(errWrong, "the store was clean at first")
	}
	return o, errors.Wrapf(errors.CombineErrors(err, again.Close()), "opened again")
}

// looksLike checks db and reads all of it. Clean is a store without any damage.
func looksLike(db *store.DB, want filled) (clean bool, err error) {
	_, damage := db.Check(context.Background())
	if damage != nil && !errors.Is(damage, store.ErrCorrupt) {
		return false, errors.Wrapf(damage, "check")
	}
	noticed, wrong := want.read(db)
	switch {
	case wrong != nil:
		return false, wrong
	case noticed != nil && !errors.Is(noticed, store.ErrCorrupt):
		return false, errors.Wrapf(noticed, "reading")
	case noticed != nil && damage == nil:
		return false, errors.Wrapf(noticed, "check found nothing, but")
	}
	return damage == nil, nil
}

// change makes some changes in one transaction, which must succeed in a clean store,
// and returns what db holds then.
func (f filled) change(db *store.DB, clean bool) (filled, error) {
	next := f.clone()
	err := db.Update(func(tx *store.Tx) (err error) {
		root, err := tx.Bucket()
		if err != nil {
			return err
		}
		b := &filling{root, next, &err}
		b.put("new", strings.Repeat("new", 3000))
		b.put("key 20", "changed")
		b.delete("key 05")
		b.next()
		b = b.in("bucket")
		b.put("of b", "changed")
		b.next()
		return err
	})
	if err == nil {
		return next, nil
	}
	if clean || !errors.Is(err, store.ErrCorrupt) {
		return f, errors.Wrapf(err, "change")
	}
	return f, nil
}

func isAny(err error, targets []error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

// injure lets a specimen meet many kinds of damage, by number, in as many goroutines
// as there are processors. A panic and a hang say by which one.
func injure(t *testing.T, s *specimen, kinds []int, meet func(path string, kind int) (outcome, error)) {
	dir := memoryDir(t)
	var next, failed atomic.Int64
	var seen [outcomes]atomic.Int64
	var wait sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	if runtime.GOOS == "windows" {
		workers = 1 // Wine 8 maps files where another goroutine may be mapping one
	}
	for worker := range workers {
		path := filepath.Join(dir, fmt.Sprint(worker, ".kv"))
		wait.Go(func() {
			for failed.Load() < 10 {
				i := int(next.Add(1)) - 1
				if i >= len(kinds) {
					return
				}
				o, err := s.survives(t, path, kinds[i], meet)
				seen[o].Add(1)
				if err != nil {
					failed.Add(1)
					t.Errorf("%s, %d: %+v", s.name, kinds[i], err)
				}
			}
		})
	}
	wait.Wait()
	t.Logf("%s: %d refused when opened, %d found by Check, %d harmless", s.name,
		seen[atOpen].Load(), seen[atCheck].Load(), seen[nowhere].Load())
	if !s.old && len(kinds) > 200 && seen[atCheck].Load()+seen[atOpen].Load() < int64(len(kinds)/10) {
		t.Errorf("%s: hardly anything was noticed", s.name)
	}
}

func (s *specimen) survives(t *testing.T, path string, kind int, meet func(string, int) (outcome, error)) (o outcome, err error) {
	hang := time.AfterFunc(time.Minute, func() { panic(fmt.Sprintf("%s, %d: hangs", s.name, kind)) })
	defer hang.Stop()
	defer func() {
		if r := recover(); r != nil {
			err = errors.Newf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return meet(path, kind)
}

// every returns the numbers below n: all of them in CI, otherwise about count, and
// fewer where everything takes its time.
func every(t *testing.T, rng *rand.Rand, n, count int) (numbers []int) {
	step := 1
	switch {
	case runtime.GOOS == "windows": // Wine takes a tenth of a second to open a store
		step = max(1, 8*n/count)
	case testing.Short():
		step = max(1, 3*n/count)
	case os.Getenv("SHAREKV_TEST") != "ci":
		step = max(1, n/count)
	}
	for i := rng.IntN(step); i < n; i += step {
		numbers = append(numbers, i)
	}
	return numbers
}

func TestEachFlippedByteIsAnErrorOrHarmless(t *testing.T) {
	rng := seeded(t)
	for _, s := range specimens(t) {
		places := every(t, rng, len(s.image), 500)
		if s.old {
			// What differs from the other specimen is the meta pages.
			places = slices.DeleteFunc(places, func(at int) bool { return at >= 2*4096 && at%16 > 0 })
		}
		// Of a meta page only the beginning counts, and that a lot.
		for at := rng.IntN(4); at < 4096+512 && len(places) < 1000; at += 4 {
			if at%4096 < 512 && runtime.GOOS != "windows" {
				places = append(places, at)
			}
		}
		flip := byte(1 + rng.IntN(255))
		injure(t, &s, places, func(path string, at int) (outcome, error) {
			image := slices.Clone(s.image)
			image[at] ^= flip
			old := s.old && (at/4096 == s.newest || s.ofLastCommit(at))
			return s.meets(path, image, old, at%8 > 0)
		})
	}
}

func TestEachTruncationIsAnErrorOrHarmless(t *testing.T) {
	rng := seeded(t)
	for _, s := range specimens(t) {
		image := append(s.image, make([]byte, 16<<10)...) // as it is made longer than needed
		var sizes []int
		for _, n := range every(t, rng, len(image)/512+1, 150) {
			sizes = append(sizes, n*512)
		}
		injure(t, &s, sizes, func(path string, size int) (outcome, error) {
			return s.meets(path, image[:size], false, false, store.ErrNotStore, store.ErrTruncated)
		})
	}
}

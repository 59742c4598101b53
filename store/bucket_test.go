package store_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/internal/teststore"
	"github.com/sharekv/sharekv/store"
)

// ensure returns the bucket at path.
func ensure(t testing.TB, tx *store.Tx, path ...string) *store.Bucket {
	t.Helper()
	b, err := tx.EnsureBucket(path...)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	return b
}

func put(t testing.TB, b *store.Bucket, key, value string) {
	t.Helper()
	if err := b.Put([]byte(key), []byte(value)); err != nil {
		t.Fatalf("%+v", err)
	}
}

func TestMissingBucketIsNamedWithItsPath(t *testing.T) {
	db := teststore.New(t, nil)
	update(t, db, func(tx *store.Tx) error {
		put(t, ensure(t, tx, "a", "b c"), "value", "v")
		return nil
	})
	for _, c := range []struct {
		path []string
		want error
		text string
	}{
		{[]string{"x"}, store.ErrBucketNotFound, `bucket "x": store: bucket not found`},
		{[]string{"a", "x", "y"}, store.ErrBucketNotFound, `bucket "a"/"x": store: bucket not found`},
		{[]string{"a", "b c", "\x00/"}, store.ErrBucketNotFound, `bucket "a"/"b c"/"\x00/": store: bucket not found`},
		{[]string{"a", "b c", "value", "y"}, store.ErrNotBucket,
			`bucket "a"/"b c"/"value": index: name is the key of a value`},
		{[]string{""}, store.ErrBucketNotFound, `bucket "": store: bucket not found`},
	} {
		update(t, db, func(tx *store.Tx) error {
			_, err := tx.Bucket(c.path...)
			for what, err := range map[string]error{"Bucket": err, "DeleteBucket": tx.DeleteBucket(c.path...)} {
				if !errors.Is(err, c.want) || err.Error() != c.text {
					t.Errorf("%s(%q): %v", what, c.path, err)
				}
			}
			return nil
		})
	}
}

func TestBucketsAndValuesShareOneNameSpace(t *testing.T) {
	db := teststore.New(t, nil)
	name, key, large := []byte("bucket"), []byte("key"), make([]byte, 10_000)
	update(t, db, func(tx *store.Tx) error {
		ensure(t, tx, "bucket")
		put(t, ensure(t, tx), "key", "value")
		for what, err := range map[string]error{
			"Put":                            tx.Put(name, nil),
			"Put of a large value":           tx.Put(name, large),
			"PutIf of what is not there":     tx.PutIf(name, nil, nil),
			"PutIf of another value":         tx.PutIf(name, []byte("old"), nil),
			"Delete":                         tx.Delete(name),
			"PutIf of the bytes of a record": tx.PutIf(name, make([]byte, 32), large),
		} {
			if err != store.ErrIsBucket {
				t.Errorf("%s: %v", what, err)
			}
		}
		if _, err := tx.Get(name); err != store.ErrNotFound {
			t.Errorf("Get: %v", err)
		}
		_, err := tx.EnsureBucket("key", "in it")
		if !errors.Is(err, store.ErrNotBucket) {
			t.Errorf("EnsureBucket: %v", err)
		}
		return nil // it can go on
	})
	if _, err := db.Get(name); err != store.ErrNotFound {
		t.Errorf("Get of the store: %v", err)
	}
	if v, err := db.Get(key); err != nil || string(v) != "value" {
		t.Errorf("the value: %q, %v", v, err)
	}
	update(t, db, func(tx *store.Tx) error {
		if err := errors.CombineErrors(tx.DeleteBucket("bucket"), tx.Delete(key)); err != nil {
			return err
		}
		put(t, ensure(t, tx), "bucket", "now a value")
		ensure(t, tx, "key")
		return nil
	})
}

func TestDeletedBucketIsGoneAlsoIfItIsMadeAgain(t *testing.T) {
	db := teststore.New(t, nil)
	update(t, db, func(tx *store.Tx) error {
		put(t, ensure(t, tx, "a", "b"), "k", "old")
		return nil
	})
	update(t, db, func(tx *store.Tx) error {
		a, b := ensure(t, tx, "a"), ensure(t, tx, "a", "b")
		c := b.Cursor()
		if !c.First() {
			t.Error("the bucket is empty")
		}
		for k := range b.All() {
			if err := tx.DeleteBucket("a"); err != nil {
				t.Errorf("while an iterator is at %s: %v", k, err)
			}
		}
		put(t, ensure(t, tx, "a", "b"), "k", "new")
		if c.Next() || c.First() || c.Last() || c.Seek(nil) || c.Key() != nil || c.Value() != nil {
			t.Error("a cursor goes on")
		}
		for _, gone := range []*store.Bucket{a, b} {
			_, get := gone.Get([]byte("k"))
			_, inner := gone.Bucket("b")
			_, made := gone.EnsureBucket("b")
			_, sequence := gone.NextSequence()
			_, deleted := gone.DeleteRange(nil, nil)
			for what, err := range map[string]error{
				"Get": get, "Bucket": inner, "EnsureBucket": made, "NextSequence": sequence, "DeleteRange": deleted,
				"Put":          gone.Put([]byte("k"), nil),
				"PutIf":        gone.PutIf([]byte("k"), nil, nil),
				"Delete":       gone.Delete([]byte("k")),
				"DeleteBucket": gone.DeleteBucket("b"),
			} {
				if !errors.Is(err, store.ErrBucketNotFound) {
					t.Errorf("%s: %v", what, err)
				}
			}
			for range gone.All() {
				t.Error("All has an entry")
			}
			for range gone.Buckets() {
				t.Error("Buckets has a name")
			}
		}
		return tx.Err()
	})
	err := db.View(func(tx *store.Tx) error {
		b, err := tx.Bucket("a", "b")
		if err != nil {
			return err
		}
		if v, err := b.Get([]byte("k")); err != nil || string(v) != "new" {
			t.Errorf("%q, %v", v, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestBucketCannotDeleteItself(t *testing.T) {
	db := teststore.New(t, nil)
	update(t, db, func(tx *store.Tx) error {
		err := ensure(t, tx, "a").DeleteBucket()
		if !errors.Is(err, store.ErrBucketNotFound) || len(errors.GetAllHints(err)) == 0 {
			t.Errorf("DeleteBucket without a name: %v", err)
		}
		return nil
	})
}

func TestBucketNamesHaveTheLimitsOfKeys(t *testing.T) {
	db := teststore.New(t, nil)
	longest := string(bytes.Repeat([]byte("n"), db.MaxKey()))
	update(t, db, func(tx *store.Tx) error {
		if _, err := tx.EnsureBucket("a", ""); !errors.Is(err, store.ErrKeyEmpty) {
			t.Errorf("no name: %v", err)
		}
		if _, err := tx.EnsureBucket(longest + "n"); !errors.Is(err, store.ErrKeyTooLarge) {
			t.Errorf("name too long: %v", err)
		}
		if _, err := tx.Bucket(longest + "n"); !errors.Is(err, store.ErrBucketNotFound) {
			t.Errorf("Bucket of a name too long: %v", err)
		}
		put(t, ensure(t, tx, longest, longest), longest, "v")
		return nil
	})
	err := db.View(func(tx *store.Tx) error {
		if got := slices.Collect(tx.Buckets()); !slices.Equal(got, []string{"a", longest}) {
			t.Errorf("Buckets: %q", got)
		}
		b, err := tx.Bucket(longest, longest)
		if err != nil {
			return err
		}
		_, err = b.Get([]byte(longest))
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestSequenceIsTheBucketsOwnAndCommitsWithIt(t *testing.T) {
	db := teststore.New(t, nil)
	next := func(want uint64, path ...string) func(*store.Tx) error {
		return func(tx *store.Tx) error {
			if n, err := ensure(t, tx, path...).NextSequence(); err != nil || n != want {
				t.Errorf("NextSequence of %q: %d instead of %d, %v", path, n, want, err)
			}
			return nil
		}
	}
	update(t, db, next(1))
	update(t, db, next(1, "a"))
	update(t, db, next(2, "a"))
	update(t, db, next(1, "a", "b"))
	update(t, db, next(2))
	aborted := errors.New("abort")
	if err := db.Update(func(tx *store.Tx) error { next(3, "a")(tx); return aborted }); err != aborted {
		t.Error(err)
	}
	update(t, db, next(3, "a"))
	update(t, db, func(tx *store.Tx) error { return tx.DeleteBucket("a") })
	update(t, db, next(1, "a"))
	err := db.View(func(tx *store.Tx) error { _, err := tx.NextSequence(); return err })
	if !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("NextSequence in View: %v", err)
	}
}

func TestTransactionThatChangesNothingStoresNothing(t *testing.T) {
	path := filepath.Join(testdir.New(t), "a.kv")
	db := teststore.Open(t, path, nil)
	update(t, db, func(tx *store.Tx) error {
		put(t, ensure(t, tx, "a", "b"), "k", "v")
		return nil
	})
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rev := revision(t, db)
	update(t, db, func(tx *store.Tx) error {
		b := ensure(t, tx, "a", "b")
		if _, err := tx.Bucket("a"); err != nil {
			return err
		}
		for range b.All() {
		}
		if err := b.PutIf([]byte("k"), nil, []byte("new")); err != store.ErrConflict {
			t.Errorf("PutIf: %v", err)
		}
		if n, err := b.DeleteRange([]byte("l"), nil); n != 0 || err != nil {
			t.Errorf("DeleteRange: %d, %v", n, err)
		}
		if err := b.Put(nil, nil); !errors.Is(err, store.ErrKeyEmpty) {
			t.Errorf("Put: %v", err)
		}
		if err := tx.DeleteBucket("x"); !errors.Is(err, store.ErrBucketNotFound) {
			t.Errorf("DeleteBucket: %v", err)
		}
		return nil
	})
	if got := revision(t, db); got != rev {
		t.Errorf("revision %d instead of %d", got, rev)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("the file has changed")
	}
}

func revision(t testing.TB, db *store.DB) (rev store.Rev) {
	t.Helper()
	err := db.View(func(tx *store.Tx) error { rev = tx.Rev(); return nil })
	if err != nil {
		t.Fatalf("%+v", err)
	}
	return rev
}

func TestPutIfTellsNoValueFromAnEmptyOne(t *testing.T) {
	db := teststore.New(t, nil)
	update(t, db, func(tx *store.Tx) error {
		key := []byte("k")
		for i, c := range []struct {
			old, value []byte
			want       error
		}{
			{[]byte{}, []byte("1"), store.ErrConflict},
			{[]byte("0"), []byte("1"), store.ErrConflict},
			{nil, []byte{}, nil},
			{nil, []byte("1"), store.ErrConflict},
			{[]byte{}, []byte("1"), nil},
			{[]byte("0"), []byte("2"), store.ErrConflict},
			{[]byte("11"), []byte("2"), store.ErrConflict},
			{[]byte("1"), make([]byte, 10_000), nil},
			{make([]byte, 9_999), []byte("3"), store.ErrConflict},
			{make([]byte, 10_000), []byte("3"), nil},
		} {
			if err := tx.PutIf(key, c.old, c.value); err != c.want {
				t.Errorf("step %d: %v", i, err)
			}
		}
		if v, err := tx.Get(key); err != nil || string(v) != "3" {
			t.Errorf("in the end it is %q, %v", v, err)
		}
		return nil
	})
}

func TestDeleteRangeLeavesBuckets(t *testing.T) {
	db := teststore.New(t, nil)
	update(t, db, func(tx *store.Tx) error {
		for i := range 1000 {
			put(t, ensure(t, tx), fmt.Sprintf("%03d", i), "v")
		}
		put(t, ensure(t, tx, "0055"), "k", "v")
		for _, c := range []struct {
			lo, hi string
			want   int
		}{{"100", "100", 0}, {"2", "1", 0}, {"005", "015", 10}, {"900", "", 0}, {"", "1", 90}} {
			if n, err := tx.DeleteRange([]byte(c.lo), []byte(c.hi)); err != nil || n != c.want {
				t.Errorf("DeleteRange(%q, %q): %d instead of %d, %v", c.lo, c.hi, n, c.want, err)
			}
		}
		if n, err := tx.DeleteRange([]byte("500"), nil); err != nil || n != 500 {
			t.Errorf("DeleteRange without upper bound: %d, %v", n, err)
		}
		if n, err := tx.DeleteRange(nil, nil); err != nil || n != 400 {
			t.Errorf("DeleteRange of the rest: %d, %v", n, err)
		}
		if v, err := ensure(t, tx, "0055").Get([]byte("k")); err != nil || string(v) != "v" {
			t.Errorf("what is in the bucket: %q, %v", v, err)
		}
		return nil
	})
}

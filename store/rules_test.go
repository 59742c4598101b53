package store_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/internal/teststore"
	"github.com/sharekv/sharekv/store"
)

func TestPutCopiesItsArguments(t *testing.T) {
	db := teststore.New(t, nil)
	update(t, db, func(tx *store.Tx) error {
		for _, size := range []int{3, 1000, 10_000} {
			key, value := fmt.Appendf(nil, "%05d", size), bytes.Repeat([]byte("v"), size)
			if err := tx.Put(key, value); err != nil {
				return err
			}
			clear(key)
			clear(value)
			want := strings.Repeat("v", size)
			if v, err := tx.Get(fmt.Appendf(nil, "%05d", size)); err != nil || string(v) != want {
				t.Errorf("%.20q, %v", v, err)
			}
		}
		return nil
	})
}

func TestSlicesOfAReadTransactionStayAndCannotBeWritten(t *testing.T) {
	db := teststore.New(t, nil)
	large := strings.Repeat("large", 2000)
	update(t, db, func(tx *store.Tx) error {
		put(t, ensure(t, tx), "a", "small")
		put(t, ensure(t, tx), "b", large)
		return nil
	})
	err := db.View(func(tx *store.Tx) error {
		var slices [][]byte
		for k, v := range tx.All() {
			slices = append(slices, k, v)
		}
		for range 20 {
			if err := errors.CombineErrors(db.Put([]byte("a"), []byte("other")), db.Delete([]byte("b"))); err != nil {
				return err
			}
			if err := db.Put([]byte("b"), []byte(strings.Repeat("other", 2000))); err != nil {
				return err
			}
		}
		for i, want := range []string{"a", "small", "b", large} {
			if string(slices[i]) != want {
				t.Errorf("%.20q is now %.20q", want, slices[i])
			}
			if len(append(slices[i], "more"...)) != len(want)+4 {
				t.Errorf("%.20q cannot be appended to", want)
			}
			if !faults(func() { slices[i][0] = 'x' }) {
				t.Errorf("%.20q was overwritten", want)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func faults(fn func()) (faulted bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { faulted = recover() != nil }()
	fn()
	return false
}

func TestSlicesOfAWriteTransactionStayUntilItsNextChange(t *testing.T) {
	o := &store.Options{}
	o.SetBudget(1)
	db := teststore.New(t, o)
	update(t, db, func(tx *store.Tx) error {
		for i := range 500 {
			if err := tx.Put(fmt.Appendf(nil, "%03d", i), fmt.Append(nil, i)); err != nil {
				return err
			}
		}
		var slices [][]byte
		for k, v := range tx.All() {
			slices = append(slices, k, v)
		}
		for i := 0; i < len(slices); i += 2 {
			if k := fmt.Sprintf("%03d", i/2); string(slices[i]) != k || string(slices[i+1]) != fmt.Sprint(i/2) {
				t.Errorf("%s is now %q = %q", k, slices[i], slices[i+1])
			}
		}
		return nil
	})
}

func TestKeyOfACursorStaysWhileItMovesOn(t *testing.T) {
	db := teststore.New(t, nil)
	update(t, db, func(tx *store.Tx) error {
		root := ensure(t, tx)
		put(t, root, "a", "1")
		put(t, root, "b", "2")
		c := root.Cursor()
		c.First()
		put(t, root, "z", "3") // the last change
		var keys [][]byte
		for ok := true; ok; ok = c.Next() {
			keys = append(keys, c.Key())
		}
		if got := fmt.Sprintf("%s", keys); got != "[a b z]" {
			t.Errorf("the keys are now %s", got)
		}
		return nil
	})
}

func TestValuesAreCopiedWithinATransaction(t *testing.T) {
	for _, budget := range []int{0, 1, 5 * 4096} {
		o := &store.Options{}
		o.SetBudget(budget)
		db := teststore.New(t, o)
		want := map[string]string{}
		update(t, db, func(tx *store.Tx) error {
			from := ensure(t, tx, "from")
			for i := range 150 {
				k, v := fmt.Sprint(i), strings.Repeat(fmt.Sprint(i), 1+i*i/7)
				want[k] = v
				put(t, from, k, v)
			}
			to := ensure(t, tx, "to")
			for k, v := range from.All() {
				if err := to.Put(k, v); err != nil {
					return err
				}
			}
			for k := range want {
				v, err := from.Get([]byte(k))
				if err != nil {
					return err
				}
				// Into the page that it lies in.
				if err := from.Put([]byte(k+"+"), v); err != nil {
					return err
				}
			}
			return nil
		})
		err := db.View(func(tx *store.Tx) error {
			from, _ := tx.Bucket("from")
			to, err := tx.Bucket("to")
			if err != nil {
				return err
			}
			for k, v := range want {
				a, err := to.Get([]byte(k))
				b, e := from.Get([]byte(k + "+"))
				if errors.CombineErrors(err, e) != nil || string(a) != v || string(b) != v {
					t.Errorf("budget %d: copies of %s are %.20q and %.20q, %v, %v", budget, k, a, b, err, e)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestViewInsideUpdateSeesTheLastCommit(t *testing.T) {
	db := teststore.New(t, nil)
	if err := db.Put([]byte("k"), []byte("committed")); err != nil {
		t.Fatal(err)
	}
	see := func(want string) {
		err := db.View(func(tx *store.Tx) error {
			v, err := tx.Get([]byte("k"))
			w, e := db.Get([]byte("k"))
			if string(v) != want || string(w) != want {
				t.Errorf("%q and %q instead of %q", v, w, want)
			}
			return errors.CombineErrors(err, e)
		})
		if err != nil {
			t.Error(err)
		}
	}
	update(t, db, func(tx *store.Tx) error {
		put(t, ensure(t, tx), "k", "new")
		see("committed")
		return nil
	})
	see("new")
}

func TestUseAfterTheEndIsErrTxDone(t *testing.T) {
	db := teststore.New(t, nil)
	update(t, db, func(tx *store.Tx) error { put(t, ensure(t, tx, "a", "b"), "k", "v"); return nil })
	begin := func(writable bool) *store.Tx {
		tx, err := db.Begin(t.Context(), writable)
		if err != nil {
			t.Fatal(err)
		}
		return tx
	}
	for name, end := range map[string]func() (*store.Tx, *store.Bucket, *store.Cursor){
		"Update": func() (tx *store.Tx, b *store.Bucket, c *store.Cursor) {
			update(t, db, func(x *store.Tx) error { tx = x; b, c = opened(t, x); return nil })
			return tx, b, c
		},
		"Commit": func() (*store.Tx, *store.Bucket, *store.Cursor) {
			tx := begin(true)
			b, c := opened(t, tx)
			if err := tx.Commit(); err != nil {
				t.Error(err)
			}
			return tx, b, c
		},
		"Rollback": func() (*store.Tx, *store.Bucket, *store.Cursor) {
			tx := begin(false)
			b, c := opened(t, tx)
			if err := tx.Rollback(); err != nil {
				t.Error(err)
			}
			return tx, b, c
		},
	} {
		tx, b, c := end()
		_, get := b.Get([]byte("k"))
		_, inner := b.Bucket("x")
		_, made := b.EnsureBucket("x")
		_, sequence := b.NextSequence()
		_, deleted := b.DeleteRange(nil, nil)
		for what, err := range map[string]error{
			"Get": get, "Bucket": inner, "EnsureBucket": made, "NextSequence": sequence, "DeleteRange": deleted,
			"Put":          b.Put([]byte("k"), nil),
			"PutIf":        b.PutIf([]byte("k"), nil, nil),
			"Delete":       b.Delete([]byte("k")),
			"DeleteBucket": tx.DeleteBucket("a"),
		} {
			if !errors.Is(err, store.ErrTxDone) {
				t.Errorf("%s after %s: %v", what, name, err)
			}
		}
		if c.Key() != nil || c.Value() != nil || c.Next() || c.Prev() || c.First() || c.Seek([]byte("k")) {
			t.Errorf("a cursor goes on after %s", name)
		}
		for range b.Backward(nil, nil) {
			t.Errorf("Backward has an entry after %s", name)
		}
		for range tx.Buckets() {
			t.Errorf("Buckets has a name after %s", name)
		}
		if err := tx.Err(); err != store.ErrTxDone {
			t.Errorf("Err after %s: %v", name, err)
		}
	}
}

// opened returns a bucket of the transaction and a cursor that is at a key.
func opened(t *testing.T, tx *store.Tx) (*store.Bucket, *store.Cursor) {
	t.Helper()
	b, err := tx.Bucket("a", "b")
	if err != nil {
		t.Fatal(err)
	}
	c := b.Cursor()
	if !c.Last() {
		t.Error("the bucket is empty")
	}
	return b, c
}

func TestCursorBeginsAndEndsNowhere(t *testing.T) {
	db := teststore.New(t, nil)
	update(t, db, func(tx *store.Tx) error {
		put(t, ensure(t, tx), "k", "v")
		c := tx.Cursor()
		nowhere := func(when string) {
			if c.Key() != nil || c.Value() != nil || c.Next() || c.Prev() {
				t.Errorf("%s the cursor is at %q", when, c.Key())
			}
		}
		nowhere("before it moves")
		if !c.First() || string(c.Key()) != "k" || string(c.Value()) != "v" {
			t.Errorf("First leads to %q = %q", c.Key(), c.Value())
		}
		if c.Next() {
			t.Errorf("Next leads to %q", c.Key())
		}
		nowhere("behind the last key")
		if !c.Last() || c.Prev() {
			t.Errorf("Prev leads to %q", c.Key())
		}
		nowhere("before the first key")
		if c.Seek([]byte("l")) {
			t.Errorf("Seek leads to %q", c.Key())
		}
		nowhere("after Seek beyond the last key")
		return nil
	})
}

func TestFailedViewEndsItsTransaction(t *testing.T) {
	db := teststore.New(t, nil)
	failure := errors.New("no")
	if err := db.View(func(*store.Tx) error { return failure }); err != failure {
		t.Errorf("View returned %v", err)
	}
	func() {
		defer func() {
			if r := recover(); r != failure {
				t.Errorf("recovered %v", r)
			}
		}()
		db.View(func(*store.Tx) error { panic(failure) })
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		db.View(func(*store.Tx) error { runtime.Goexit(); return nil })
	}()
	<-done
	if stats, err := db.Stats(); err != nil || stats.Readers != 0 {
		t.Errorf("%d readers are left, %v", stats.Readers, err)
	}
}

func TestCloseSaysHowManyTransactionsAreOpenAndTheyGoOn(t *testing.T) {
	path := filepath.Join(testdir.New(t), "a.kv")
	db, err := store.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	update(t, db, func(tx *store.Tx) error { put(t, ensure(t, tx, "a", "b"), "k", "v"); return nil })
	var open []*store.Tx
	for range 3 {
		tx, err := db.Begin(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, tx)
	}
	if err := open[0].Rollback(); err != nil {
		t.Error(err)
	}
	err = db.Close()
	if err == nil || err.Error() != "store: closed with 2 transactions open" || len(errors.GetAllHints(err)) == 0 {
		t.Errorf("Close: %v", err)
	}
	again := teststore.Open(t, path, nil)
	if err := again.Update(func(tx *store.Tx) error { return tx.DeleteBucket("a") }); err != nil {
		t.Error(err)
	}
	for _, tx := range open[1:] {
		if b, c := opened(t, tx); string(c.Value()) != "v" {
			t.Errorf("%v has %q", b, c.Value())
		}
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	}
}

func TestEveryMethodOfAClosedStoreSaysSo(t *testing.T) {
	db := teststore.New(t, nil)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	_, begin := db.Begin(ctx, false)
	_, write := db.Begin(ctx, true)
	_, get := db.Get([]byte("k"))
	_, check := db.Check(ctx)
	_, stats := db.Stats()
	_, handles := db.Handles()
	for name, err := range map[string]error{
		"Begin": begin, "Begin to write": write, "Get": get, "Check": check, "Stats": stats, "Handles": handles,
		"Preload": db.Preload(ctx),
		"View":    db.View(func(*store.Tx) error { return nil }),
		"Update":  db.Update(func(*store.Tx) error { return nil }),
		"Delete":  db.Delete([]byte("k")),
	} {
		if err != store.ErrClosed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestContextEndsCheckAndPreload(t *testing.T) {
	db := teststore.New(t, nil)
	if err := db.Put([]byte("k"), make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	last, calls := int64(0), 0
	report, err := db.CheckProgress(t.Context(), func(done, pages int64) {
		if done < last || done > pages {
			t.Errorf("%d pages of %d after %d", done, pages, last)
		}
		last = done
		calls++
	})
	if err != nil || calls < 2 || last > report.Pages {
		t.Errorf("%d calls, the last with %d of %+v, %v", calls, last, report, err)
	}
	ended := errors.New("ended")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ended)
	if _, err := db.Check(ctx); !errors.Is(err, ended) {
		t.Errorf("Check: %v", err)
	}
	if err := db.Preload(ctx); !errors.Is(err, ended) {
		t.Errorf("Preload: %v", err)
	}
	if err := db.Preload(t.Context()); err != nil {
		t.Errorf("Preload: %v", err)
	}
}

func TestReadTransactionIsUsedBySeveralGoroutines(t *testing.T) {
	db := teststore.New(t, nil)
	update(t, db, func(tx *store.Tx) error {
		for i := range 10 {
			b := ensure(t, tx, "buckets", fmt.Sprint(i))
			for j := range 100 {
				put(t, b, fmt.Sprintf("%02d", j), strings.Repeat("v", 1+j*j))
			}
		}
		return nil
	})
	err := db.View(func(tx *store.Tx) error {
		var wait sync.WaitGroup
		for g := range 8 {
			wait.Go(func() {
				for i := range 10 {
					b, err := tx.Bucket("buckets", fmt.Sprint((i+g)%10))
					if err != nil {
						t.Error(err)
						return
					}
					n := 0
					for _, v := range b.All() {
						if len(v) != 1+n*n {
							t.Errorf("value %d has %d bytes", n, len(v))
						}
						n++
					}
					if v, err := b.Get([]byte("99")); n != 100 || err != nil || len(v) != 1+99*99 {
						t.Errorf("%d values, the last of %d bytes, %v", n, len(v), err)
					}
					for range tx.Buckets() {
					}
				}
			})
		}
		for i := range 20 {
			if err := db.Put([]byte("meanwhile"), fmt.Append(nil, i)); err != nil {
				t.Error(err)
			}
		}
		wait.Wait()
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// damaged returns a store with ten values, the sixth of which does not hold what
// was put.
func damaged(t *testing.T) *store.DB {
	t.Helper()
	path := filepath.Join(testdir.New(t), "a.kv")
	db := teststore.Open(t, path, nil)
	mark := strings.Repeat("damage here ", 1000)
	update(t, db, func(tx *store.Tx) error {
		for i := range 10 {
			put(t, ensure(t, tx), fmt.Sprint(i), map[bool]string{true: mark, false: "good"}[i == 5])
		}
		return nil
	})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[bytes.Index(content, []byte(mark))]++
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err = store.Open(path, nil)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestErrorOfAnIteratorIsTheTransactions(t *testing.T) {
	db := damaged(t)
	iterate := map[string]func(tx *store.Tx) (n int){
		"All": func(tx *store.Tx) (n int) {
			for range tx.All() {
				n++
			}
			return n
		},
		"Backward": func(tx *store.Tx) (n int) {
			for range tx.Backward(nil, []byte("91")) {
				n++
			}
			return n + 1 // four are behind it, five before
		},
		"Cursor": func(tx *store.Tx) (n int) {
			c := tx.Cursor()
			for ok := c.First(); ok; ok = c.Next() {
				if c.Value() == nil {
					break
				}
				n++
			}
			if c.Key() != nil || c.Next() || c.First() {
				t.Errorf("the cursor goes on at %q", c.Key())
			}
			return n
		},
	}
	for name, fn := range iterate {
		use := func(tx *store.Tx) error {
			if n := fn(tx); n != 5 {
				t.Errorf("%s has %d entries", name, n)
			}
			if err := tx.Err(); !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("Err after %s: %v", name, err)
			}
			return nil
		}
		write := func(tx *store.Tx) error { put(t, ensure(t, tx), "new", "v"); return use(tx) }
		if err := db.View(use); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("View with %s: %v", name, err)
		}
		if err := db.Update(write); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("Update with %s: %v", name, err)
		}
		tx, err := db.Begin(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		write(tx)
		if err := tx.Commit(); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("Commit with %s: %v", name, err)
		}
		if _, err := db.Get([]byte("new")); err != store.ErrNotFound {
			t.Errorf("it was committed: %v", err)
		}
		own := errors.New("own")
		if err := db.View(func(tx *store.Tx) error { fn(tx); return own }); err != own {
			t.Errorf("View whose function fails too: %v", err)
		}
	}
}

func TestCursorReadsAValueOnlyWhenAsked(t *testing.T) {
	db := damaged(t)
	err := db.View(func(tx *store.Tx) error {
		n := 0
		c := tx.Cursor()
		for ok := c.First(); ok; ok = c.Next() {
			n++
		}
		if n != 10 {
			t.Errorf("%d keys", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestPanicOfTheProgressOfACheckGoesOn(t *testing.T) {
	db := teststore.New(t, nil)
	defer func() {
		if _, ok := recover().(runtime.Error); !ok {
			t.Error("the panic did not arrive")
		}
	}()
	if err := db.Put([]byte("key"), nil); err != nil {
		t.Fatal(err)
	}
	_, err := db.CheckProgress(t.Context(), func(done, pages int64) {
		var none map[string]int
		none["x"] = 1
	})
	t.Errorf("it went on: %v", err)
}

package store_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/internal/teststore"
	"github.com/sharekv/sharekv/store"
)

func TestTransactionFromBeginLastsUntilCommitOrRollback(t *testing.T) {
	db := teststore.New(t, nil)
	begin := func(writable bool) *store.Tx {
		tx, err := db.Begin(t.Context(), writable)
		if err != nil {
			t.Fatal(err)
		}
		return tx
	}
	w := begin(true)
	if err := w.Put([]byte("k"), []byte("v")); err != nil {
		t.Fatal(err)
	}
	r := begin(false)
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Get([]byte("k")); err != store.ErrNotFound {
		t.Errorf("a reader that began before: %v", err)
	}
	if err := errors.CombineErrors(r.Rollback(), r.Rollback()); err != nil {
		t.Errorf("Rollback: %v", err)
	}
	for name, err := range map[string]error{
		"Put after Commit":      w.Put([]byte("k"), nil),
		"Commit after Commit":   w.Commit(),
		"Commit after Rollback": r.Commit(),
	} {
		if !errors.Is(err, store.ErrTxDone) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.Rollback(); err != nil {
		t.Errorf("Rollback after Commit: %v", err)
	}
	for name, use := range map[string]func(func(*store.Tx) error) error{"View": db.View, "Update": db.Update} {
		err := use(func(tx *store.Tx) error {
			for _, err := range []error{tx.Commit(), tx.Rollback()} {
				if !errors.Is(err, store.ErrTxManaged) {
					t.Errorf("in %s: %v", name, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCloseEndsTheWaitForATransactionThatWasLeftOpen(t *testing.T) {
	path := filepath.Join(testdir.New(t), "a.kv")
	db, err := store.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	open, err := db.Begin(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error)
	go func() { waiting <- db.Put([]byte("waits"), nil) }()
	closed := make(chan error)
	go func() { closed <- db.Close() }()
	if err := <-waiting; !errors.Is(err, store.ErrClosed) {
		t.Errorf("Put that waited: %v", err)
	}
	if err := <-closed; err == nil || len(errors.GetAllHints(err)) == 0 {
		t.Errorf("Close with a transaction open: %v", err)
	}
	if err := open.Put([]byte("k"), []byte("v")); err != nil {
		t.Errorf("the one that is open: %v", err)
	}
	if err := open.Commit(); err != nil {
		t.Errorf("its commit: %v", err)
	}
	again := teststore.Open(t, path, nil)
	if v, err := again.Get([]byte("k")); err != nil || string(v) != "v" {
		t.Errorf("what it put: %q, %v", v, err)
	}
}

func TestTransactionWhoseChangeFailedCannotBeRead(t *testing.T) {
	db := teststore.New(t, &store.Options{MaxSize: 64 << 10})
	failed := errors.New("stop here")
	err := db.Update(func(tx *store.Tx) error {
		for i := 0; ; i++ {
			err := tx.Put(fmt.Append(nil, i), make([]byte, 1500))
			if err == nil {
				continue
			}
			if !errors.Is(err, store.ErrNoSpace) {
				t.Errorf("Put: %v", err)
			}
			if _, err := tx.Get([]byte("0")); !errors.Is(err, store.ErrNoSpace) {
				t.Errorf("Get after a Put that failed: %v", err)
			}
			for k := range tx.All() {
				t.Errorf("All has %s", k)
				break
			}
			return failed
		}
	})
	if err != failed {
		t.Errorf("Update: %v", err)
	}
	err = db.Update(func(tx *store.Tx) error {
		for i := range 100 {
			if tx.Put(fmt.Append(nil, i), make([]byte, 1500)) != nil {
				break
			}
		}
		return nil // although it knows better
	})
	if !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("Update that hides the error: %v", err)
	}
	if err := db.Put([]byte("small"), nil); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

func TestMaxSizeLimitsGrowthAndNotReading(t *testing.T) {
	path := filepath.Join(testdir.New(t), "a.kv")
	small := teststore.Open(t, path, &store.Options{MaxSize: 128 << 10})
	large := teststore.Open(t, path, nil)
	if err := large.Put([]byte("k"), make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if v, err := small.Get([]byte("k")); err != nil || len(v) != 1<<20 {
		t.Errorf("the handle with a small MaxSize reads %d bytes, %v", len(v), err)
	}
	if err := small.Put([]byte("more"), make([]byte, 1<<20)); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("its Put: %v", err)
	}
}

// recorder counts what is logged, and uses the store meanwhile as a handler may.
type recorder struct {
	slog.Handler
	n  *atomic.Int64
	db *atomic.Pointer[store.DB]
}

func (r recorder) Enabled(context.Context, slog.Level) bool { return true }

func (r recorder) Handle(context.Context, slog.Record) error {
	r.n.Add(1)
	if db := r.db.Load(); db != nil {
		return db.Put([]byte("logged"), nil)
	}
	return nil
}

func TestLogHandlerMayUseTheStore(t *testing.T) {
	path := filepath.Join(testdir.New(t), "a.kv")
	r := recorder{n: new(atomic.Int64), db: new(atomic.Pointer[store.DB])}
	db := teststore.Open(t, path, &store.Options{Logger: slog.New(r)})
	r.db.Store(db)
	p := start(t, "hold", path)
	if s := p.line(t); s != "holding" {
		t.Fatal(s)
	}
	p.Process.Kill()
	p.Wait()
	if err := db.Put([]byte("k"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Get([]byte("logged")); r.n.Load() == 0 || err != nil {
		t.Errorf("%d events, %v", r.n.Load(), err)
	}
}

func TestLastHandleClosesTheStoreCleanlyEvenIfItIsReadOnly(t *testing.T) {
	path := filepath.Join(testdir.New(t), "a.kv")
	db := teststore.Open(t, path, nil)
	if err := db.Put([]byte("k"), nil); err != nil {
		t.Fatal(err)
	}
	last := teststore.Open(t, path, &store.Options{ReadOnly: true})
	if err := errors.CombineErrors(db.Close(), last.Close()); err != nil {
		t.Fatal(err)
	}
	r := recorder{n: new(atomic.Int64), db: new(atomic.Pointer[store.DB])}
	teststore.Open(t, path, &store.Options{Logger: slog.New(r)})
	if n := r.n.Load(); n > 0 {
		t.Errorf("%d events at open", n)
	}
}

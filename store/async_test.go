package store_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/internal/teststore"
	"github.com/sharekv/sharekv/store"
)

func durable(t *testing.T, db *store.DB) (now, durable store.Rev) {
	t.Helper()
	stats, err := db.Stats()
	if err != nil {
		t.Fatalf("%+v", err)
	}
	return stats.Rev, stats.Durable
}

func TestAsyncCommitIsSeenAtOnceAndFlushedBySync(t *testing.T) {
	path := filepath.Join(testdir.New(t), "a.kv")
	db := teststore.Open(t, path, &store.Options{Async: time.Hour})
	other := teststore.Open(t, path, &store.Options{ReadOnly: true})
	commitOne(t, db)
	if v, err := other.Get([]byte("k")); string(v) != "v" {
		t.Errorf("another handle reads %q, %v", v, err)
	}
	if now, flushed := durable(t, other); flushed >= now {
		t.Errorf("revision %d is durable, %d was committed", flushed, now)
	}
	if err := db.Sync(context.Background()); err != nil {
		t.Fatalf("%+v", err)
	}
	if now, flushed := durable(t, other); flushed != now {
		t.Errorf("revision %d is durable after Sync, %d was committed", flushed, now)
	}
	if err := other.Sync(context.Background()); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("Sync of a handle that is read-only: %v", err)
	}
}

func commitOne(t *testing.T, db *store.DB) {
	t.Helper()
	update(t, db, func(tx *store.Tx) error { return tx.Put([]byte("k"), []byte("v")) })
}

func TestAsyncCommitIsFlushedWhenTheIntervalHasPassed(t *testing.T) {
	db := teststore.New(t, &store.Options{Async: 5 * time.Millisecond})
	commitOne(t, db)
	becomesDurable(t, db)
}

func becomesDurable(t *testing.T, db *store.DB) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		now, flushed := durable(t, db)
		if now == flushed {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("revision %d is not durable after a minute, but %d", now, flushed)
		}
	}
}

func TestOthersFlushWhatAKilledProcessHasCommitted(t *testing.T) {
	path := filepath.Join(testdir.New(t), "a.kv")
	db := teststore.Open(t, path, &store.Options{Async: 20 * time.Millisecond})
	for range 5 {
		p := start(t, "count", path, "SHAREKV_NUMBER=1")
		p.line(t)
		p.Process.Kill()
		p.Wait()
		becomesDurable(t, db)
	}
}

func TestCloseFlushesWhatWasCommitted(t *testing.T) {
	path := filepath.Join(testdir.New(t), "a.kv")
	o := &store.Options{Async: time.Hour}
	db, other := teststore.Open(t, path, o), teststore.Open(t, path, o)
	commitOne(t, db)
	tx, err := db.Begin(context.Background(), true)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	if err := tx.Put([]byte("last"), []byte("v")); err != nil {
		t.Fatalf("%+v", err)
	}
	if err := db.Close(); err == nil {
		t.Error("Close says nothing of the transaction")
	}
	if err := tx.Commit(); err != nil {
		t.Fatalf("%+v", err)
	}
	if now, flushed := durable(t, other); flushed != now {
		t.Errorf("revision %d is durable after the last use of the handle, %d was committed", flushed, now)
	}
	if _, err := other.Get([]byte("last")); err != nil {
		t.Error(err)
	}
	if err := db.Sync(context.Background()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Sync of a closed store: %v", err)
	}
}

func TestStoreIsOpenInOneMode(t *testing.T) {
	path := filepath.Join(testdir.New(t), "a.kv")
	first := teststore.Open(t, path, &store.Options{Async: time.Hour})
	for _, o := range []*store.Options{nil, {Async: time.Minute}} {
		if _, err := store.Open(path, o); !errors.Is(err, store.ErrModeDiffers) || len(errors.GetAllHints(err)) == 0 {
			t.Errorf("opened in another mode: %v", err)
		}
	}
	other := teststore.Open(t, path, &store.Options{AnyMode: true})
	stats, err := other.Stats()
	if err != nil || stats.Async != time.Hour {
		t.Errorf("the mode is Async(%v), %v", stats.Async, err)
	}
	for _, db := range []*store.DB{first, other} {
		if err := db.Close(); err != nil {
			t.Errorf("%+v", err)
		}
	}
	teststore.Open(t, path, nil)
}

func TestCloseFlushesAlthoughTransactionsAreOpen(t *testing.T) {
	path := filepath.Join(testdir.New(t), "a.kv")
	o := &store.Options{Async: time.Hour}
	db, other := teststore.Open(t, path, o), teststore.Open(t, path, o)
	begin := func(writable bool) *store.Tx {
		t.Helper()
		tx, err := db.Begin(context.Background(), writable)
		if err != nil {
			t.Fatalf("%+v", err)
		}
		return tx
	}
	commitOne(t, db)
	reader, writer := begin(false), begin(true)
	if err := writer.Put([]byte("last"), []byte("v")); err != nil {
		t.Fatalf("%+v", err)
	}
	if err := db.Close(); err == nil {
		t.Error("Close says nothing of the transactions")
	}
	if now, flushed := durable(t, other); flushed != now {
		t.Errorf("revision %d is durable after Close, %d was committed", flushed, now)
	}
	if err := writer.Commit(); err != nil {
		t.Fatalf("%+v", err)
	}
	if now, flushed := durable(t, other); flushed != now {
		t.Errorf("revision %d is durable after the commit in a closed handle, %d was committed", flushed, now)
	}
	if err := reader.Rollback(); err != nil {
		t.Errorf("%+v", err)
	}
}

func TestAnyModeLeavesTheModeToOthers(t *testing.T) {
	path := filepath.Join(testdir.New(t), "a.kv")
	any := teststore.Open(t, path, &store.Options{AnyMode: true})
	commitOne(t, any)
	async := teststore.Open(t, path, &store.Options{Async: time.Hour})
	commitOne(t, async)
	if now, flushed := durable(t, async); flushed >= now {
		t.Errorf("revision %d is durable, %d was committed", flushed, now)
	}
	commitOne(t, any)
	if now, flushed := durable(t, any); flushed != now {
		t.Errorf("revision %d is durable, %d was committed by who came before the mode", flushed, now)
	}
	if _, err := store.Open(path, nil); !errors.Is(err, store.ErrModeDiffers) {
		t.Errorf("opened in another mode: %v", err)
	}
}

package store_test

import (
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/internal/teststore"
	"github.com/sharekv/sharekv/store"
)

// What View and Update have begun goes on as before, and Close returns after its end.
func TestCloseWaitsForCallsUnderWay(t *testing.T) {
	path := filepath.Join(testdir.New(t), "a.kv")
	for _, writes := range []bool{false, true} {
		db, err := store.Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Put([]byte("k"), []byte("v")); err != nil {
			t.Fatal(err)
		}
		call := db.View
		if writes {
			call = db.Update
		}
		began := make(chan struct{})
		var ended atomic.Bool
		closed, called := make(chan error, 1), make(chan error, 1)
		go func() {
			called <- call(func(tx *store.Tx) error {
				close(began)
				for !refusesCalls(db) {
				}
				if v, err := tx.Get([]byte("k")); string(v) != "v" || err != nil {
					t.Errorf("%q, %v", v, err)
				}
				ended.Store(true)
				return nil
			})
		}()
		<-began
		go func() {
			err := db.Close()
			if !ended.Load() {
				t.Error("Close returned, and a call was under way")
			}
			closed <- err
		}()
		if err := <-called; err != nil {
			t.Errorf("the call: %v", err)
		}
		if err := <-closed; err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	teststore.Open(t, path, nil)
}

func refusesCalls(db *store.DB) bool {
	return db.View(func(*store.Tx) error { return nil }) == store.ErrClosed
}

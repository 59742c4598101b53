package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/teststore"
	"github.com/sharekv/sharekv/store"
)

// fillDurably puts values until there is no room for more, and flushes them.
func fillDurably(t *testing.T, db *store.DB) (values int) {
	t.Helper()
	var err error
	for ; err == nil; values++ {
		err = db.Put(fmt.Appendf(nil, "%06d", values), make([]byte, 1000))
	}
	if !errors.Is(err, store.ErrNoSpace) {
		t.Fatalf("%+v", err)
	}
	if err := db.Sync(context.Background()); err != nil {
		t.Fatalf("%+v", err)
	}
	return values - 1
}

func TestFullAsyncStoreCanBeEmptied(t *testing.T) {
	db := teststore.New(t, &store.Options{MaxSize: 1 << 20, Async: time.Hour})
	values := fillDurably(t, db)
	for i := range values {
		if err := db.Delete(fmt.Appendf(nil, "%06d", i*7919%values)); err != nil {
			t.Fatalf("delete %d of %d: %+v", i, values, err)
		}
	}
}

func TestAsyncStoreThatRefusedAChangeHasRoomForTheNext(t *testing.T) {
	db := teststore.New(t, &store.Options{MaxSize: 1 << 20, Async: time.Hour})
	const values, atOnce = 400, 80 // they take more than half of the pages
	replace := func(i int) error {
		return db.Update(func(tx *store.Tx) error {
			for j := range atOnce {
				if err := tx.Put(fmt.Appendf(nil, "%06d", (i+j*97)%values), make([]byte, 1000)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for i := range values {
		if err := db.Put(fmt.Appendf(nil, "%06d", i), make([]byte, 1000)); err != nil {
			t.Fatalf("value %d: %+v", i, err)
		}
	}
	if err := db.Sync(context.Background()); err != nil {
		t.Fatalf("%+v", err)
	}
	refused := 0
	for i := range 20 {
		err := replace(i)
		if errors.Is(err, store.ErrNoSpace) {
			refused++
			err = replace(i)
		}
		if err != nil {
			t.Fatalf("change %d: %+v", i, err)
		}
	}
	if refused == 0 {
		t.Error("there was always room: the store is too large for this test")
	}
}

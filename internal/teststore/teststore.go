// Package teststore opens stores for tests.
package teststore

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/store"
)

// New creates a store in a directory of its own. When the test ends, the whole
// store is checked and closed.
func New(t testing.TB, o *store.Options) *store.DB {
	t.Helper()
	return Open(t, filepath.Join(testdir.New(t), "test.kv"), o)
}

// Open opens the store at path. When the test ends, the whole store is checked
// and closed, unless the test has closed it.
func Open(t testing.TB, path string, o *store.Options) *store.DB {
	t.Helper()
	db, err := store.Open(path, o)
	if err != nil {
		t.Fatalf("open %s: %+v", path, err)
	}
	t.Cleanup(func() {
		if _, err := db.Check(context.Background()); err != nil && !errors.Is(err, store.ErrClosed) {
			t.Errorf("check %s: %+v", path, err)
		}
		if err := db.Close(); err != nil && !errors.Is(err, store.ErrClosed) {
			t.Errorf("%+v", err)
		}
	})
	return db
}

package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/internal/teststore"
	"github.com/sharekv/sharekv/mmapfile"
	"github.com/sharekv/sharekv/store"
)

// A version with an area of another size has the store open.
func TestStoreInUseByAnotherVersionNamesWhoUsesIt(t *testing.T) {
	path := filepath.Join(testdir.New(t), "a.kv")
	db := teststore.Open(t, path, nil)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	area, err := mmapfile.OpenArea(t.Context(), path+mmapfile.LockSuffix, &mmapfile.AreaOptions{Size: 1 << 20, Members: 10}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = store.Open(path, nil)
	if !errors.Is(err, store.ErrVersion) || !strings.Contains(err.Error(), filepath.Base(os.Args[0])[:8]) || len(errors.GetAllHints(err)) == 0 {
		t.Errorf("%v", err)
	}
	if err := area.Close(nil); err != nil {
		t.Fatal(err)
	}
	teststore.Open(t, path, nil)
}

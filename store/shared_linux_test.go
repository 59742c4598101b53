package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/mmapfile"
	"github.com/sharekv/sharekv/store"
)

func TestSharedStoreWhoseAreaWasRemovedIsNotOverwritten(t *testing.T) {
	name := sharedName(t)
	db := openShared(t, name, nil)
	commitOne(t, db)
	areas, err := filepath.Glob("/dev/shm/sharekv-*/*" + name + "*" + mmapfile.LockSuffix)
	if err != nil || len(areas) != 1 {
		t.Skipf("areas of %s: %q, %v", name, areas, err)
	}
	if err := os.Remove(areas[0]); err != nil {
		t.Fatal(err)
	}
	if other, err := store.OpenShared(name, nil); !errors.Is(err, store.ErrSplit) {
		t.Errorf("opened through another area: %v", err)
		if err == nil {
			other.Close()
		}
	}
	if v, err := db.Get([]byte("k")); string(v) != "v" {
		t.Errorf("the store has %q, %v", v, err)
	}
}

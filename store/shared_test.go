package store_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/mmapfile"
	"github.com/sharekv/sharekv/store"
)

// sharedName returns a name that nobody else uses.
func sharedName(t testing.TB) string { return fmt.Sprintf("sharekv test %s %d", t.Name(), os.Getpid()) }

// openShared opens the shared store of this name. When the test ends, the whole store is
// checked and closed.
func openShared(t testing.TB, name string, o *store.Options) *store.DB {
	t.Helper()
	db, err := store.OpenShared(name, o)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() {
		if _, err := db.Check(context.Background()); err != nil && !errors.Is(err, store.ErrClosed) {
			t.Errorf("check %s: %+v", name, err)
		}
		if err := db.Close(); err != nil && !errors.Is(err, store.ErrClosed) {
			t.Errorf("%+v", err)
		}
	})
	return db
}

func TestSharedStoreIsSeenByAllAndGoesWithTheLast(t *testing.T) {
	name := sharedName(t)
	missing := func() {
		t.Helper()
		for _, o := range []*store.Options{{MustExist: true}, {ReadOnly: true}} {
			_, err := store.OpenShared(name, o)
			if !errors.Is(err, mmapfile.ErrNotExist) || len(errors.GetAllHints(err)) == 0 {
				t.Errorf("%+v: %v", *o, err)
			}
		}
	}
	missing()
	for range 2 {
		db := openShared(t, name, nil)
		if _, err := db.Get([]byte("k")); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a new store has what an old one had: %v", err)
		}
		commitOne(t, db)
		reader := openShared(t, "Local/"+name, &store.Options{ReadOnly: true})
		other := openShared(t, `Local\`+name, &store.Options{MustExist: true})
		if err := db.Close(); err != nil {
			t.Errorf("%+v", err)
		}
		for _, db := range []*store.DB{reader, other} {
			if v, err := db.Get([]byte("k")); string(v) != "v" {
				t.Errorf("%q, %v", v, err)
			}
		}
		commitOne(t, other)
		for _, db := range []*store.DB{other, reader} {
			if err := db.Close(); err != nil {
				t.Errorf("%+v", err)
			}
		}
		missing()
	}
}

func TestSharedStoreGrowsAndKeepsItsSizeWhenItIsOverwritten(t *testing.T) {
	db := openShared(t, sharedName(t), nil)
	other := openShared(t, sharedName(t), nil)
	fill := func(db *store.DB, round int) {
		for i := range 50 {
			update(t, db, func(tx *store.Tx) error {
				for j := range 200 {
					if err := tx.Put(fmt.Appendf(nil, "%d", i*200+j), fmt.Appendf(nil, "%0200d", round)); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	fill(db, 0)
	before, err := db.Stats()
	if err != nil {
		t.Fatal(err)
	}
	for round := range 5 {
		fill([]*store.DB{other, db}[round%2], round)
	}
	after, err := other.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if after.Pages > before.Pages*3/2 {
		t.Errorf("%d pages after it was overwritten, %d before", after.Pages, before.Pages)
	}
}

func TestSharedStoreThatIsFullIsAnErrorAndGoesOn(t *testing.T) {
	db := openShared(t, sharedName(t), &store.Options{MaxSize: 1 << 20})
	value := make([]byte, 100<<10)
	var err error
	n := 0
	for ; err == nil; n++ {
		err = db.Put(fmt.Append(nil, n), value)
	}
	if !errors.Is(err, store.ErrNoSpace) || n < 5 {
		t.Fatalf("after %d values: %v", n, err)
	}
	if err := db.Delete([]byte("0")); err != nil {
		t.Errorf("%+v", err)
	}
	if err := db.Put([]byte("again"), value[:50<<10]); err != nil {
		t.Errorf("%+v", err)
	}
}

func TestSharedStoreWithoutANameIsForThoseWhoAreTold(t *testing.T) {
	db, second := openShared(t, "", nil), openShared(t, "", nil)
	commitOne(t, db)
	if _, err := second.Get([]byte("k")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("two stores without names are one: %v", err)
	}
	told := openShared(t, db.Name(), &store.Options{MustExist: true})
	if v, err := told.Get([]byte("k")); string(v) != "v" {
		t.Errorf("%q, %v", v, err)
	}
}

func TestNameOfASharedStoreIsNotThatOfAnythingElse(t *testing.T) {
	name := sharedName(t)
	openShared(t, name, nil)
	if _, err := store.OpenShared("a/b", nil); !errors.Is(err, mmapfile.ErrName) {
		t.Error(err)
	}
	if _, err := mmapfile.Open("Global/"+name, nil); !errors.Is(err, mmapfile.ErrNotExist) {
		t.Error(err)
	}
}

func TestSharedStoresHaveNoFileInCommon(t *testing.T) {
	name := sharedName(t)
	db := openShared(t, name, nil)
	commitOne(t, db)
	openShared(t, name+mmapfile.LockSuffix, nil)
	other := openShared(t, name, nil)
	if v, err := other.Get([]byte("k")); string(v) != "v" {
		t.Errorf("another handle reads %q, %v", v, err)
	}
}

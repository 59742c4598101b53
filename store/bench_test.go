package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/sharekv/sharekv/internal/invariant"
	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/internal/teststore"
	"github.com/sharekv/sharekv/store"
)

func TestReadTransactionAllocatesNothing(t *testing.T) {
	if invariant.Enabled {
		t.Skip("under invariants transactions are not used again, so that a late use shows")
	}
	db := teststore.New(t, nil)
	key, buf := []byte("k"), make([]byte, 100)
	if err := db.Put(key, make([]byte, 50)); err != nil {
		t.Fatal(err)
	}
	get := func(tx *store.Tx) error {
		_, err := tx.Get(key)
		return err
	}
	for name, fn := range map[string]func() error{
		"View and Get": func() error { return db.View(get) },
		"AppendGet": func() error {
			_, err := db.AppendGet(buf[:0], key)
			return err
		},
	} {
		n := testing.AllocsPerRun(1000, func() {
			if err := fn(); err != nil {
				t.Fatal(err)
			}
		})
		if n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkView(b *testing.B) {
	db := teststore.New(b, nil)
	key := []byte("k")
	if err := db.Put(key, make([]byte, 50)); err != nil {
		b.Fatal(err)
	}
	get := func(tx *store.Tx) error {
		_, err := tx.Get(key)
		return err
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := db.View(get); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDurablePut(b *testing.B) {
	db := teststore.New(b, nil)
	for i := 0; b.Loop(); i++ {
		if err := db.Put(fmt.Append(nil, i%100_000), make([]byte, 100)); err != nil {
			b.Fatal(err)
		}
	}
}

// Opening looks at the meta pages only, however large the store is.
func BenchmarkOpenAndFirstGet(b *testing.B) {
	for _, megabytes := range []int{1, 1000} {
		b.Run(fmt.Sprint(megabytes, "MB"), func(b *testing.B) {
			path := filepath.Join(testdir.New(b), "a.kv")
			db, err := store.Open(path, nil)
			if err != nil {
				b.Fatal(err)
			}
			if err := db.Put([]byte("first"), []byte("value")); err != nil {
				b.Fatal(err)
			}
			for i := range megabytes {
				if err := db.Put(fmt.Append(nil, i), make([]byte, 1<<20)); err != nil {
					b.Fatal(err)
				}
			}
			if err := db.Close(); err != nil {
				b.Fatal(err)
			}
			if info, err := os.Stat(path); err == nil {
				b.ReportMetric(float64(info.Size()>>20), "file-MB")
			}
			for b.Loop() {
				db, err := store.Open(path, &store.Options{MustExist: true})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := db.Get([]byte("first")); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := db.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

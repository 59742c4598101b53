package store_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/store"
)

// exampleStore returns the path of a store that does not exist yet.
func exampleStore() (path string, remove func()) {
	dir, err := os.MkdirTemp("", "sharekv-example-")
	if err != nil {
		panic(err)
	}
	return filepath.Join(dir, "app.kv"), func() { testdir.Remove(dir) }
}

func Example() {
	path, remove := exampleStore()
	defer remove()

	db, err := store.Open(path, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()

	err = db.Update(func(tx *store.Tx) error {
		if err := tx.Put([]byte("apple"), []byte("red")); err != nil {
			return err
		}
		return tx.Put([]byte("banana"), []byte("yellow"))
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = db.View(func(tx *store.Tx) error {
		for key, value := range tx.All() {
			fmt.Printf("%s is %s\n", key, value)
		}
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// apple is red
	// banana is yellow
}

func ExampleOpen_options() {
	path, remove := exampleStore()
	defer remove()

	db, err := store.Open(path, &store.Options{
		Mode:        0o660,           // for a group of users
		LockTimeout: 5 * time.Second, // then ErrBusy, which names the holder
		Logger:      slog.Default(),  // told when a process has died
		MaxSize:     1 << 30,         // bytes
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(db.Close())
	// Output: <nil>
}

func ExampleBucket_Range() {
	path, remove := exampleStore()
	defer remove()
	db, err := store.Open(path, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()

	// What a transaction has put it sees at once, also while it iterates.
	err = db.Update(func(tx *store.Tx) error {
		for i := range 10 {
			if err := tx.Put(fmt.Appendf(nil, "key %d", i), nil); err != nil {
				return err
			}
		}
		for key := range tx.Range([]byte("key 3"), []byte("key 6")) {
			fmt.Printf("%s\n", key)
			if err := tx.Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// key 3
	// key 4
	// key 5
}

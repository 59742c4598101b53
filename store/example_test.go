package store_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/store"
)

// exampleDB returns a new store.
func exampleDB() (db *store.DB, remove func()) {
	path, removeFiles := exampleStore()
	db, err := store.Open(path, nil)
	if err != nil {
		panic(err)
	}
	return db, func() { db.Close(); removeFiles() }
}

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

func ExampleBucket_EnsureBucket() {
	db, remove := exampleDB()
	defer remove()

	err := db.Update(func(tx *store.Tx) error {
		for _, name := range []string{"ann", "bob"} {
			user, err := tx.EnsureBucket("users", name) // both, if they are not there
			if err != nil {
				return err
			}
			if err := user.Put([]byte("mail"), []byte(name+"@example.org")); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	err = db.View(func(tx *store.Tx) error {
		users, err := tx.Bucket("users")
		if err != nil {
			return err
		}
		for name := range users.Buckets() {
			user, err := users.Bucket(name)
			if err != nil {
				return err
			}
			mail, err := user.Get([]byte("mail"))
			if err != nil {
				return err
			}
			fmt.Printf("%s: %s\n", name, mail)
		}
		_, err = tx.Bucket("users", "eve")
		return err
	})
	fmt.Println(err)
	fmt.Println(errors.Is(err, store.ErrBucketNotFound))
	// Output:
	// ann: ann@example.org
	// bob: bob@example.org
	// bucket "users"/"eve": store: bucket not found
	// true
}

func ExampleBucket_Cursor() {
	db, remove := exampleDB()
	defer remove()

	err := db.Update(func(tx *store.Tx) error {
		for _, word := range []string{"ant", "bee", "cat", "dog"} {
			if err := tx.Put([]byte(word), nil); err != nil {
				return err
			}
		}
		// The two words around "c".
		c := tx.Cursor()
		if c.Seek([]byte("c")) {
			fmt.Printf("behind: %s\n", c.Key())
		}
		if c.Prev() {
			fmt.Printf("before: %s\n", c.Key())
		}
		for ok := c.Last(); ok; ok = c.Prev() {
			fmt.Printf("%s\n", c.Key())
		}
		return nil // Update returns an error that ended a walk
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// behind: cat
	// before: bee
	// dog
	// cat
	// bee
	// ant
}

func ExampleBucket_Prefix() {
	db, remove := exampleDB()
	defer remove()

	err := db.Update(func(tx *store.Tx) error {
		for _, key := range []string{"2025-12-31", "2026-01-07", "2026-01-19", "2026-02-02"} {
			if err := tx.Put([]byte(key), []byte("entry of "+key)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	err = db.View(func(tx *store.Tx) error {
		for _, value := range tx.Prefix([]byte("2026-01-")) {
			fmt.Printf("%s\n", value)
		}
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// entry of 2026-01-07
	// entry of 2026-01-19
}

// A value is read, something is done that takes long, and the result is stored if
// nobody else has changed the value meanwhile.
func ExampleBucket_PutIf() {
	db, remove := exampleDB()
	defer remove()

	attempts := 0
	double := func(old []byte) []byte { // takes long
		if attempts++; attempts == 1 {
			db.Put([]byte("n"), []byte("21")) // somebody else
		}
		n, _ := strconv.Atoi(string(old))
		return strconv.AppendInt(nil, int64(2*n), 10)
	}
	if err := db.Put([]byte("n"), []byte("1")); err != nil {
		fmt.Println(err)
	}
	for {
		old, err := db.Get([]byte("n")) // a copy
		if err != nil {
			fmt.Println(err)
			return
		}
		value := double(old)
		err = db.Update(func(tx *store.Tx) error { return tx.PutIf([]byte("n"), old, value) })
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		fmt.Printf("%s after %d attempts, %v\n", value, attempts, err)
		return
	}
	// Output: 42 after 2 attempts, <nil>
}

func ExampleBucket_NextSequence() {
	db, remove := exampleDB()
	defer remove()

	err := db.Update(func(tx *store.Tx) error {
		orders, err := tx.EnsureBucket("orders")
		if err != nil {
			return err
		}
		for _, order := range []string{"tea", "coffee"} {
			id, err := orders.NextSequence()
			if err != nil {
				return err
			}
			// Big-endian, so that the order of keys is that of numbers.
			if err := orders.Put(binary.BigEndian.AppendUint64(nil, id), []byte(order)); err != nil {
				return err
			}
		}
		for key, order := range orders.All() {
			fmt.Println(binary.BigEndian.Uint64(key), string(order))
		}
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// 1 tea
	// 2 coffee
}

func ExampleDB_Begin() {
	db, remove := exampleDB()
	defer remove()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // to wait for others
	defer cancel()
	tx, err := db.Begin(ctx, true)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tx.Rollback() // does nothing after Commit
	if err := tx.Put([]byte("key"), []byte("value")); err != nil {
		fmt.Println(err)
		return
	}
	if err := tx.Commit(); err != nil {
		fmt.Println(err)
		return
	}
	value, err := db.Get([]byte("key"))
	fmt.Printf("%s, %v\n", value, err)
	// Output: value, <nil>
}

func ExampleDB_Check() {
	db, remove := exampleDB()
	defer remove()
	if err := db.Put([]byte("key"), []byte("value")); err != nil {
		fmt.Println(err)
	}

	report, err := db.Check(context.Background())
	switch {
	case errors.Is(err, store.ErrCorrupt):
		fmt.Println("restore it from a backup:", err)
	case err != nil:
		fmt.Println(err)
	default:
		fmt.Println("good, values:", report.Entries)
	}
	// Output: good, values: 1
}

func ExampleDB_Preload() {
	db, remove := exampleDB()
	defer remove()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := db.Preload(ctx); err != nil {
		fmt.Println("not all of it is in memory:", err)
	}
	fmt.Println("ready")
	// Output: ready
}

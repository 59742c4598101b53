//go:build linux || windows

package store_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/store"
)

// holdings is what the process has of the system.
type holdings struct {
	goroutines  int
	descriptors int   // or handles
	mappings    int   // of files in the test's directory
	reserved    int64 // bytes of address space
}

// slack is how much address space the Go runtime may need meanwhile: much less
// than one store reserves.
const slack = 100 << 30

func (h holdings) exceed(before holdings) bool {
	return h.goroutines > before.goroutines || h.descriptors > before.descriptors ||
		h.mappings > before.mappings || h.reserved > before.reserved+slack
}

func TestNothingIsLeftOfAStoreThatWasClosedOrDidNotOpen(t *testing.T) {
	const warmUp = 2
	rounds := 30
	if runtime.GOOS == "windows" {
		rounds = 3 // each takes seconds
	}
	dir := testdir.New(t)
	if err := os.WriteFile(filepath.Join(dir, "text"), []byte("no store"), 0o600); err != nil {
		t.Fatal(err)
	}
	damagedStore(t, filepath.Join(dir, "damaged"))
	// What the garbage collector would close was forgotten, too.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var before holdings
	for i := range warmUp + rounds {
		if i == warmUp {
			before = held(t, dir)
		}
		for name, use := range uses {
			if err := use(dir); err != nil {
				t.Fatalf("%s, round %d: %+v", name, i, err)
			}
		}
	}
	now := held(t, dir)
	// Goroutines end a little after what they did.
	for end := time.Now().Add(10 * time.Second); now.exceed(before) && time.Now().Before(end); now = held(t, dir) {
		runtime.Gosched()
	}
	if now.exceed(before) {
		t.Errorf("after %d rounds %+v, before %+v", rounds, now, before)
	}
}

// damagedStore makes a store whose meta pages are not what was written.
func damagedStore(t *testing.T, path string) {
	t.Helper()
	db, err := store.Open(path, nil)
	if err == nil {
		err = errors.CombineErrors(db.Put([]byte("k"), nil), db.Close())
	}
	if err != nil {
		t.Fatalf("%+v", err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[100]++
	content[4096+100]++
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// uses are what may happen to a store from Open to Close.
var uses = map[string]func(dir string) error{
	"all is well": func(dir string) error { return with(dir, nil, store.Options{}) },
	"rolled back": func(dir string) error { return with(dir, rolledBack, store.Options{}) },
	"panic":       func(dir string) error { return with(dir, panicking, store.Options{}) },
	"another handle": func(dir string) error {
		return with(dir, func(*store.DB) error { return with(dir, nil, store.Options{}) }, store.Options{})
	},
	"read-only":        func(dir string) error { return with(dir, nil, store.Options{ReadOnly: true}) },
	"a wait that ends": func(dir string) error { return with(dir, waitInVain, store.Options{}) },
	"large pages":      func(dir string) error { return with(dir, nil, store.Options{PageSize: 65536, MaxSize: 1 << 20}) },
	"async":            func(dir string) error { return with(dir, nil, store.Options{Async: time.Hour}) },
	"left open":        leftOpen,
	"no store": func(dir string) error {
		return refused(filepath.Join(dir, "text"), store.Options{}, store.ErrNotStore)
	},
	"no directory": func(dir string) error {
		return refused(filepath.Join(dir, "no", "a.kv"), store.Options{}, os.ErrNotExist)
	},
	"no file": func(dir string) error {
		return refused(filepath.Join(dir, "b.kv"), store.Options{MustExist: true}, os.ErrNotExist)
	},
	"damaged": func(dir string) error {
		return refused(filepath.Join(dir, "damaged"), store.Options{}, store.ErrCorrupt)
	},
}

// with opens the store, uses it, and closes it. A missing one is made first.
func with(dir string, use func(*store.DB) error, o store.Options) error {
	path := filepath.Join(dir, "a.kv")
	if o.ReadOnly {
		if err := with(dir, nil, store.Options{}); err != nil {
			return err
		}
	} else if o.PageSize > 0 {
		path += " with large pages"
	}
	db, err := store.Open(path, &o)
	if err != nil {
		return err
	}
	if !o.ReadOnly {
		err = db.Put([]byte("k"), make([]byte, 10_000))
	}
	if use != nil {
		err = errors.CombineErrors(err, use(db))
	}
	_, get := db.Get([]byte("k"))
	return errors.CombineErrors(errors.CombineErrors(err, get), db.Close())
}

func rolledBack(db *store.DB) error {
	failure := errors.New("no")
	err := db.Update(func(tx *store.Tx) error {
		return errors.CombineErrors(failure, tx.Put([]byte("k"), nil))
	})
	if !errors.Is(err, failure) {
		return errors.Newf("Update: %v", err)
	}
	for _, writable := range []bool{true, false} {
		tx, err := db.Begin(context.Background(), writable)
		if err != nil {
			return err
		}
		if err := tx.Rollback(); err != nil {
			return err
		}
	}
	return nil
}

func panicking(db *store.DB) error {
	for _, run := range []func(func(*store.Tx) error) error{db.View, db.Update} {
		func() {
			defer func() { recover() }()
			run(func(*store.Tx) error { panic("on purpose") })
		}()
		done := make(chan struct{})
		go func() {
			defer close(done)
			run(func(*store.Tx) error { runtime.Goexit(); return nil })
		}()
		<-done
	}
	return nil
}

func waitInVain(db *store.DB) error {
	ctx, cancel := context.WithCancel(context.Background())
	return db.Update(func(*store.Tx) error {
		cancel()
		err := db.UpdateContext(ctx, func(*store.Tx) error { return nil })
		if !errors.Is(err, context.Canceled) {
			return errors.Newf("Update inside Update: %v", err)
		}
		return nil
	})
}

// leftOpen closes a store before its transactions end.
func leftOpen(dir string) error {
	db, err := store.Open(filepath.Join(dir, "a.kv"), nil)
	if err != nil {
		return err
	}
	var open []*store.Tx
	for _, writable := range []bool{false, true, false} {
		tx, err := db.Begin(context.Background(), writable)
		if err != nil {
			return err
		}
		open = append(open, tx)
	}
	if err := db.Close(); err == nil {
		return errors.New("Close says nothing of the transactions")
	}
	for _, tx := range open {
		if err := tx.Rollback(); err != nil {
			return err
		}
	}
	return nil
}

func refused(path string, o store.Options, want error) error {
	if _, err := store.Open(path, &o); !errors.Is(err, want) {
		return errors.Newf("Open: %v instead of %v", err, want)
	}
	return nil
}

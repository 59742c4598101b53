package store_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/internal/teststore"
	"github.com/sharekv/sharekv/store"
)

func TestGetReturnsWhatWasPutAlsoAfterReopening(t *testing.T) {
	path := filepath.Join(testdir.New(t), "a.kv")
	db := teststore.Open(t, path, nil)
	large := bytes.Repeat([]byte("large"), 100_000)
	for k, v := range map[string][]byte{"a": []byte("1"), "empty": {}, "large": large} {
		if err := db.Put([]byte(k), v); err != nil {
			t.Fatalf("%+v", err)
		}
	}
	for range 2 {
		for k, v := range map[string][]byte{"a": []byte("1"), "empty": {}, "large": large} {
			if got, err := db.Get([]byte(k)); err != nil || !bytes.Equal(got, v) {
				t.Errorf("Get(%s) = %.20q, %v", k, got, err)
			}
		}
		if _, err := db.Get([]byte("b")); err != store.ErrNotFound {
			t.Errorf("Get of a missing key: %v", err)
		}
		if err := db.Close(); err != nil {
			t.Fatalf("%+v", err)
		}
		db = teststore.Open(t, path, &store.Options{MustExist: true})
	}
}

func TestTransactionSeesOneState(t *testing.T) {
	db := teststore.New(t, nil)
	put := func(v string) {
		if err := db.Put([]byte("k"), []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	put("old")
	err := db.View(func(tx *store.Tx) error {
		before := tx.Rev()
		put("new")
		if v, err := tx.Get([]byte("k")); err != nil || string(v) != "old" {
			t.Errorf("the transaction sees %q, %v", v, err)
		}
		return db.View(func(later *store.Tx) error {
			if v, err := later.Get([]byte("k")); err != nil || string(v) != "new" || later.Rev() <= before {
				t.Errorf("a later one sees %q at %d, %v; the first was at %d", v, later.Rev(), err, before)
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFailedUpdateChangesNothingAndFreesTheLock(t *testing.T) {
	db := teststore.New(t, &store.Options{LockTimeout: 10 * time.Second})
	failure := errors.New("no")
	change := func(tx *store.Tx) {
		if err := tx.Put([]byte("k"), []byte("v")); err != nil {
			t.Error(err)
		}
	}
	for name, update := range map[string]func(){
		"error": func() {
			if err := db.Update(func(tx *store.Tx) error { change(tx); return failure }); err != failure {
				t.Errorf("Update returned %v", err)
			}
		},
		"panic": func() {
			defer func() {
				if r := recover(); r != failure {
					t.Errorf("recovered %v", r)
				}
			}()
			db.Update(func(tx *store.Tx) error { change(tx); panic(failure) })
		},
		"Goexit": func() {
			done := make(chan struct{})
			go func() {
				defer close(done)
				db.Update(func(tx *store.Tx) error { change(tx); runtime.Goexit(); return nil })
			}()
			<-done
		},
	} {
		update()
		if _, err := db.Get([]byte("k")); err != store.ErrNotFound {
			t.Errorf("after %s: %v", name, err)
		}
		if err := db.Put([]byte(name), nil); err != nil {
			t.Errorf("Put after %s: %v", name, err)
		}
	}
}

func TestUpdateInsideUpdateSaysWhoHoldsTheLock(t *testing.T) {
	db := teststore.New(t, &store.Options{LockTimeout: 50 * time.Millisecond})
	err := db.Update(func(*store.Tx) error { return db.Put([]byte("k"), nil) })
	if !errors.Is(err, store.ErrBusy) || !strings.Contains(err.Error(), "held by this process since") {
		t.Errorf("inner Update: %v", err)
	}
}

func TestContextBoundsTheWaitOnly(t *testing.T) {
	db := teststore.New(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	err := db.UpdateContext(ctx, func(tx *store.Tx) error {
		cancel()
		return tx.Put([]byte("k"), nil)
	})
	if err != nil {
		t.Errorf("Update whose context ended after it had begun: %v", err)
	}
	err = db.Update(func(*store.Tx) error {
		return db.UpdateContext(ctx, func(*store.Tx) error { return nil })
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Update whose context has ended while it must wait: %v", err)
	}
}

func TestIteratorsGoThroughTheirRangeInOrder(t *testing.T) {
	db := teststore.New(t, nil)
	update(t, db, func(tx *store.Tx) error {
		for i := range 1000 {
			if err := tx.Put(fmt.Appendf(nil, "%03d", i), fmt.Append(nil, i)); err != nil {
				return err
			}
		}
		return nil
	})
	for _, c := range []struct {
		lo, hi []byte
		first  int
		n      int
	}{
		{nil, nil, 0, 1000},
		{[]byte("100"), []byte("200"), 100, 100},
		{[]byte("1005"), []byte("103"), 101, 2},
		{nil, []byte("005"), 0, 5},
		{[]byte("995"), nil, 995, 5},
		{[]byte("5"), []byte("5"), 0, 0},
		{[]byte("6"), []byte("5"), 0, 0},
		{[]byte("zzz"), nil, 0, 0},
		{nil, []byte{}, 0, 0},
	} {
		err := db.View(func(tx *store.Tx) error {
			n := 0
			for k, v := range tx.Range(c.lo, c.hi) {
				if want := fmt.Sprint(c.first + n); string(k) != fmt.Sprintf("%03s", want) || string(v) != want {
					t.Errorf("Range(%q, %q): %q = %q at %d", c.lo, c.hi, k, v, n)
				}
				n++
			}
			if n != c.n {
				t.Errorf("Range(%q, %q) has %d entries instead of %d", c.lo, c.hi, n, c.n)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestEndedTransactionIsRefused(t *testing.T) {
	db := teststore.New(t, nil)
	var leaked *store.Tx
	update(t, db, func(tx *store.Tx) error { leaked = tx; return tx.Put([]byte("k"), nil) })
	if err := leaked.Put([]byte("k"), nil); err != store.ErrTxDone {
		t.Errorf("Put: %v", err)
	}
	if _, err := leaked.Get([]byte("k")); err != store.ErrTxDone {
		t.Errorf("Get: %v", err)
	}
	for range leaked.All() {
		t.Error("All has an entry")
	}
	if err := leaked.Err(); err != store.ErrTxDone {
		t.Errorf("Err: %v", err)
	}
}

func TestChangeInReadTransactionIsRefused(t *testing.T) {
	path := filepath.Join(testdir.New(t), "a.kv")
	db := teststore.Open(t, path, nil)
	err := db.View(func(tx *store.Tx) error { return tx.Put([]byte("k"), nil) })
	if !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("Put in View: %v", err)
	}
	ro := teststore.Open(t, path, &store.Options{ReadOnly: true})
	if err := ro.Put([]byte("k"), nil); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("Put of a read-only store: %v", err)
	}
	if err := db.Put([]byte("k"), []byte("v")); err != nil {
		t.Fatal(err)
	}
	if v, err := ro.Get([]byte("k")); err != nil || string(v) != "v" {
		t.Errorf("the read-only handle sees %q, %v", v, err)
	}
}

func TestKeysAndValuesHaveLimits(t *testing.T) {
	db := teststore.New(t, nil)
	longest := bytes.Repeat([]byte("k"), db.MaxKey())
	update(t, db, func(tx *store.Tx) error {
		if err := tx.Put(nil, nil); !errors.Is(err, store.ErrKeyEmpty) {
			t.Errorf("empty key: %v", err)
		}
		if err := tx.Put(append(longest, 'k'), nil); !errors.Is(err, store.ErrKeyTooLarge) {
			t.Errorf("key too large: %v", err)
		}
		return tx.Put(longest, []byte("v"))
	})
	if v, err := db.Get(longest); err != nil || string(v) != "v" {
		t.Errorf("the longest key has %q, %v", v, err)
	}
}

func TestMaxSizeIsNoSpaceAndKeepsWhatIsThere(t *testing.T) {
	db := teststore.New(t, &store.Options{MaxSize: 256 << 10})
	value := make([]byte, 3000)
	n := 0
	var err error
	for err == nil {
		if err = db.Put(fmt.Append(nil, n), value); err == nil {
			n++
		}
	}
	if !errors.Is(err, store.ErrNoSpace) || n < 10 {
		t.Fatalf("after %d puts: %v", n, err)
	}
	for i := range n {
		if _, err := db.Get(fmt.Append(nil, i)); err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func TestClosedStoreIsRefused(t *testing.T) {
	db := teststore.New(t, nil)
	inside, leave := make(chan struct{}), make(chan struct{})
	go db.View(func(*store.Tx) error { close(inside); <-leave; return nil })
	<-inside
	closed := make(chan error)
	go func() { closed <- db.Close() }()
	for {
		if _, err := db.Get([]byte("k")); errors.Is(err, store.ErrClosed) {
			break
		}
		runtime.Gosched()
	}
	select {
	case err := <-closed:
		t.Errorf("Close returned %v before View did", err)
	default:
	}
	close(leave)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := db.Close(); !errors.Is(err, store.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	if err := db.Put([]byte("k"), nil); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Put: %v", err)
	}
}

func TestOneFileIsOneStoreWhateverItIsCalled(t *testing.T) {
	dir := testdir.New(t)
	path := filepath.Join(dir, "a.kv")
	db := teststore.Open(t, path, nil)
	if err := db.Put([]byte("k"), []byte("v")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	names := map[string]func(name string) error{
		"a.kv":                              nil,
		filepath.Join(dir, "sub/../a.kv"):   nil,
		filepath.Join(dir, "link"):          func(name string) error { return os.Symlink(path, name) },
		filepath.Join(dir, "sub/hard link"): func(name string) error { return os.Link(path, name) },
	}
	for name, make := range names {
		if make != nil {
			err := make(name)
			if err == nil {
				_, err = os.Stat(name) // Wine 8 and 10 make links that lead nowhere; Windows makes them work
			}
			if err != nil {
				t.Logf("%s cannot be made here: %v", name, err)
				continue
			}
		}
		again, err := store.Open(name, nil)
		if errors.Is(err, store.ErrSplit) {
			if strings.HasSuffix(name, "a.kv") {
				t.Errorf("%s is refused: %v", name, err)
			}
			if len(errors.GetAllHints(err)) == 0 {
				t.Errorf("no hint with %v", err)
			}
			continue
		}
		if err != nil {
			t.Errorf("open %s: %+v", name, err)
			continue
		}
		if strings.HasSuffix(name, "hard link") {
			t.Errorf("%s is a second store", name)
		}
		if v, err := again.Get([]byte("k")); err != nil || string(v) != "v" {
			t.Errorf("%s has %q, %v", name, v, err)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestStoreIsRefusedWhenItsLockFileOrItselfWasExchanged(t *testing.T) {
	dir := testdir.New(t)
	path := filepath.Join(dir, "a.kv")
	p := start(t, "follow", path)
	if s := p.line(t); s != "ready" {
		t.Fatal(s)
	}
	if err := os.Remove(path + "-lock"); err != nil {
		t.Logf("the system keeps the lock file: %v", err)
	} else {
		_, err := store.Open(path, nil)
		if !errors.Is(err, store.ErrSplit) || len(errors.GetAllHints(err)) == 0 {
			t.Errorf("open after the lock file was deleted: %v", err)
		}
	}
	p.In.Close()
	p.Wait()

	p = start(t, "follow", path)
	if s := p.line(t); s != "ready" {
		t.Fatal(s)
	}
	other := filepath.Join(dir, "b.kv")
	if err := teststore.Open(t, other, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, path); err != nil {
		t.Logf("the system keeps the file: %v", err)
		return
	}
	_, err := store.Open(path, nil)
	if !errors.Is(err, store.ErrReplaced) || len(errors.GetAllHints(err)) == 0 {
		t.Errorf("open after the file was replaced: %v", err)
	}
}

func TestWhatIsNoStoreIsRefusedWithAHint(t *testing.T) {
	dir := testdir.New(t)
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	nowhere := filepath.Join(dir, "nowhere")
	err := os.Symlink(filepath.Join(dir, "nothing"), nowhere)
	if err == nil {
		_, err = os.Lstat(nowhere) // Wine 8 and 10 do not see the link that they have made; Windows does
	}
	if err != nil {
		nowhere = filepath.Join(dir, "missing", "link")
	}
	good := filepath.Join(dir, "good")
	db := teststore.Open(t, good, nil)
	if err := db.Put([]byte("k"), make([]byte, 20_000)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		o    store.Options
		want error
	}{
		{file("empty", nil), store.Options{}, store.ErrNotStore},
		{file("text", []byte("hello\n")), store.Options{}, store.ErrNotStore},
		{file("long", bytes.Repeat([]byte("hello\n"), 100_000)), store.Options{}, store.ErrNotStore},
		{file("zero", make([]byte, 100_000)), store.Options{}, store.ErrNotStore},
		{file("begun", content[:600]), store.Options{}, store.ErrTruncated},
		{file("cut", content[:12288]), store.Options{}, store.ErrTruncated},
		{dir, store.Options{}, store.ErrNotStore},
		{nowhere, store.Options{}, fs.ErrNotExist},
		{filepath.Join(dir, "missing", "file"), store.Options{}, fs.ErrNotExist},
		{filepath.Join(dir, "missing"), store.Options{MustExist: true}, fs.ErrNotExist},
		{filepath.Join(dir, "missing"), store.Options{ReadOnly: true}, fs.ErrNotExist},
	} {
		_, err := store.Open(c.path, &c.o)
		wantHint := !c.o.MustExist && !c.o.ReadOnly // the caller knows what it asked for
		if !errors.Is(err, c.want) || wantHint != (len(errors.GetAllHints(err)) > 0) {
			t.Errorf("Open(%s) = %v, hints %q", c.path, err, errors.GetAllHints(err))
		}
		if _, err := os.Stat(c.path + "-lock"); err == nil {
			t.Errorf("Open(%s) left a lock file", c.path)
		}
	}
}

func TestTruncationUnderAnOpenStoreIsAnError(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not let a mapped file be cut")
	}
	path := filepath.Join(testdir.New(t), "a.kv")
	db, err := store.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	update(t, db, func(tx *store.Tx) error {
		for i := range 5000 {
			if err := tx.Put(fmt.Append(nil, i), make([]byte, 100)); err != nil {
				return err
			}
		}
		return nil
	})
	if _, err := db.Get([]byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 8192); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Get([]byte("1")); !errors.Is(err, store.ErrFault) {
		t.Errorf("Get: %v", err)
	}
	if _, err := db.Check(t.Context()); !errors.Is(err, store.ErrFault) {
		t.Errorf("Check: %v", err)
	}
	err = db.View(func(tx *store.Tx) error {
		for range tx.All() {
		}
		return nil
	})
	if !errors.Is(err, store.ErrFault) {
		t.Errorf("All: %v", err)
	}
}

func update(t *testing.T, db *store.DB, fn func(*store.Tx) error) {
	t.Helper()
	if err := db.Update(fn); err != nil {
		t.Fatalf("%+v", err)
	}
}

func TestReadOnlyHandleOpensWhatAKilledProcessLeft(t *testing.T) {
	path := filepath.Join(testdir.New(t), "a.kv")
	p := start(t, "count", path, "SHAREKV_NUMBER=1")
	n := p.line(t)
	p.Process.Kill()
	p.Wait()
	db := teststore.Open(t, path, &store.Options{ReadOnly: true})
	got, err := db.Get([]byte("process 1"))
	if err != nil || len(got) != 8 {
		t.Errorf("after %s commits: %x, %v", n, got, err)
	}
}

func TestStatsCountCommitsAndFlushesWhileTheStoreIsOpen(t *testing.T) {
	path := filepath.Join(testdir.New(t), "test.kv")
	for range 2 {
		db := teststore.Open(t, path, nil)
		for n := range int64(4) {
			stats, err := db.Stats()
			if err != nil || stats.Commits != n || stats.Flushes < n {
				t.Errorf("after %d commits: %d, in %d flushes, %v", n, stats.Commits, stats.Flushes, err)
			}
			if err := db.Put([]byte("key"), []byte("value")); err != nil {
				t.Fatal(err)
			}
			if err := db.View(func(*store.Tx) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestManyMayCreateTheSameStoreAtOnce(t *testing.T) {
	dir := testdir.New(t)
	for round := range 20 {
		path := filepath.Join(dir, strconv.Itoa(round))
		var group sync.WaitGroup
		for i := range 4 {
			group.Go(func() {
				db, err := store.Open(path, nil)
				if err != nil {
					t.Errorf("%+v", err)
					return
				}
				if err := errors.CombineErrors(db.Put([]byte{byte('a' + i)}, nil), db.Close()); err != nil {
					t.Errorf("%+v", err)
				}
			})
		}
		group.Wait()
		if stats, err := teststore.Open(t, path, nil).Stats(); err != nil || stats.Entries != 4 {
			t.Errorf("%d of 4 keys are there, %v", stats.Entries, err)
		}
	}
}

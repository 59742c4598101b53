package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/internal/teststore"
	"github.com/sharekv/sharekv/store"
)

func signal(t *testing.T, p *process, s syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

func TestStoppedWriterKeepsItsLockAndIsNamed(t *testing.T) {
	path := filepath.Join(testdir.New(t), "a.kv")
	db := teststore.Open(t, path, &store.Options{LockTimeout: 500 * time.Millisecond})
	p := start(t, "hold", path)
	if s := p.line(t); s != "holding" {
		t.Fatal(s)
	}
	signal(t, p, syscall.SIGSTOP)
	attempts := 3
	if os.Getenv("SHAREKV_TEST") == "ci" {
		attempts = 10 // half a second each
	}
	for range attempts {
		err := db.Put([]byte("k"), nil)
		if !errors.Is(err, store.ErrBusy) || !strings.Contains(err.Error(), fmt.Sprint("pid ", p.Process.Pid)) {
			t.Errorf("Put while the writer is stopped: %v", err)
		}
	}
	signal(t, p, syscall.SIGCONT)
	fmt.Fprintln(p.In)
	if err := p.Wait(); err != nil {
		t.Errorf("the writer that was stopped: %v", err)
	}
	if v, err := db.Get([]byte("held")); err != nil || string(v) != "yes" {
		t.Errorf("its commit: %q, %v", v, err)
	}
	if err := db.Put([]byte("k"), nil); err != nil {
		t.Error(err)
	}
}

func TestStoppedReaderReadsItsSnapshotToTheEnd(t *testing.T) {
	readerKeepsItsSnapshot(t,
		func(p *process) { signal(t, p, syscall.SIGSTOP) },
		func(p *process) { signal(t, p, syscall.SIGCONT) })
}

// Whoever is stopped while it flushes for others is not robbed of that, and the others
// are told who it is.
func TestCommitThatWaitsForTheFlushOfAStoppedProcessIsUnknown(t *testing.T) {
	path := filepath.Join(testdir.New(t), "a.kv")
	db := teststore.Open(t, path, &store.Options{LockTimeout: 200 * time.Millisecond})
	p := start(t, "put", path)
	p.line(t)
	name := fmt.Sprint("pid ", p.Process.Pid)
	var err error
	for round := 0; !errors.Is(err, store.ErrUnknown); round++ {
		if round == 200 {
			t.Fatal("it was never stopped in a flush")
		}
		signal(t, p, syscall.SIGSTOP)
		err = db.Put([]byte("mine"), []byte("value"))
		if err != nil && !errors.Is(err, store.ErrBusy) && !errors.Is(err, store.ErrUnknown) {
			t.Fatal(err)
		}
		if errors.Is(err, store.ErrUnknown) {
			if errors.Is(err, store.ErrBusy) || !strings.Contains(err.Error(), name) {
				t.Errorf("Put: %v", err)
			}
			err := db.Update(func(tx *store.Tx) error { _, err := tx.Get([]byte("mine")); return err })
			if !errors.Is(err, store.ErrBusy) || !strings.Contains(err.Error(), name) {
				t.Errorf("Update that has read what is not durable: %v", err)
			}
			if _, err := db.Get([]byte("mine")); err != store.ErrNotFound {
				t.Errorf("Get of what is not durable: %v", err)
			}
		}
		signal(t, p, syscall.SIGCONT)
		if round%2 == 0 {
			time.Sleep(time.Duration(round) * 37 * time.Microsecond) // another moment each time
		}
		if err == nil {
			err = db.Delete([]byte("mine"))
			for errors.Is(err, store.ErrBusy) {
				err = db.Delete([]byte("mine"))
			}
		}
	}
	// It is durable when the other one goes on.
	err = store.ErrUnknown
	for errors.Is(err, store.ErrUnknown) || errors.Is(err, store.ErrBusy) {
		err = db.Put([]byte("another"), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if v, err := db.Get([]byte("mine")); err != nil || string(v) != "value" {
		t.Errorf("Get: %q, %v", v, err)
	}
}

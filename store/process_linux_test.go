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
	fmt.Fprintln(p.in)
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

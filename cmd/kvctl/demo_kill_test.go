package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/store"
)

// TestKillHitsTheMiddleOfATransaction looks at a writer at the moment when the demo
// kills it: it holds the write lock, and its transaction is nowhere to be seen.
func TestKillHitsTheMiddleOfATransaction(t *testing.T) {
	t.Setenv(roleVariable, "kvctl")
	path := tempStore(t)
	db, err := store.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	c := crew{path: path, writers: 1, batch: 16}
	w, err := c.start(t.Context(), "writer 1", "writer", 0)
	if err != nil {
		t.Fatal(err)
	}
	w.begin()
	w.until(func(r workReport) bool { return r.Transactions > 3 })
	w.halt()
	if !w.until(func(r workReport) bool { return r.Halted }) {
		t.Fatal(w.wait())
	}

	handles, err := db.Handles()
	if err != nil {
		t.Fatal(err)
	}
	writing := 0
	for _, h := range handles {
		if h.Writing {
			writing = h.PID
		}
	}
	if writing != w.pid() {
		t.Errorf("pid %d has the write lock, but pid %d was to be killed: %+v", writing, w.pid(), handles)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = db.UpdateContext(ctx, func(*store.Tx) error { return nil })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("another writer got %v", err)
	}

	if err := w.kill(); err != nil {
		t.Fatal(err)
	}
	if err := w.wait(); err != nil {
		t.Error(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = db.UpdateContext(ctx, func(tx *store.Tx) error {
		s, err := takeSnapshot(tx, demoRecords(1), 1)
		if err != nil {
			return err
		}
		return proveAcknowledged(s, []int{w.report().Records}, 0)
	})
	if err != nil {
		t.Error(err)
	}
}

// TestDemoFindsOutWhenAcknowledgedRecordsAreMissing runs the demo with writers that
// say of one batch too many that it is stored.
func TestDemoFindsOutWhenAcknowledgedRecordsAreMissing(t *testing.T) {
	dir := testdir.New(t)
	cmd := as(t, "liar", "demo")
	cmd.Env = append(cmd.Env, "TMPDIR="+dir, "TMP="+dir)
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != exitError {
		t.Fatalf("exit code %d, %v\n%s", code, err, out)
	}
	for _, want := range []string{"after the death of writer 1: ", "records of writer 1 were acknowledged, but", "the store is kept"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the demo does not say %q:\n%s", want, out)
		}
	}
}

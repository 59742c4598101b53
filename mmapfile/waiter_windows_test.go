package mmapfile_test

import (
	"path/filepath"
	"testing"

	"github.com/sharekv/sharekv/internal/testdir"
)

// Whoever wakes does not look for a dead member again and again.
func TestMarkOfDeadWaiterIsCleaned(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	a := openArea(t, path)
	child := start(t, "listener", path, "0", "no net")
	mustFindLast(t, a, 1)
	marks, w := a.Uint64(waiterAt+8), a.Waiter(waiterAt)
	untilMarked := func(want uint64) {
		t.Helper()
		for ctx := soon(t); marks.Load() != want; {
			if ctx.Err() != nil {
				t.Fatalf("marks %#x, want %#x", marks.Load(), want)
			}
		}
	}
	untilMarked(1 << 1)
	w.Wake()
	mustFindLast(t, a, 1)
	untilMarked(1 << 1)
	child.kill()
	untilMarked(1 << 1)
	w.Wake()
	if left := marks.Load(); left != 0 {
		t.Errorf("marks %#x", left)
	}
}

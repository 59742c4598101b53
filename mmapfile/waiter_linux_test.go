package mmapfile_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sharekv/sharekv/internal/testdir"
)

// Goroutines that wait cost no threads: what there is more of belongs to the
// runtime.
func TestWaitingGoroutinesShareAThread(t *testing.T) {
	const goroutines, few = 200, 20
	threads := func() int {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(tasks)
	}
	path := filepath.Join(testdir.New(t), "area")
	a, b := openArea(t, path), openArea(t, path)
	before := threads()
	ctx := soon(t)
	var group sync.WaitGroup
	for range goroutines {
		group.Go(func() {
			if _, err := a.Waiter(waiterAt).Wait(ctx, 0); err != nil {
				t.Error(err)
			}
		})
	}
	untilAsleep(t, goroutines)
	if now := threads(); now-before > few {
		t.Errorf("%d threads, and %d more when %d goroutines wait", before, now-before, goroutines)
	}
	b.Waiter(waiterAt).Wake()
	group.Wait()
}

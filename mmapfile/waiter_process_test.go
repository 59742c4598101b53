package mmapfile_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/mmapfile"
)

// pongerRole answers each wake with another. Nothing but wakes keeps it going.
func pongerRole(args []string, _ *bufio.Scanner) error {
	a, err := mmapfile.OpenArea(background, args[0], &testArea, nil)
	if err != nil {
		return err
	}
	rounds, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	ping, pong := a.Waiter(waiterAt).WithoutNet(), a.Waiter(answerAt).WithoutNet()
	for n := range uint32(rounds) {
		if _, err := ping.Wait(background, n); err != nil {
			return err
		}
		pong.Wake()
	}
	return a.Close(nil)
}

func TestWakesAreNotLostBetweenProcesses(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	a := openArea(t, path)
	rounds := 1000
	if thorough() {
		rounds = 10_000
	}
	child := start(t, "ponger", path, strconv.Itoa(rounds))
	ping, pong := a.Waiter(waiterAt).WithoutNet(), a.Waiter(answerAt).WithoutNet()
	for n := range uint32(rounds) {
		ping.Wake()
		if got, err := pong.Wait(soon(t), n); got != n+1 || err != nil {
			t.Fatalf("round %d: %d %v", n, got, err)
		}
	}
	child.finish()
}

// The place where listener i tells which count it has found, plus one.
func heardAt(i int) int { return 512 + 64*i }

// listenerRole waits for ever and tells what it has found. A third argument leaves
// it to wakes alone to get on.
func listenerRole(args []string, _ *bufio.Scanner) error {
	a, err := mmapfile.OpenArea(background, args[0], &testArea, nil)
	if err != nil {
		return err
	}
	i, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	w := a.Waiter(waiterAt)
	if len(args) > 2 {
		w.WithoutNet()
	}
	for seen := w.Count(); ; {
		a.Uint64(heardAt(i)).Store(uint64(seen) + 1)
		if a.Uint64(stopAt).Load() != 0 {
			return a.Close(nil)
		}
		if seen, err = w.Wait(background, seen); err != nil {
			return err
		}
	}
}

// mustFindLast waits until n listeners have found the count as it is now.
func mustFindLast(t *testing.T, a *mmapfile.Area, n int) {
	t.Helper()
	last := uint64(a.Waiter(waiterAt).Count()) + 1
	begin := time.Now()
	for i := range n {
		for heard := a.Uint64(heardAt(i)); heard.Load() != last; runtime.Gosched() {
			if time.Since(begin) > 20*time.Second {
				t.Fatalf("listener %d is at %d, not at %d", i, heard.Load(), last)
			}
		}
	}
}

// Several processes wait, and several goroutines wake them in quick succession. All
// find the last count, though they look for nothing by themselves.
func TestAllProcessesFindTheLastCount(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	a, b := openArea(t, path), openArea(t, path)
	const listeners = 3
	var children []*process
	for i := range listeners {
		children = append(children, start(t, "listener", path, fmt.Sprint(i), "no net"))
	}
	rounds := 300
	if thorough() {
		rounds = 10_000
	}
	for range rounds {
		var group sync.WaitGroup
		for _, area := range []*mmapfile.Area{a, b} {
			group.Go(func() {
				for range rand.IntN(5) {
					area.Waiter(waiterAt).Wake()
				}
			})
		}
		group.Wait()
		mustFindLast(t, a, listeners)
	}
	a.Uint64(stopAt).Store(1)
	a.Waiter(waiterAt).Wake()
	for _, child := range children {
		child.finish()
	}
}

// wakerRole wakes for ever, at times before anybody sleeps and at times after.
func wakerRole(args []string, _ *bufio.Scanner) error {
	a, err := mmapfile.OpenArea(background, args[0], &testArea, nil)
	if err != nil {
		return err
	}
	for w := a.Waiter(waiterAt); ; {
		w.Wake()
		for range rand.IntN(1 << rand.IntN(16)) {
			_ = w.Count()
		}
	}
}

// Processes that wait and the one that wakes them are killed at random. When it is
// dead, which may be between raising the count and waking, all that still wait find
// the last count, by the look that they take now and then at the latest.
func TestWaitersSurviveStormOfKills(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SHAREKV_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SHAREKV_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	kills := 40
	switch {
	case thorough():
		kills = 1000
	case runtime.GOOS == "windows": // most wakers die while they ring, there
		kills = 6
	}

	path := filepath.Join(testdir.New(t), "area")
	a := openArea(t, path)
	w := a.Waiter(waiterAt)
	var listeners [3]*process
	listen := func(i int) {
		a.Uint64(heardAt(i)).Store(0)
		listeners[i] = start(t, "listener", path, fmt.Sprint(i))
	}
	for i := range listeners {
		listen(i)
	}
	slowest := time.Duration(0)
	for range kills {
		before := w.Count()
		waker := start(t, "waker", path)
		if _, err := w.Wait(soon(t), before); err != nil {
			t.Fatal("the waker does not begin: ", err)
		}
		time.Sleep(time.Duration(random.IntN(10_000)) * time.Microsecond)
		victim := random.IntN(2 * len(listeners))
		if victim < len(listeners) {
			if rest := listeners[victim].kill(); rest != "" {
				t.Fatalf("a listener ended by itself: %s", rest)
			}
		}
		if rest := waker.kill(); rest != "" {
			t.Fatalf("a waker ended by itself: %s", rest)
		}
		if victim < len(listeners) {
			listen(victim)
		}
		begin := time.Now()
		mustFindLast(t, a, len(listeners))
		slowest = max(slowest, time.Since(begin))
	}
	a.Uint64(stopAt).Store(1)
	w.Wake()
	for _, p := range listeners {
		p.finish()
	}
	t.Logf("%d kills, %d wakes, found after %v at most", kills, w.Count(), slowest)
}

// Who waits in a killed process leaves nothing behind that could hold up others.
func TestDeadWaiterHoldsUpNobody(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	a, b := openArea(t, path), openArea(t, path)
	for range 3 {
		a.Uint64(heardAt(0)).Store(0)
		child := start(t, "listener", path, "0")
		mustFindLast(t, a, 1)
		child.kill()
		w, seen := b.Waiter(waiterAt).WithoutNet(), b.Waiter(waiterAt).Count()
		got := make(chan error)
		go func() {
			n, err := w.Wait(soon(t), seen)
			if err == nil && n != seen+1 {
				err = errors.Newf("found %d after %d", n, seen)
			}
			got <- err
		}()
		untilAsleep(t, 1)
		a.Waiter(waiterAt).Wake()
		if err := <-got; err != nil {
			t.Error(err)
		}
	}
}

package mmapfile_test

import (
	"context"
	"math"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/mmapfile"
)

// Where waiters are in the area of all tests.
const (
	waiterAt = 384
	answerAt = 448
)

// pairs are two members that share memory, in each way in which that is done.
var pairs = map[string]func(t *testing.T) (a, b *mmapfile.Area){
	"file": func(t *testing.T) (a, b *mmapfile.Area) {
		path := filepath.Join(testdir.New(t), "area")
		return openArea(t, path), openArea(t, path)
	},
	"heap": func(t *testing.T) (a, b *mmapfile.Area) {
		h := mmapfile.NewHeapArea(&testArea)
		a, _ = openHeap(t, h)
		b, _ = openHeap(t, h)
		return a, b
	},
}

func eachPair(t *testing.T, test func(t *testing.T, a, b *mmapfile.Area)) {
	for name, open := range pairs {
		t.Run(name, func(t *testing.T) {
			a, b := open(t)
			test(t, a, b)
		})
	}
}

// stacksIn returns the stacks of all goroutines that are in a function.
func stacksIn(function string) (stacks []string) {
	buf := make([]byte, 8<<20)
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, function) {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

// untilAsleep returns when n goroutines of this process wait, one of them in sleep
// and all others behind it. It fails if two sleep.
func untilAsleep(t *testing.T, n int) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(time.Millisecond) {
		waiting, asleep := 0, 0
		for _, stack := range stacksIn("mmapfile.(*Waiter).Wait(") {
			state, _, _ := strings.Cut(stack, "\n")
			switch {
			case strings.Contains(stack, "mmapfile.(*Waiter).sleep("):
				asleep++
			case strings.Contains(state, "[select"):
				waiting++
			}
		}
		switch {
		case asleep > 1:
			t.Fatalf("%d sleep for all", asleep)
		case asleep == 1 && waiting == n-1:
			return
		case time.Since(begin) > 20*time.Second:
			t.Fatalf("of %d, %d sleep and %d wait", n, asleep, waiting)
		}
	}
}

// nobodyIsLeft fails if there is a trace of waits that are over. What a context
// has started may need a moment to end.
func nobodyIsLeft(t *testing.T) {
	t.Helper()
	for begin := time.Now(); ; runtime.Gosched() {
		left := append(stacksIn("mmapfile.(*Waiter)"), stacksIn("mmapfile.(*wordBell)")...)
		if len(left) == 0 {
			return
		}
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("left behind: %s", strings.Join(left, "\n\n"))
		}
	}
}

func TestWaitReturnsTheCountThatDiffers(t *testing.T) {
	eachPair(t, func(t *testing.T, a, b *mmapfile.Area) {
		if a.Waiter(waiterAt) != a.Waiter(waiterAt) {
			t.Error("two waiters at one place")
		}
		w, other := a.Waiter(waiterAt).WithoutNet(), b.Waiter(waiterAt).WithoutNet()
		if w.Count() != 0 || other.Count() != 0 {
			t.Error("a new waiter has counted", w.Count(), other.Count())
		}
		w.Wake()
		w.Wake()
		for _, seen := range []uint32{0, 1, 3, math.MaxUint32} {
			if n, err := other.Wait(soon(t), seen); n != 2 || err != nil {
				t.Error("after", seen, "comes", n, err)
			}
		}
		got := make(chan uint32)
		go func() {
			n, err := other.Wait(soon(t), 2)
			if err != nil {
				t.Error(err)
			}
			got <- n
		}()
		untilAsleep(t, 1)
		w.Wake()
		if n := <-got; n != 3 {
			t.Error("woken at", n)
		}
		nobodyIsLeft(t)
	})
}

func TestCountGoesRoundAndWaitFollows(t *testing.T) {
	eachPair(t, func(t *testing.T, a, b *mmapfile.Area) {
		for _, word := range []uint32{math.MaxUint32, math.MaxUint32 - 1} {
			a.Uint32(waiterAt).Store(word)
			w := b.Waiter(waiterAt).WithoutNet()
			if n := w.Count(); n != 1<<31-1 {
				t.Error("count", n)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				if n, err := w.Wait(soon(t), 1<<31-1); n != 0 || err != nil {
					t.Error(n, err)
				}
			}()
			untilAsleep(t, 1)
			a.Waiter(waiterAt).Wake()
			<-done
		}
	})
}

func TestDoneContextNeverWaits(t *testing.T) {
	eachPair(t, func(t *testing.T, a, _ *mmapfile.Area) {
		sentinel := errors.New("test: enough")
		ctx, cancel := context.WithCancelCause(background)
		cancel(sentinel)
		for _, seen := range []uint32{0, 7} {
			if n, err := a.Waiter(waiterAt).Wait(ctx, seen); n != seen || !errors.Is(err, sentinel) {
				t.Error(n, err)
			}
		}
	})
}

// Two members and several goroutines of each take turns by nothing but the count.
func TestWakesAreNotLostBetweenMembers(t *testing.T) {
	const goroutines = 3
	rounds := uint32(300)
	if thorough() {
		rounds = 10_000
	}
	eachPair(t, func(t *testing.T, a, b *mmapfile.Area) {
		ctx := soon(t)
		waiters := []*mmapfile.Waiter{a.Waiter(waiterAt).WithoutNet(), b.Waiter(waiterAt).WithoutNet()}
		var group sync.WaitGroup
		for i := range uint32(2 * goroutines) {
			w := waiters[i%2]
			group.Go(func() {
				for seen := w.Count(); seen < rounds; {
					if seen%(2*goroutines) == i {
						w.Wake()
					}
					var err error
					if seen, err = w.Wait(ctx, seen); err != nil {
						t.Errorf("goroutine %d at %d: %v", i, seen, err)
						return
					}
				}
			})
		}
		group.Wait()
		nobodyIsLeft(t)
	})
}

// What was stored before Wake is there after Wait. The variable is no atomic, so that
// the race detector sees what the waiter is worth.
func TestWaitFindsWhatWasStoredBeforeWake(t *testing.T) {
	const rounds = 500
	a, b := pairs["heap"](t)
	ctx := soon(t)
	stored := uint32(0)
	var group sync.WaitGroup
	for i, w := range []*mmapfile.Waiter{a.Waiter(waiterAt).WithoutNet(), b.Waiter(waiterAt).WithoutNet()} {
		group.Go(func() {
			for seen := w.Count(); seen < rounds; {
				if int(seen%2) == i {
					if stored != seen {
						t.Errorf("found %d at %d", stored, seen)
					}
					stored = seen + 1
					w.Wake()
				}
				var err error
				if seen, err = w.Wait(ctx, seen); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

// A slowContext keeps Wait busy once, after it has looked at the count and before it
// waits.
type slowContext struct {
	context.Context
	meanwhile func()
}

func (c *slowContext) Err() error {
	if f := c.meanwhile; f != nil {
		c.meanwhile = nil
		f()
	}
	return c.Context.Err()
}

// The count changes when a goroutine has looked and does not wait yet, and another
// begins to sleep for all at the new count.
func TestChangeBeforeAnotherSleepsIsFound(t *testing.T) {
	eachPair(t, func(t *testing.T, a, b *mmapfile.Area) {
		w := a.Waiter(waiterAt).WithoutNet()
		limit := soon(t)
		slept := make(chan error)
		ctx := &slowContext{limit, func() {
			b.Waiter(waiterAt).Wake()
			go func() {
				n, err := w.Wait(limit, 1)
				if err == nil && n != 2 {
					err = errors.Newf("found %d", n)
				}
				slept <- err
			}()
			untilAsleep(t, 1)
		}}
		if n, err := w.Wait(ctx, 0); n != 1 || err != nil {
			t.Error(n, err)
		}
		b.Waiter(waiterAt).Wake()
		if err := <-slept; err != nil {
			t.Error(err)
		}
	})
}

func TestOneGoroutineSleepsForAll(t *testing.T) {
	eachPair(t, func(t *testing.T, a, b *mmapfile.Area) {
		const goroutines = 200
		w := a.Waiter(waiterAt).WithoutNet()
		for round := range uint32(3) {
			ctx := soon(t)
			var group sync.WaitGroup
			for range goroutines {
				group.Go(func() {
					if n, err := w.Wait(ctx, round); n != round+1 || err != nil {
						t.Error(n, err)
					}
				})
			}
			untilAsleep(t, goroutines)
			b.Waiter(waiterAt).Wake()
			group.Wait()
		}
		nobodyIsLeft(t)
	})
}

// Whoever gives up, and be it the one that sleeps for all: the others wait on, and
// find the change.
func TestWhoGivesUpDisturbsNoOther(t *testing.T) {
	eachPair(t, func(t *testing.T, a, b *mmapfile.Area) {
		const goroutines = 30
		w := a.Waiter(waiterAt).WithoutNet()
		limit := soon(t)
		var cancels [goroutines]context.CancelFunc
		var over [goroutines]atomic.Bool
		got := make(chan error)
		for i := range goroutines {
			var ctx context.Context
			ctx, cancels[i] = context.WithCancel(limit)
			defer cancels[i]()
			go func() {
				_, err := w.Wait(ctx, 0)
				over[i].Store(true)
				got <- err
			}()
		}
		for k, i := range rand.Perm(goroutines)[:goroutines-2] {
			untilAsleep(t, goroutines-k)
			cancels[i]()
			if err := <-got; !errors.Is(err, context.Canceled) || !over[i].Load() {
				t.Errorf("%d of %d: %v", i, k, err)
			}
		}
		untilAsleep(t, 2)
		b.Waiter(waiterAt).Wake()
		for range 2 {
			if err := <-got; err != nil {
				t.Error(err)
			}
		}
		nobodyIsLeft(t)
	})
}

// Giving up at any moment, also just before the sleep, ends a wait at once.
func TestGivingUpIsNeverLost(t *testing.T) {
	eachPair(t, func(t *testing.T, a, _ *mmapfile.Area) {
		w := a.Waiter(waiterAt).WithoutNet()
		for round := range 500 {
			ctx, cancel := context.WithCancel(soon(t))
			done := make(chan struct{})
			go func() {
				defer close(done)
				if _, err := w.Wait(ctx, 0); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}()
			for range round % 50 {
				runtime.Gosched()
			}
			cancel()
			<-done
		}
		nobodyIsLeft(t)
	})
}

func TestCloseEndsWaits(t *testing.T) {
	eachPair(t, func(t *testing.T, a, b *mmapfile.Area) {
		const goroutines = 20
		w := b.Waiter(waiterAt).WithoutNet()
		got := make(chan error)
		for range goroutines {
			go func() {
				_, err := w.Wait(background, 0)
				got <- err
			}()
		}
		untilAsleep(t, goroutines)
		if err := b.Close(nil); err != nil {
			t.Error(err)
		}
		for range goroutines {
			if err := <-got; !errors.Is(err, mmapfile.ErrClosed) {
				t.Error(err)
			}
		}
		for _, off := range []int{waiterAt, answerAt} {
			if _, err := b.Waiter(off).Wait(background, 1); !errors.Is(err, mmapfile.ErrClosed) {
				t.Error(err)
			}
		}
		nobodyIsLeft(t)
		a.Waiter(waiterAt).Wake() // for nobody
	})
}

// Waits begin while the area closes, at any moment of it.
func TestWaitsThatBeginDuringCloseEnd(t *testing.T) {
	for round := range 30 {
		eachPair(t, func(t *testing.T, _, b *mmapfile.Area) {
			w := b.Waiter(waiterAt).WithoutNet()
			var group sync.WaitGroup
			for range 4 {
				group.Go(func() {
					if _, err := w.Wait(background, 0); !errors.Is(err, mmapfile.ErrClosed) {
						t.Error(err)
					}
				})
			}
			for range round {
				runtime.Gosched()
			}
			if err := b.Close(nil); err != nil {
				t.Error(err)
			}
			group.Wait()
			nobodyIsLeft(t)
		})
	}
}

// Whatever others write into its line, a waiter neither panics nor waits longer
// than it may.
func TestWaiterEndsInTimeWhateverItsLineHolds(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	eachPair(t, func(t *testing.T, a, b *mmapfile.Area) {
		waits := 100
		if thorough() {
			waits = 2000
		}
		w := a.Waiter(waiterAt).WithoutNet()
		var stop atomic.Bool
		var scribblers, group sync.WaitGroup
		for i := range uint64(2) {
			random := rand.New(rand.NewPCG(seed, i))
			scribblers.Go(func() {
				for !stop.Load() {
					b.Uint64(waiterAt + 8*random.IntN(8)).Store(random.Uint64() >> random.IntN(64))
					b.Uint32(waiterAt).Store(random.Uint32() % 8)
					runtime.Gosched()
				}
			})
		}
		for i := range 4 {
			group.Go(func() {
				for k := range waits {
					ctx, cancel := context.WithTimeout(background, time.Duration(k%5)*time.Millisecond)
					seen := uint32(k % 4)
					n, err := w.Wait(ctx, seen)
					if err == nil && n == seen || err != nil && !errors.Is(err, context.DeadlineExceeded) {
						t.Error(n, err)
					}
					cancel()
					if i == 0 {
						b.Waiter(waiterAt).Wake()
					}
				}
			})
		}
		group.Wait()
		stop.Store(true)
		scribblers.Wait()
		nobodyIsLeft(t)
	})
}

package mmapfile_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/mmapfile"
)

func openHeap(t *testing.T, h *mmapfile.HeapArea) (a *mmapfile.Area, first bool) {
	t.Helper()
	a, err := h.Open(func(_ *mmapfile.Area, isFirst bool) error {
		first = isFirst
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(nil); err != nil && !errors.Is(err, mmapfile.ErrClosed) {
			t.Error(err)
		}
	})
	return a, first
}

func TestHeapAreaHasMembersLikeAnyOther(t *testing.T) {
	h := mmapfile.NewHeapArea(&testArea)
	a, first := openHeap(t, h)
	if !first || a.Self() != 0 {
		t.Error(first, a.Self())
	}
	b, first := openHeap(t, h)
	if first || b.Self() != 1 || !a.Alive(1) || !b.Alive(0) {
		t.Error(first, b.Self())
	}
	if _, ok := b.Seize(0); ok {
		t.Error("seized a live member")
	}
	a.Uint64(512).Store(5)
	if b.Uint64(512).Load() != 5 {
		t.Error("not the same bytes")
	}

	if err := a.Mutex(mutexAt).Lock(background); err != nil {
		t.Fatal(err)
	}
	a.Kill()
	a.Mutex(mutexAt).Unlock() // the dead do nothing
	if b.Alive(0) {
		t.Error("alive after being killed")
	}
	if holder, held := b.Mutex(mutexAt).Holder(); !held {
		t.Error("the dead have cleaned up", holder)
	}
	release, ok := b.Seize(0)
	if !ok {
		t.Fatal("cannot seize the dead")
	}
	if c, _ := openHeap(t, h); c.Self() != 2 {
		t.Error("the seized number was given away")
	}
	release()
	if err := b.Mutex(mutexAt).Lock(soon(t)); err != mmapfile.ErrAbandoned {
		t.Error(err)
	}
	b.Mutex(mutexAt).Unlock()
	if d, first := openHeap(t, h); first || d.Self() != 0 {
		t.Error(first, d.Self())
	}
}

func TestHeapAreaIsNewWhenOnlyDeadMembersAreLeft(t *testing.T) {
	h := mmapfile.NewHeapArea(&testArea)
	for range 3 {
		a, first := openHeap(t, h)
		if !first || a.Uint64(512).Load() != 0 {
			t.Error(first, a.Uint64(512).Load())
		}
		a.Uint64(512).Store(1)
		if err := a.Mutex(mutexAt).Lock(background); err != nil {
			t.Fatal(err)
		}
		a.Kill()
	}
}

// Members come, take the mutex of a heap area, and are killed with it or without.
// The variables that it protects are no atomics, so that the race detector sees
// what the mutex is worth.
func TestMutexOfHeapAreaSurvivesKills(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rounds := 40
	if thorough() {
		rounds = 2000
	}
	h := mmapfile.NewHeapArea(&testArea)
	openHeap(t, h) // so that the area stays
	var inside bool
	var counter, deaths, told int
	var group sync.WaitGroup
	for i := range 4 {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		group.Go(func() {
			for range rounds {
				a, err := h.Open(nil)
				if err != nil {
					t.Error(err)
					return
				}
				m := a.Mutex(mutexAt)
				for n := random.IntN(100); n >= 0; n-- {
					err := m.Lock(background)
					switch {
					case err == mmapfile.ErrAbandoned:
						inside = false
						told++
					case err != nil || inside:
						t.Error("somebody is inside", err)
					}
					counter++
					if n == 0 && random.IntN(2) == 0 {
						deaths++
						inside = true
						break
					}
					m.Unlock()
				}
				a.Kill()
			}
		})
	}
	group.Wait()
	a, _ := openHeap(t, h)
	if err := a.Mutex(mutexAt).Lock(soon(t)); err == mmapfile.ErrAbandoned {
		told++
	} else if err != nil {
		t.Error(err)
	}
	a.Mutex(mutexAt).Unlock()
	if told != deaths {
		t.Errorf("%d died inside, and %d were told", deaths, told)
	}
	t.Logf("%d times locked, %d deaths", counter, deaths)
}

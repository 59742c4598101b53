package mmapfile_test

import (
	"bufio"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/mmapfile"
)

// stormRole does one thing for ever, until it is killed or told to stop through an
// area that outlives it. It answers only if something is wrong.
func stormRole(args []string, _ *bufio.Scanner) error {
	a, err := mmapfile.OpenArea(background, args[0], &testArea, nil)
	if err != nil {
		return err
	}
	step := map[string]func(a *mmapfile.Area, path string) error{
		"lock":  lockStep,
		"visit": visitStep,
		"name":  nameStep,

		"mutex":     mutexStep,
		"semaphore": semaphoreStep,
		"event":     eventStep,
		"memory":    memoryStep,
		"object":    objectStep,
	}[args[1]]
	for a.Uint64(stopAt).Load() == 0 {
		if err := step(a, args[2]); err != nil {
			return err
		}
		a.Uint64(passedAt).Add(1)
	}
	return a.Close(nil)
}

// lockStep adds to both halves of a counter. Who finds them different, or an
// owner, must have been told that somebody died.
func lockStep(a *mmapfile.Area, _ string) error {
	m := a.Mutex(mutexAt)
	err := m.Lock(background)
	if err != nil && !errors.Is(err, mmapfile.ErrAbandoned) {
		return err
	}
	owner, first, second := a.Uint64(ownerAt), a.Uint64(counterAt), a.Uint64(secondAt)
	me := uint64(os.Getpid())
	if left := owner.Load(); err == nil && (left != 0 || first.Load() != second.Load()) {
		return errors.Newf("%d has the lock, but %d was still there: %d and %d",
			me, left, first.Load(), second.Load())
	}
	owner.Store(me)
	first.Store(second.Load() + 1)
	for range rand.IntN(200) {
		if at := owner.Load(); at != me {
			return errors.Newf("%d has the lock, and so has %d", me, at)
		}
	}
	second.Store(first.Load())
	owner.Store(0)
	m.Unlock()
	return nil
}

// visitStep joins another area and leaves it. The first member finds zeros and
// leaves a mark; the others find the mark, and it stays as long as they do.
func visitStep(_ *mmapfile.Area, path string) error {
	mark := uint64(0)
	b, err := mmapfile.OpenArea(background, path, &testArea, func(b *mmapfile.Area, first bool) error {
		word := b.Uint64(counterAt)
		if !first {
			mark = word.Load()
			if mark == 0 {
				return errors.New("not the first, and no mark")
			}
			return nil
		}
		for off := 0; off < testArea.Size; off += 8 {
			if v := b.Uint64(off).Load(); v != 0 {
				return errors.Newf("the first member finds %d at %d", v, off)
			}
		}
		mark = rand.Uint64() | 1
		word.Store(mark)
		return nil
	})
	if err != nil {
		return err
	}
	for range rand.IntN(100) {
		if found := b.Uint64(counterAt).Load(); found != mark {
			return errors.Newf("the mark was %d and is %d", mark, found)
		}
	}
	if rand.IntN(2) == 0 {
		if err := b.Mutex(mutexAt).Lock(background); err != nil && err != mmapfile.ErrAbandoned {
			return err
		}
	}
	return b.Close(func() error {
		if found := b.Uint64(counterAt).Load(); found != mark {
			return errors.Newf("the mark was %d and is %d for the last", mark, found)
		}
		return nil
	})
}

// stormName returns a name that belongs to one storm.
func stormName(path string) string {
	return "sharekv storm " + strings.NewReplacer("/", "-", `\`, "-", ":", "-").Replace(path)
}

// nameStep makes a name or opens it, and finds the right file or none.
func nameStep(_ *mmapfile.Area, path string) error {
	name := stormName(path)
	var m *mmapfile.Mapping
	var err error
	if rand.IntN(2) == 0 {
		m, err = mmapfile.Create(path, 4096, &mmapfile.Options{Name: name})
	} else if m, err = mmapfile.Open(name, nil); errors.Is(err, mmapfile.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if m.Path() != path {
		return errors.Newf("the name leads to %s", m.Path())
	}
	return m.Close()
}

// mutexStep excludes others with a mutex that it looks for anew.
func mutexStep(a *mmapfile.Area, path string) error {
	m, _, err := mmapfile.CreateMutex(stormName(path), nil)
	if err != nil {
		return err
	}
	lock := func(ctx context.Context) error {
		err := m.Lock(ctx)
		if errors.Is(err, mmapfile.ErrAbandoned) {
			return nil
		}
		return err
	}
	unlock := func() error { m.Unlock(); return nil }
	return errors.CombineErrors(alone(a, lock, unlock), m.Close())
}

// semaphoreStep excludes others with a semaphore of one. What a dead process has taken
// is gone until nobody holds the semaphore.
func semaphoreStep(a *mmapfile.Area, path string) error {
	s, _, err := mmapfile.CreateSemaphore(stormName(path), 1, 1, nil)
	if err != nil {
		return err
	}
	return errors.CombineErrors(alone(a, s.Acquire, func() error { return s.Release(1) }), s.Close())
}

// eventStep does so with an event that resets itself.
func eventStep(a *mmapfile.Area, path string) error {
	e, _, err := mmapfile.CreateEvent(stormName(path), false, true, nil)
	if err != nil {
		return err
	}
	return errors.CombineErrors(alone(a, e.Wait, e.Set), e.Close())
}

func alone(a *mmapfile.Area, enter func(context.Context) error, leave func() error) error {
	ctx, cancel := context.WithTimeout(background, 20*time.Millisecond)
	defer cancel()
	if err := enter(ctx); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = nil
		}
		return err
	}
	owner, me := a.Uint64(insideAt), uint64(os.Getpid())
	owner.Store(me)
	for range rand.IntN(200) {
		if at := owner.Load(); at != me {
			return errors.Newf("%d is inside, and so is %d", me, at)
		}
	}
	owner.Store(0)
	return leave()
}

// memoryStep finds memory of the size that it asks for.
func memoryStep(_ *mmapfile.Area, path string) error {
	m, err := mmapfile.Create("", 5000, &mmapfile.Options{Name: stormName(path)})
	if err != nil {
		return err
	}
	err = m.Store(4000, [][]byte{make([]byte, 1000)})
	if view, e := m.View(5000); e != nil || view[4999] != 0 {
		err = errors.CombineErrors(err, errors.Newf("%d bytes in view: %v", len(view), e))
	}
	return errors.CombineErrors(err, m.Close())
}

// fileStep gives a file a name.
func fileStep(_ *mmapfile.Area, path string) error {
	m, err := mmapfile.Create(path, 4096, &mmapfile.Options{Name: stormName(path)})
	if err != nil {
		return err
	}
	return m.Close()
}

// objectStep makes one of all kinds. Others may have made another one.
func objectStep(a *mmapfile.Area, path string) error {
	steps := []func(*mmapfile.Area, string) error{fileStep, mutexStep, semaphoreStep, eventStep, memoryStep}
	err := steps[rand.IntN(len(steps))](a, path)
	if errors.Is(err, mmapfile.ErrWrongKind) {
		return nil
	}
	return err
}

// storm lets processes do one thing for ever and kills them at random times. It
// always goes on, and none finds anything wrong.
func storm(t *testing.T, what string) *mmapfile.Area {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SHAREKV_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SHAREKV_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	kills := 60
	switch {
	case thorough() && strings.HasPrefix(t.Name(), "TestObjects"):
		kills = 500 // of each kind
	case thorough():
		kills = 2000
	case runtime.GOOS == "windows": // processes start slowly there
		kills = 15
	}

	dir := testdir.New(t)
	a := openArea(t, filepath.Join(dir, "area"))
	fresh := func() *process {
		return start(t, "storm", filepath.Join(dir, "area"), what, filepath.Join(dir, "object"))
	}
	processes := []*process{fresh(), fresh(), fresh(), fresh()}
	for range kills {
		time.Sleep(time.Duration(random.IntN(20_000)) * time.Microsecond)
		i := random.IntN(len(processes))
		if rest := processes[i].kill(); rest != "" {
			t.Fatalf("a process ended by itself: %s", rest)
		}
		passed := a.Uint64(passedAt).Load()
		processes[i] = fresh()
		for begin := time.Now(); a.Uint64(passedAt).Load() == passed; runtime.Gosched() {
			if time.Since(begin) > 20*time.Second {
				holder, _ := a.Mutex(mutexAt).Holder()
				t.Fatalf("nothing goes on; the mutex is held by %v", holder)
			}
		}
	}
	a.Uint64(stopAt).Store(1)
	for _, p := range processes {
		p.finish()
	}
	t.Logf("%d kills, %d steps", kills, a.Uint64(passedAt).Load())
	return a
}

// Nobody is ever inside at the same time as another, and nobody who dies inside
// goes unnoticed.
func TestMutexSurvivesStormOfKills(t *testing.T) {
	a := storm(t, "lock")
	err := a.Mutex(mutexAt).Lock(soon(t))
	if err != nil && err != mmapfile.ErrAbandoned {
		t.Fatal(err)
	}
	if first, second := a.Uint64(counterAt).Load(), a.Uint64(secondAt).Load(); err == nil && first != second {
		t.Errorf("counters: %d and %d", first, second)
	}
	a.Mutex(mutexAt).Unlock()
}

func TestAreaSurvivesStormOfKills(t *testing.T) { storm(t, "visit") }

func TestNamesSurviveStormOfKills(t *testing.T) { storm(t, "name") }

func TestObjectsSurviveStormOfKills(t *testing.T) {
	storm(t, "object")
	if !thorough() {
		return
	}
	for _, what := range []string{"mutex", "semaphore", "event", "memory"} {
		t.Run(what, func(t *testing.T) { storm(t, what) })
	}
}

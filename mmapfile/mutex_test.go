package mmapfile_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/mmapfile"
)

func TestMutexExcludesProcessesAndGoroutines(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	a, b := openArea(t, path), openArea(t, path)
	const processes, goroutines = 3, 4
	n := 500
	if thorough() {
		n = 20_000
	}
	var children []*process
	for range processes {
		children = append(children, start(t, "counter", path, strconv.Itoa(n)))
	}
	var group sync.WaitGroup
	for i := range 2 * goroutines {
		group.Go(func() {
			if err := count([]*mmapfile.Area{a, b}[i%2], n); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, child := range children {
		child.finish()
	}
	want := uint64((processes + 2*goroutines) * n)
	if got := a.Uint64(counterAt).Load(); got != want {
		t.Errorf("counter %d, want %d", got, want)
	}
	if info, held := a.Mutex(mutexAt).Holder(); held {
		t.Error("still held by", info)
	}
}

func TestMutexOfKilledProcessIsAbandoned(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	a := openArea(t, path)
	m := a.Mutex(mutexAt)
	for range 3 {
		child := start(t, "member", path)
		child.mustHear("1 false")
		if answer := child.ask("lock"); answer != "locked" {
			t.Fatal(answer)
		}
		got := make(chan error)
		go func() { got <- m.Lock(soon(t)) }()
		child.kill()
		if err := <-got; err != mmapfile.ErrAbandoned {
			t.Fatal(err)
		}
		if info, held := m.Holder(); !held || info.PID != os.Getpid() {
			t.Error("holder", info, held)
		}
		m.Unlock()
		if err := m.Lock(soon(t)); err != nil {
			t.Error("after recovery:", err)
		}
		m.Unlock()
	}
}

// The next owner of a dead member's number frees what the dead one held, before
// anybody has noticed.
func TestMutexOfDeadMemberIsAbandonedWhenItsNumberIsTaken(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	a := openArea(t, path)
	child := start(t, "member", path)
	child.mustHear("1 false")
	if answer := child.ask("lock"); answer != "locked" {
		t.Fatal(answer)
	}
	child.kill()
	b := openArea(t, path)
	if b.Self() != 1 {
		t.Fatal("number", b.Self())
	}
	if _, held := a.Mutex(mutexAt).Holder(); held {
		t.Error("still held")
	}
	if err := b.Mutex(mutexAt).Lock(soon(t)); err != mmapfile.ErrAbandoned {
		t.Error(err)
	}
	b.Mutex(mutexAt).Unlock()
}

func TestAbandonedIsRepeatedUntilSomebodyRecovers(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	a := openArea(t, path)
	want := "locked"
	for range 3 {
		child := start(t, "member", path)
		child.mustHear("1 false")
		if answer := child.ask("lock"); answer != want {
			t.Fatalf("%s, want %s", answer, want)
		}
		child.kill()
		want = "abandoned"
	}
	if err := a.Mutex(mutexAt).Lock(soon(t)); err != mmapfile.ErrAbandoned {
		t.Error(err)
	}
	a.Mutex(mutexAt).Unlock()
}

func TestMutexOfClosedAreaIsAbandoned(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	a, b := openArea(t, path), openArea(t, path)
	m := b.Mutex(mutexAt)
	if err := m.Lock(background); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(nil); err != nil {
		t.Fatal(err)
	}
	m.Unlock() // too late, and harmless
	if err := m.Lock(background); !errors.Is(err, mmapfile.ErrClosed) {
		t.Error(err)
	}
	if err := a.Mutex(mutexAt).Lock(soon(t)); err != mmapfile.ErrAbandoned {
		t.Error(err)
	}
	a.Mutex(mutexAt).Unlock()
}

func TestTimeoutNamesTheHolder(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	a := openArea(t, path)
	child := start(t, "member", path)
	child.mustHear("1 false")
	if answer := child.ask("lock"); answer != "locked" {
		t.Fatal(answer)
	}
	m := a.Mutex(mutexAt)
	info, held := m.Holder()
	if !held || time.Since(info.Since).Abs() > time.Minute {
		t.Error("holder", info, held)
	}

	ctx, cancel := context.WithTimeout(background, 50*time.Millisecond)
	defer cancel()
	err := m.Lock(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), info.String()) {
		t.Error(err)
	}
	sentinel := errors.New("test: busy")
	ctx, cancel = context.WithTimeoutCause(background, 5*time.Millisecond, sentinel)
	defer cancel()
	if err := m.Lock(ctx); !errors.Is(err, sentinel) {
		t.Error(err)
	}

	// A holder that goes on normally is followed normally.
	if answer := child.ask("unlock"); answer != "unlocked" {
		t.Fatal(answer)
	}
	if err := m.Lock(soon(t)); err != nil {
		t.Error(err)
	}
	ctx, cancel = context.WithTimeout(background, 5*time.Millisecond)
	defer cancel()
	if err := m.Lock(ctx); err == nil || !strings.Contains(err.Error(), "held by this process") {
		t.Error(err)
	}
	m.Unlock()
}

func TestDoneContextNeverLocks(t *testing.T) {
	m := openArea(t, filepath.Join(testdir.New(t), "area")).Mutex(mutexAt)
	ctx, cancel := context.WithCancel(background)
	cancel()
	if err := m.Lock(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if info, held := m.Holder(); held {
		t.Error("held by", info)
	}
}

func TestWaitForMutexCanBeCancelled(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	a, b := openArea(t, path), openArea(t, path)
	holder, m := a.Mutex(mutexAt), b.Mutex(mutexAt)
	if err := holder.Lock(background); err != nil {
		t.Fatal(err)
	}
	// One waits for the other member, the rest behind it.
	const waiters = 5
	ctx, cancel := context.WithCancel(background)
	got := make(chan error)
	for range waiters {
		go func() { got <- m.Lock(ctx) }()
	}
	cancel()
	for range waiters {
		if err := <-got; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	holder.Unlock()
	if err := m.Lock(soon(t)); err != nil {
		t.Error(err)
	}
	m.Unlock()
}

func TestCloseEndsWaitsForMutex(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	a, b := openArea(t, path), openArea(t, path)
	if err := a.Mutex(mutexAt).Lock(background); err != nil {
		t.Fatal(err)
	}
	const waiters = 5
	got := make(chan error)
	for range waiters {
		go func() { got <- b.Mutex(mutexAt).Lock(background) }()
	}
	if err := b.Close(nil); err != nil {
		t.Error(err)
	}
	for range waiters {
		if err := <-got; !errors.Is(err, mmapfile.ErrClosed) {
			t.Error(err)
		}
	}
	a.Mutex(mutexAt).Unlock()
}

func TestOneGoroutineLocksAndAnotherUnlocks(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	a, b := openArea(t, path), openArea(t, path)
	for i := range 100 {
		m := []*mmapfile.Area{a, b}[i%2].Mutex(mutexAt)
		locked := make(chan error)
		go func() { locked <- m.Lock(soon(t)) }()
		if err := <-locked; err != nil {
			t.Fatal(err)
		}
		unlocked := make(chan struct{})
		go func() { m.Unlock(); close(unlocked) }()
		<-unlocked
	}
}

func TestMutexesOfAnAreaAreIndependent(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	a, b := openArea(t, path), openArea(t, path)
	if a.Mutex(mutexAt) != a.Mutex(mutexAt) {
		t.Error("two mutexes at one place")
	}
	if err := a.Mutex(0).Lock(soon(t)); err != nil {
		t.Error(err)
	}
	if err := b.Mutex(64).Lock(soon(t)); err != nil {
		t.Error(err)
	}
	a.Mutex(0).Unlock()
	b.Mutex(64).Unlock()
}

// Cancelling waits at random never leaves the mutex taken, and never lets two in.
func TestCancelledWaitsLoseNothing(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	areas := []*mmapfile.Area{openArea(t, path), openArea(t, path), openArea(t, path)}
	rounds := 300
	if thorough() {
		rounds = 5000
	}
	var counted [6]uint64
	var group sync.WaitGroup
	for i := range counted {
		a := areas[i/2]
		group.Go(func() {
			for round := range rounds {
				ctx, cancel := context.WithTimeout(background, time.Duration(round%50)*10*time.Microsecond)
				if err := a.Mutex(mutexAt).Lock(ctx); err == nil {
					counter := a.Uint64(counterAt)
					before := counter.Load()
					time.Sleep(time.Duration(round%7) * 20 * time.Microsecond)
					counter.Store(before + 1)
					counted[i]++
					a.Mutex(mutexAt).Unlock()
				} else if !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	group.Wait()
	want := uint64(0)
	for _, n := range counted {
		want += n
	}
	if got := areas[0].Uint64(counterAt).Load(); got != want {
		t.Errorf("counter %d, want %d", got, want)
	}
	if err := areas[0].Mutex(mutexAt).Lock(soon(t)); err != nil {
		t.Error(err)
	}
	areas[0].Mutex(mutexAt).Unlock()
}

func TestTryLockTakesOnlyAFreeMutex(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	a, b := openArea(t, path), openArea(t, path)
	try := func(area *mmapfile.Area, want bool, wantErr error) {
		t.Helper()
		if got, err := area.Mutex(mutexAt).TryLock(); got != want || err != wantErr {
			t.Errorf("TryLock: %v, %v; want %v, %v", got, err, want, wantErr)
		}
	}
	try(a, true, nil)
	try(a, false, nil)
	try(b, false, nil)
	a.Mutex(mutexAt).Unlock()
	try(b, true, nil)
	b.Mutex(mutexAt).Unlock()

	child := start(t, "member", path)
	child.mustHear("2 false")
	if answer := child.ask("lock"); answer != "locked" {
		t.Fatal(answer)
	}
	try(a, false, nil)
	child.kill()
	if err := a.Mutex(mutexAt).Lock(soon(t)); err != mmapfile.ErrAbandoned {
		t.Fatal(err)
	}
	// Whoever closes holding it abandons it, too.
	if err := a.Close(nil); err != nil {
		t.Fatal(err)
	}
	try(b, true, mmapfile.ErrAbandoned)
	try(b, false, nil)
	b.Mutex(mutexAt).Unlock()
	try(b, true, nil)
	b.Mutex(mutexAt).Unlock()
}

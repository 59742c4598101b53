package txn_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/crashsim"
	"github.com/sharekv/sharekv/txn"
)

// async is the mode with Sync called by the test alone.
var async = txn.Options{Async: time.Hour}

// ordered is async, with nothing to verify after a crash.
var ordered = txn.Options{Async: time.Hour, FlushDataFirst: true}

func TestPowerCutInAsyncModeTakesBackWholeCommitsSinceTheLastSync(t *testing.T) {
	rng := seeded(t)
	share := 0.1
	if thorough() {
		share = 0.5
	}
	for round := range times(4, 30) {
		options := async
		if round%2 == 1 {
			options = ordered
		}
		f := newFleet(t, rng, fleetCapacity, options)
		crew := []*member{f.join(), f.join(), f.join()}
		f.cutting(nil, share, times(1, 3), min(round%3, 1))
		for range 30 {
			i := f.rng.IntN(len(crew))
			m := crew[i]
			if f.rng.IntN(5) > 0 {
				m.commits(1)
				continue
			}
			// Commits go on while somebody flushes what was there before.
			flushing, release := m.hold()
			done := make(chan error, 1)
			go func() { done <- m.sync() }()
			select {
			case err := <-done: // there was nothing to flush
				if err != nil {
					t.Fatalf("%+v", err)
				}
			case <-flushing:
				crew[(i+1)%len(crew)].commits(f.rng.IntN(6))
				f.cuts(nil, 2, 1)
				release()
				f.succeeds(done)
			}
			m.handle.Before = nil
			if t.Failed() {
				t.FailNow()
			}
		}
		f.cuts(nil, 3, 1)
		f.disk.Done = nil
		for _, m := range crew {
			if err := m.leave(); err != nil {
				t.Errorf("%+v", err)
			}
		}
		f.acked.Store(f.returned.Load()) // the last one to leave has flushed
		f.cuts(nil, 3, 0)
	}
}

// A leader dies at any point. Its meta page may be on disk, and with FlushDataFirst nobody
// will verify it. Commits go on, before and while the next one leads.
func TestDeathOfTheLeaderInAsyncModeMisleadsNobody(t *testing.T) {
	rng := seeded(t)
	for round := range times(2, 12) {
		for _, before := range []bool{true, false} {
			for stop := 1; ; stop++ {
				f := newFleet(t, rng, fleetCapacity, []txn.Options{ordered, async}[round%2])
				a, b, c := f.join(), f.join(), f.join()
				for range 2 {
					a.commits(2 + f.rng.IntN(3))
					f.succeed(a.sync())
				}
				c.commits(1 + f.rng.IntN(5))
				stopped := a.stopAt(stop, before)
				done := make(chan error, 1)
				go func() { done <- a.sync() }()
				select {
				case <-stopped:
				case err := <-done:
					f.succeed(err)
					stop = 0
				}
				if stop == 0 {
					break
				}
				c.commits(f.rng.IntN(5))
				f.cuts(nil, 1, 0)
				a.die()
				leading := b.stopAt(1, true)
				go b.sync()
				await(t, leading)
				c.commits(6 + f.rng.IntN(6))
				f.cuts(nil, 3, 1)
				b.die()
				c.commits(1)
				f.succeed(c.sync())
				c.commits(3)
				f.cuts(nil, 2, 0)
				c.die()
				if t.Failed() {
					t.Fatalf("death at operation %d, before it: %v", stop, before)
				}
			}
		}
	}
}

func (f *fleet) succeed(err error) {
	f.Helper()
	if err != nil {
		f.Fatalf("%+v", err)
	}
}

func TestPagesThatLivedBetweenTwoFlushesAreReused(t *testing.T) {
	content, err := txn.Format(4096, [16]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	disk := crashsim.New(content, 32<<20)
	p, err := open(newArea(), disk, async)
	if err != nil {
		t.Fatal(err)
	}
	const keys = 5000
	overwrite(t, p, keys, 0)
	if err := p.store.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	start := statsOf(t, p).Pages
	for round := range 20 {
		overwrite(t, p, keys, 1+round)
		if round == 10 { // what becomes durable now is kept, too
			if err := p.store.Sync(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The durable snapshot, that of the other meta page, and the head.
	if now := statsOf(t, p).Pages; now > start*33/10 {
		t.Errorf("%d pages, with %d at first", now, start)
	}
	if err := p.close(disk); err != nil {
		t.Fatal(err)
	}
}

func statsOf(t *testing.T, p process) txn.Stats {
	t.Helper()
	s, err := p.store.Stats()
	if err != nil {
		t.Fatalf("%+v", err)
	}
	return s
}

func TestReadersInAsyncModeSeeWhatIsNotDurable(t *testing.T) {
	f := newFleet(t, seeded(t), fleetCapacity, async)
	a, b := f.join(), f.join()
	for n := range 10 {
		a.commits(1)
		if seen, err := b.seen(); err != nil || seen != n+1 {
			t.Fatalf("%d of %d commits seen, %v", seen, n+1, err)
		}
	}
	if head, durable := a.store.Progress(); durable == head {
		t.Error("commits were flushed")
	}
	f.succeed(b.sync())
	if head, durable := a.store.Progress(); durable != head {
		t.Error("Sync has returned, but not all is durable")
	}
	a.die()
	b.die()
}

func TestFailedFlushInAsyncModeIsToldToCommitsAndReaders(t *testing.T) {
	f := newFleet(t, seeded(t), fleetCapacity, async)
	a, b := f.join(), f.join()
	a.commits(3)
	f.succeed(a.sync())
	b.commits(3)
	r, err := b.store.Read()
	f.succeed(err)
	w, err := b.store.Write(context.Background())
	f.succeed(err)
	f.succeed(op{"n", "7"}.apply(w))
	a.handle.Before = func(o crashsim.Operation) error {
		if o.Name == "flush" {
			return errors.New("input/output error")
		}
		return nil
	}
	if r.Lost() {
		t.Error("a snapshot is lost before anything failed")
	}
	if err := a.sync(); !errors.Is(err, txn.ErrFlushFailed) {
		t.Errorf("Sync: %v", err)
	}
	if err := w.Commit(); !errors.Is(err, txn.ErrFlushFailed) {
		t.Errorf("a commit that was being built: %v", err)
	}
	for _, m := range []*member{a, b} {
		if _, err := m.store.Write(context.Background()); !errors.Is(err, txn.ErrFlushFailed) {
			t.Errorf("a later write transaction: %v", err)
		}
		if err := m.sync(); !errors.Is(err, txn.ErrFlushFailed) {
			t.Errorf("Sync: %v", err)
		}
		if n, err := m.seen(); n != 3 || err != nil {
			t.Errorf("%d commits are seen (%v), 3 are durable", n, err)
		}
	}
	if !r.Lost() {
		t.Error("a reader is not told that its snapshot may be lost")
	}
	r.End()
	f.begun.Store(7)
	f.cuts(nil, 5, 0)
	for _, m := range []*member{a, b} {
		if err := m.leave(); err != nil {
			t.Errorf("%+v", err)
		}
	}
	next := fleetOn(t, f.rng, f.disk, fleetCapacity)
	m := next.join()
	if n, ok := next.holds(m.process, 3, 7); ok {
		next.begun.Store(int64(n))
		m.commits(2)
	}
	m.die()
}

// Before that, few pages are reused.
func TestCommitBehindADeathInAsyncModeIsFlushed(t *testing.T) {
	f := newFleet(t, seeded(t), fleetCapacity, async)
	a, b := f.join(), f.join()
	b.commits(3)
	w, err := a.store.Write(context.Background())
	f.succeed(err)
	f.succeed(op{"n", "4"}.apply(w))
	a.die()
	b.commits(1)
	head, durable := b.store.Progress()
	if durable != head {
		t.Errorf("%v is durable, and %v was committed behind a death", durable, head)
	}
	b.commits(1)
	if head, durable := b.store.Progress(); durable == head {
		t.Error("the one after it was flushed, too")
	}
	b.die()
}

func TestModeIsThatOfTheFirstToOpenTheStoreToWrite(t *testing.T) {
	disk, area := newDisk(t), newArea()
	second := txn.Options{Async: time.Second}
	var crew []process
	join := func(o txn.Options, want error, mode time.Duration) {
		t.Helper()
		p, err := open(area, disk, o)
		if !errors.Is(err, want) {
			t.Fatalf("%+v: %v", o, err)
		}
		if err == nil {
			crew = append(crew, p)
			if now := p.store.Interval(); now != mode {
				t.Errorf("%+v: the mode is %v", o, now)
			}
		}
	}
	for _, first := range []txn.Options{{}, second, {AnyMode: true, Async: time.Second}} {
		t.Run(fmt.Sprintf("%+v", first), func(t *testing.T) {
			crew = nil
			area = newArea()
			join(txn.Options{ReadOnly: true}, nil, 0)
			join(first, nil, first.Async)
			other := txn.Options{Async: first.Async + 1}
			join(other, txn.ErrModeDiffers, 0)
			join(txn.Options{AnyMode: true, Async: 5}, nil, first.Async)
			join(txn.Options{Async: first.Async}, nil, first.Async)
			join(txn.Options{ReadOnly: true, Async: 7}, nil, first.Async)
			for _, p := range crew {
				if err := p.close(disk); err != nil {
					t.Errorf("%+v", err)
				}
			}
			area = newArea()
			crew = nil
			join(other, nil, other.Async)
			crew[0].die()
		})
	}
	if _, err := open(newArea(), disk, txn.Options{Async: -1}); err == nil {
		t.Error("a negative interval is accepted")
	}
}

func TestOtherMetaPageIsOfUseInAsyncModeIfTheNewestIsDamaged(t *testing.T) {
	f := newFleet(t, seeded(t), fleetCapacity, async)
	a := f.join()
	for range times(10, 50) {
		other := int(f.acked.Load())
		a.commits(1 + f.rng.IntN(5))
		f.succeed(a.sync())
		a.commits(f.rng.IntN(8))
		image := f.disk.Cut().Random(crashsim.All, nil)
		slot, _, _, _, _ := txn.MetaOf(image)
		image[slot*page+f.rng.IntN(100)] ^= 0xff
		f.mu.Lock()
		f.recovers(image, other, int(f.begun.Load()), 0)
		f.mu.Unlock()
		if t.Failed() {
			t.FailNow()
		}
	}
	a.die()
}

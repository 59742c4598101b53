package txn_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/crashsim"
	"github.com/sharekv/sharekv/mmapfile"
	"github.com/sharekv/sharekv/txn"
)

// A process dies before and after each operation of its commit, while it writes and while it
// leads. Two others wait meanwhile, and go on; sometimes the next one dies, too.
func TestDeathOfTheLeaderAnywhereKeepsNobodyFromCommitting(t *testing.T) {
	rng := seeded(t)
	longest := time.Duration(0)
	share := 0.1
	if thorough() {
		share = 0.5
	}
	for round := range times(1, 8) {
		for _, before := range []bool{true, false} {
			for stop := 1; ; stop++ {
				f := newFleet(t, rng, fleetCapacity)
				a, b, c, reader := f.join(), f.join(), f.join(), f.join()
				a.commits(2 + round%3)
				head, _ := a.store.Progress()
				stopped := a.stopAt(stop, before)
				first := a.inBackground()
				died := false
				select {
				case <-stopped:
					died = true
				case err := <-first:
					if err != nil {
						t.Fatalf("%+v", err)
					}
				}
				if !died {
					break
				}
				f.cutting(reader, share, 1, 0)
				again := b.stopAt(1+f.rng.IntN(12), before)
				if f.rng.IntN(2) == 0 {
					again = nil
					b.handle.Before, b.handle.After = nil, nil
				}
				second, third := b.inBackground(), c.inBackground()
				if now, _ := b.store.Progress(); now > head && again == nil {
					b.published(head + 3)
				}
				begin := time.Now()
				a.die()
				select {
				case <-again:
					b.die()
				case err := <-second:
					if err != nil {
						t.Fatalf("%+v", err)
					}
				case <-time.After(soon):
					t.Fatalf("nobody goes on after the death at operation %d", stop)
				}
				f.succeeds(third)
				longest = max(longest, time.Since(begin))
				c.commits(1)
				f.cuts(reader, 2, 1)
				f.disk.Done = nil
				closes(t, f, b, reader, c)
				if t.Failed() {
					t.Fatalf("death at operation %d, before it: %v", stop, before)
				}
			}
		}
	}
	t.Logf("the others had committed after %v at most", longest)
}

// closes closes the processes and checks that a power cut after that takes nothing.
func closes(t *testing.T, f *fleet, crew ...*member) {
	t.Helper()
	f.begun.Store(f.acked.Load())
	for _, m := range crew {
		if err := m.leave(); err != nil && !errors.Is(err, mmapfile.ErrClosed) {
			t.Errorf("%+v", err)
		}
	}
	f.cuts(nil, 1, 0)
}

// The flush of a process fails, which dies before it can tell anybody: the medium has nothing
// of what everybody sees. That may be the leader's flush, while others have published and one
// is building, or that of a writer that has made the file longer.
func TestFlushThatFailedUnseenLosesNothing(t *testing.T) {
	rng := seeded(t)
	share := 0.4
	if thorough() {
		share = 1
	}
	for round := range times(3, 15) {
		for stop := 1; ; stop++ {
			f := newFleet(t, rng, fleetCapacity, tiny)
			a, b, c, reader := f.join(), f.join(), f.join(), f.join()
			if round > 0 { // else in the session's first flush, too
				a.commits(round % 4)
			}
			head, _ := a.store.Progress()
			name := a.losesFlush(stop)
			first := a.inBackground()
			var lost string
			select {
			case lost = <-name:
			case err := <-first:
				if err != nil {
					t.Fatalf("%+v", err)
				}
			}
			if lost == "" {
				break
			}
			var second, third chan error
			now, _ := b.store.Progress()
			if round%3 == 1 {
				// Nobody waits; who comes next has the number of the dead.
				f.cutting(reader, share, 1, 1)
				a.die()
				b.die()
				b = f.join()
				second, third = b.inBackground(), c.inBackground()
				f.succeeds(second)
			} else if now > head { // the writer mutex is free
				f.disk.Drop() // also what the others store now, before it fails
				second = b.inBackground()
				b.published(now + 1)
				building, paused, resume := make(chan struct{}), 1+f.rng.IntN(6), make(chan struct{})
				third = make(chan error, 1)
				go func() {
					var once sync.Once
					n, err := c.begin(func(i int) {
						if i == paused || i < 0 {
							once.Do(func() { close(building) })
							<-resume
						}
					})
					if err == nil {
						f.acknowledge(n)
					}
					third <- err
				}()
				await(t, building)
				f.disk.Drop() // now
				f.cutting(reader, share, 1, 1)
				a.die()
				f.succeeds(second)
				f.cuts(reader, 1, 1)
				close(resume)
			} else {
				f.cutting(reader, share, 1, 1)
				second, third = b.inBackground(), c.inBackground()
				a.die()
				f.succeeds(second)
			}
			f.succeeds(third)
			f.cuts(reader, 3, 1)
			f.disk.Done = nil
			closes(t, f, b, c, reader)
			if t.Failed() {
				t.Fatalf("%s %d failed", lost, stop)
			}
		}
	}
}

// losesFlush makes the process die in its flush number stop from now on, of whatever kind,
// which fails. The name of the flush comes through the channel.
func (m *member) losesFlush(stop int) (name chan string) {
	name = make(chan string, 1)
	flushes := 0
	m.handle.Before = func(o crashsim.Operation) error {
		if strings.HasPrefix(o.Name, "flush") {
			if flushes++; flushes == stop {
				m.handle.Drop()
				name <- o.Name
				<-dead
			}
		}
		return nil
	}
	return name
}

// growAndLose makes the process begin a commit in which it dies, in a failing flush of growth.
func (m *member) growAndLose() {
	lost := make(chan struct{})
	m.handle.Before = func(o crashsim.Operation) error {
		if o.Name == "flush of growth" {
			m.handle.Drop()
			close(lost)
			<-dead
		}
		return nil
	}
	go func() {
		w, err := m.store.Write(context.Background())
		if err == nil {
			err = op{"large", string(make([]byte, fleetCapacity/2))}.apply(w)
		}
		panic(err) // it cannot come to this
	}()
	await(m.fleet.T, lost)
	m.die()
}

// A leader has flushed and not yet said so. Another commit is published, and lost on the
// medium when the next writer dies in a flush that fails. Whoever writes then finds the writer
// mutex abandoned: the commit must be stored again.
func TestWriterThatDiesInAFailedFlushMakesPublishedCommitsSuspect(t *testing.T) {
	rng := seeded(t)
	for round := range times(3, 40) {
		f := newFleet(t, rng, fleetCapacity)
		a, b, c, d, reader := f.join(), f.join(), f.join(), f.join(), f.join()
		a.commits(1 + round%3)
		head, _ := a.store.Progress()
		flushed, release := b.holdAfter()
		first := b.inBackground()
		await(t, flushed)
		second := c.inBackground()
		c.published(head + 2)
		a.growAndLose()
		third := d.inBackground()
		d.published(head + 3)
		f.cutting(reader, 1, 1, 1)
		release()
		f.succeeds(first, second, third)
		f.cuts(reader, 3, 1)
		f.disk.Done = nil
		closes(t, f, b, c, d, reader)
		if t.Failed() {
			t.FailNow()
		}
	}
}

// While a leader is about to flush, a writer dies in a flush that fails. The system tells
// those who had the file open: nothing is acknowledged that is lost.
func TestLeaderIsToldOfADeadWritersFailedFlush(t *testing.T) {
	rng := seeded(t)
	for range times(1, 10) {
		f := newFleet(t, rng, fleetCapacity)
		f.disk.TellAll = true
		a, b, c := f.join(), f.join(), f.join()
		a.commits(2)
		flushing, release := b.hold()
		first := b.inBackground()
		await(t, flushing)
		a.growAndLose()
		release()
		if err := f.wait(first); !errors.Is(err, txn.ErrFlushFailed) {
			t.Errorf("the leader: %v", err)
		}
		f.cuts(c, 3, 1)
		b.die()
		c.die()
	}
}

// A writer dies while commits before its own are not durable: the next one goes on from the
// head, and with a new txid.
func TestNextWriterGoesOnFromTheHeadAfterADeath(t *testing.T) {
	rng := seeded(t)
	for stop := 1; ; stop++ {
		f := newFleet(t, rng, fleetCapacity, tiny)
		a, b, c, reader := f.join(), f.join(), f.join(), f.join()
		a.commits(2)
		head, durable := a.store.Progress()
		if head != durable {
			t.Fatal(head, durable)
		}
		flushing, release := a.hold()
		first := a.inBackground()
		await(t, flushing)
		stopped := b.stopAt(stop, false)
		b.inBackground()
		died := false
		until(t, "the writer dies or publishes", func() bool {
			now, _ := c.store.Progress()
			select {
			case <-stopped:
				died = true
			default:
			}
			return died || now > head+1
		})
		if !died {
			release() // and perhaps it dies as a leader
			f.succeeds(first)
			break
		}
		handed := c.store.Handed()
		f.cutting(reader, 1, 1, 0)
		b.die()
		third := c.inBackground()
		c.published(handed + 1)
		if now, durable := c.store.Progress(); durable != head || now <= handed {
			t.Errorf("the next one is %v after %v, durable is %v instead of %v", now, handed, durable, head)
		}
		release()
		f.succeeds(first, third)
		f.cuts(reader, 3, 1)
		f.disk.Done = nil
		closes(t, f, a, c, reader)
		if t.Failed() {
			t.Fatalf("death at operation %d", stop)
		}
	}
}

// The last process to commit dies between publishing and its flush, perhaps in one that
// failed, and those who have only read close the store: the mark of a clean end says what is
// on disk.
func TestCleanMarkDoesNotLieAfterTheDeathOfTheLastToCommit(t *testing.T) {
	rng := seeded(t)
	for round := range times(3, 20) {
		for _, before := range []bool{true, false} {
			for stop := 1; ; stop++ {
				f := newFleet(t, rng, fleetCapacity)
				a, reader := f.join(), f.join()
				a.commits(1 + round%3)
				stopped := a.stopAt(stop, before)
				first := a.inBackground()
				var o crashsim.Operation
				select {
				case o = <-stopped:
				case err := <-first:
					if err != nil {
						t.Fatalf("%+v", err)
					}
				}
				if o.Name == "" {
					break
				}
				if before && strings.HasPrefix(o.Name, "flush") || f.rng.IntN(4) == 0 {
					f.disk.Drop()
				}
				a.die()
				n, err := reader.seen()
				if err != nil {
					t.Fatalf("%+v", err)
				}
				reader.handle.After = func(crashsim.Operation) { f.cuts(nil, 1, 1) }
				f.acked.Store(max(f.acked.Load(), int64(n)))
				head, durable := reader.store.Progress()
				if err := reader.leave(); err != nil {
					t.Fatalf("%+v", err)
				}
				if head > durable { // what was published is made durable, not dropped
					f.acked.Store(f.begun.Load())
				}
				f.cuts(nil, 2, 1)
				f.opensWithoutDamage()
				if t.Failed() {
					t.Fatalf("death at operation %d, %s", stop, o.Name)
				}
			}
		}
	}
}

// The last process dies while it marks the clean end, perhaps in a flush that failed: the next
// one sees the mark, but that may never have been on the medium.
func TestCleanMarkThatIsOnlySeenIsNotReliedOn(t *testing.T) {
	rng := seeded(t)
	for round := range max(2, times(4, 12)) {
		for stop := 1; ; stop++ {
			f := newFleet(t, rng, fleetCapacity)
			a := f.join()
			a.commits(2 + round/2)
			stopped := a.stopAt(stop, round%2 == 0)
			left := make(chan error, 1)
			go func() { left <- a.leave() }()
			died := false
			select {
			case <-stopped:
				died = true
			case err := <-left:
				if err != nil {
					t.Fatalf("%+v", err)
				}
			}
			if !died {
				break
			}
			f.disk.Drop()
			next := fleetOn(t, rng, f.disk, fleetCapacity)
			next.acked.Store(f.acked.Load())
			next.begun.Store(f.begun.Load())
			next.cutting(nil, 1, 3, 1)
			m := next.join()
			if _, ok := next.holds(m.process, int(f.acked.Load()), int(f.acked.Load())); ok {
				m.commits(2)
			}
			m.die()
			if t.Failed() {
				t.Fatalf("death at operation %d", stop)
			}
		}
	}
}

// leave closes the process as it should, through its own handle.
func (m *member) leave() error {
	m.store.Leave()
	return m.area.Close(func() error { return m.store.Finish(m.handle) })
}

// opensWithoutDamage checks that what is on the medium opens, all of it being there.
func (f *fleet) opensWithoutDamage() {
	f.Helper()
	image := f.disk.Cut().Random(crashsim.None, nil)
	p, err := open(newArea(), crashsim.New(image, f.capacity), txn.Options{ReadOnly: true})
	if err != nil {
		f.Errorf("a clean end is none: %+v", err)
		return
	}
	defer p.die()
	f.holds(p, int(f.acked.Load()), int(f.begun.Load()))
}

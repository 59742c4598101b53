package txn_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
	"github.com/sharekv/sharekv/internal/crashsim"
	"github.com/sharekv/sharekv/txn"
)

// A leader takes what is published. So nothing of a commit is stored afterwards.
func TestPagesAreStoredBeforeTheirCommitIsPublished(t *testing.T) {
	f := newFleet(t, seeded(t), fleetCapacity)
	a := f.join()
	pages := 0
	a.handle.Before = func(o crashsim.Operation) error {
		if o.Name != "store" || isMeta(o) {
			return nil
		}
		r, _ := index.Header(o.Data)
		pages++
		if head, _ := a.store.Progress(); r.TxID <= head {
			t.Errorf("page %d (txid %v) is stored when the head is %v", r.Page, r.TxID, head)
		}
		return nil
	}
	a.commits(6)
	if pages < 6 {
		t.Errorf("%d pages were stored", pages)
	}
	a.die()
}

// Of what was stored twice in one place the first content may come back, when a flush
// fails of which the next leader does not know. So it is on the medium before the commit
// is published, and no unflushed page has two contents that look right.
func TestPublishedPagesHaveOneContent(t *testing.T) {
	f := newFleet(t, seeded(t), fleetCapacity, tiny)
	f.ops, f.after = rewriting, afterRewriting
	a := f.join()
	twice := 0
	count := func(what string) {
		for _, u := range f.disk.Cut().Units(page) {
			if u.Off >= 2*page && len(u.Versions) > 1 {
				twice++
				if what != "" {
					t.Errorf("%s page %d has %d contents", what, u.Off/page, len(u.Versions))
				}
			}
		}
	}
	a.handle.Before = func(o crashsim.Operation) error {
		switch {
		case isMeta(o):
			count("published")
		case o.Name == "flush":
			count("")
		}
		return nil
	}
	a.commits(6)
	if twice == 0 {
		t.Error("nothing was stored twice")
	}
	a.die()
}

// One waits until a leader is ready, and leads then. That one's flush fails: what is in
// memory may not be on the medium, and no meta page may lead to it.
func TestWhoWaitsForTheLeaderStoresNothingOnceItsFlushHasFailed(t *testing.T) {
	rng := seeded(t)
	for range 5 {
		f := newFleet(t, rng, fleetCapacity)
		a, b := f.join(), f.join()
		a.commits(3) // the next one flushes once
		head, _ := a.store.Progress()
		flushing, release := a.hold()
		held := a.handle.Before
		var failed atomic.Bool
		a.handle.Before = func(o crashsim.Operation) error {
			if err := held(o); err != nil || o.Name != "flush" {
				return err
			}
			failed.Store(true)
			return errors.New("input/output error")
		}
		b.handle.Before = func(o crashsim.Operation) error {
			if failed.Load() && isMeta(o) {
				t.Error("a meta page is stored after a flush has failed")
			}
			return nil
		}
		first := a.inBackground()
		await(t, flushing)
		second := b.inBackground()
		b.published(head + 2)
		// Who waits looks after some time whether the leader lives, and stays there:
		// nobody else can see that. If it is slower, the test sees less.
		time.Sleep(60 * time.Millisecond)
		release()
		for _, done := range []chan error{first, second} {
			if err := f.wait(done); !errors.Is(err, txn.ErrFlushFailed) {
				t.Errorf("commit: %v", err)
			}
		}
		a.die()
		b.die()
	}
}

// A leader dies in a flush that fails, and the medium loses also what a transaction has
// stored that is still under way. Who commits it knows of no failure.
func TestTransactionThatWasUnderWayWhenAFlushFailedUnseenIsStoredAgain(t *testing.T) {
	counted(t)
	f := newFleet(t, seeded(t), fleetCapacity, tiny)
	a, b, c := f.join(), f.join(), f.join()
	a.commits(3)
	head, _ := a.store.Progress()
	lost := a.losesFlush(1)
	a.inBackground()
	await(t, lost)
	second := b.inBackground()
	b.published(head + 2)
	built, resume, third := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		n, err := c.begin(func(i int) {
			if i < 0 { // all is stored but a few pages
				close(built)
				<-resume
			}
		})
		if err == nil {
			f.acknowledge(n)
		}
		third <- err
	}()
	await(t, built)
	f.disk.Drop()
	a.die()
	f.succeeds(second)
	close(resume)
	f.succeeds(third)
	if n := f.acked.Load(); n != 6 {
		t.Errorf("%d commits", n) // the last one has a run, which is stored at once
	}
	f.cuts(nil, 5, 1)
	b.die()
	c.die()
}

// All die in a flush that failed. Who opens the store finds the last commit in memory,
// and nothing of it is on the medium: what is read is there after a power cut.
func TestRecoveryStoresWhatItHasOnlySeen(t *testing.T) {
	counted(t)
	rng := seeded(t)
	unflushed := 0
	for n := range 4 {
		f := newFleet(t, rng, fleetCapacity)
		a := f.join()
		a.commits(n + 1)
		lost := a.losesFlush(1)
		a.inBackground()
		await(t, lost)
		a.die()
		next := fleetOn(t, rng, f.disk, fleetCapacity)
		m := next.join()
		seen, ok := next.holds(m.process, n+1, n+2)
		if !ok {
			t.FailNow()
		}
		unflushed += seen - (n + 1) // it may have been lost before it was published
		next.begun.Store(int64(seen))
		next.cuts(m, 3, 1)
		m.die()
	}
	if unflushed == 0 {
		t.Error("nothing was found that had not been flushed")
	}
}

// The mark of a clean end is seen, but its flush was lost. The meta page that it was stored
// over is not there any more, and the other one is all there is: the mark is what is
// stored over first, and whatever is torn there, the store opens.
func TestMarkOfACleanEndThatWasLostIsTheFirstToBeStoredOver(t *testing.T) {
	counted(t)
	f := newFleet(t, seeded(t), fleetCapacity)
	a := f.join()
	a.commits(3)
	lost := a.losesFlush(1)
	go func() { _ = a.leave() }() // it stays there
	await(t, lost)
	next := fleetOn(t, f.rng, f.disk, fleetCapacity)
	next.acked.Store(f.acked.Load())
	next.begun.Store(f.begun.Load())
	m := next.join()
	metas := 0
	m.handle.After = func(o crashsim.Operation) {
		if isMeta(o) {
			metas++
			next.cuts(nil, times(50, 200), 0)
		}
	}
	m.commits(2)
	if metas < 3 {
		t.Errorf("%d meta pages were stored", metas)
	}
	m.die()
}

// A meta page is stored over the one that is not in force (I6). The exception is the mark
// of a clean end, which the first one of a session is stored over.
func TestMetaPageInForceIsNotStoredOver(t *testing.T) {
	f := newFleet(t, seeded(t), fleetCapacity)
	a := f.join()
	a.commits(1)
	metas := 0
	a.handle.Before = func(o crashsim.Operation) error {
		if isMeta(o) {
			metas++
			if slot, txid, _, _, _ := txn.MetaOf(f.medium()); o.Off == int64(slot*page) {
				t.Errorf("meta page %d is stored, which has the durable snapshot %v", slot, txid)
			}
		}
		return nil
	}
	a.commits(5)
	if err := a.leave(); err != nil {
		t.Error(err)
	}
	if metas < 6 { // of five commits, and of the end
		t.Errorf("%d meta pages were stored", metas)
	}
}

// A leader dies in a flush that fails, and nobody is told of it. The next one may have
// waited for it, or may find the mutex free, when somebody else has got the number of the
// dead.
func TestNextLeaderStoresAgainWhatADeadOneHasStored(t *testing.T) {
	counted(t)
	rng := seeded(t)
	for _, waits := range []bool{false, true} {
		f := newFleet(t, rng, fleetCapacity)
		a, b := f.join(), f.join()
		a.commits(3)
		head, _ := a.store.Progress()
		lost, meta := make(chan struct{}), false
		a.handle.Before = func(o crashsim.Operation) error {
			if o.Name == "flush" && meta {
				a.handle.Drop()
				close(lost)
				<-dead
			}
			meta = isMeta(o)
			return nil
		}
		a.inBackground()
		await(t, lost)
		if waits {
			second := b.inBackground()
			b.published(head + 2)
			a.die()
			f.succeeds(second)
		} else {
			a.die()
			f.join().die()
			b.commits(1)
		}
		f.cuts(nil, 3, 1)
		if n := f.acked.Load(); n != 5 || t.Failed() {
			t.Fatalf("%d commits, waiting for the dead: %v", n, waits)
		}
		b.die()
	}
}

package txn_test

import (
	"context"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
	"github.com/sharekv/sharekv/internal/crashsim"
	"github.com/sharekv/sharekv/txn"
)

// cutting checks power cuts behind the operations of all processes, each with the
// probability share.
func (f *fleet) cutting(reader *member, share float64, random, depth int) {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(f.rng.Uint64(), 1))
	f.disk.Done = func(string) {
		mu.Lock()
		now := rng.Float64() < share
		mu.Unlock()
		if now {
			f.cuts(reader, random, depth)
		}
	}
}

// One process flushes, two others publish meanwhile, and the next flush is for both.
func TestPowerCutInAGroupCommitTakesBackNothingAcknowledged(t *testing.T) {
	rng := seeded(t)
	share := 0.5
	if thorough() {
		share = 1
	}
	for round := range times(3, 30) {
		f := newFleet(t, rng, fleetCapacity)
		a, b, c, reader := f.join(), f.join(), f.join(), f.join()
		a.commits(1 + round%4)
		f.cutting(reader, share, times(1, 5), min(round%3, times(1, 2)))
		head, _ := a.store.Progress()
		flushing, release := a.hold()
		first := a.inBackground()
		await(t, flushing)
		second := b.inBackground()
		b.published(head + 2)
		third := c.inBackground()
		c.published(head + 3)
		if _, durable := a.store.Progress(); durable != head {
			t.Fatalf("durable is %v before the flush has ended", durable)
		}
		f.cuts(reader, 3, 2)
		release()
		f.succeeds(first, second, third)
		f.cuts(reader, 3, 1)
		if t.Failed() {
			t.FailNow()
		}
		for _, m := range []*member{a, b, c, reader} {
			m.die()
		}
	}
}

// What a transaction of the process itself has failed to flush in growing the file, no
// flush of its leader brings to disk, although that goes well.
func TestLeaderDoesNotBelieveAFlushBehindAFailedOne(t *testing.T) {
	rng := seeded(t)
	f := newFleet(t, rng, fleetCapacity)
	a := f.join()
	a.commits(2)
	stored, grown, leave := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var leads atomic.Bool
	var grows sync.Once
	a.handle.Before = func(o crashsim.Operation) (err error) {
		switch {
		case isMeta(o) && leads.CompareAndSwap(false, true):
			close(stored)
			<-leave
		case o.Name == "flush of growth" && leads.Load():
			grows.Do(func() {
				close(grown)
				<-leave
				err = errors.New("input/output error")
			})
		}
		return err
	}
	first := a.inBackground()
	await(t, stored)
	grower := make(chan error, 1)
	go func() {
		w, err := a.store.Write(context.Background())
		if err == nil {
			defer w.Rollback()
			err = op{"large", string(make([]byte, 200_000))}.apply(w)
		}
		grower <- err
	}()
	await(t, grown)
	close(leave)
	if err := f.wait(grower); !errors.Is(err, txn.ErrFlushFailed) {
		t.Errorf("growing: %v", err)
	}
	// Its pages were stored before the flush that failed.
	if err := f.wait(first); !errors.Is(err, txn.ErrFlushFailed) {
		t.Errorf("the leader: %v", err)
	}
	f.cuts(nil, 3, 1)
	a.die()
}

// After a failed flush nothing is acknowledged by anybody, readers go on, and when all
// have closed, all is well.
func TestFailedFlushStopsAllProcessesUntilTheyReopen(t *testing.T) {
	rng := seeded(t)
	for fail := 1; fail <= 8; fail++ {
		f := newFleet(t, rng, fleetCapacity)
		f.disk.TellAll = true // or a growth that fails may be believed: doc.go, "What a death leaves"
		crew := []*member{f.join(), f.join(), f.join(), f.join()}
		flushes := 0
		var mu sync.Mutex
		failed, leader := false, false
		for _, m := range crew {
			meta := false
			m.handle.Before = func(o crashsim.Operation) error {
				mu.Lock()
				defer mu.Unlock()
				if leader && isMeta(o) {
					t.Errorf("flush %d failed, and then somebody stored a meta page", fail)
				}
				before := meta
				meta = isMeta(o)
				if strings.HasPrefix(o.Name, "flush") {
					if flushes++; flushes == fail {
						failed, leader = true, before
						return errors.New("input/output error")
					}
				}
				return nil
			}
		}
		var wg sync.WaitGroup
		for _, m := range crew[:3] {
			wg.Go(func() {
				for range 5 {
					mu.Lock()
					before := failed
					mu.Unlock()
					err := m.commit()
					switch {
					case err == nil && before:
						t.Errorf("flush %d failed; a commit that began later went well", fail)
					case err != nil && !errors.Is(err, txn.ErrFlushFailed):
						t.Errorf("flush %d failed: %+v", fail, err)
					}
				}
			})
		}
		wg.Wait()
		if !failed {
			t.Fatalf("there is no flush %d", fail)
		}
		acked := int(f.acked.Load())
		for i, m := range crew {
			if _, err := m.store.Write(context.Background()); !errors.Is(err, txn.ErrFlushFailed) {
				t.Fatalf("flush %d failed; the next commit of process %d: %v", fail, i, err)
			}
			if n, ok := f.holds(m.process, acked, acked); !ok {
				t.Errorf("flush %d failed; process %d reads commit %d", fail, i, n)
			}
		}
		f.cuts(crew[0], 5, 1)
		f.cutting(nil, 1, 2, 1)
		for _, m := range crew {
			if err := m.close(f.disk); err != nil {
				t.Errorf("%+v", err)
			}
		}
		next := fleetOn(t, rng, f.disk, fleetCapacity)
		m := next.join()
		if n, ok := next.holds(m.process, acked, int(f.begun.Load())); ok {
			next.acked.Store(int64(n))
			next.begun.Store(int64(n))
			next.cutting(m, 1, 2, 0)
			m.commits(2)
		}
		m.die()
		if t.Failed() {
			t.FailNow()
		}
	}
}

// A transaction that changes nothing, or is rolled back, answers only when nobody can take
// back what it has read.
func TestWriterThatChangesNothingWaitsForWhatItRead(t *testing.T) {
	rng := seeded(t)
	ways := map[string]func(w *txn.Writer) error{
		"commit":   func(w *txn.Writer) error { return w.Commit() },
		"rollback": func(w *txn.Writer) error { w.Rollback(); return nil },
		"commit of a missing key's deletion": func(w *txn.Writer) error {
			return errors.CombineErrors(op{"none", ""}.apply(w), w.Commit())
		},
		"rollback of a change": func(w *txn.Writer) error {
			err := op{"x", "y"}.apply(w)
			w.Rollback()
			return err
		},
	}
	for name, end := range ways {
		for _, fails := range []bool{false, true} {
			f := newFleet(t, rng, fleetCapacity)
			a, b := f.join(), f.join()
			a.commits(3)
			head, _ := a.store.Progress()
			flushing, release := a.hold()
			if held := a.handle.Before; fails {
				a.handle.Before = func(o crashsim.Operation) error {
					err := held(o)
					if o.Name == "flush" { // what it held
						err = errors.New("input/output error")
					}
					return err
				}
			}
			first := a.inBackground()
			await(t, flushing)
			type answer struct {
				n       int
				durable index.TxID
				err     error
			}
			read, answers := make(chan int, 1), make(chan answer, 1)
			go func() {
				w, err := b.store.Write(context.Background())
				if err != nil {
					answers <- answer{err: err}
					return
				}
				n, err := commitsIn(w)
				read <- n
				err = errors.CombineErrors(err, end(w))
				_, durable := b.store.Progress()
				answers <- answer{n, durable, err}
			}()
			await(t, read)
			until(t, "the writer mutex is free", func() bool { return !writing(b) })
			f.cuts(nil, 2, 0)
			release()
			got := <-answers
			switch {
			case fails && name[0] == 'c' && !errors.Is(got.err, txn.ErrFlushFailed):
				t.Errorf("%s after a failed flush: %v", name, got.err)
			case !fails && got.err != nil:
				t.Errorf("%s: %+v", name, got.err)
			case got.n != 4:
				t.Errorf("%s: saw %d commits, not that of the head", name, got.n)
			case !fails && got.durable <= head:
				t.Errorf("%s was answered when %v was durable, and it had seen more", name, got.durable)
			}
			if err := f.wait(first); fails != errors.Is(err, txn.ErrFlushFailed) {
				t.Errorf("the leader: %v", err)
			}
			f.cuts(nil, 2, 0)
			a.die()
			b.die()
		}
	}
}

func writing(m *member) bool {
	for _, x := range m.store.Members() {
		if x.Writing {
			return true
		}
	}
	return false
}

// A long transaction stores pages while the flush of an earlier commit ends, and readers
// begin before and after: what each sees stays as it is.
func TestLongWriterAndReadersWhileDurableMoves(t *testing.T) {
	rng := seeded(t)
	for round := range times(6, 150) {
		f := newFleet(t, rng, fleetCapacity, tiny)
		a, b, c := f.join(), f.join(), f.join()
		a.commits(3 + round%5)
		f.cutting(c, 0.15, 1, 0)
		head, _ := a.store.Progress()
		flushing, release := a.hold()
		first := a.inBackground()
		await(t, flushing)
		var readers []*held
		moves := f.rng.IntN(8)
		look := func(i int) {
			if i == moves || i < 0 {
				release()
				until(t, "durable moves", func() bool {
					_, durable := b.store.Progress()
					return durable > head
				})
			}
			r, err := c.store.Read()
			if err != nil {
				t.Fatalf("%+v", err)
			}
			v, _, err := r.Snapshot.Get(r.Main.Ref, []byte("n"))
			n, _ := strconv.Atoi(string(v))
			if err != nil || n < int(f.acked.Load()) {
				t.Errorf("a reader sees commit %d, %d was acknowledged, %v", n, f.acked.Load(), err)
			}
			readers = append(readers, &held{r, afterParts(n)})
			for _, r := range readers {
				if err := r.verify(); err != nil {
					t.Fatalf("step %d: %+v", i, err)
				}
			}
			if len(readers) > 3 && i%2 == 0 { // some stay long
				readers[1].End()
				readers = append(readers[:1], readers[2:]...)
			}
		}
		for range 3 {
			n, err := b.begin(look)
			if err != nil {
				t.Fatalf("%+v", err)
			}
			f.acknowledge(n)
		}
		f.succeeds(first)
		look(0)
		for _, r := range readers {
			r.End()
		}
		for _, m := range []*member{a, b, c} {
			m.die()
		}
		if t.Failed() {
			t.FailNow()
		}
	}
}

// Commits of several processes, with nothing held up, and power cut at any operation.
func TestPowerCutAmongFreeRunningProcesses(t *testing.T) {
	rng := seeded(t)
	for range times(1, 10) {
		f := newFleet(t, rng, fleetCapacity)
		crew := []*member{f.join(), f.join(), f.join()}
		reader := f.join()
		f.cutting(reader, 0.5, 2, 0)
		var wg sync.WaitGroup
		for _, m := range crew {
			wg.Go(func() {
				for range times(8, 30) {
					if err := m.commit(); err != nil {
						t.Errorf("%+v", err)
					}
				}
			})
		}
		wg.Wait()
		f.disk.Done = nil
		for _, m := range append(crew, reader) {
			if err := m.close(f.disk); err != nil {
				t.Errorf("%+v", err)
			}
		}
		f.cuts(nil, 2, 1)
	}
}

// The epoch of a page is on disk before the page is stored, so that after a power cut no other
// page has its txid; and no txid of an earlier session comes again, committed or not.
func TestEpochIsDurableBeforeItsFirstPage(t *testing.T) {
	rng := seeded(t)
	disk := newDisk(t)
	pages := 0
	var before, last index.TxID
	for round := range 6 {
		before = last
		f := fleetOn(t, rng, disk, capacity)
		a := f.join()
		a.handle.Before = func(o crashsim.Operation) error {
			if o.Name != "store" || o.Off < 2*page {
				return nil
			}
			pages++
			medium := f.disk.Cut().Random(crashsim.None, nil)
			_, _, _, epoch, _ := txn.MetaOf(medium)
			if r, _ := index.Header(o.Data); r.TxID.Epoch() > epoch {
				t.Errorf("page %d (txid %v) is stored, epoch %d is durable", r.Page, r.TxID, epoch)
			}
			if r, kind := index.Header(o.Data); kind != 0 {
				last = max(last, r.TxID)
				if r.TxID <= before {
					t.Errorf("page %d (txid %v) is stored after txid %v in an earlier session", r.Page, r.TxID, before)
				}
			}
			return nil
		}
		a.commits(2)
		w, err := a.store.Write(context.Background())
		if err == nil {
			err = op{"run", strings.Repeat("run", 5000)}.apply(w)
		}
		if err != nil {
			t.Fatalf("%+v", err)
		}
		if round%3 == 2 {
			w.Rollback()
			if err := a.close(disk); err != nil {
				t.Fatal(err)
			}
		} else {
			a.die()
		}
	}
	if pages == 0 {
		t.Error("no page was stored")
	}
}

// The leader's end wakes those who wait: they do not depend on looking again themselves.
func TestLeaderWakesThoseWhoWait(t *testing.T) {
	f := newFleet(t, seeded(t), fleetCapacity)
	a, b := f.join(), f.join()
	for range 5 {
		before := b.store.Wakes()
		a.commits(1)
		if b.store.Wakes() == before {
			t.Fatal("a commit became durable and nobody was woken")
		}
	}
	a.die()
	b.die()
}

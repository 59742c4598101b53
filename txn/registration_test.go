package txn_test

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sharekv/sharekv/index"
	"github.com/sharekv/sharekv/txn"
)

// zero checks that what addUp keeps is so in the snapshot.
func zero(t *testing.T, r *txn.Reader) {
	t.Helper()
	sum := uint64(0)
	c := r.Snapshot.Cursor(r.Main.Ref)
	for ok := c.First(); ok; ok = c.Next() {
		v, _, err := c.Value()
		if err != nil {
			t.Errorf("snapshot %v: %+v", r.Snapshot.TxID, err)
			return
		}
		sum += binary.BigEndian.Uint64(v)
	}
	if sum != 0 || c.Err() != nil {
		t.Errorf("snapshot %v: the cells add up to %d, %v", r.Snapshot.TxID, sum, c.Err())
	}
}

// addsUp makes n commits.
func (p process) addsUp(t *testing.T, rng *rand.Rand, n int) {
	t.Helper()
	for range n {
		if err := p.addUp(rng); err != nil {
			t.Fatalf("%+v", err)
		}
	}
}

func reads(t *testing.T, p process) *txn.Reader {
	t.Helper()
	r, err := p.store.Read()
	if err != nil {
		t.Fatalf("%+v", err)
	}
	return &r
}

func joins(t *testing.T) (join func() process) {
	m, area := newMemory(t, 64<<20), newArea()
	return func() process {
		t.Helper()
		p, err := openMemory(area, m)
		if err != nil {
			t.Fatalf("%+v", err)
		}
		return p
	}
}

// A reader that does not run for a while, at whatever point of its beginning, reads what
// it has registered. Others that want its processor see to it that it does not run.
func TestReaderThatIsHeldUpWhileItRegistersKeepsItsSnapshot(t *testing.T) {
	p := joins(t)()
	defer p.die()
	rng := rand.New(rand.NewPCG(1, 1))
	p.addsUp(t, rng, 10)
	const enough = 100
	var held, commits atomic.Int64
	end := time.Now().Add(time.Second)
	over := func() bool { return held.Load() >= enough || t.Failed() || time.Now().After(end) }
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for !over() {
				before := commits.Load()
				r, err := p.store.Read()
				if err != nil {
					t.Errorf("%+v", err)
					return
				}
				if commits.Load()-before > 2 {
					held.Add(1)
					zero(t, &r)
				}
				r.End()
			}
		})
	}
	for !over() {
		if err := p.addUp(rng); err != nil {
			t.Errorf("%+v", err)
			break
		}
		commits.Add(1)
	}
	wg.Wait()
	t.Logf("%d readers were held up, for some of %d commits", held.Load(), commits.Load())
}

// Readers without a slot of their own share one. It keeps what the oldest of them needs,
// until the last one has gone.
func TestFloorKeepsWhatTheOldestOfItsReadersNeeds(t *testing.T) {
	p := joins(t)()
	defer p.die()
	rng := rand.New(rand.NewPCG(1, 2))
	p.addsUp(t, rng, 5)
	var slots []*txn.Reader
	for range txn.MaxReaders {
		slots = append(slots, reads(t, p))
	}
	p.addsUp(t, rng, 5)
	old := reads(t, p)
	p.addsUp(t, rng, 5)
	young := reads(t, p)
	for _, r := range slots { // which would keep much of the same
		r.End()
	}
	p.addsUp(t, rng, 100)
	zero(t, old)
	zero(t, young)
	young.End()
	p.addsUp(t, rng, 100)
	zero(t, old)
	old.End()
}

// A process dies while it reads, and its snapshot is kept for nobody. That of a process
// that lives is, whatever else is found dead.
func TestPagesThatADeadReaderNeededAreUsedAgain(t *testing.T) {
	join := joins(t)
	a, b, c := join(), join(), join()
	rng := rand.New(rand.NewPCG(1, 3))
	a.addsUp(t, rng, 100)
	kept := reads(t, b)
	a.addsUp(t, rng, 5)
	reads(t, c)
	c.die()
	a.addsUp(t, rng, 100)
	zero(t, kept)
	stats, err := a.store.Stats()
	if err != nil || stats.Readers != 1 {
		t.Errorf("%d readers, of which one lives, %v", stats.Readers, err)
	}
	b.die()
	until(t, "nothing is kept for the dead", func() bool {
		a.addsUp(t, rng, 20)
		stats, err := a.store.Stats()
		return err == nil && stats.Readers == 0 && stats.Retired < 50
	})
	a.die()
}

// Whoever looks sees the record of a commit as a whole, and none that is older than what
// was seen before.
func TestSnapshotsOnlyGetYounger(t *testing.T) {
	p := joins(t)()
	defer p.die()
	rng := rand.New(rand.NewPCG(1, 4))
	p.addsUp(t, rng, 10)
	end := time.Now().Add(time.Second / 2)
	over := func() bool { return t.Failed() || time.Now().After(end) }
	var wg sync.WaitGroup
	wg.Go(func() {
		head, durable := p.store.Progress()
		for !over() {
			for range 1000 {
				h, d := p.store.Progress()
				if h < head || d < durable || h < d {
					t.Errorf("head %v, durable %v after %v, %v", h, d, head, durable)
					return
				}
				head, durable = h, d
			}
		}
	})
	wg.Go(func() {
		last := index.TxID(0)
		for !over() {
			r, err := p.store.Read()
			if err != nil {
				t.Errorf("%+v", err)
				return
			}
			if r.Snapshot.TxID < last || r.Main.TxID > r.Snapshot.TxID {
				t.Errorf("snapshot %v, of a tree of %v, after %v", r.Snapshot.TxID, r.Main.TxID, last)
			}
			last = r.Snapshot.TxID
			r.End()
		}
	})
	for !over() {
		if err := p.addUp(rng); err != nil {
			t.Errorf("%+v", err)
			break
		}
	}
	wg.Wait()
}

func TestPagesComeFreeWhenTheirReaderHasGone(t *testing.T) {
	p := joins(t)()
	defer p.die()
	rng := rand.New(rand.NewPCG(1, 5))
	p.addsUp(t, rng, 100)
	before := statsOf(t, p)
	r := reads(t, p)
	p.addsUp(t, rng, 100)
	if kept := statsOf(t, p); kept.Readers != 1 || kept.Retired <= before.Retired {
		t.Errorf("with a reader: %+v, before: %+v", kept, before)
	}
	r.End()
	p.addsUp(t, rng, 100)
	if after := statsOf(t, p); after.Readers != 0 || after.Retired > 2*before.Retired {
		t.Errorf("without a reader: %+v, before: %+v", after, before)
	}
}

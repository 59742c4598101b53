package txn_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
	"github.com/sharekv/sharekv/internal/crashsim"
	"github.com/sharekv/sharekv/mmapfile"
	"github.com/sharekv/sharekv/txn"
)

const page = 4096

// medium returns what is on the medium without what has not been flushed.
func (f *fleet) medium() []byte { return f.disk.Cut().Random(crashsim.None, nil) }

// injury is something done to an image: what one of the pages of the last commit is now.
type injury struct {
	what string
	do   func(image []byte)
}

// injuries returns what can happen to the pages in which image differs from the one before
// its last commit, and to its meta page.
func injuries(image, before []byte, reach map[int]int, rng *rand.Rand) (all []injury) {
	slot, _, _, _, _ := txn.MetaOf(image)
	all = append(all,
		injury{"torn meta page", func(b []byte) { clear(b[slot*page+100+rng.IntN(100) : slot*page+512]) }},
		injury{"meta page with a bit changed", func(b []byte) { b[slot*page+rng.IntN(512)] ^= 1 << rng.IntN(8) }})
	for off := 2 * page; off < len(image); off += page {
		now := image[off : off+reach[off/page]]
		old := make([]byte, len(now))
		if off < len(before) {
			copy(old, before[off:])
		}
		if bytes.Equal(now, old) {
			continue
		}
		all = append(all,
			injury{fmt.Sprintf("page %d is the old one", off/page), func(b []byte) { copy(b[off:], old) }},
			injury{fmt.Sprintf("page %d is zero", off/page), func(b []byte) { clear(b[off : off+len(now)]) }},
		)
		at := off + rng.IntN(len(now))
		all = append(all, injury{fmt.Sprintf("byte %d of page %d is wrong", at-off, off/page), func(b []byte) { b[at] ^= 1 }})
	}
	return all
}

// reach returns the pages of the durable snapshot, with their length in use. A transaction stores others, too, which
// it has no use for in the end.
func (m *member) reach() map[int]int {
	m.fleet.Helper()
	r, err := m.store.Read()
	if err != nil {
		m.fleet.Fatal(err)
	}
	defer r.End()
	pages, err := r.Reach()
	if err != nil {
		m.fleet.Fatal(err)
	}
	return pages
}

// What is missing of the last commit after an unclean end is taken for a flush that had not
// ended: the commit before is there, whole. After a clean end it is damage, and found.
func TestDamageToTheLastCommitIsTheOneBeforeOrAnError(t *testing.T) {
	rng := seeded(t)
	for n := 3; n < max(4, times(7, 40)); n++ {
		f := newFleet(t, rng, fleetCapacity)
		a := f.join()
		a.commits(n - 1)
		before := f.medium()
		a.commits(1)
		image := f.medium()
		for _, x := range injuries(image, before, a.reach(), rng) {
			hurt := bytes.Clone(image)
			x.do(hurt)
			f.mu.Lock()
			again := 0
			if f.rng.IntN(oneIn(10, 2)) == 0 {
				again = 1
			}
			f.recovers(hurt, n-1, n-1, again)
			f.mu.Unlock()
			if t.Failed() {
				t.Fatalf("commit %d: %s", n, x.what)
			}
		}
		f.shorter(image, n)
		reach := a.reach()
		if err := a.leave(); err != nil {
			t.Fatal(err)
		}
		closed := f.medium()
		for _, x := range injuries(closed, before, reach, rng)[2:] {
			if bytes.Equal(closed, image) {
				t.Fatal("closing has stored nothing")
			}
			hurt := bytes.Clone(closed)
			x.do(hurt)
			f.detects(hurt, n, x.what)
		}
		slot, _, _, _, _ := txn.MetaOf(closed)
		clear(closed[slot*page : slot*page+512])
		f.mu.Lock()
		f.recovers(closed, n, n, 0) // the other meta page says the same
		f.mu.Unlock()
	}
}

// detects checks that damage is an error, in opening or in Check, or does no harm.
func (f *fleet) detects(image []byte, n int, what string) {
	f.Helper()
	images.Add(1)
	p, err := open(newArea(), crashsim.New(image, f.capacity))
	if errors.Is(err, index.ErrCorrupt) || errors.Is(err, mmapfile.ErrTruncated) {
		return
	}
	if err != nil {
		f.Errorf("%s after a clean end: %+v", what, err)
		return
	}
	defer p.die()
	content, err := p.content()
	switch {
	case err != nil && !errors.Is(err, index.ErrCorrupt):
		f.Errorf("%s after a clean end: %+v", what, err)
	case err == nil:
		f.Errorf("%s after a clean end, and nobody sees it; the content is that of commit %d: %v", what, n,
			maps.Equal(content, afterParts(n)))
	}
}

// shorter checks files that end before the newest meta page says.
func (f *fleet) shorter(image []byte, n int) {
	f.Helper()
	_, _, pages, _, _ := txn.MetaOf(image)
	for _, size := range []int{2*page + 1, (pages - 1) * page, pages*page - 1} {
		images.Add(1)
		p, err := open(newArea(), crashsim.New(image[:size], f.capacity))
		if err != nil {
			if !errors.Is(err, mmapfile.ErrTruncated) && !errors.Is(err, index.ErrCorrupt) {
				f.Errorf("%d of %d bytes: %+v", size, len(image), err)
			}
			continue
		}
		f.holds(p, n-1, n-1)
		p.die()
	}
}

// The other meta page is there for the day on which the newest one is damaged: whatever is
// stored meanwhile, nothing that its snapshot needs is stored over.
func TestOtherMetaPageCanBeReliedOnWhileAWriterStores(t *testing.T) {
	f := newFleet(t, seeded(t), fleetCapacity, tiny)
	a := f.join()
	a.handle.After = func(o crashsim.Operation) {
		acked, begun := int(f.acked.Load()), int(f.begun.Load())
		cut := f.disk.Cut()
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, keep := range []crashsim.Keep{crashsim.None, crashsim.All} {
			image := cut.Random(keep, nil)
			slot, _, _, _, _ := txn.MetaOf(image)
			clear(image[slot*page : slot*page+512])
			f.recovers(image, max(acked-1, 0), begun, 0)
		}
	}
	a.commits(times(12, 200))
	a.die()
}

// A page or a run of a transaction that was stored several times may be there in an older
// version of the same txid, whole by itself. That is not what the meta page's sum is of.
func TestOlderVersionOfAPageOfTheSameTransactionIsNoticed(t *testing.T) {
	rng := seeded(t)
	versions := 0
	for n := 2; n < max(4, times(5, 20)); n++ {
		f := newFleet(t, rng, 2<<20, tiny)
		f.ops, f.after = rewriting, afterRewriting
		a := f.join()
		a.commits(n - 1)
		var units []crashsim.Unit
		a.handle.Before = func(o crashsim.Operation) error {
			if o.Name == "flush" {
				units = append(units, f.disk.Cut().Units(page)...)
			}
			return nil
		}
		a.commits(1)
		image, reach := f.medium(), a.reach()
		for _, u := range units {
			used := reach[u.Off/page]
			now := image[u.Off : u.Off+used]
			for _, older := range u.Versions {
				if u.Off < 2*page || bytes.Equal(older[:used], now) {
					continue
				}
				versions++
				stale := bytes.Clone(image)
				copy(stale[u.Off:], older)
				f.mu.Lock()
				f.recovers(stale, n-1, n-1, 0)
				f.mu.Unlock()
			}
		}
		a.die()
	}
	t.Logf("%d older versions", versions)
	if versions < 5 {
		t.Error("hardly a page was stored twice")
	}
}

// big is a commit of more pages than are verified.
type big struct {
	name    string
	options txn.Options
	ops     []op
}

func bigs() []big {
	many := func(n int) (ops []op) {
		for i := range n {
			ops = append(ops, op{fmt.Sprintf("%08d", i*7919%n), fmt.Sprintf("%01000d", i)})
		}
		return ops
	}
	return []big{
		{"many pages", txn.Options{}, many(4000)},
		{"one run", txn.Options{}, []op{{"run", strings.Repeat("run", 5<<20/3)}}},
		{"spilled pages", txn.Options{Budget: 50 * page}, many(4000)},
	}
}

// The data of a big commit is flushed before its meta page is stored. Nothing is verified
// then, and the commit is there or the one before.
func TestPowerCutInABigCommit(t *testing.T) {
	rng := seeded(t)
	const capacity = 16 << 20
	for _, c := range bigs() {
		for range times(1, 3) {
			f := newFleet(t, rng, capacity, c.options)
			a := f.join()
			a.commits(2)
			before := afterParts(2)
			after := maps.Clone(before)
			for _, o := range c.ops {
				after[o.key] = o.value
			}
			acked := false
			check := func(image []byte) {
				images.Add(1)
				p, err := open(f.mine, crashsim.New(image, capacity), c.options)
				if err != nil {
					t.Errorf("%s: %+v", c.name, err)
					return
				}
				defer p.die()
				content, err := p.content()
				if err != nil || !maps.Equal(content, after) && (acked || !maps.Equal(content, before)) {
					t.Errorf("%s: %d values, acknowledged: %v, %+v", c.name, len(content), acked, err)
				}
			}
			stores, flushes := 0, 0
			published := false
			a.handle.After = func(o crashsim.Operation) {
				switch {
				case o.Name == "push":
					published = true
				case !published:
					if stores++; stores%oneIn(1000, 200) != 0 || o.Name != "store" {
						return
					}
				case o.Name == "flush":
					flushes++
				}
				f.disk.Cut().Each(page, times(2, 20), rng, times(2, 20), check)
			}
			w, err := a.store.Write(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range c.ops {
				if err := o.apply(w); err != nil {
					t.Fatalf("%+v", err)
				}
			}
			if err := w.Commit(); err != nil {
				t.Fatalf("%+v", err)
			}
			acked = true
			image := f.medium()
			check(image)
			if _, _, _, _, flushed := txn.MetaOf(image); !flushed || flushes < 2 {
				t.Errorf("%s: data flushed first: %v; %d flushes", c.name, flushed, flushes)
			}
			f.verifiesNothing(image)
			a.die()
			if t.Failed() {
				t.FailNow()
			}
		}
	}
}

// verifiesNothing checks that a damaged page of the last commit is not noticed in opening
// the store, which would take long.
func (f *fleet) verifiesNothing(image []byte) {
	f.Helper()
	_, txid, pages, _, _ := txn.MetaOf(image)
	for off := (pages - 1) * page; ; off -= page {
		r, kind := index.Header(image[off : off+page])
		if r.TxID != txid || int(r.Page) != off/page {
			continue // inside a run
		}
		_ = kind
		image[off+page/2] ^= 1
		break
	}
	p, err := open(newArea(), crashsim.New(image, f.capacity))
	if err != nil {
		f.Fatalf("%+v", err)
	}
	defer p.die()
	if head, _ := p.store.Progress(); head != txid {
		f.Errorf("the store opened at %v instead of %v: a big commit was verified", head, txid)
	}
	if _, err := p.content(); !errors.Is(err, index.ErrCorrupt) {
		f.Errorf("nobody has noticed the damage later: %v", err)
	}
}

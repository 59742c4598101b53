package store_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/store"
)

// full is a store that has as little room as it gets, and what it should hold.
type full struct {
	*testing.T
	db    *store.DB
	now   filled
	pages int    // how many there are at most
	room  string // the same for messages
	n     int    // commits tried
}

// tries makes fn's changes in one transaction and reports whether there was room
// for it. Any other error ends the test.
func (f *full) tries(what string, fn func(b *filling)) bool {
	f.Helper()
	next := f.now.clone()
	err := f.db.Update(func(tx *store.Tx) (err error) {
		root, err := tx.Bucket()
		if err == nil {
			fn(&filling{root, next, &err})
		}
		return err
	})
	switch {
	case err == nil:
		f.now = next
	case !errors.Is(err, store.ErrNoSpace):
		f.Fatalf("%s: %s: %+v", f.room, what, err)
	}
	return err == nil
}

// grow adds content, ever more in one transaction, until several did not find room.
// It returns how many did.
func (f *full) grow() (commits int) {
	f.Helper()
	for refused := 0; refused < 4; {
		f.n++
		room := f.tries("growing", func(b *filling) {
			for i := range 1 + f.n/4 {
				b.put(fmt.Sprintf("%03d key %d", f.n, i), fmt.Sprintf("%0*d", 50+f.n*7%900, i))
			}
			if f.n%3 == 0 {
				b.put(fmt.Sprintf("%03d large", f.n), fmt.Sprintf("%0*d", 1000+3000*(f.n%7), f.n))
			}
			in := b.in("bucket").in(fmt.Sprint(f.n % 5))
			in.put(fmt.Sprint("key ", f.n), "value")
		})
		if room {
			commits++
		} else {
			refused++
		}
	}
	return commits
}

// intact checks that the store holds what was committed.
func (f *full) intact(when string) {
	f.Helper()
	clean, err := looksLike(f.db, f.now)
	if err != nil || !clean {
		f.Fatalf("%s: %s: clean %v, %+v", f.room, when, clean, err)
	}
}

// A full store has room for deletes of one value from so many pages on, and of some
// values at once from more. In a smaller one the reserve is a page or two.
const (
	roomForOne  = 32
	roomForSome = 160
)

// deletes deletes a value, or a few, for which there must be room.
func (f *full) deletes(rng *rand.Rand) bool {
	f.Helper()
	n := 1
	if f.pages >= roomForSome {
		n += rng.IntN(3)
	}
	room := f.tries("deleting", func(b *filling) {
		for range n {
			keys := slices.Sorted(maps.Keys(b.filled.values))
			b.delete(keys[rng.IntN(len(keys))])
		}
	})
	if !room && f.pages >= roomForOne {
		f.Fatalf("%s: no room to delete from %d values", f.room, len(f.now.values))
	}
	return room
}

// churns deletes and puts in turn, so that the store stays full.
func (f *full) churns(rng *rand.Rand) {
	f.Helper()
	for i := 0; i < 20 && len(f.now.values) >= 8; i++ {
		if !f.deletes(rng) {
			return
		}
		for j := range rng.IntN(4) {
			f.tries("putting", func(b *filling) {
				b.put(fmt.Sprintf("%02d churn %d", i, j), fmt.Sprintf("%0*d", 10<<rng.IntN(10), i))
			})
		}
	}
}

// shrinks deletes half of the values and then puts something, for which there must
// be room then.
func (f *full) shrinks(rng *rand.Rand) {
	f.Helper()
	left := len(f.now.values)
	if left < 8 {
		return
	}
	for target := left / 2; len(f.now.values) > target; {
		if !f.deletes(rng) {
			return
		}
	}
	room := false
	for i := 0; i < 4 && !room; i++ {
		room = f.tries("putting", func(b *filling) { b.put(fmt.Sprint("again ", i), "value") })
	}
	if !room && f.pages >= roomForOne {
		f.Fatalf("%s: half of the values are deleted, and there is no room for one", f.room)
	}
}

// lives does all that in the store at path, which may have only so much room.
func (f *full) lives(path string, o *store.Options, rng *rand.Rand) (commits int) {
	f.Helper()
	var err error
	open := func() {
		if f.db, err = store.Open(path, o); err != nil {
			f.Fatalf("%s: open: %+v", f.room, err)
		}
	}
	closing := func() {
		if err := f.db.Close(); err != nil {
			f.Fatalf("%s: close: %+v", f.room, err)
		}
	}
	open()
	commits = f.grow()
	f.intact("full")
	closing()
	open()
	f.intact("opened again")
	f.shrinks(rng)
	f.grow() // and full again, without having been reopened
	f.churns(rng)
	f.intact("after churning")
	f.shrinks(rng)
	f.intact("after deleting")
	closing()
	open()
	f.intact("in the end")
	closing()
	return commits
}

func TestStoreOfEverySizeGetsFullAndGoesOn(t *testing.T) {
	rng := seeded(t)
	dir := memoryDir(t)
	least := 0
	for _, pages := range every(t, rng, 256, 24) {
		pages += 2
		t.Run(fmt.Sprint(pages), func(t *testing.T) {
			f := &full{T: t, now: newFilled(), pages: pages, room: fmt.Sprint(pages, " pages")}
			o := &store.Options{MaxSize: int64(pages) * 4096}
			commits := f.lives(filepath.Join(dir, fmt.Sprint(pages, ".kv")), o, rng)
			if commits > 0 && least == 0 {
				least = pages
				t.Logf("%d pages are enough for %d commits", pages, commits)
			}
			if commits == 0 && pages > 64 {
				t.Errorf("no room for anything in %d pages", pages)
			}
		})
	}
}

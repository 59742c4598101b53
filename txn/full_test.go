package txn_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/crashsim"
	"github.com/sharekv/sharekv/mmapfile"
	"github.com/sharekv/sharekv/txn"
)

// cramped is a store on a disk of so many pages, and what it should hold.
type cramped struct {
	*testing.T
	process
	disk    *crashsim.Disk
	pages   int
	content map[string]string
	n       int // transactions that added something
}

func newCramped(t *testing.T, pages int) *cramped {
	t.Helper()
	head, err := txn.Format(4096, [16]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	c := &cramped{T: t, pages: pages, content: map[string]string{}}
	c.disk = crashsim.New(head, pages*4096)
	if c.process, err = open(newArea(), c.disk); err != nil {
		t.Fatalf("%d pages: %+v", pages, err)
	}
	return c
}

// try makes the changes in one transaction and reports whether there was room for it.
// Any other error ends the test.
func (c *cramped) try(what string, adds bool, changes map[string]string) bool {
	c.Helper()
	err := c.change(adds, changes)
	switch {
	case err == nil:
		maps.Copy(c.content, changes)
		maps.DeleteFunc(c.content, func(_, v string) bool { return v == "" })
	case !errors.Is(err, mmapfile.ErrNoSpace):
		c.Fatalf("%d pages: %s: %+v", c.pages, what, err)
	}
	return err == nil
}

// change is a transaction. An empty value stands for a key to be deleted.
func (c *cramped) change(adds bool, changes map[string]string) error {
	w, err := c.store.Write(context.Background())
	if err != nil {
		return err
	}
	defer w.Rollback()
	for _, k := range slices.Sorted(maps.Keys(changes)) {
		if err := w.Start(adds); err != nil {
			return err
		}
		if adds {
			err = w.Main.Put([]byte(k), []byte(changes[k]))
		} else {
			_, err = w.Main.Delete([]byte(k))
		}
		if err != nil {
			return w.Fail(err)
		}
	}
	return w.Commit()
}

// fill adds content, with runs among it, until some transactions did not find room.
// It returns how many bytes of values did.
func (c *cramped) fill() (size int) {
	c.Helper()
	for refused := 0; refused < 3; {
		c.n++
		v := strings.Repeat("v", 100+c.n*577%3000)
		if c.n%5 == 0 {
			v = strings.Repeat("run", 1+c.n*577%4000)
		}
		if c.try("adding", true, map[string]string{fmt.Sprintf("%03d", c.n*389%1000): v}) {
			size += len(v)
		} else {
			refused++
		}
	}
	return size
}

// empty deletes everything, a value at a time.
func (c *cramped) empty(rng *rand.Rand) bool {
	c.Helper()
	keys := slices.Sorted(maps.Keys(c.content))
	rng.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	for _, k := range keys {
		if !c.try("deleting", false, map[string]string{k: ""}) {
			return false
		}
	}
	return true
}

// verify checks what the store holds, and what a power cut would leave.
func (c *cramped) verify(rng *rand.Rand, when string) {
	c.Helper()
	if content, err := c.process.content(); err != nil || !maps.Equal(content, c.content) {
		c.Fatalf("%d pages: %s: %d entries instead of %d, %+v", c.pages, when, len(content), len(c.content), err)
	}
	for _, keep := range []crashsim.Keep{crashsim.None, crashsim.All, crashsim.Some} {
		p, err := open(newArea(), crashsim.New(c.disk.PowerCut(keep, rng), c.pages*4096))
		if err != nil {
			c.Fatalf("%d pages: %s, and power failed: %+v", c.pages, when, err)
		}
		if content, err := p.content(); err != nil || !maps.Equal(content, c.content) {
			c.Fatalf("%d pages: %s, and power failed: %d entries instead of %d, %+v",
				c.pages, when, len(content), len(c.content), err)
		}
		p.die()
	}
}

// A store below this has hardly a tree when it is full.
const worthwhile = 64

// sizes returns the sizes of disks, in pages: all in CI, else every few.
func sizes(rng *rand.Rand) (sizes []int) {
	step := 8
	switch {
	case testing.Short():
		step = 24
	case os.Getenv("SHAREKV_TEST") == "ci":
		step = 1
	}
	for pages := 2 + rng.IntN(step); pages < 160; pages += step {
		sizes = append(sizes, pages)
	}
	return sizes
}

func TestFullStoreDeletesAndUsesThePagesAgain(t *testing.T) {
	s := newSimulation(t)
	for _, pages := range sizes(s.rng) {
		c := newCramped(t, pages)
		size := c.fill()
		c.verify(s.rng, "full")
		if pages >= worthwhile && size < (pages-worthwhile)*4096/3 {
			t.Errorf("%d pages are full with %d bytes", pages, size)
		}
		for round := range 3 {
			if !c.empty(s.rng) {
				t.Fatalf("%d pages, round %d: no room to delete one of %d values", pages, round, len(c.content))
			}
			c.verify(s.rng, "emptied")
			again := c.fill()
			c.verify(s.rng, "full again")
			if pages >= worthwhile && again < size*2/3 {
				t.Errorf("%d pages: %d bytes found room at first, and %d in round %d", pages, size, again, round)
			}
		}
		c.die()
	}
}

func TestPagesKeptForAReaderAreNoRoomUntilItHasGone(t *testing.T) {
	s := newSimulation(t)
	for _, pages := range sizes(s.rng) {
		c := newCramped(t, pages)
		size := c.fill()
		r, err := c.store.Read()
		if err != nil {
			t.Fatal(err)
		}
		reader := held{r, maps.Clone(c.content)}
		// Deletes need pages, too, and may find none: what they free is kept.
		c.empty(s.rng)
		kept := c.fill()
		c.verify(s.rng, "with a reader")
		if err := reader.verify(); err != nil {
			t.Fatalf("%d pages: %+v", pages, err)
		}
		reader.End()
		if pages >= worthwhile && kept > size/2 {
			t.Errorf("%d pages: %d bytes found room at first, and %d beside a reader of those", pages, size, kept)
		}
		if pages < worthwhile {
			c.die()
			continue
		}
		if !c.empty(s.rng) {
			t.Fatalf("%d pages: no room to delete when the reader has gone", pages)
		}
		if again := c.fill(); again < size*2/3 {
			t.Errorf("%d pages: %d bytes found room at first, and %d when the reader has gone", pages, size, again)
		}
		c.verify(s.rng, "in the end")
		c.die()
	}
}

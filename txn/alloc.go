package txn

import (
	"slices"

	"github.com/sharekv/sharekv/index"
)

// How much of the free-space tree a transaction looks at in one go, so that the
// cost of a small one does not depend on how much there is.
const (
	listsAtStart = 4   // lists of retired pages, before the first change
	listsAtOnce  = 8   // and whenever pages are needed
	extentsFirst = 4   // free extents taken in hand; twice as many each time
	extentsMost  = 256 // up to this
)

// allocator hands out the pages of one write transaction and takes back those
// that are no longer needed. Nothing in the store changes before file is called.
//
// Pages come from the free-space tree: retired ones that nobody needs any more,
// then free extents; and at last from the end of the store. What is left of them
// is filed in the tree with what the transaction retires. Retired ones go first,
// because to file them is to change the tree at places that have nothing to do
// with the others.
type allocator struct {
	snap  *index.Snapshot
	tree  *index.Tree  // of free space
	base  index.PageID // high-water mark of the base
	pages index.PageID // high-water mark

	until index.TxID // what died later is not reused
	pins  pins

	loose    hand                    // pages that are in no free extent of the tree
	hand     hand                    // free extents of the tree
	taken    map[index.PageID]uint64 // those, as they are in the tree
	consumed [][]byte                // keys of lists that have been looked at
	retired  []retired               // by this transaction
	blocked  map[blockedBy][]retired

	lists   [2]*index.Cursor // over retired and blocked lists; nil at the end
	extents *index.Cursor    // over free extents; nil at the end
	batch   int              // how many of them to take next
	parts   uint32           // lists filed
	filing  bool
}

// blockedBy is what lists of blocked pages are filed under.
type blockedBy struct{ reader, death index.TxID }

func newAllocator(snap *index.Snapshot, pager index.Pager, base *commit, until index.TxID, p pins) *allocator {
	a := &allocator{
		snap:    snap,
		tree:    index.NewTree(snap, pager, base.free),
		base:    base.pages,
		pages:   base.pages,
		until:   until,
		pins:    p,
		loose:   newHand(),
		hand:    newHand(),
		taken:   map[index.PageID]uint64{},
		blocked: map[blockedBy][]retired{},
		batch:   extentsFirst,
	}
	for i, kind := range []byte{keyRetired, keyBlocked} {
		a.lists[i] = a.seek([]byte{kind})
	}
	a.extents = a.seek([]byte{keyFree})
	return a
}

// seek returns a cursor at the first entry from key on, or nil. An error shows
// when the entry is read.
func (a *allocator) seek(key []byte) *index.Cursor {
	c := a.tree.Cursor()
	if !c.Seek(key) && c.Err() == nil {
		return nil
	}
	return c
}

// entry returns the entry the cursor is at. Another kind than the one wanted, or
// none, is the end.
func (a *allocator) entry(c *index.Cursor, kind byte) (e freeEntry, ok bool, err error) {
	if c == nil || c.Err() != nil {
		return e, false, cursorErr(c)
	}
	if c.Key()[0] != kind {
		return e, false, nil
	}
	value, _, err := c.Value()
	if err != nil {
		return e, false, err
	}
	e, err = decodeFree(c.Key(), value, a.base)
	return e, err == nil, err
}

func cursorErr(c *index.Cursor) error {
	if c == nil {
		return nil
	}
	return c.Err()
}

func next(c *index.Cursor) *index.Cursor {
	if !c.Next() && c.Err() == nil {
		return nil
	}
	return c
}

// alloc returns the first of n consecutive pages.
func (a *allocator) alloc(n uint64) (index.PageID, error) {
	for {
		for _, h := range []*hand{&a.loose, &a.hand} {
			if id, ok := h.take(n); ok {
				return id, nil
			}
		}
		more, err := a.refill(n)
		if err != nil {
			return 0, err
		}
		if !more {
			id := a.pages
			a.pages += index.PageID(n)
			return id, nil
		}
	}
}

// retire takes back the n pages from r on. What this transaction has made itself
// nobody else knows: it can be used again, unless what can be is being filed.
func (a *allocator) retire(r index.Ref, n int) error {
	e := extent{r.Page, uint64(n)}
	if r.TxID == a.snap.TxID && !a.filing {
		return a.loose.add(e)
	}
	a.retired = append(a.retired, retired{e, r.TxID})
	return nil
}

// refill takes more in hand for a run of n pages, and reports whether it did.
// While the tree is being changed it is not searched.
func (a *allocator) refill(n uint64) (bool, error) {
	if a.filing {
		return false, nil
	}
	before := a.loose.pages
	if err := a.sort(listsAtOnce); err != nil {
		return false, err
	}
	if n > 1 {
		return a.takeRun(n)
	}
	if a.loose.pages > before {
		return true, nil
	}
	return a.takeExtents()
}

// sort looks at retired pages, at most at the given number of lists: those that
// died first, and those whose reader has gone. Each page is free then, or goes under
// the youngest snapshot that needs it.
func (a *allocator) sort(lists int) error {
	for range lists {
		e, ok, err := a.entry(a.lists[0], keyRetired)
		if err != nil {
			return err
		}
		if !ok || e.death > a.until {
			break
		}
		if err := a.consume(a.lists[0], e); err != nil {
			return err
		}
		a.lists[0] = next(a.lists[0])
	}
	for lists > 0 {
		e, ok, err := a.entry(a.lists[1], keyBlocked)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if e.death > a.until || a.pins.has(e.reader) { // with all that it has, which died later
			a.lists[1] = a.seek(blockedKey(e.reader+1, 0, 0, 0))
			continue
		}
		if err := a.consume(a.lists[1], e); err != nil {
			return err
		}
		a.lists[1] = next(a.lists[1])
		lists--
	}
	return nil
}

// consume takes the pages of the list that c is at.
func (a *allocator) consume(c *index.Cursor, e freeEntry) error {
	a.consumed = append(a.consumed, slices.Clone(c.Key()))
	for _, r := range e.list {
		if reader, ok := a.pins.youngest(r.birth, e.death); ok {
			by := blockedBy{reader, e.death}
			a.blocked[by] = append(a.blocked[by], r)
		} else if err := a.loose.add(r.extent); err != nil {
			return err
		}
	}
	return nil
}

// takeExtents takes the next free extents in hand, and reports whether there were
// any.
func (a *allocator) takeExtents() (took bool, err error) {
	for range a.batch {
		e, ok, err := a.entry(a.extents, keyFree)
		if !ok {
			return took, err
		}
		if err := a.take(e.free); err != nil {
			return took, err
		}
		took = true
		a.extents = next(a.extents)
	}
	a.batch = min(2*a.batch, extentsMost)
	return took, nil
}

// scarce reports whether fewer than n pages are free. What it finds it takes in hand.
func (a *allocator) scarce(n uint64) (bool, error) {
	for a.loose.pages+a.hand.pages < n {
		if more, err := a.takeExtents(); err != nil || !more {
			return true, err
		}
	}
	return false, nil
}

// takeRun takes the smallest free extent of at least n pages in hand, and reports
// whether there was one.
func (a *allocator) takeRun(n uint64) (bool, error) {
	c := a.seek(sizeKey(extent{0, n}))
	for {
		e, ok, err := a.entry(c, keySize)
		if !ok {
			return false, err
		}
		if _, inHand := a.taken[e.free.start]; !inHand {
			return true, a.take(e.free)
		}
		c = next(c)
	}
}

// take takes an extent of the tree in hand, unless it is there.
func (a *allocator) take(e extent) error {
	if _, ok := a.taken[e.start]; ok {
		return nil
	}
	a.taken[e.start] = e.pages
	return a.hand.add(e)
}

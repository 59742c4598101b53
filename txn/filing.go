package txn

import (
	"cmp"
	"maps"
	"slices"

	"github.com/sharekv/sharekv/index"
)

// file writes what is left in hand, and what has been retired, to the free-space
// tree, and returns its root. Writing changes the tree's own pages, for which
// pages are taken from the hand and retired in turn: it goes on until nothing is
// left to write. That ends, because the tree's pages are copied once and the hand
// only shrinks: pages that the tree lets go are retired, not taken in hand.
func (a *allocator) file() (index.Root, error) {
	if err := a.reserve(); err != nil {
		return index.Root{}, err
	}
	a.filing = true
	for _, key := range a.consumed {
		if _, err := a.tree.Delete(key); err != nil {
			return index.Root{}, err
		}
	}
	if err := a.fileBlocked(); err != nil {
		return index.Root{}, err
	}
	if err := a.fileRetired(); err != nil {
		return index.Root{}, err
	}
	if err := a.join(); err != nil {
		return index.Root{}, err
	}
	for {
		changed, err := a.fileHand()
		if err != nil {
			return index.Root{}, err
		}
		if !changed && len(a.retired) == 0 {
			return a.tree.Root, nil
		}
		if err := a.fileRetired(); err != nil {
			return index.Root{}, err
		}
	}
}

// join takes the loose pages in hand, and the free extents of the tree that they
// touch, so that they become one.
func (a *allocator) join() error {
	var loose []extent
	a.loose.each(func(e extent) { loose = append(loose, e) })
	a.loose = newHand()
	c := a.tree.Cursor()
	for _, e := range loose {
		if c.SeekLast(freeKey(e.start-1)) || c.Err() != nil {
			before, ok, err := a.entry(c, keyFree)
			if err == nil && ok && before.free.end() == e.start {
				err = a.take(before.free)
			}
			if err != nil {
				return err
			}
		}
		if err := a.takeAt(e.end()); err != nil {
			return err
		}
		if err := a.hand.add(e); err != nil {
			return err
		}
	}
	return nil
}

// takeAt takes the free extent that begins at start, if there is one.
func (a *allocator) takeAt(start index.PageID) error {
	key := freeKey(start)
	value, _, err := a.tree.Get(key)
	if err == index.ErrNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	e, err := decodeFree(key, value, a.base)
	if err != nil {
		return err
	}
	return a.take(e.free)
}

// reserve takes as many pages in hand as filing is likely to need, because it
// cannot take more. A transaction changes the tree at two places at least: where
// what is retired goes, and where extents were taken.
func (a *allocator) reserve() error {
	height, err := a.tree.Height()
	if err != nil {
		return err
	}
	const perPage = 16 // entries of the tree that are changed in one page, at a guess
	changes := len(a.consumed) + len(a.blocked) + len(a.taken)
	want := 2*height + 2 + changes/perPage + len(a.retired)/maxList(a.snap.PageSize())
	for a.loose.pages+a.hand.pages < uint64(want) {
		if more, err := a.takeExtents(); err != nil || !more {
			return err
		}
	}
	return nil
}

// fileHand makes the free extents in the tree those that are in hand, and reports
// whether that changed anything.
func (a *allocator) fileHand() (changed bool, err error) {
	inHand := make(map[index.PageID]uint64, len(a.taken))
	var put []extent
	a.hand.each(func(e extent) {
		inHand[e.start] = e.pages
		if a.taken[e.start] != e.pages {
			put = append(put, e)
		}
	})
	var gone []index.PageID
	for start := range a.taken {
		if _, ok := inHand[start]; !ok {
			gone = append(gone, start)
		}
	}
	slices.Sort(gone)
	for _, start := range gone {
		if _, err := a.tree.Delete(freeKey(start)); err != nil {
			return false, err
		}
		if err := a.fileBySize(extent{start, a.taken[start]}, extent{}); err != nil {
			return false, err
		}
		delete(a.taken, start)
	}
	for _, e := range put {
		if err := a.tree.Put(freeKey(e.start), encodeFree(e)); err != nil {
			return false, err
		}
		if err := a.fileBySize(extent{e.start, a.taken[e.start]}, e); err != nil {
			return false, err
		}
		a.taken[e.start] = e.pages
	}
	return len(gone)+len(put) > 0, nil
}

// fileBySize replaces an extent by another in the order of sizes, which has those of
// several pages.
func (a *allocator) fileBySize(old, e extent) error {
	if old.pages > 1 {
		if _, err := a.tree.Delete(sizeKey(old)); err != nil {
			return err
		}
	}
	if e.pages > 1 {
		return a.tree.Put(sizeKey(e), nil)
	}
	return nil
}

func (a *allocator) fileRetired() error {
	list := a.retired
	a.retired = nil
	return a.fileLists(list, func(part uint32) []byte { return retiredKey(a.snap.TxID, part) })
}

func (a *allocator) fileBlocked() error {
	order := func(x, y blockedBy) int {
		return cmp.Or(cmp.Compare(x.reader, y.reader), cmp.Compare(x.death, y.death))
	}
	for _, by := range slices.SortedFunc(maps.Keys(a.blocked), order) {
		err := a.fileLists(a.blocked[by], func(part uint32) []byte {
			return blockedKey(by.reader, by.death, a.snap.TxID, part)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// fileLists puts list into the tree, in as many entries as it takes.
func (a *allocator) fileLists(list []retired, key func(part uint32) []byte) error {
	slices.SortFunc(list, func(x, y retired) int { return cmp.Compare(x.start, y.start) })
	list = joinRetired(list)
	for part := range slices.Chunk(list, maxList(a.snap.PageSize())) {
		a.parts++
		if err := a.tree.Put(key(a.parts), encodeList(part)); err != nil {
			return err
		}
	}
	return nil
}

// joinRetired makes one of neighbours that were born together.
func joinRetired(list []retired) []retired {
	var joined []retired
	for _, r := range list {
		if n := len(joined); n > 0 && joined[n-1].end() == r.start && joined[n-1].birth == r.birth {
			joined[n-1].pages += r.pages
		} else {
			joined = append(joined, r)
		}
	}
	return joined
}

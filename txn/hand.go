package txn

import (
	"cmp"

	"github.com/cockroachdb/errors"
	"github.com/google/btree"

	"github.com/sharekv/sharekv/index"
)

// hand holds the free extents that a transaction has in hand, by position, where
// neighbours merge, and by size, where runs are found best-fit.
type hand struct {
	byStart *btree.BTreeG[extent]
	bySize  *btree.BTreeG[extent]
	pages   uint64 // in all
}

func newHand() hand {
	const degree = 16
	return hand{
		byStart: btree.NewG(degree, func(a, b extent) bool { return a.start < b.start }),
		bySize: btree.NewG(degree, func(a, b extent) bool {
			return cmp.Or(cmp.Compare(a.pages, b.pages), cmp.Compare(a.start, b.start)) < 0
		}),
	}
}

func (h *hand) insert(e extent) {
	h.byStart.ReplaceOrInsert(e)
	h.bySize.ReplaceOrInsert(e)
	h.pages += e.pages
}

func (h *hand) remove(e extent) {
	h.byStart.Delete(e)
	h.bySize.Delete(e)
	h.pages -= e.pages
}

// add puts e in hand, in one piece with its neighbours. It must not be there: if
// it is, a page would be handed out twice.
func (h *hand) add(e extent) error {
	var before, after extent
	h.byStart.DescendLessOrEqual(e, func(x extent) bool { before = x; return false })
	h.byStart.AscendGreaterOrEqual(e, func(x extent) bool { after = x; return false })
	if before.pages > 0 && before.end() > e.start || after.pages > 0 && e.end() > after.start {
		return errors.Wrapf(index.ErrCorrupt, "%d pages from %d are free twice", e.pages, e.start)
	}
	if before.pages > 0 && before.end() == e.start {
		h.remove(before)
		e = extent{before.start, before.pages + e.pages}
	}
	if after.pages > 0 && e.end() == after.start {
		h.remove(after)
		e.pages += after.pages
	}
	h.insert(e)
	return nil
}

// take takes a run of n pages out of the smallest extent that has it. Single
// pages come from the front of the store. An extent keeps its beginning, which is
// its key in the free-space tree.
func (h *hand) take(n uint64) (index.PageID, bool) {
	var found extent
	if n == 1 {
		found, _ = h.byStart.Min()
	} else {
		h.bySize.AscendGreaterOrEqual(extent{0, n}, func(x extent) bool { found = x; return false })
	}
	if found.pages < n || n == 0 {
		return 0, false
	}
	h.remove(found)
	found.pages -= n
	if found.pages > 0 {
		h.insert(found)
	}
	return found.end(), true
}

// each calls fn for the extents in order of position.
func (h *hand) each(fn func(extent)) {
	h.byStart.Ascend(func(e extent) bool { fn(e); return true })
}

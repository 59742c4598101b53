package index

import (
	"slices"
	"sort"
)

// pair is two neighbours under one parent, seen as one sequence of entries, and
// the separators around them:
//
//	lower <= left < sep <= right < upper
//
// The prefix of either page is the beginning of sep. Together they may have a
// shorter one, because their bounds are wider: then separators get bytes of the
// old prefix back.
type pair struct {
	left, right       page
	lower, sep, upper []byte

	whole []byte // the last separator that was put together
}

// join merges the page at depth d, which is too empty, with a neighbour, or
// moves entries from one to the other if they do not fit one page, or leaves both
// alone if that would not help. It reports whether there is one page less.
// Requires that the parent has several children.
func (t *Tree) join(d int, key []byte) (merged bool, err error) {
	p, err := t.pair(d, key)
	if err != nil {
		return false, err
	}
	prefix := commonPrefix(p.lower, p.upper)
	if p.size(0, p.count(), prefix) <= p.space() {
		return true, t.merge(d, p, prefix)
	}
	k, ok := p.middle()
	if !ok {
		return false, corrupt(p.left.ref(), "does not fit two pages with its neighbour")
	}
	if k == p.left.count() {
		return false, nil
	}
	return false, t.share(d, p, k)
}

// pair returns the page at depth d and the neighbour before it, or behind it if
// it is the first. From then on the entry of the path at the parent is that of
// the right one.
//
// Nothing is believed that was not checked: both are about to be built anew.
func (t *Tree) pair(d int, key []byte) (*pair, error) {
	p := &pair{}
	parent := &t.path[d-1]
	b := bounds{t.bound(d-1, key, false), t.bound(d-1, key, true)}
	if err := checkKeys(parent.page, b); err != nil {
		return nil, err
	}
	other := parent.i - 1
	if other < 0 {
		other = 1
	}
	neighbour, err := t.snap.node(parent.child(other), parent.level()-1)
	if err != nil {
		return nil, err
	}
	if other < parent.i {
		p.left, p.right = neighbour, t.path[d].page
	} else {
		p.left, p.right = t.path[d].page, neighbour
	}
	parent.i = max(parent.i, other)
	p.sep = slices.Clone(t.bound(d, key, false))
	p.upper = t.bound(d, key, true)
	parent.i--
	p.lower = t.bound(d, key, false)
	parent.i++
	if err := checkPart(p.left, bounds{p.lower, p.sep}); err != nil {
		return nil, err
	}
	return p, checkPart(p.right, bounds{p.sep, p.upper})
}

// checkPart checks what the arithmetic with the entries of a pair relies on.
func checkPart(p page, b bounds) error {
	if n := p.used(); n > len(p)-HeaderSize {
		return corrupt(p.ref(), "cells overlap: slots and cells have %d bytes", n)
	}
	return checkKeys(p, b)
}

// merge makes one page of the two.
func (t *Tree) merge(d int, p *pair, prefix int) error {
	one, gone := t.path[d].page, p.left.ref()
	if gone == one.ref() {
		gone = p.right.ref()
	}
	t.keepPair(p)
	t.fill(one, p, 0, p.count(), prefix)
	parent := t.path[d-1]
	parent.setChild(parent.i-1, one.ref())
	parent.remove(parent.i)
	return t.pager.Retire(gone, 1)
}

// share moves entries between the two until the left one has k. The new separator
// may be longer than the old one, so that the parent is split.
func (t *Tree) share(d int, p *pair, k int) error {
	sep := slices.Clone(p.separator(k))
	left, err := t.ownPage(p.left)
	if err != nil {
		return err
	}
	right, err := t.ownPage(p.right)
	if err != nil {
		return err
	}
	t.keepPair(p)
	t.fill(left, p, 0, k, commonPrefix(p.lower, sep))
	t.fill(right, p, k, p.count(), commonPrefix(sep, p.upper))
	parent := t.path[d-1]
	parent.setChild(parent.i-1, left.ref())
	parent.remove(parent.i)
	return t.insert(d-1, sep, branchEntry(sep[parent.prefix():], right.ref()))
}

// keepPair makes p refer to copies of the two pages, which are good until the
// next call or that of keep.
func (t *Tree) keepPair(p *pair) {
	t.scratch = append(append(t.scratch[:0], p.left...), p.right...)
	p.left, p.right = t.scratch[:len(p.left)], t.scratch[len(p.left):]
}

// fill makes q a page of the entries from up to to, with the given prefix.
func (t *Tree) fill(q page, p *pair, from, to, prefix int) {
	t.checkOwned(q)
	q.reset(prefix)
	for i := from; i < to; i++ {
		e := p.entry(i, prefix)
		if i == from && q.kind() == TypeBranch {
			e.key, e.rest = nil, nil // the page's own lower bound says it
		}
		q.insert(i-from, e)
	}
}

func (p *pair) count() int { return p.left.count() + p.right.count() }

// space is how many bytes slots and cells of one page may have.
func (p *pair) space() int { return len(p.left) - HeaderSize }

func (p *pair) isLeaf() bool { return p.left.kind() == TypeLeaf }

// at returns the page that holds entry i, and the entry's position there.
func (p *pair) at(i int) (page, int) {
	if n := p.left.count(); i >= n {
		return p.right, i - n
	}
	return p.left, i
}

// entry returns entry i as it goes into a node with the given prefix. It is good
// until the next call.
func (p *pair) entry(i, prefix int) entry {
	q, j := p.at(i)
	if p.isLeaf() {
		return q.entryOf(j, prefix)
	}
	e := entry{head: q.cell(j)[:offBranchKey]}
	if i > 0 {
		e.key = p.separator(i)[prefix:]
		e.rest = e.key
	}
	return e
}

// separator returns the whole separator below entry i, which is not the first: of
// a leaf, the shortest that does. It is good until the next call.
func (p *pair) separator(i int) []byte {
	q, j := p.at(i)
	switch {
	case p.isLeaf():
		before, k := p.at(i - 1)
		key := q.leafKey(j)
		return key[:commonPrefix(before.leafKey(k), key)+1]
	case j == 0:
		return p.sep
	}
	p.whole = append(append(p.whole[:0], p.sep[:q.prefix()]...), q.separator(j)...)
	return p.whole
}

// size returns how many bytes the entries from up to to need in a page of their
// own with the given prefix.
func (p *pair) size(from, to, prefix int) int {
	n := (to - from) * slotSize
	for i := from; i < to; i++ {
		q, j := p.at(i)
		switch {
		case p.isLeaf():
			n += len(q.cell(j))
		case i == from:
			n += offBranchKey
		case j == 0:
			n += offBranchKey + len(p.sep) - prefix
		default:
			n += offBranchKey + q.prefix() + q.slot(j).keyLen() - prefix
		}
	}
	return n
}

// sizes returns how many bytes the two pages need if the left one has k entries.
func (p *pair) sizes(k int) (left, right int) {
	sep := p.separator(k)
	return p.size(0, k, commonPrefix(p.lower, sep)),
		p.size(k, p.count(), commonPrefix(sep, p.upper))
}

// larger returns the size of the larger of the two.
func (p *pair) larger(k int) int { return max(p.sizes(k)) }

// middle returns how many entries the left page has if the larger of the two is
// as small as can be. Of branches both have two children at least: an only child
// has no neighbour. Of entries that do not fit one page there are enough for
// that, and there is always a way, the present one or one beside it, unless
// separators are longer than keys may be.
//
// With k the size of the left page grows and that of the right one falls: what a
// prefix loses by wider bounds can only add to that.
func (p *pair) middle() (k int, ok bool) {
	least := 1
	if !p.isLeaf() {
		least = 2
	}
	most := p.count() - least
	if most < least {
		return 0, false
	}
	k = least + sort.Search(most-least, func(i int) bool {
		left, right := p.sizes(least + i)
		return left >= right
	})
	if k > least && p.larger(k-1) <= p.larger(k) {
		k--
	}
	return k, p.larger(k) <= p.space()
}

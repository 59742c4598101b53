package index

import (
	"bytes"
	"cmp"
	"slices"
)

// Check verifies the tree at root, and every bucket in it, page by page: what
// every visit checks, checksums whatever was verified before, and all that the
// format promises of nodes (FORMAT.md, "What must hold"). It calls visit for
// each run of n pages the tree refers to; visit's error ends it. It returns how
// many values the trees hold, those of buckets included.
func (s *Snapshot) Check(root Root, visit func(r Ref, n int) error) (values uint64, err error) {
	unverified := *s
	unverified.Verified = nil
	c := checker{snap: &unverified, visit: visit, trees: []Root{root}}
	for len(c.trees) > 0 {
		t := c.trees[0]
		c.trees = c.trees[1:]
		if err := c.tree(t); err != nil {
			return c.values, err
		}
	}
	return c.values, nil
}

type checker struct {
	snap    *Snapshot
	visit   func(Ref, int) error
	trees   []Root // still to be checked; buckets are found on the way
	entries uint64 // of the current tree
	values  uint64
}

func (c *checker) tree(root Root) error {
	c.entries = 0
	if !root.IsZero() {
		p, err := c.snap.node(root.Ref, -1)
		if err != nil {
			return err
		}
		if err := c.node(p, bounds{}); err != nil {
			return err
		}
	}
	if c.entries != root.Entries {
		return corrupt(root.Ref, "root of a tree of %d entries that has %d", root.Entries, c.entries)
	}
	return nil
}

var zeros [MaxPageSize]byte

func allZero(b []byte) bool { return bytes.Equal(b, zeros[:len(b)]) }

// bounds are those of a page: lower <= key < upper; nil is none.
type bounds struct{ lower, upper []byte }

// behind returns the bounds of what comes behind the first n bytes, which both
// have in common.
func (b bounds) behind(n int) bounds { return bounds{b.lower[n:], b.upper[n:]} }

// node checks the page and all below it. The recursion ends because the level
// falls with each step.
func (c *checker) node(p page, b bounds) error {
	if err := c.visit(p.ref(), 1); err != nil {
		return err
	}
	if err := checkCells(p); err != nil {
		return err
	}
	if err := checkKeys(p, b); err != nil {
		return err
	}
	if p.kind() == TypeLeaf {
		return c.leaf(p)
	}
	return c.branch(p, b)
}

// checkCells checks that cells do not overlap and that nothing is left between
// them and the slots.
func checkCells(p page) error {
	type extent struct{ from, to int }
	var cells []extent
	for i := range p.count() {
		off := p.slot(i).off()
		cells = append(cells, extent{off, off + len(p.cell(i))})
	}
	slices.SortFunc(cells, func(a, b extent) int { return cmp.Compare(a.from, b.from) })
	end := HeaderSize + p.count()*slotSize
	for _, c := range cells {
		if c.from < end {
			return corrupt(p.ref(), "cells overlap at %d", c.from)
		}
		if !allZero(p[end:c.from]) {
			return corrupt(p.ref(), "bytes between cells at %d are not zero", end)
		}
		end = c.to
	}
	if !allZero(p[end:]) {
		return corrupt(p.ref(), "bytes behind the cells at %d are not zero", end)
	}
	return nil
}

// checkKeys checks that p's prefix is no longer than its bounds allow, and that
// its keys or separators increase, lie within the bounds, and have their hints.
func checkKeys(p page, b bounds) error {
	n := commonPrefix(b.lower, b.upper)
	if p.prefix() > n {
		return corrupt(p.ref(), "prefix of %d bytes, but its bounds share %d", p.prefix(), n)
	}
	branch, hidden := p.kind() == TypeBranch, p.prefix()
	if branch { // keys are stored without the prefix
		b, hidden = b.behind(p.prefix()), 0
	}
	last := b.lower
	for i := range p.count() {
		if branch && i == 0 {
			continue
		}
		key := p.storedKey(i)
		if c := bytes.Compare(last, key); c > 0 || c == 0 && i > 0 {
			return corrupt(p.ref(), "key %d %q is not above %q", i, key, last)
		}
		if b.upper != nil && bytes.Compare(key, b.upper) >= 0 {
			return corrupt(p.ref(), "key %d %q is not below %q", i, key, b.upper)
		}
		if hint := hintOf(key[hidden:]); p.slot(i).hint() != hint {
			return corrupt(p.ref(), "hint of key %d is %#x instead of %#x", i, p.slot(i).hint(), hint)
		}
		last = key
	}
	return nil
}

func (c *checker) leaf(p page) error {
	for i := range p.count() {
		c.entries++
		value, kind := p.leafValue(i)
		switch kind {
		case KindBucket:
			c.trees = append(c.trees, DecodeRoot(value))
			continue
		case KindOverflow:
			o := decodeOverflow(value)
			if o.TxID > p.txid() {
				return corrupt(p.ref(), "value %d is younger than its page: txid %v", i, o.TxID)
			}
			if _, err := c.snap.overflow(o); err != nil {
				return err
			}
			if err := c.visit(o.Ref, int(o.pages(c.snap.PageShift))); err != nil {
				return err
			}
		}
		c.values++
	}
	return nil
}

func (c *checker) branch(p page, b bounds) error {
	// The prefix is not in the page: the bounds have it.
	prefix := b.lower[:p.prefix()]
	of := bounds{lower: b.lower}
	for i := range p.count() {
		child := p.child(i)
		if child.TxID > p.txid() {
			return corrupt(p.ref(), "child %d is younger than its parent: txid %v", i, child.TxID)
		}
		q, err := c.snap.node(child, p.level()-1)
		if err != nil {
			return err
		}
		of.upper = b.upper
		if i+1 < p.count() {
			of.upper = slices.Concat(prefix, p.separator(i+1))
		}
		if err := c.node(q, of); err != nil {
			return err
		}
		of.lower = of.upper
	}
	return nil
}

package index

import "github.com/sharekv/sharekv/internal/invariant"

// split puts e before entry i of the page at depth d, which is full, and in doing
// so moves the upper part of the page to a new one on its right. The separator
// between the two goes into the parent.
func (t *Tree) split(d int, key []byte, e entry) error {
	s := t.path[d]
	t.checkOwned(s.page)
	lower, upper := t.bound(d, key, false), t.bound(d, key, true)
	if err := checkPart(s.page, bounds{lower, upper}); err != nil {
		return err
	}
	old := t.keep(s.page)
	all := merged{old, s.i, e}
	k := all.splitPoint(upper == nil && s.i == old.count())

	sep := all.separator(k, key)
	right, err := t.alloc(old.kind(), old.level(), commonPrefix(sep, upper))
	if err != nil {
		return err
	}
	left := s.page
	left.reset(commonPrefix(lower, sep))
	for i := range k {
		left.insert(i, all.entry(i, left.prefix()))
	}
	for i := k; i <= old.count(); i++ {
		e := all.entry(i, right.prefix())
		if i == k && old.kind() == TypeBranch {
			e.key, e.rest = nil, nil // the separator says it
		}
		right.insert(i-k, e)
	}
	return t.insertChild(d, sep, right.ref())
}

// insertChild puts a child with the separator below it behind the one that the
// path goes through at depth d.
func (t *Tree) insertChild(d int, sep []byte, child Ref) error {
	if d == 0 {
		root, err := t.alloc(TypeBranch, t.path[0].level()+1, 0)
		if err != nil {
			return err
		}
		root.insert(0, branchEntry(nil, t.path[0].ref()))
		root.insert(1, branchEntry(sep, child))
		t.Root.Ref = root.ref()
		return nil
	}
	parent := &t.path[d-1]
	if parent.prefix() > len(sep) {
		return corrupt(parent.ref(), "prefix of %d bytes is longer than a separator", parent.prefix())
	}
	parent.i++
	return t.insert(d-1, sep, branchEntry(sep[parent.prefix():], child))
}

func branchEntry(key []byte, child Ref) entry {
	head := make([]byte, offBranchKey)
	putRef(head, child)
	return entry{head: head, key: key, rest: key}
}

// merged is a page with one more entry put before position i.
type merged struct {
	page page
	i    int
	e    entry
}

// separator returns the shortest key that keeps entry k, and all above it, from
// the entries below: of a leaf, as much of its first key as tells it from the
// last key on the left; of a branch, the separator that is there. key shares the
// page's prefix.
func (m *merged) separator(k int, key []byte) []byte {
	prefix := m.page.prefix()
	right := m.entry(k, prefix).rest
	n := len(right)
	if m.page.kind() == TypeLeaf {
		n = commonPrefix(m.entry(k-1, prefix).rest, right) + 1
	}
	return append(append(make([]byte, 0, prefix+n), key[:prefix]...), right[:n]...)
}

// entry returns entry i of the merged page as it goes into a node with the given
// prefix.
func (m *merged) entry(i, prefix int) entry {
	switch {
	case i < m.i:
		return m.page.entryOf(i, prefix)
	case i > m.i:
		return m.page.entryOf(i-1, prefix)
	}
	e := m.e
	cut := prefix - m.page.prefix()
	e.rest = e.rest[cut:]
	if m.page.kind() == TypeBranch {
		e.key = e.rest
	}
	return e
}

// size returns how many bytes entry i needs, its slot included.
func (m *merged) size(i int) int {
	switch {
	case i < m.i:
		return len(m.page.cell(i)) + slotSize
	case i > m.i:
		return len(m.page.cell(i-1)) + slotSize
	}
	return m.e.size() + slotSize
}

// splitPoint returns how many entries stay in the left page. When the tree grows
// at its right edge (append), all old ones do: keys that come in order then fill
// their pages.
func (m *merged) splitPoint(appending bool) int {
	n := m.page.count() + 1
	if appending {
		return n - 1
	}
	total := 0
	for i := range n {
		total += m.size(i)
	}
	space := len(m.page) - HeaderSize
	left, k := 0, 0
	for k < n-1 {
		s := m.size(k)
		// Half of the bytes, but never more than fits on either side.
		if left+s > space || (left+s > total/2 && total-left <= space) {
			break
		}
		left += s
		k++
	}
	if k == 0 {
		k = 1
	}
	invariant.Assert(total-left <= space, "I8: %d bytes do not fit two pages", total)
	return k
}

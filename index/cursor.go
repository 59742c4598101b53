package index

import "bytes"

// Cursor walks the entries of a tree in key order. It may not be used by several
// goroutines at once.
//
// In a reader it moves over a snapshot that never changes. In a writer the tree
// may be changed between steps: Next goes on at the first key greater than the
// one it was at, so that no key comes twice and none is skipped.
type Cursor struct {
	snap  *Snapshot
	root  Ref
	tree  *Tree // of a writer, else nil
	path  [maxLevel + 1]step
	depth int // how much of path is in use; 0 = not at an entry
	err   error

	changes uint64 // of the tree when path was set
	key     []byte // of a writer: a copy of the key the cursor is at
}

// Cursor returns a cursor over the tree at root, at no entry yet.
func (s *Snapshot) Cursor(root Ref) *Cursor { return &Cursor{snap: s, root: root} }

// Cursor returns a cursor over the tree, at no entry yet.
func (t *Tree) Cursor() *Cursor { return &Cursor{snap: t.snap, tree: t} }

// First moves to the first entry.
func (c *Cursor) First() bool { return c.Seek(nil) }

// Seek moves to the first entry whose key is at least key. It reports whether
// there is one; if not, Err says whether something went wrong.
func (c *Cursor) Seek(key []byte) bool {
	c.depth = 0
	root := c.root
	if c.tree != nil {
		root = c.tree.Root.Ref
		c.changes = c.tree.changes
	}
	if root.IsZero() || c.err != nil {
		return false
	}
	p, ok := c.visit(root, -1)
	for ok && p.kind() == TypeBranch {
		i := p.findChild(key)
		c.push(p, i)
		p, ok = c.visit(p.child(i), p.level()-1)
	}
	if !ok {
		return false
	}
	i, _ := p.findLeaf(key)
	c.push(p, i)
	return c.settle()
}

// Next moves to the next entry. Requires that the cursor is at one.
func (c *Cursor) Next() bool {
	if c.depth == 0 || c.err != nil {
		return false
	}
	if c.tree != nil && c.changes != c.tree.changes {
		last := c.key
		if !c.Seek(last) || !bytes.Equal(c.Key(), last) {
			return c.depth > 0
		}
	}
	c.path[c.depth-1].i++
	return c.settle()
}

// settle moves on to the next leaf if the position is behind the last entry of
// its own.
func (c *Cursor) settle() bool {
	for c.path[c.depth-1].i >= c.path[c.depth-1].count() {
		c.depth--
		if c.depth == 0 {
			return false
		}
		top := &c.path[c.depth-1]
		top.i++
		for top.i < top.count() && top.kind() == TypeBranch {
			p, ok := c.visit(top.child(top.i), top.level()-1)
			if !ok {
				return false
			}
			c.push(p, 0)
			top = &c.path[c.depth-1]
		}
	}
	if c.tree != nil {
		c.key = append(c.key[:0], c.Key()...)
	}
	return true
}

func (c *Cursor) visit(r Ref, level int) (page, bool) {
	p, err := c.snap.node(r, level)
	if err != nil {
		c.err, c.depth = err, 0
		return nil, false
	}
	return p, true
}

func (c *Cursor) push(p page, i int) {
	c.path[c.depth] = step{p, i}
	c.depth++
}

// Key returns the key of the current entry, valid and unchangeable as the result
// of Snapshot.Get is.
func (c *Cursor) Key() []byte {
	s := c.path[c.depth-1]
	return s.leafKey(s.i)
}

// Value returns the value of the current entry and what it is.
func (c *Cursor) Value() ([]byte, Kind, error) {
	s := c.path[c.depth-1]
	return c.snap.value(s.page, s.i)
}

// Err returns the error that ended the walk. Once it is set the cursor stays
// where it is: nowhere.
func (c *Cursor) Err() error { return c.err }

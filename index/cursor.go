package index

import "bytes"

// Cursor walks the entries of a tree in key order, either way. It may not be used
// by several goroutines at once.
//
// In a reader it moves over a snapshot that never changes. In a writer the tree
// may be changed between steps: Next goes on at the first key greater than the
// one it was at, and Prev at the last key less than it, so that no key comes
// twice and none is skipped.
type Cursor struct {
	snap  *Snapshot
	root  Ref
	tree  *Tree // of a writer, else nil
	path  [maxLevel + 1]step
	depth int    // how much of path is in use; 0 = not at an entry
	here  []byte // the key the cursor is at, in the page
	err   error

	changes uint64 // of the tree when path was set
	spilled uint64 // of the snapshot
	key     []byte // of a writer: a copy of the key the cursor is at
}

// direction is the way a cursor moves: what one step adds to a position.
type direction int

const (
	forward  direction = 1
	backward direction = -1
)

// Cursor returns a cursor over the tree at root, at no entry yet.
func (s *Snapshot) Cursor(root Ref) *Cursor { return &Cursor{snap: s, root: root} }

// Cursor returns a cursor over the tree, at no entry yet.
func (t *Tree) Cursor() *Cursor { return &Cursor{snap: t.snap, tree: t} }

// First moves to the first entry. It reports whether there is one; if not, Err
// says whether something went wrong. So do all methods that move.
func (c *Cursor) First() bool { return c.enter(forward) }

// Last moves to the last entry.
func (c *Cursor) Last() bool { return c.enter(backward) }

// Seek moves to the first entry whose key is at least key.
func (c *Cursor) Seek(key []byte) bool {
	c.find(key)
	return c.settle(forward)
}

// SeekLast moves to the last entry whose key is at most key.
func (c *Cursor) SeekLast(key []byte) bool {
	if !c.find(key) {
		c.advance(backward)
	}
	return c.settle(backward)
}

// Next moves to the next entry; from nowhere, nowhere.
func (c *Cursor) Next() bool { return c.step(forward) }

// Prev moves to the entry before; from nowhere, nowhere.
func (c *Cursor) Prev() bool { return c.step(backward) }

func (c *Cursor) step(way direction) bool {
	if c.stale() && !c.find(c.key) && way == forward {
		// The entry is gone: what is in its place is the next one.
		return c.settle(forward)
	}
	c.advance(way)
	return c.settle(way)
}

// stale reports whether the tree has changed since the cursor moved, or buffers
// were taken away, so that its path leads nowhere.
func (c *Cursor) stale() bool {
	return c.tree != nil && c.depth > 0 && (c.changes != c.tree.changes || c.spilled != c.snap.Spilled)
}

// start visits the root.
func (c *Cursor) start() (page, bool) {
	c.depth = 0
	root := c.root
	if c.tree != nil {
		root = c.tree.Root.Ref
		c.changes, c.spilled = c.tree.changes, c.snap.Spilled
	}
	if root.IsZero() || c.err != nil {
		return nil, false
	}
	return c.visit(root, -1)
}

// enter moves to the entry at which a walk in the given direction begins.
func (c *Cursor) enter(way direction) bool {
	if p, ok := c.start(); ok {
		c.push(p, way.start(p))
	}
	return c.settle(way)
}

// find sets the path to the position of the first key >= key in the leaf that key
// belongs to, which may be behind its last entry. It reports whether that key is
// equal. An error leaves the cursor nowhere.
func (c *Cursor) find(key []byte) bool {
	p, ok := c.start()
	for ok && p.kind() == TypeBranch {
		i := p.findChild(key)
		c.push(p, i)
		p, ok = c.visit(p.child(i), p.level()-1)
	}
	if !ok {
		return false
	}
	i, found := p.findLeaf(key)
	c.push(p, i)
	return found
}

// advance moves the position in the lowest page of the path, perhaps out of it.
func (c *Cursor) advance(way direction) {
	if c.depth > 0 {
		c.path[c.depth-1].i += int(way)
	}
}

// settle moves on until the position is an entry of a leaf: up from a page that
// it has left, down from a branch. It reports whether there is such an entry.
//
// Each leaf goes on where the one before ended. Otherwise a damaged tree, whose
// branches share children, could be walked for ever.
func (c *Cursor) settle(way direction) bool {
	var left page // the leaf that was left
	for c.depth > 0 {
		s := &c.path[c.depth-1]
		switch {
		case uint(s.i) >= uint(s.count()): // also below 0
			if s.kind() == TypeLeaf {
				left = s.page
			}
			c.depth--
			c.advance(way)
		case s.kind() == TypeLeaf:
			if left != nil && !way.follows(left, s.page) {
				c.err, c.depth = corrupt(s.ref(), "keys are not behind those of page %d", left.id()), 0
				return false
			}
			c.here = s.leafKey(s.i)
			if c.tree != nil {
				c.key = append(c.key[:0], c.here...)
			}
			return true
		default:
			if p, ok := c.visit(s.child(s.i), s.level()-1); ok {
				c.push(p, way.start(p))
			}
		}
	}
	return false
}

// start returns the position in p at which a walk begins.
func (way direction) start(p page) int {
	if way == backward {
		return p.count() - 1
	}
	return 0
}

// follows reports whether leaf p begins behind the beginning and the end of leaf
// before: of a damaged leaf, either may be the greater one.
func (way direction) follows(before, p page) bool {
	if way == backward {
		before, p = p, before
	}
	begin := p.leafKey(0)
	return bytes.Compare(before.leafKey(0), begin) < 0 &&
		bytes.Compare(before.leafKey(before.count()-1), begin) < 0
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
// of Snapshot.Get is, without reading any. Requires that the cursor is at an entry,
// which may have been deleted since.
func (c *Cursor) Key() []byte {
	if c.stale() {
		return bytes.Clone(c.key) // which the next move writes over
	}
	return c.here
}

// Value returns the value of the current entry and what it is; ErrNotFound if it
// has been deleted since the cursor moved there.
func (c *Cursor) Value() ([]byte, Kind, error) {
	if c.stale() {
		return c.tree.Get(c.key)
	}
	s := c.path[c.depth-1]
	return c.snap.value(s.page, s.i)
}

// Kind returns what the current entry is, without reading a run for it. Requires
// that nothing has changed since the cursor moved there.
func (c *Cursor) Kind() Kind {
	s := c.path[c.depth-1]
	return s.leafKind(s.i)
}

// Err returns the error that ended the walk. Once it is set the cursor stays
// where it is: nowhere.
func (c *Cursor) Err() error { return c.err }

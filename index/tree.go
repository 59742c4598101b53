package index

import (
	"encoding/binary"

	"github.com/sharekv/sharekv/internal/invariant"
)

// Pager gives a writer its pages. It is implemented by the write transaction,
// which decides where pages lie and when they are stored.
type Pager interface {
	// Alloc returns a page that nobody refers to, as a zeroed buffer that is
	// stored under that number at commit, or between two changes. Until then the
	// Snapshot's Made holds it.
	Alloc() (PageID, []byte, error)
	// Again returns a buffer for a page from Alloc that has been stored, to be
	// stored once more.
	Again(id PageID) ([]byte, error)
	// AllocRun returns the first of n consecutive pages without buffers.
	AllocRun(n int) (PageID, error)
	// Store stores bufs one behind the other from page id on, now.
	Store(id PageID, bufs [][]byte) error
	// Retire says that the tree no longer refers to the n pages from r on.
	Retire(r Ref, n int) error
}

// MaxKey returns the length in bytes of the longest key in a store of the given
// page size: a branch holds four separators of it at least, and a leaf four
// keys.
func MaxKey(pageSize int) int {
	return (pageSize-HeaderSize)/4 - slotSize - offBranchKey - overflowRefSize
}

// maxInline returns how many bytes key and value of a leaf cell may have
// together before the value goes to a run of its own: two cells fit a page.
func maxInline(pageSize int) int {
	return (pageSize-HeaderSize)/2 - slotSize - offLeafKey
}

// step is one page of the way from the root to a leaf, and the entry taken.
type step struct {
	page
	i int
}

// Tree is a tree under change by one writer. It changes copies: a page written
// by another transaction is never touched.
//
// After an error other than ErrNotFound, ErrIsBucket, ErrNotBucket and those about
// the arguments the tree is half changed, and its transaction must not be
// committed.
type Tree struct {
	Root Root

	snap    *Snapshot
	pager   Pager
	changes uint64 // counts changes, so that cursors notice
	path    []step // of the last descent, root first

	cell    []byte // the leaf cell being put
	scratch []byte // a page's old content while it is being rebuilt
	bounds  [2][]byte
}

// NewTree returns the tree at root for changes by the writer that snap and pager
// belong to.
func NewTree(snap *Snapshot, pager Pager, root Root) *Tree {
	return &Tree{Root: root, snap: snap, pager: pager}
}

// Get is Snapshot.Get on the tree as it is now.
func (t *Tree) Get(key []byte) ([]byte, Kind, error) { return t.snap.Get(t.Root.Ref, key) }

// Height returns how many pages lie on the way from the root to an entry.
func (t *Tree) Height() (int, error) {
	if t.Root.IsZero() {
		return 0, nil
	}
	p, err := t.snap.node(t.Root.Ref, -1)
	if err != nil {
		return 0, err
	}
	return p.level() + 1, nil
}

// CheckKey returns the error for a key that no tree of this page size can hold.
func CheckKey(key []byte, pageSize int) error {
	if len(key) == 0 {
		return ErrKeyEmpty
	}
	if len(key) > MaxKey(pageSize) {
		return ErrKeyTooLarge
	}
	return nil
}

// Put makes value the value of key, which must not name a bucket. Both are copied.
func (t *Tree) Put(key, value []byte) error {
	if err := CheckKey(key, t.snap.PageSize()); err != nil {
		return err
	}
	if len(value) > MaxValue {
		return ErrValueTooLarge
	}
	if len(key)+len(value) <= maxInline(t.snap.PageSize()) {
		return t.put(key, value, KindValue)
	}
	// Before the run is stored: what it holds would be lost.
	if kind, err := t.snap.kind(t.Root.Ref, key); err != nil && err != ErrNotFound {
		return err
	} else if err == nil && kind == KindBucket {
		return ErrIsBucket
	}
	o, err := t.putOverflow(value)
	if err != nil {
		return err
	}
	return t.put(key, o.encode(), KindOverflow)
}

// PutRoot makes key the name of the bucket at r. It must not be the key of a
// value.
func (t *Tree) PutRoot(key []byte, r Root) error {
	if err := CheckKey(key, t.snap.PageSize()); err != nil {
		return err
	}
	var b [RootSize]byte
	r.Encode(b[:])
	return t.put(key, b[:], KindBucket)
}

// put is Put for the bytes that go into the leaf.
func (t *Tree) put(key, value []byte, kind Kind) error {
	if t.Root.IsZero() {
		root, err := t.alloc(TypeLeaf, 0, 0)
		if err != nil {
			return err
		}
		t.Root.Ref = root.ref()
	}
	if err := t.descend(key); err != nil {
		return err
	}
	d := len(t.path) - 1
	i, found := t.path[d].findLeaf(key)
	if found {
		if err := t.path[d].checkKind(i, kind); err != nil {
			return err
		}
	}
	t.changes++
	if err := t.own(); err != nil {
		return err
	}
	leaf := &t.path[d]
	e := t.leafEntry(key, value, kind, leaf.prefix())
	leaf.i = i
	if !found {
		t.Root.Entries++
		return t.insert(d, e.key, e)
	}
	if err := t.retireValue(leaf.page, i); err != nil {
		return err
	}
	if cell := leaf.cell(i); len(cell) == e.size() {
		copy(cell, t.cell)
		return nil
	}
	leaf.remove(i)
	return t.insert(d, e.key, e)
}

// checkKind returns the error for entry i of a leaf if it may not become, or be
// deleted as, one of the given kind: buckets and values do not replace each other.
func (p page) checkKind(i int, kind Kind) error {
	is := p.leafKind(i)
	switch {
	case is == KindBucket && kind != KindBucket:
		return ErrIsBucket
	case is != KindBucket && kind == KindBucket:
		return ErrNotBucket
	}
	return nil
}

// leafEntry returns the entry for a leaf with the given prefix. It is a copy of
// the arguments, which may lie in the very page that is about to change.
func (t *Tree) leafEntry(key, value []byte, kind Kind, prefix int) entry {
	c := append(t.cell[:0], 0, 0, byte(kind), 0)
	binary.LittleEndian.PutUint16(c[offLeafLen:], uint16(len(value)))
	c = append(append(c, key...), value...)
	t.cell = c
	keyEnd := offLeafKey + len(key)
	return entry{
		head: c[:offLeafKey],
		key:  c[offLeafKey:keyEnd],
		tail: c[keyEnd:],
		rest: c[offLeafKey+prefix : keyEnd],
	}
}

// alloc returns a new, empty node.
func (t *Tree) alloc(kind Type, level, prefix int) (page, error) {
	id, buf, err := t.pager.Alloc()
	if err != nil {
		return nil, err
	}
	page(buf).init(Ref{id, t.snap.TxID}, kind, level, prefix)
	return buf, nil
}

// descend sets the path to the leaf that key belongs to.
func (t *Tree) descend(key []byte) error {
	t.path = t.path[:0]
	p, err := t.snap.node(t.Root.Ref, -1)
	for err == nil {
		if p.prefix() > len(key) {
			return corrupt(p.ref(), "prefix of %d bytes is longer than the key routed here", p.prefix())
		}
		if p.kind() == TypeLeaf {
			t.path = append(t.path, step{p, 0})
			return nil
		}
		i := p.findChild(key)
		t.path = append(t.path, step{p, i})
		p, err = t.snap.node(p.child(i), p.level()-1)
	}
	return err
}

// own makes every page of the path one that this transaction may change.
func (t *Tree) own() error {
	for d := range t.path {
		s := &t.path[d]
		p, err := t.ownPage(s.page)
		if err != nil {
			return err
		}
		if p.ref() == s.ref() {
			s.page = p
			continue
		}
		s.page = p
		if d == 0 {
			t.Root.Ref = s.ref()
		} else {
			t.path[d-1].setChild(t.path[d-1].i, s.ref())
		}
	}
	return nil
}

// ownPage returns p if this transaction may change it, and otherwise a copy that
// takes its place: whatever refers to p must refer to the copy. A page that this
// transaction made and has stored meanwhile keeps its place.
func (t *Tree) ownPage(p page) (page, error) {
	old := p.ref()
	if old.TxID == t.snap.TxID {
		if t.snap.Spilled == 0 || t.snap.Made[old.Page] != nil {
			return p, nil
		}
		buf, err := t.pager.Again(old.Page)
		if err != nil {
			return nil, err
		}
		copy(buf, p)
		return buf, nil
	}
	id, buf, err := t.pager.Alloc()
	if err != nil {
		return nil, err
	}
	copy(buf, p)
	PutHeader(buf, Ref{id, t.snap.TxID}, p.kind())
	return buf, t.pager.Retire(old, 1)
}

// insert puts e before the entry that the path holds at depth d, and splits
// pages from there upwards as needed. All pages of the path are owned. key is one
// that was routed through them: it shares their prefixes.
func (t *Tree) insert(d int, key []byte, e entry) error {
	p, i := t.path[d].page, t.path[d].i
	need := e.size() + slotSize
	if need > p.room() && need+p.used() <= len(p)-HeaderSize {
		t.compact(p)
	}
	if need <= p.room() {
		p.insert(i, e)
		return nil
	}
	return t.split(d, key, e)
}

// compact closes the gaps between p's cells.
func (t *Tree) compact(p page) {
	old := t.keep(p)
	p.reset(old.prefix())
	for i := range old.count() {
		p.insert(i, old.entryOf(i, old.prefix()))
	}
}

// keep returns a copy of p that is good until the next call.
func (t *Tree) keep(p page) page {
	t.scratch = append(t.scratch[:0], p...)
	return t.scratch
}

// reset empties p, which then has the given prefix.
func (p page) reset(prefix int) {
	r, kind, level := p.ref(), p.kind(), p.level()
	clear(p)
	p.init(r, kind, level, prefix)
}

// bound returns the separator below the page at depth d (or above it), or nil if
// there is none: the page is the first (last) of its level. Valid until the next
// call for the same side.
//
// The whole separator is the branch's prefix, which key shares because it was
// routed through that branch, and the bytes stored there.
func (t *Tree) bound(d int, key []byte, above bool) []byte {
	side, next := 0, 0
	if above {
		side, next = 1, 1
	}
	for d--; d >= 0; d-- {
		s := t.path[d]
		if i := s.i + next; i > 0 && i < s.count() {
			b := append(t.bounds[side][:0], key[:s.prefix()]...)
			t.bounds[side] = append(b, s.separator(i)...)
			return t.bounds[side]
		}
	}
	return nil
}

// commonPrefix returns how many bytes every key k with lower <= k < upper begins
// with in common; nil is no bound.
func commonPrefix(lower, upper []byte) int {
	n := 0
	for n < min(len(lower), len(upper)) && lower[n] == upper[n] {
		n++
	}
	return n
}

// checkOwned asserts that the writer's page is one of its own.
func (t *Tree) checkOwned(p page) {
	invariant.Assert(p.txid() == t.snap.TxID, "I3: page %d of txid %v changed by %v",
		p.id(), p.txid(), t.snap.TxID)
}

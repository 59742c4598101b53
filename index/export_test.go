package index

// Heighten puts a root with one child above the root. The format allows it, but
// no writer makes it.
func (t *Tree) Heighten() error {
	p, err := t.snap.node(t.Root.Ref, -1)
	if err != nil {
		return err
	}
	root, err := t.alloc(TypeBranch, p.level()+1, 0)
	if err != nil {
		return err
	}
	root.insert(0, branchEntry(nil, t.Root.Ref))
	t.Root.Ref = root.ref()
	return nil
}

// Page is the bytes of a tree page that a test makes lie. Its new content counts
// once it is sealed.
type Page = page

func (p page) Ref() Ref              { return p.ref() }
func (p page) Count() int            { return p.count() }
func (p page) IsLeaf() bool          { return p.kind() == TypeLeaf }
func (p page) Child(i int) Ref       { return p.child(i) }
func (p page) SetChild(i int, r Ref) { p.setChild(i, r) }
func (p page) Key(i int) []byte      { return p.storedKey(i) }
func (p page) CellOffset(i int) int  { return p.slot(i).off() }
func (p page) SetCellOffset(i, off int) {
	p.setSlot(i, makeSlot(p.slot(i).hint(), off, p.slot(i).keyLen()))
}
func (p page) SwapSlots(i, j int) { a, b := p.slot(i), p.slot(j); p.setSlot(i, b); p.setSlot(j, a) }

// Overflow returns what entry i says of the run that holds its value.
func (p page) Overflow(i int) (r Ref, length uint64, ok bool) {
	v, kind := p.leafValue(i)
	if kind != KindOverflow {
		return Ref{}, 0, false
	}
	o := decodeOverflow(v)
	return o.Ref, o.length, true
}

// SetOverflow makes entry i, which has a run, say something else of it.
func (p page) SetOverflow(i int, r Ref, length uint64) {
	v, _ := p.leafValue(i)
	copy(v, overflow{r, length}.encode())
}

// NewLeaf writes a leaf with these entries, in this order, to buf.
func NewLeaf(buf []byte, r Ref, keys ...string) {
	clear(buf)
	p := page(buf)
	p.init(r, TypeLeaf, 0, 0)
	for i, k := range keys {
		p.insert(i, entry{head: make([]byte, offLeafKey), key: []byte(k), rest: []byte(k)})
	}
	Seal(buf)
}

// NewBranch writes a branch with two children to buf.
func NewBranch(buf []byte, r Ref, level int, left Ref, separator string, right Ref) {
	clear(buf)
	p := page(buf)
	p.init(r, TypeBranch, level, 0)
	p.insert(0, branchEntry(nil, left))
	p.insert(1, branchEntry([]byte(separator), right))
	Seal(buf)
}

// NewBucketLeaf writes a leaf with one bucket to buf.
func NewBucketLeaf(buf []byte, r Ref, name string, root Root) {
	clear(buf)
	p := page(buf)
	p.init(r, TypeLeaf, 0, 0)
	e := entry{head: make([]byte, offLeafKey), key: []byte(name), tail: make([]byte, RootSize), rest: []byte(name)}
	e.head[offLeafLen], e.head[offLeafKind] = RootSize, byte(KindBucket)
	root.Encode(e.tail)
	p.insert(0, e)
	Seal(buf)
}

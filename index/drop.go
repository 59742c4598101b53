package index

// Drop empties the tree: it retires its pages, its runs, and all of the buckets in
// it. The pages are visited one by one, and none is copied.
func (t *Tree) Drop() error {
	t.changes++
	d := dropper{tree: t, trees: []Ref{t.Root.Ref}, left: t.snap.pages() + uint64(len(t.snap.Made))}
	t.Root = Root{Sequence: t.Root.Sequence}
	for len(d.trees) > 0 {
		r := d.trees[len(d.trees)-1]
		d.trees = d.trees[:len(d.trees)-1]
		if r.IsZero() {
			continue
		}
		if err := d.node(r, -1); err != nil {
			return err
		}
	}
	return nil
}

type dropper struct {
	tree  *Tree
	trees []Ref  // roots still to be dropped; buckets are found on the way
	left  uint64 // how many pages there can be at most
}

// node retires the page that r names and all below it. The recursion ends because
// the level falls with each step.
func (d *dropper) node(r Ref, level int) error {
	p, err := d.tree.snap.node(r, level)
	if err != nil {
		return err
	}
	// A damaged store can have a bucket that is in itself.
	if d.left == 0 {
		return corrupt(r, "is in more than one bucket")
	}
	d.left--
	for i := range p.count() {
		if p.kind() == TypeBranch {
			if err := d.node(p.child(i), p.level()-1); err != nil {
				return err
			}
			continue
		}
		if v, kind := p.leafValue(i); kind == KindBucket {
			d.trees = append(d.trees, DecodeRoot(v).Ref)
		} else if err := d.tree.retireValue(p, i); err != nil {
			return err
		}
	}
	return d.tree.pager.Retire(r, 1)
}

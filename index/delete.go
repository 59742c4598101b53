package index

// Delete removes key and its value and reports whether there was one. A missing
// key changes nothing: no page is copied for it. A bucket is ErrIsBucket.
func (t *Tree) Delete(key []byte) (bool, error) { return t.delete(key, KindValue) }

// DeleteRoot removes the bucket named key, and reports whether there was one. The
// pages of its tree stay: see Drop. A value is ErrNotBucket.
func (t *Tree) DeleteRoot(key []byte) (bool, error) { return t.delete(key, KindBucket) }

func (t *Tree) delete(key []byte, kind Kind) (bool, error) {
	if t.Root.IsZero() {
		return false, nil
	}
	if err := t.descend(key); err != nil {
		return false, err
	}
	d := len(t.path) - 1
	i, found := t.path[d].findLeaf(key)
	if !found {
		return false, nil
	}
	if err := t.path[d].checkKind(i, kind); err != nil {
		return false, err
	}
	// The key may lie in the very page that is about to change.
	t.cell = append(t.cell[:0], key...)
	key = t.cell
	t.changes++
	if err := t.own(); err != nil {
		return false, err
	}
	leaf := t.path[d].page
	if err := t.retireValue(leaf, i); err != nil {
		return false, err
	}
	leaf.remove(i)
	t.Root.Entries--
	return true, t.rebalance(d, key)
}

// retireValue retires the run that holds the value of entry i, if one does.
func (t *Tree) retireValue(leaf page, i int) error {
	v, kind := leaf.leafValue(i)
	if kind != KindOverflow {
		return nil
	}
	o := decodeOverflow(v)
	n, err := t.snap.run(o)
	if err != nil {
		return err
	}
	return t.pager.Retire(o.Ref, int(n))
}

// rebalance gives the page at depth d, which has lost an entry, its due of
// entries, and so on upwards as long as pages disappear. All pages of the path
// are owned; key was routed through them. The path is not good afterwards.
func (t *Tree) rebalance(d int, key []byte) error {
	for ; d > 0 && t.path[d].tooEmpty(); d-- {
		if t.path[d-1].count() == 1 {
			// No neighbour. The parent is too empty as well: once it is rebalanced it
			// has more children, or was a root and is gone.
			level := t.path[d].level()
			if err := t.rebalance(d-1, key); err != nil {
				return err
			}
			if err := t.descend(key); err != nil {
				return err
			}
			if d = len(t.path) - 1 - level; d == 0 {
				break
			}
		}
		merged, err := t.join(d, key)
		if err != nil || !merged {
			return err
		}
	}
	if d > 0 {
		return nil
	}
	return t.shrink()
}

// shrink removes a root that has no entries, or only one child: the child, which
// has no bounds either, is the root then.
func (t *Tree) shrink() error {
	root := t.path[0].page
	old := root.ref()
	switch {
	case root.count() == 0:
		t.Root.Ref = Ref{}
	case root.kind() == TypeBranch && root.count() == 1:
		t.Root.Ref = root.child(0)
	default:
		return nil
	}
	return t.pager.Retire(old, 1)
}

// tooEmpty reports whether less than a third of p is used. What a merge or an
// exchange with a neighbour leaves behind is nearly always fuller by a sixth or
// more, so that the next one is many changes away.
//
// To count costs a look at each cell. Where the cells are many, and one is little,
// the page is asked at every eighth loss only.
func (p page) tooEmpty() bool {
	if n := p.count(); n > 64 && n%8 != 0 {
		return false
	}
	n := (len(p) - HeaderSize) / 3
	for i := range p.count() {
		if n -= slotSize + len(p.cell(i)); n <= 0 {
			return false
		}
	}
	return true
}

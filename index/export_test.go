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

package index

import "encoding/binary"

// Written is a tree page or an overflow run, as Changed finds it.
type Written struct {
	Ref
	Pages    int
	Checksum uint64 // as stored in it; of a run it has not been verified
	Bytes    []byte // that it is of: of a run, up to the end of the value
}

// Changed calls visit for each page and each run, of the tree at root and of the
// buckets in it, that was written after since; visit's error ends it. Nothing that
// is younger lies below a page that is not, so the cost follows the number of
// changes.
func (s *Snapshot) Changed(root Root, since TxID, visit func(Written) error) error {
	w := changes{snap: s, since: since, visit: visit, trees: []Ref{root.Ref}}
	for len(w.trees) > 0 {
		r := w.trees[len(w.trees)-1]
		w.trees = w.trees[:len(w.trees)-1]
		if r.IsZero() || r.TxID <= since {
			continue
		}
		if err := w.node(r, -1); err != nil {
			return err
		}
	}
	return nil
}

type changes struct {
	snap  *Snapshot
	since TxID
	visit func(Written) error
	trees []Ref // roots still to be walked; buckets are found on the way
}

func (c *changes) node(r Ref, level int) error {
	p, err := c.snap.node(r, level)
	if err != nil {
		return err
	}
	if err := c.visit(Written{r, 1, checksum(p), p}); err != nil {
		return err
	}
	for i := range p.count() {
		if p.kind() == TypeLeaf {
			err = c.entry(p, i)
		} else if child := p.child(i); child.TxID > c.since {
			err = c.node(child, p.level()-1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *changes) entry(p page, i int) error {
	v, kind := p.leafValue(i)
	switch kind {
	case KindBucket:
		if r := DecodeRoot(v).Ref; r.TxID > c.since {
			c.trees = append(c.trees, r)
		}
	case KindOverflow:
		o := decodeOverflow(v)
		if o.TxID <= c.since {
			return nil
		}
		run, err := c.snap.visitRun(o)
		if err != nil {
			return err
		}
		return c.visit(Written{o.Ref, int(o.pages(c.snap.PageShift)), checksum(run), run})
	}
	return nil
}

func checksum(b []byte) uint64 { return binary.LittleEndian.Uint64(b[offChecksum:]) }

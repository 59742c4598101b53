package index

import (
	"bytes"
	"fmt"
	"io"

	"github.com/cockroachdb/errors"
)

// dumpedBytes is how much of a value a dump shows.
const dumpedBytes = 32

// Dump writes the tree page that r names as text for people: its header, and of
// each entry the slot's number and hint, where its cell lies, and what is in it.
// The separators of a branch come without the prefix, as they are stored. Programs
// should not read it: it may change.
func (s *Snapshot) Dump(w io.Writer, r Ref) error {
	p, err := s.node(r, -1)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	space := len(p) - HeaderSize
	fmt.Fprintf(&b, "%s: %v, level %d, %d entries, prefix %d bytes\n",
		nameOf(r), p.kind(), p.level(), p.count(), p.prefix())
	fmt.Fprintf(&b, "cells from %d: %d bytes of %d used, %d free before the cells and %d between\n\n",
		p.cells(), p.used(), space, p.room(), space-p.used()-p.room())
	fmt.Fprintf(&b, "slot  hint      cell  entry\n")
	for i := range p.count() {
		s := p.slot(i)
		fmt.Fprintf(&b, "%4d  %08x %5d  ", i, s.hint(), s.off())
		if p.kind() == TypeBranch {
			fmt.Fprintf(&b, "%q -> %s\n", p.separator(i), nameOf(p.child(i)))
			continue
		}
		fmt.Fprintf(&b, "%q = ", p.leafKey(i))
		dumpValue(&b, p, i)
	}
	_, err = w.Write(b.Bytes())
	return errors.Wrapf(err, "dump of page %d", r.Page)
}

func dumpValue(b *bytes.Buffer, p page, i int) {
	v, kind := p.leafValue(i)
	switch kind {
	case KindOverflow:
		o := decodeOverflow(v)
		fmt.Fprintf(b, "%d bytes in the run at %s\n", o.length, nameOf(o.Ref))
	case KindBucket:
		root := DecodeRoot(v)
		fmt.Fprintf(b, "bucket of %d entries, sequence %d, at %s\n",
			root.Entries, root.Sequence, nameOf(root.Ref))
	default:
		more := ""
		if len(v) > dumpedBytes {
			v, more = v[:dumpedBytes], fmt.Sprintf("... %d bytes", len(v))
		}
		fmt.Fprintf(b, "%q%s\n", v, more)
	}
}

func nameOf(r Ref) string { return fmt.Sprintf("page %d (txid %v)", r.Page, r.TxID) }

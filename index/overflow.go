package index

import (
	"encoding/binary"
	"math"

	"github.com/zeebo/xxh3"
)

// Overflow reference, FORMAT.md "Overflow reference": the value bytes of a leaf
// cell of KindOverflow.
const (
	offOverflowPage   = 0
	offOverflowTxID   = 8
	offOverflowLength = 16
	overflowRefSize   = 24
)

// Overflow header, FORMAT.md "Overflow header": what a run has in the page header
// instead of count, prefix and cells.
const offRunLength = 28

// MaxValue is the length of the longest value in bytes.
const MaxValue = math.MaxInt32

// overflow refers to a value that fills a run of pages of its own: a header and
// the value behind it without a gap, so that a read is one slice of the view.
type overflow struct {
	Ref
	length uint64
}

func decodeOverflow(b []byte) overflow {
	return overflow{
		Ref{
			PageID(binary.LittleEndian.Uint64(b[offOverflowPage:])),
			TxID(binary.LittleEndian.Uint64(b[offOverflowTxID:])),
		},
		binary.LittleEndian.Uint64(b[offOverflowLength:]),
	}
}

func (o overflow) encode() []byte {
	b := make([]byte, overflowRefSize)
	binary.LittleEndian.PutUint64(b[offOverflowPage:], uint64(o.Page))
	binary.LittleEndian.PutUint64(b[offOverflowTxID:], uint64(o.TxID))
	binary.LittleEndian.PutUint64(b[offOverflowLength:], o.length)
	return b
}

// pages returns how many pages the run has.
func (o overflow) pages(shift uint8) uint64 {
	return (HeaderSize + o.length + 1<<shift - 1) >> shift
}

// run returns how many pages the run has that o refers to. That it lies in the
// snapshot is checked.
func (s *Snapshot) run(o overflow) (n uint64, err error) {
	if o.length > MaxValue {
		return 0, corrupt(o.Ref, "value of %d bytes", o.length)
	}
	n = o.pages(s.PageShift)
	if !s.has(o.Ref, n) {
		return 0, corrupt(o.Ref, "run of %d pages is outside the snapshot of %d pages at txid %v",
			n, s.pages(), s.TxID)
	}
	return n, nil
}

// overflow returns the value that o refers to.
func (s *Snapshot) overflow(o overflow) ([]byte, error) {
	run, err := s.visitRun(o)
	if err != nil {
		return nil, err
	}
	if s.Verified == nil || !s.Verified.has(o.Page) {
		if !Sealed(run) {
			return nil, corrupt(o.Ref, "checksum of the run differs")
		}
		if s.Verified != nil {
			s.Verified.set(o.Page)
		}
	}
	return run[HeaderSize:], nil
}

// visitRun returns the header and the value of the run that o refers to. The
// checksum has not been verified.
func (s *Snapshot) visitRun(o overflow) (page, error) {
	if _, err := s.run(o); err != nil {
		return nil, err
	}
	off := int(o.Page) << s.PageShift
	end := off + HeaderSize + int(o.length)
	p := page(s.Memory[off:end:end])
	if p.ref() != o.Ref {
		return nil, corrupt(o.Ref, "holds page %d (txid %v)", p.id(), p.txid())
	}
	if t := p.kind(); t != TypeOverflow {
		return nil, corrupt(o.Ref, "is no overflow run but %v", t)
	}
	if n := uint64(binary.LittleEndian.Uint32(p[offRunLength:])); n != o.length {
		return nil, corrupt(o.Ref, "value has %d bytes instead of %d", n, o.length)
	}
	return p, nil
}

// putOverflow stores value in a run of its own and returns the reference. The
// value's bytes are not copied on the way.
func (t *Tree) putOverflow(value []byte) (overflow, error) {
	o := overflow{length: uint64(len(value))}
	n := o.pages(t.snap.PageShift)
	first, err := t.pager.AllocRun(int(n))
	if err != nil {
		return overflow{}, err
	}
	o.Ref = Ref{first, t.snap.TxID}
	head := make([]byte, HeaderSize)
	PutHeader(head, o.Ref, TypeOverflow)
	binary.LittleEndian.PutUint32(head[offRunLength:], uint32(o.length))
	h := xxh3.New()
	h.Write(head[offPage:])
	h.Write(value)
	binary.LittleEndian.PutUint64(head[offChecksum:], h.Sum64())
	padding := make([]byte, int(n)<<t.snap.PageShift-HeaderSize-len(value))
	return o, t.pager.Store(first, [][]byte{head, value, padding})
}

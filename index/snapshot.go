package index

import (
	"encoding/binary"

	"github.com/sharekv/sharekv/internal/invariant"
)

// Snapshot is the state of a store that one transaction sees: memory that holds
// its pages, and what bounds them. It is a plain value on the way to every
// page, so that a visit costs no call through an interface.
//
// A reader's Snapshot is immutable and may be used by several goroutines. A
// writer's belongs to its transaction.
type Snapshot struct {
	// Memory is the store from page 0 on, up to the high-water mark: pages behind
	// its end do not exist.
	Memory []byte
	// PageShift is the binary logarithm of the page size.
	PageShift uint8
	// TxID is the transaction whose result this is; no page is younger. For a
	// writer it is the writer's own.
	TxID TxID
	// Verified remembers which pages this process has verified. Nil verifies at
	// every visit.
	Verified *Verified
	// Made holds the pages and runs that the writer has made, by their first page:
	// the buffer, or nil once it has been stored. It is nil for a reader. Only what
	// TxID wrote is looked for in it, and all of that must be there.
	Made map[PageID][]byte
	// Spilled counts how often buffers of Made were taken away, so that cursors
	// notice.
	Spilled uint64
}

// PageSize returns the size of a page in bytes.
func (s *Snapshot) PageSize() int { return 1 << s.PageShift }

// pages returns how many pages the snapshot has.
func (s *Snapshot) pages() uint64 { return uint64(len(s.Memory)) >> s.PageShift }

// has reports whether the run of n pages that r names can be in the snapshot.
func (s *Snapshot) has(r Ref, n uint64) bool {
	if r.TxID == s.TxID && s.Made != nil {
		if _, ok := s.Made[r.Page]; !ok {
			return false // a damaged file knew the number before us
		}
	}
	pages := s.pages()
	return r.Page >= FirstPage && uint64(r.Page) < pages && n <= pages-uint64(r.Page) && r.TxID <= s.TxID
}

// node returns the tree page that r names. Its level is the one given, or any
// if that is negative, as for a root.
func (s *Snapshot) node(r Ref, level int) (page, error) {
	p, err := s.visit(r)
	if err != nil {
		return nil, err
	}
	if level >= 0 && p.level() != level {
		return nil, corrupt(r, "level is %d instead of %d", p.level(), level)
	}
	return p, nil
}

func (s *Snapshot) visit(r Ref) (page, error) {
	if r.TxID == s.TxID && s.Made != nil {
		if p := s.Made[r.Page]; p != nil {
			return p, nil
		}
	}
	if !s.has(r, 1) {
		return nil, corrupt(r, "is outside the snapshot of %d pages at txid %v", s.pages(), s.TxID)
	}
	off := int(r.Page) << s.PageShift
	p := page(s.Memory[off : off+1<<s.PageShift : off+1<<s.PageShift])
	if p.ref() != r {
		return nil, corrupt(r, "holds page %d (txid %v)", p.id(), p.txid())
	}
	if t := p.kind(); t != TypeLeaf && t != TypeBranch {
		return nil, corrupt(r, "is no tree page but %v", t)
	}
	if s.Verified == nil || !s.Verified.has(r.Page) {
		if err := p.verify(); err != nil {
			return nil, err
		}
		if s.Verified != nil {
			s.Verified.set(r.Page)
		}
	}
	return p, nil
}

// verify checks what every later visit takes for granted: the checksum, and that
// each cell lies in the page and shares no byte with another.
func (p page) verify() error {
	r := p.ref()
	if !Sealed(p) {
		return corrupt(r, "checksum differs")
	}
	if (p.kind() == TypeLeaf) != (p.level() == 0) || p.level() > maxLevel {
		return corrupt(r, "%v at level %d", p.kind(), p.level())
	}
	n, low := p.count(), p.cells()
	if n == 0 || HeaderSize+n*slotSize > low || low > len(p) {
		return corrupt(r, "%d entries with cells from %d", n, low)
	}
	var taken byteSet
	for i := range n {
		size, err := p.verifyCell(i, low)
		if err != nil {
			return err
		}
		if off := p.slot(i).off(); !taken.add(off, off+size) {
			return corrupt(r, "cell %d overlaps another", i)
		}
	}
	return nil
}

// verifyCell checks the cell of entry i, which must not begin below low, and
// returns its size.
func (p page) verifyCell(i, low int) (size int, err error) {
	s := p.slot(i)
	size = p.keyOffset() + s.keyLen()
	if s.off() < low || s.off()+size > len(p) {
		return 0, corrupt(p.ref(), "cell %d leads out of the page", i)
	}
	if p.kind() == TypeBranch {
		if (i == 0) != (s.keyLen() == 0) {
			return 0, corrupt(p.ref(), "separator %d has %d bytes", i, s.keyLen())
		}
		return size, nil
	}
	if s.keyLen() == 0 || s.keyLen() < p.prefix() {
		return 0, corrupt(p.ref(), "key %d is shorter than the prefix of %d bytes", i, p.prefix())
	}
	value := int(binary.LittleEndian.Uint16(p[s.off()+offLeafLen:]))
	size += value
	if s.off()+size > len(p) {
		return 0, corrupt(p.ref(), "value %d leads out of the page", i)
	}
	if kind := Kind(p[s.off()+offLeafKind]); !kind.fits(value) {
		return 0, corrupt(p.ref(), "entry %d of kind %d has %d bytes", i, kind, value)
	}
	if p[s.off()+offLeafFlags] != 0 {
		return 0, corrupt(p.ref(), "entry %d has flags that this version does not know", i)
	}
	return size, nil
}

// byteSet is a set of offsets in a page.
type byteSet [MaxPageSize / 64]uint64

// add puts [from, to) in the set, and reports whether none of it was there.
func (b *byteSet) add(from, to int) bool {
	for from < to {
		end := min(to, (from|63)+1)
		mask := ^uint64(0) >> (64 - (end - from)) << (from & 63)
		if b[from/64]&mask != 0 {
			return false
		}
		b[from/64] |= mask
		from = end
	}
	return true
}

// fits reports whether a leaf cell of kind k can have a value of n bytes.
func (k Kind) fits(n int) bool {
	switch k {
	case KindValue:
		return true
	case KindOverflow:
		return n == overflowRefSize
	case KindBucket:
		return n == RootSize
	}
	return false
}

// Get returns the value of key in the tree, and what it is. The bytes are valid
// until the transaction ends (in a writer: until its next change) and must not
// be changed. A missing key is ErrNotFound.
func (s *Snapshot) Get(root Ref, key []byte) ([]byte, Kind, error) {
	p, i, err := s.find(root, key)
	if err != nil {
		return nil, 0, err
	}
	return s.value(p, i)
}

// kind is Get without the value: a run is not read for it.
func (s *Snapshot) kind(root Ref, key []byte) (Kind, error) {
	p, i, err := s.find(root, key)
	if err != nil {
		return 0, err
	}
	return p.leafKind(i), nil
}

// find returns the leaf that holds key and the key's position there.
func (s *Snapshot) find(root Ref, key []byte) (page, int, error) {
	if root.IsZero() {
		return nil, 0, ErrNotFound
	}
	p, err := s.node(root, -1)
	if err != nil {
		return nil, 0, err
	}
	for p.kind() == TypeBranch {
		p, err = s.node(p.child(p.findChild(key)), p.level()-1)
		if err != nil {
			return nil, 0, err
		}
	}
	i, ok := p.findLeaf(key)
	if !ok {
		return nil, 0, ErrNotFound
	}
	return p, i, nil
}

// value returns the value of entry i of leaf p, read from its run if it has one.
func (s *Snapshot) value(p page, i int) ([]byte, Kind, error) {
	v, kind := p.leafValue(i)
	if kind != KindOverflow {
		return v, kind, nil
	}
	invariant.Assert(len(v) == overflowRefSize, "overflow reference of %d bytes", len(v))
	v, err := s.overflow(decodeOverflow(v))
	return v, KindValue, err
}

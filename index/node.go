package index

import (
	"bytes"
	"encoding/binary"

	"github.com/sharekv/sharekv/internal/invariant"
)

// Slot, FORMAT.md "Slot". A slot is read and written as one 64-bit word.
const (
	offSlotHint   = 0
	offSlotCell   = 4
	offSlotKeyLen = 6
	slotSize      = 8
)

// Leaf cell, FORMAT.md "Leaf cell".
const (
	offLeafLen   = 0
	offLeafKind  = 2
	offLeafFlags = 3
	offLeafKey   = 4
)

// Branch cell, FORMAT.md "Branch cell".
const (
	offBranchPage = 0
	offBranchTxID = 8
	offBranchKey  = 16
)

// Kind says what the value bytes of a leaf cell are.
type Kind uint8

// The values are in files: they never change.
const (
	KindValue    Kind = 0 // the value itself
	KindOverflow Kind = 1 // a reference to a run that holds the value
	KindBucket   Kind = 2 // the root of a tree of its own
)

// slot is one entry of a node's slot array: the first four key bytes behind the
// node's prefix as a big-endian number, where the cell lies, and how long the
// stored key is.
type slot uint64

func makeSlot(hint uint32, off, keyLen int) slot {
	return slot(uint64(hint) | uint64(off)<<32 | uint64(keyLen)<<48)
}

func (s slot) hint() uint32 { return uint32(s) }
func (s slot) off() int     { return int(uint16(s >> 32)) }
func (s slot) keyLen() int  { return int(s >> 48) }

// hintOf returns the hint of a key whose prefix has been cut off. Keys that
// share it (also "a" and "a\x00") are told apart by their bytes.
func hintOf(rest []byte) uint32 {
	if len(rest) >= 4 {
		return binary.BigEndian.Uint32(rest)
	}
	var b [4]byte
	copy(b[:], rest)
	return binary.BigEndian.Uint32(b[:])
}

func (p page) slot(i int) slot {
	return slot(binary.LittleEndian.Uint64(p[HeaderSize+i*slotSize:]))
}

func (p page) setSlot(i int, s slot) {
	binary.LittleEndian.PutUint64(p[HeaderSize+i*slotSize:], uint64(s))
}

// keyOffset is where a cell's key begins.
func (p page) keyOffset() int {
	if p.kind() == TypeLeaf {
		return offLeafKey
	}
	return offBranchKey
}

// storedKey returns the key bytes in entry i's cell.
func (p page) storedKey(i int) []byte {
	s := p.slot(i)
	off := s.off() + p.keyOffset()
	return p[off : off+s.keyLen() : off+s.keyLen()]
}

// leafKey returns the whole key of entry i.
func (p page) leafKey(i int) []byte {
	s := p.slot(i)
	off := s.off() + offLeafKey
	return p[off : off+s.keyLen() : off+s.keyLen()]
}

// leafValue returns the stored value bytes of entry i and what they are.
func (p page) leafValue(i int) ([]byte, Kind) {
	s := p.slot(i)
	n := int(binary.LittleEndian.Uint16(p[s.off()+offLeafLen:]))
	off := s.off() + offLeafKey + s.keyLen()
	return p[off : off+n : off+n], Kind(p[s.off()+offLeafKind])
}

// leafKind returns what entry i is: a value, wherever its bytes are, or a bucket.
func (p page) leafKind(i int) Kind {
	if Kind(p[p.slot(i).off()+offLeafKind]) == KindBucket {
		return KindBucket
	}
	return KindValue
}

// separator returns the separator below entry i without the node's prefix.
// That of entry 0 is empty: the node's own lower bound.
func (p page) separator(i int) []byte {
	s := p.slot(i)
	off := s.off() + offBranchKey
	return p[off : off+s.keyLen() : off+s.keyLen()]
}

func (p page) child(i int) Ref {
	off := p.slot(i).off()
	return Ref{
		PageID(binary.LittleEndian.Uint64(p[off+offBranchPage:])),
		TxID(binary.LittleEndian.Uint64(p[off+offBranchTxID:])),
	}
}

func (p page) setChild(i int, r Ref) {
	putRef(p[p.slot(i).off():], r)
}

func putRef(b []byte, r Ref) {
	binary.LittleEndian.PutUint64(b[offBranchPage:], uint64(r.Page))
	binary.LittleEndian.PutUint64(b[offBranchTxID:], uint64(r.TxID))
}

// cell returns the bytes of entry i's cell.
func (p page) cell(i int) []byte {
	s := p.slot(i)
	n := p.keyOffset() + s.keyLen()
	if p.kind() == TypeLeaf {
		n += int(binary.LittleEndian.Uint16(p[s.off()+offLeafLen:]))
	}
	return p[s.off() : s.off()+n]
}

// lowerBound returns the first entry whose hint is at least hint.
func (p page) lowerBound(hint uint32) int {
	slots := p[HeaderSize : HeaderSize+p.count()*slotSize]
	lo, n := 0, len(slots)/slotSize
	for n > 0 {
		half := n >> 1
		if binary.LittleEndian.Uint32(slots[(lo+half)*slotSize:]) < hint {
			lo += half + 1
			n -= half + 1
		} else {
			n = half
		}
	}
	return lo
}

// find returns the position of the first stored key >= rest in p, and whether it
// is equal. rest and the stored keys are compared behind skip bytes of the
// stored key: the prefix that a leaf's keys keep and a branch's do not.
func (p page) find(rest []byte, skip int) (int, bool) {
	hint := hintOf(rest)
	keyAt := p.keyOffset() + skip
	lo := p.lowerBound(hint)
	hi := p.count()
	// The first of equal hints is nearly always the only one.
	for step := 0; lo < hi; step++ {
		mid := lo
		if step > 0 {
			mid = int(uint(lo+hi) >> 1)
		}
		s := p.slot(mid)
		c := 1
		if s.hint() == hint {
			off := s.off()
			c = bytes.Compare(p[off+keyAt:off+keyAt-skip+s.keyLen()], rest)
		}
		switch {
		case c == 0:
			return mid, true
		case c < 0:
			lo = mid + 1
		case step == 0:
			return mid, false
		default:
			hi = mid
		}
	}
	return lo, false
}

// findLeaf returns the position of the first key >= key, and whether it is equal.
func (p page) findLeaf(key []byte) (int, bool) {
	skip := min(p.prefix(), len(key)) // short only in a damaged page
	return p.find(key[skip:], skip)
}

// findChild returns the entry of the child that key is routed to.
func (p page) findChild(key []byte) int {
	i, equal := p.find(key[min(p.prefix(), len(key)):], 0)
	if equal || i == 0 {
		return i
	}
	return i - 1
}

// room is how many bytes lie between slots and cells.
func (p page) room() int { return p.cells() - HeaderSize - p.count()*slotSize }

// used is how many bytes slots and cells need without the gaps between cells.
func (p page) used() int {
	n := p.count() * slotSize
	for i := range p.count() {
		n += len(p.cell(i))
	}
	return n
}

// entry is a cell on its way into a node: head, key as stored, tail.
type entry struct {
	head []byte
	key  []byte
	tail []byte
	rest []byte // the key behind the node's prefix, for the hint
}

func (e *entry) size() int { return len(e.head) + len(e.key) + len(e.tail) }

// insert puts e at position i. Requires room for the cell and a slot.
func (p page) insert(i int, e entry) {
	n := p.count()
	off := p.cells() - e.size()
	invariant.Assert(i <= n && off >= HeaderSize+(n+1)*slotSize, "I8: no room in page %d", p.id())
	slots := p[HeaderSize:]
	copy(slots[(i+1)*slotSize:(n+1)*slotSize], slots[i*slotSize:n*slotSize])
	at := off + copy(p[off:], e.head)
	at += copy(p[at:], e.key)
	copy(p[at:], e.tail)
	p.setSlot(i, makeSlot(hintOf(e.rest), off, len(e.key)))
	p.setCount(n + 1)
	p.setCells(off)
}

// remove takes entry i out. The space of its cell is zeroed, so that what was
// deleted does not stay readable in the file.
func (p page) remove(i int) {
	n := p.count()
	cell := p.cell(i)
	off := p.slot(i).off()
	clear(cell)
	if off == p.cells() {
		p.setCells(off + len(cell))
	}
	slots := p[HeaderSize:]
	copy(slots[i*slotSize:], slots[(i+1)*slotSize:n*slotSize])
	clear(slots[(n-1)*slotSize : n*slotSize])
	p.setCount(n - 1)
}

// entryOf returns entry i as it goes into a node with the given prefix, which is
// at least as long as p's. It refers to p's bytes.
func (p page) entryOf(i, prefix int) entry {
	c, at := p.cell(i), p.keyOffset()
	keyEnd := at + p.slot(i).keyLen()
	if p.kind() == TypeLeaf {
		return entry{head: c[:at], key: c[at:keyEnd], tail: c[keyEnd:], rest: c[at+prefix : keyEnd]}
	}
	key := c[at:keyEnd]
	if len(key) > 0 { // entry 0 has no key
		key = key[prefix-p.prefix():]
	}
	return entry{head: c[:at], key: key, rest: key}
}

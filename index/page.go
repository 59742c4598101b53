package index

import (
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"

	"github.com/sharekv/sharekv/internal/invariant"
)

// PageID is the number of a page: its offset in the store in units of the page
// size. Pages 0 and 1 are the meta pages, so 0 also stands for "no page".
type PageID uint64

// TxID is the number of the transaction that wrote a page: an epoch in the high
// 24 bits, a counter in the low 40. It is handed out once.
type TxID uint64

const txCounterBits = 40

// The greatest parts of a TxID.
const (
	MaxEpoch   = 1<<(64-txCounterBits) - 1
	MaxCounter = 1<<txCounterBits - 1
)

// MakeTxID returns the number of the given transaction of an epoch.
func MakeTxID(epoch uint32, counter uint64) TxID {
	return TxID(uint64(epoch)<<txCounterBits | counter)
}

// Epoch returns the part of id that grows with every unclean open.
func (id TxID) Epoch() uint32 { return uint32(id >> txCounterBits) }

// Counter returns the part of id that grows with every transaction.
func (id TxID) Counter() uint64 { return uint64(id) & MaxCounter }

// String returns "epoch.counter".
func (id TxID) String() string { return fmt.Sprintf("%d.%d", id.Epoch(), id.Counter()) }

// Ref names one version of a page: where it lies and who wrote it. Everything
// that points to a page does so by Ref, so that a page which is not the one
// meant (lost, stale, reused, damaged) is noticed at every visit.
type Ref struct {
	Page PageID
	TxID TxID
}

// IsZero reports whether r names no page.
func (r Ref) IsZero() bool { return r.Page == 0 }

const (
	// FirstPage is the first page behind the two meta pages.
	FirstPage PageID = 2

	// MinPageSize and MaxPageSize bound the page size, a power of two of bytes.
	MinPageSize = 4 << 10
	MaxPageSize = 64 << 10
)

// Type says what a page holds.
type Type uint8

// The values are in files: they never change.
const (
	TypeMeta     Type = 1
	TypeLeaf     Type = 2
	TypeBranch   Type = 3
	TypeOverflow Type = 4 // the first page of a run; the others have no header
)

func (t Type) String() string {
	switch t {
	case TypeMeta:
		return "meta"
	case TypeLeaf:
		return "leaf"
	case TypeBranch:
		return "branch"
	case TypeOverflow:
		return "overflow"
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Page header, FORMAT.md "Page header".
const (
	offChecksum = 0
	offPage     = 8
	offTxID     = 16
	offType     = 24
	offLevel    = 25
	offCount    = 26
	offPrefix   = 28
	offCells    = 30
	HeaderSize  = 32
)

// maxLevel bounds the height of a tree: four children a branch and 2^52 pages
// need less.
const maxLevel = 30

// page is the bytes of one page, in the view or in a writer's buffer.
type page []byte

func (p page) id() PageID     { return PageID(binary.LittleEndian.Uint64(p[offPage:])) }
func (p page) txid() TxID     { return TxID(binary.LittleEndian.Uint64(p[offTxID:])) }
func (p page) ref() Ref       { return Ref{p.id(), p.txid()} }
func (p page) kind() Type     { return Type(p[offType]) }
func (p page) level() int     { return int(p[offLevel]) }
func (p page) count() int     { return int(binary.LittleEndian.Uint16(p[offCount:])) }
func (p page) prefix() int    { return int(binary.LittleEndian.Uint16(p[offPrefix:])) }
func (p page) setCount(n int) { binary.LittleEndian.PutUint16(p[offCount:], uint16(n)) }

// cells returns the offset of the lowest cell byte. In 16 bits, 65536 (an empty
// page of the largest size) reads as 0.
func (p page) cells() int {
	return (int(binary.LittleEndian.Uint16(p[offCells:]))-1)&0xffff + 1
}

func (p page) setCells(off int) { binary.LittleEndian.PutUint16(p[offCells:], uint16(off)) }

// PutHeader writes number, writer and type of the page in buf.
func PutHeader(buf []byte, r Ref, t Type) {
	binary.LittleEndian.PutUint64(buf[offPage:], uint64(r.Page))
	binary.LittleEndian.PutUint64(buf[offTxID:], uint64(r.TxID))
	buf[offType] = byte(t)
}

// Header returns what PutHeader wrote.
func Header(buf []byte) (Ref, Type) { return page(buf).ref(), page(buf).kind() }

// Seal writes the checksum of what is in buf behind the checksum itself: for a
// tree page the whole page.
func Seal(buf []byte) {
	binary.LittleEndian.PutUint64(buf[offChecksum:], xxh3.Hash(buf[offPage:]))
}

// Sealed reports whether the checksum in buf is the one that Seal would write.
func Sealed(buf []byte) bool {
	return binary.LittleEndian.Uint64(buf[offChecksum:]) == xxh3.Hash(buf[offPage:])
}

// init makes p an empty node. The buffer is all zero.
func (p page) init(r Ref, t Type, level, prefix int) {
	invariant.Assert(level <= maxLevel, "I8: level %d", level)
	PutHeader(p, r, t)
	p[offLevel] = byte(level)
	binary.LittleEndian.PutUint16(p[offPrefix:], uint16(prefix))
	p.setCount(0)
	p.setCells(len(p))
}

package txn

import (
	"encoding/binary"
	"math"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
)

// Meta page, index/FORMAT.md "Meta page".
const (
	offMagic          = 32
	offFormat         = 40
	offPageSize       = 44
	offCompatible     = 48
	offReadCompatible = 56
	offIncompatible   = 64
	offSequence       = 72
	offStoreID        = 80
	offEpoch          = 96
	offFork           = 104
	offNext           = 112
	offPages          = 120
	offFlags          = 128
	offMain           = 136
	offFree           = 168
	offBase           = 200
	offChanged        = 208
	offSum            = 216

	metaSize = 512
	magic    = "sharekv\x1a"
)

// FileFormat is the number of the file format that this version reads and
// writes.
const FileFormat = 1

const (
	flagClean       = 1 << 0
	flagDataFlushed = 1 << 1
)

// Feature bits that this version knows: none. A reader refuses incompatible
// ones, a writer read-compatible ones too.
const (
	knownReadCompatible = 0
	knownIncompatible   = 0
)

// meta is the content of a meta page.
type meta struct {
	pageSize       int
	compatible     uint64
	readCompatible uint64
	sequence       uint64
	storeID        [16]byte
	epoch          uint32
	fork           index.TxID
	next           uint64 // counter of the next txid, only if clean
	clean          bool
	base           index.TxID // durable when this was written
	changed                   // since the base
	snapshot
}

// snapshot is what one commit made of the store.
type snapshot struct {
	txid  index.TxID
	pages index.PageID // high-water mark
	main  index.Root
	free  index.Root
}

// encode returns the meta page for a slot.
func (m *meta) encode(slot int) []byte {
	b := make([]byte, m.pageSize)
	le := binary.LittleEndian
	index.PutHeader(b, index.Ref{Page: index.PageID(slot), TxID: m.txid}, index.TypeMeta)
	copy(b[offMagic:], magic)
	le.PutUint32(b[offFormat:], FileFormat)
	le.PutUint32(b[offPageSize:], uint32(m.pageSize))
	le.PutUint64(b[offCompatible:], m.compatible)
	le.PutUint64(b[offReadCompatible:], m.readCompatible)
	le.PutUint64(b[offSequence:], m.sequence)
	copy(b[offStoreID:], m.storeID[:])
	le.PutUint64(b[offEpoch:], uint64(m.epoch))
	le.PutUint64(b[offFork:], uint64(m.fork))
	le.PutUint64(b[offPages:], uint64(m.pages))
	flags := uint64(0)
	if m.flushed {
		flags |= flagDataFlushed
	}
	if m.clean {
		flags |= flagClean
		le.PutUint64(b[offNext:], m.next)
	}
	le.PutUint64(b[offFlags:], flags)
	m.main.Encode(b[offMain:])
	m.free.Encode(b[offFree:])
	le.PutUint64(b[offBase:], uint64(m.base))
	le.PutUint64(b[offChanged:], m.changed.count)
	le.PutUint64(b[offSum:], m.sum)
	index.Seal(b[:metaSize])
	return b
}

// decodeMeta returns the meta page in b, of at least metaSize bytes, or why it is
// none.
func decodeMeta(b []byte, slot int) (*meta, error) {
	le := binary.LittleEndian
	if string(b[offMagic:offMagic+len(magic)]) != magic {
		return nil, ErrNotStore
	}
	if !index.Sealed(b[:metaSize]) {
		return nil, errors.Wrapf(index.ErrCorrupt, "meta page %d: checksum differs", slot)
	}
	if f := le.Uint32(b[offFormat:]); f != FileFormat {
		return nil, errors.Wrapf(ErrVersion, "file format %d instead of %d", f, FileFormat)
	}
	if x := le.Uint64(b[offIncompatible:]) &^ knownIncompatible; x != 0 {
		return nil, errors.Wrapf(ErrVersion, "unknown incompatible features %#x", x)
	}
	r, kind := index.Header(b)
	flags := le.Uint64(b[offFlags:])
	m := &meta{
		pageSize:       int(le.Uint32(b[offPageSize:])),
		compatible:     le.Uint64(b[offCompatible:]),
		readCompatible: le.Uint64(b[offReadCompatible:]),
		sequence:       le.Uint64(b[offSequence:]),
		storeID:        [16]byte(b[offStoreID:]),
		epoch:          uint32(min(le.Uint64(b[offEpoch:]), math.MaxUint32)),
		fork:           index.TxID(le.Uint64(b[offFork:])),
		next:           le.Uint64(b[offNext:]),
		clean:          flags&flagClean != 0,
		base:           index.TxID(le.Uint64(b[offBase:])),
		changed: changed{
			count:   le.Uint64(b[offChanged:]),
			sum:     le.Uint64(b[offSum:]),
			flushed: flags&flagDataFlushed != 0,
		},
		snapshot: snapshot{
			txid:  r.TxID,
			pages: index.PageID(le.Uint64(b[offPages:])),
			main:  index.DecodeRoot(b[offMain:]),
			free:  index.DecodeRoot(b[offFree:]),
		},
	}
	switch {
	case kind != index.TypeMeta || r.Page != index.PageID(slot):
		return nil, errors.Wrapf(index.ErrCorrupt, "meta page %d: is %v page %d", slot, kind, r.Page)
	case !validPageSize(m.pageSize):
		return nil, errors.Wrapf(index.ErrCorrupt, "meta page %d: page size %d", slot, m.pageSize)
	case m.pages < index.FirstPage || m.pages > maxPages(m.pageSize):
		return nil, errors.Wrapf(index.ErrCorrupt, "meta page %d: %d pages", slot, m.pages)
	case m.txid == 0 || m.epoch == 0 || m.epoch > index.MaxEpoch || m.txid.Epoch() > m.epoch:
		return nil, errors.Wrapf(index.ErrCorrupt, "meta page %d: epoch %d with txid %v", slot, m.epoch, m.txid)
	case m.clean && (m.next > index.MaxCounter+1 || m.next <= m.txid.Counter() && m.epoch == m.txid.Epoch() || m.next == 0):
		return nil, errors.Wrapf(index.ErrCorrupt, "meta page %d: next txid %d after %v", slot, m.next, m.txid)
	case m.sequence == 0 || m.sequence > math.MaxInt64:
		return nil, errors.Wrapf(index.ErrCorrupt, "meta page %d: sequence %d", slot, m.sequence)
	case m.changed.count > changedMost:
		return nil, errors.Wrapf(index.ErrCorrupt, "meta page %d: %d pages to be verified", slot, m.changed.count)
	case flags&^(flagClean|flagDataFlushed) != 0:
		return nil, errors.Wrapf(ErrVersion, "meta page %d has flags %#x", slot, flags)
	}
	return m, nil
}

func validPageSize(n int) bool {
	return n >= index.MinPageSize && n <= index.MaxPageSize && n&(n-1) == 0
}

// maxPages bounds the high-water mark, so that offsets fit 62 bits.
func maxPages(pageSize int) index.PageID { return 1<<62/index.PageID(pageSize) - 1 }

// HeadSize is how many bytes from the start of a file show whether it is a store.
const HeadSize = index.MaxPageSize + metaSize

// Recognize reports whether the file that begins with head may be a store, if
// perhaps a damaged one: it has the mark of a meta page where one can be.
func Recognize(head []byte) bool {
	for at := 0; at <= index.MaxPageSize; at = max(2*at, index.MinPageSize) {
		if mark := at + offMagic; len(head) >= mark+len(magic) && string(head[mark:mark+len(magic)]) == magic {
			return true
		}
	}
	return false
}

// SizeNeeded returns how many bytes at least the store that begins with head has:
// up to the high-water mark of the meta page in force, or 0 if none is valid. The
// store may be in use: then it has been that long at some time.
func SizeNeeded(head []byte) int64 {
	m, err := readMetas(head)
	if err != nil {
		return 0
	}
	current := m[m.newest()]
	return int64(current.pages) * int64(current.pageSize)
}

// metas are the meta pages of a store by slot; nil where none is valid. There is
// at least one.
type metas [2]*meta

// newest returns the slot of the meta page in force: the one with the greater
// sequence.
func (m metas) newest() int {
	if m[0] == nil || m[1] != nil && m[1].sequence > m[0].sequence {
		return 1
	}
	return 0
}

// epoch returns the greatest epoch.
func (m metas) epoch() (epoch uint32) {
	for _, x := range m {
		if x != nil {
			epoch = max(epoch, x.epoch)
		}
	}
	return epoch
}

// readMetas returns the valid meta pages of the store whose first bytes are b. A
// page of another version is an error even if the other page could be used: it may
// be the newer one.
func readMetas(b []byte) (m metas, err error) {
	if len(b) < metaSize {
		return m, errors.Wrapf(ErrNotStore, "%d bytes", len(b))
	}
	m[0], err = decodeMeta(b, 0)
	if errors.Is(err, ErrVersion) {
		return m, err
	}
	var second error
	m[1], second = secondMeta(b, m[0])
	if errors.Is(second, ErrVersion) {
		return m, second
	}
	if m[0] == nil && m[1] == nil {
		return m, err
	}
	return m, nil
}

// secondMeta returns the meta page in slot 1, or why there is none. If the first
// one is damaged, each page size is tried.
func secondMeta(b []byte, first *meta) (m *meta, err error) {
	err = ErrNotStore
	for size := index.MinPageSize; size <= index.MaxPageSize; size *= 2 {
		if first != nil && size != first.pageSize || len(b) < size+metaSize {
			continue
		}
		m, err = decodeMeta(b[size:], 1)
		if err == nil && m.pageSize == size || errors.Is(err, ErrVersion) {
			return m, err
		}
		m = nil
	}
	return nil, err
}

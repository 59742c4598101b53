package txn

import (
	"encoding/binary"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
)

// Free-space tree, index/FORMAT.md "Free space". Keys begin with a letter and go
// on with big-endian numbers, so that their order is that of the numbers.
const (
	keyBlocked = 'b' // and reader, death, filer, part: retired pages that a reader needs
	keyFree    = 'f' // and page: a free extent
	keyRetired = 'r' // and death, part: retired pages that nobody has looked at
	keySize    = 's' // and pages, page: a free extent of several pages, by size

	freeKeySize    = 1 + 8
	retiredKeySize = 1 + 8 + 4
	blockedKeySize = 1 + 8 + 8 + 8 + 4
	sizeKeySize    = 1 + 8 + 8
	freeSize       = 8
)

// Retired extent, index/FORMAT.md "Retired extent".
const (
	offRetiredPage  = 0
	offRetiredPages = 8
	offRetiredBirth = 16
	retiredSize     = 24
)

// extent is a run of pages.
type extent struct {
	start index.PageID
	pages uint64
}

func (e extent) end() index.PageID { return e.start + index.PageID(e.pages) }

// retired is an extent that no later snapshot needs: birth is the transaction
// that wrote it.
type retired struct {
	extent
	birth index.TxID
}

func freeKey(start index.PageID) []byte {
	return binary.BigEndian.AppendUint64([]byte{keyFree}, uint64(start))
}

func sizeKey(e extent) []byte {
	k := binary.BigEndian.AppendUint64([]byte{keySize}, e.pages)
	return binary.BigEndian.AppendUint64(k, uint64(e.start))
}

func retiredKey(death index.TxID, part uint32) []byte {
	k := binary.BigEndian.AppendUint64([]byte{keyRetired}, uint64(death))
	return binary.BigEndian.AppendUint32(k, part)
}

// blockedKey has the transaction that filed the list, so that it is unique.
func blockedKey(reader, death, filer index.TxID, part uint32) []byte {
	k := binary.BigEndian.AppendUint64([]byte{keyBlocked}, uint64(reader))
	k = binary.BigEndian.AppendUint64(k, uint64(death))
	k = binary.BigEndian.AppendUint64(k, uint64(filer))
	return binary.BigEndian.AppendUint32(k, part)
}

// freeEntry is an entry of the free-space tree, decoded.
type freeEntry struct {
	kind   byte
	reader index.TxID // keyBlocked
	death  index.TxID // keyBlocked, keyRetired
	list   []retired  // keyBlocked, keyRetired
	free   extent     // keyFree, keySize
}

// maxList returns how many retired extents an entry has at most: four entries fit
// a leaf.
func maxList(pageSize int) int { return (pageSize/4 - 64) / retiredSize }

func encodeFree(e extent) []byte { return binary.LittleEndian.AppendUint64(nil, e.pages) }

func encodeList(list []retired) []byte {
	b := make([]byte, 0, len(list)*retiredSize)
	for _, r := range list {
		b = binary.LittleEndian.AppendUint64(b, uint64(r.start))
		b = binary.LittleEndian.AppendUint64(b, r.pages)
		b = binary.LittleEndian.AppendUint64(b, uint64(r.birth))
	}
	return b
}

// decodeFree returns the entry, whose extents lie below the high-water mark.
func decodeFree(key, value []byte, pages index.PageID) (e freeEntry, err error) {
	bad := func() (freeEntry, error) {
		return e, errors.Wrapf(index.ErrCorrupt, "entry %x of the free-space tree", key)
	}
	e.kind = key[0]
	number := func(at int) uint64 { return binary.BigEndian.Uint64(key[at:]) }
	switch {
	case e.kind == keyFree && len(key) == freeKeySize && len(value) == freeSize:
		e.free = extent{index.PageID(number(1)), binary.LittleEndian.Uint64(value)}
		if !e.free.within(pages) {
			return bad()
		}
		return e, nil
	case e.kind == keySize && len(key) == sizeKeySize && len(value) == 0:
		e.free = extent{index.PageID(number(9)), number(1)}
		if !e.free.within(pages) || e.free.pages < 2 {
			return bad()
		}
		return e, nil
	case e.kind == keyRetired && len(key) == retiredKeySize:
		e.death = index.TxID(number(1))
	case e.kind == keyBlocked && len(key) == blockedKeySize:
		e.reader, e.death = index.TxID(number(1)), index.TxID(number(9))
	default:
		return bad()
	}
	if len(value) == 0 || len(value)%retiredSize != 0 {
		return bad()
	}
	e.list = make([]retired, 0, len(value)/retiredSize)
	for ; len(value) > 0; value = value[retiredSize:] {
		r := retired{
			extent{
				index.PageID(binary.LittleEndian.Uint64(value[offRetiredPage:])),
				binary.LittleEndian.Uint64(value[offRetiredPages:]),
			},
			index.TxID(binary.LittleEndian.Uint64(value[offRetiredBirth:])),
		}
		if !r.within(pages) || r.birth > e.death {
			return bad()
		}
		e.list = append(e.list, r)
	}
	return e, nil
}

func (e extent) within(pages index.PageID) bool {
	return e.start >= index.FirstPage && e.start < pages && e.pages > 0 && e.pages <= uint64(pages-e.start)
}

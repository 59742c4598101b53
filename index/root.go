package index

import "encoding/binary"

// Root record, FORMAT.md "Root record".
const (
	offRootPage     = 0
	offRootTxID     = 8
	offRootEntries  = 16
	offRootSequence = 24
	RootSize        = 32
)

// Root is all that names a tree: in the meta pages for the store's own trees, in
// a leaf cell for a bucket.
type Root struct {
	Ref             // the root page; zero for an empty tree
	Entries  uint64 // how many entries the tree has
	Sequence uint64 // for the application: the last number a bucket handed out
}

// DecodeRoot reads the record at the start of b, which has RootSize bytes.
func DecodeRoot(b []byte) Root {
	return Root{
		Ref: Ref{
			PageID(binary.LittleEndian.Uint64(b[offRootPage:])),
			TxID(binary.LittleEndian.Uint64(b[offRootTxID:])),
		},
		Entries:  binary.LittleEndian.Uint64(b[offRootEntries:]),
		Sequence: binary.LittleEndian.Uint64(b[offRootSequence:]),
	}
}

// Encode writes the record to the first RootSize bytes of b.
func (r Root) Encode(b []byte) {
	binary.LittleEndian.PutUint64(b[offRootPage:], uint64(r.Page))
	binary.LittleEndian.PutUint64(b[offRootTxID:], uint64(r.TxID))
	binary.LittleEndian.PutUint64(b[offRootEntries:], r.Entries)
	binary.LittleEndian.PutUint64(b[offRootSequence:], r.Sequence)
}

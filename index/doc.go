// Package index is a copy-on-write B+tree in pages of memory that it is given: a
// mapped file, shared memory, or a Go slice. It knows no files, locks or
// processes; package txn has those.
//
// # The picture
//
//	Root ──▶ branch ──▶ branch ──▶ leaf ──▶ (overflow run)
//
//	leaf or branch page                                     FORMAT.md
//	┌────────┬──────────────────┬───────────────┬───────────────────┐
//	│ header │ slots, key order │ zero          │ cells, any order  │
//	└────────┴──────────────────┴───────────────┴───────────────────┘
//	          hint│cell│keylen                   key, value or child
//
// A search compares the hints of a page's slots, four key bytes each behind the
// prefix that all keys of the page share, and touches a cell only to confirm: two
// or three cache lines a page. The prefix needs no comparison, because it follows
// from the separators that led to the page.
//
// Readers walk a Snapshot, which is concrete: no interface and no allocation on
// the way to a value. A writer changes a Tree; it gets fresh pages from a Pager,
// which is its transaction, and changes a page in place only if its own
// transaction made it.
//
// The order of the entries is that of bytes.Compare.
//
// # Invariants
//
//   - I8: separators bound their subtrees, and the prefix of a page is never longer
//     than what its separators have in common. Bounds of a page only become
//     tighter while it is not rebuilt.
//   - I9: no visit meets a page whose number or txid is not the one that its parent
//     names, or whose txid is above the snapshot's: that is ErrCorrupt.
//   - A page is changed only if its txid is the writer's own.
//   - Bytes of a page that belong to nothing are zero: what was deleted does not
//     stay in the file, and equal trees are equal bytes.
//
// The list in FORMAT.md, "What must hold", is what Check verifies.
//
// # Locks
//
// None. A Snapshot is immutable for readers, a Tree belongs to one goroutine, and
// Verified is a set of atomic bits.
//
// # What it does not do
//
// It does not decide where pages lie, when they are stored or reused, or which
// snapshot is in force. It does not free pages; it says when a tree no longer
// refers to them.
package index

// Package txn makes transactions of an index: snapshots that stay as they are, one
// writer at a time among all processes, and commits that survive what may happen
// to processes, systems and power.
//
// # The picture
//
//	        shared area (memory, transient)           storage (file, lasting)
//	┌───────────────────────────────────────┐   ┌────────┬────────┬───────────────┐
//	│ writer mutex                          │   │ meta 0 │ meta 1 │ pages ...     │
//	│ durable record ─ txid, roots, slot ───┼──▶└────────┴────────┴───────────────┘
//	│ next, grown, session, poison          │         one of them is durable's
//	└───────────────────────────────────────┘
//
//	Read    load the durable record
//	Write   lock ─▶ Start: session, txid ─▶ copies of pages ─▶ Commit or Rollback
//	Commit  store pages ─▶ flush ─▶ store meta ─▶ flush ─▶ durable record ─▶ unlock
//
// A commit flushes twice: once the pages are on disk, the meta page that refers to
// them is stored in the slot that is not durable's, and only when that is on disk
// too the record moves. So readers see only what no power cut can take back.
//
// # What a crash leaves
//
// Power cut or death of all processes ("none" is the state before the commit):
//
//   - Before the meta page is stored: pages that nobody refers to. None.
//   - While the meta page is being stored or flushed: it is whole on disk, and so
//     are its pages, or its checksum fails and the other slot has the state before.
//     The commit was not acknowledged, so both are right.
//   - Afterwards: the commit.
//
// After an unclean end the first opener takes the newest valid meta page, stores it
// again and flushes it before anybody reads what it says: it may have been in the
// page cache only, or its flush may have failed unseen.
//
// Death of a writer while others go on: the durable record still says the state
// before, and the next writer goes on from there. But the dead one may have stored a
// meta page, which may be on disk or get there at any time, and its pages lie where
// the next writer is about to store. Therefore a session begins with a meta page of
// the state in force, flushed, in the slot that is not durable's: whoever finds the
// mutex abandoned opens a new session before it stores a page. The same meta page
// says that the store is no longer clean, and opens a new epoch after an unclean end.
//
// A failed flush leaves unknown what is on disk, and the system forgets that it
// failed. From then on nobody commits (poison), until all have closed the store and
// the next opener has done as after a crash.
//
// # Invariants
//
//   - I3: a page that the durable snapshot, a reader, or a valid meta page can reach
//     is never stored over. This version stores only behind the high-water mark.
//   - I4: the durable record only goes forward.
//   - I5: the writer mutex is held from the choice of the base to the end of the
//     commit.
//   - I6: a meta page is stored only in the slot that is not durable's.
//   - I7: nothing in the area is needed to recover.
//   - I10: a txid is handed out once: from a word that is raised before the first
//     page is stored, and in a new epoch after every unclean end. A clean end saves
//     the counter in its meta page.
//   - I11: an epoch is durable, in a meta page, before its first page is stored.
//
// # Lock order
//
// The area's gate (open, close), then the writer mutex. Readers take none.
//
// # What it does not do
//
// It does not reuse pages yet, so a store grows with every commit, and readers need
// no registration.
package txn

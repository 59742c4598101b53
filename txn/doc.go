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
//	│ reader slots ─ owner, txid            │
//	└───────────────────────────────────────┘
//
//	Read    put the durable record's txid in a slot, see that it is still current
//	Write   lock ─▶ Start: session, slots, txid ─▶ copies of pages ─▶ Commit or Rollback
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
// page cache only, or its flush may have failed unseen. The same holds of the mark of
// a clean end, which is a meta page too. But there the other meta page says the same
// and is older, so it is durable: it is taken for the one in force, and the mark is
// the first to be stored over.
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
// # Which pages are reused
//
// A page lives in [birth, death): it belongs to the snapshots from the transaction
// that wrote it up to the one that no longer needed it. A writer reuses a page iff its
// death is not after the snapshot of the other meta page, and no reader slot holds a
// snapshot in [birth, death). So a long reader keeps what it can see and nothing more.
//
// The other meta page counts although it is older than durable: should the newer one
// turn out to be damaged later, it must not lead to pages of another time.
//
// The writer loads the durable record first and then, once, the slots. A reader puts
// the txid in its slot first and then sees that the record has not moved. Of the two
// one sees the other, or the reader reads the writer's base or something later, which
// needs no page that was dead before.
//
// Retired pages wait in the free-space tree in the order of their death. A list of
// them comes up once: each page is free then, or filed under the youngest reader that
// needs it. When that reader has gone, the list comes up again. So each page is looked
// at once, and once for each reader that it had to wait for.
//
// What adds to a store leaves some pages behind the high-water mark allocated. They are
// for deletes, which need pages before they free any.
//
// # Large transactions
//
// Overflow runs are stored when they are put. Tree pages are kept in memory up to a
// budget; beyond it they are stored in their places, leaves before branches, between
// two changes. Nobody else refers to them, so they can be read back, changed and stored
// in the same place again. Until the commit a power cut, or the death of the writer,
// leaves pages that are free.
//
// # Free space
//
// What a transaction takes from the free-space tree it takes in hand, without changing
// the tree; at commit what is left, and what it retired, is written. A transaction that
// is rolled back, or dies, has changed nothing.
//
// # Invariants
//
//   - I1: each page below the high-water mark is exactly one of reachable, retired,
//     free; Check counts them.
//   - I2: a reader's slot is set before it reads a page of its snapshot, and cleared
//     after.
//   - I3: a page that the durable snapshot, a reader, or a valid meta page can reach
//     is never stored over.
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
// The area's gate (open, close), then the writer mutex, then a dead member's lock
// while its slots are cleaned. Readers take none; one that finds no slot takes a mutex
// of its own process.
//
// # What it does not do
//
// It does not share flushes between commits: each has its own two. It does not give
// space back to the system: a store keeps its greatest size.
package txn

// Package txn makes transactions of an index: snapshots that stay as they are, one
// writer at a time among all processes, and commits that survive what may happen
// to processes, systems and power.
//
// # The picture
//
//	        shared area (memory, transient)           storage (file, lasting)
//	┌───────────────────────────────────────┐   ┌────────┬────────┬───────────────┐
//	│ writer mutex                          │   │ meta 0 │ meta 1 │ pages ...     │
//	│ head record ──── txid, roots          │   └────────┴────────┴───────────────┘
//	│ sync mutex                            │      ▲  one of them is durable's
//	│ durable record ─ txid, roots, slot ───┼──────┘
//	│ next, grown, session, poison, suspect │
//	│ syncing, mode                         │
//	│ reader slots ─ owner, txid            │
//	└───────────────────────────────────────┘
//
//	Read    put the durable record's txid in a slot, see that it is still current
//	Write   lock ─▶ base = head ─▶ Start: slots, txid ─▶ copies of pages ─▶ Commit or Rollback
//	Commit  build: store pages ─▶ publish: head record, unlock ─▶ settle
//	settle  until the commit is durable: lead, or sleep while another leads
//	lead    sync mutex ─▶ sum of what changed ─▶ store meta ─▶ flush ─▶ durable record ─▶ wake
//
// A commit is published before it is durable, so that the next writer need not wait
// for the disk, and one flush serves all that were published before it, whichever
// processes they are of. Readers take the durable record only: they see nothing that
// a power cut could take back. Whoever writes sees the head, and is not answered
// before what it saw is durable, even if it changed nothing.
//
// In async mode, which is of the store and not of a handle, Commit ends with publishing,
// readers take the head, and whoever calls Sync settles. A crash then takes back whole
// commits, the last ones first.
//
// # What a crash leaves
//
// Pages and the meta page that refers to them go to disk with the same flush, in any
// order. So a meta page says how many pages have changed since the snapshot that was
// durable when it was written, its base, and the sum of their checksums. The changed
// ones are found by their txids: nothing younger lies below a page that is not. At an
// unclean open the newest valid meta page is verified: all of its changed pages must be
// there, whole, with the right sum. If not, its flush had not ended, nobody was told
// of its commits, and the other meta page counts, which was durable before. In a power
// cut or the death of all processes ("none" is the last durable commit):
//
//   - While a transaction is built: pages that nobody refers to. None.
//   - Published, and no meta page of it stored yet: the same. The head record is gone
//     with the area. None.
//   - While its meta page and pages are flushed: if all of it got to the disk, the
//     commit; if anything is missing, torn or stale, none. It was not acknowledged:
//     both are right. The base's own pages are durable, so a page of the snapshot that
//     is not changed since the base is there.
//   - After the flush: the commit, whether or not the durable record has moved.
//
// Of more than changedMost pages the data is flushed before the meta page is stored,
// which says so. Then there is nothing to verify, and opening after a crash is quick.
//
// What recovery has verified may be in the page cache only: what never got to disk, or
// of which a flush failed unseen. So it is stored again, from the copy that was
// verified, and flushed before anybody reads it. A rejected meta page cannot come back
// later, because the epoch grows with every unclean end and a session begins with a meta
// page of the durable snapshot, flushed, in the slot that is not durable's, before the
// first page is stored (I11).
//
// The mark of a clean end is a meta page, too, and it may be in the page cache only.
// There the other meta page says the same and is older, so it is durable: it is taken
// for the one in force, and the mark is the first to be stored over. After a clean end
// there is nothing to verify, and damage is an error.
//
// Damage to pages of the last commit, after an unclean end, cannot be told from a flush
// that had not ended: the store then opens at the commit before.
//
// # What a death leaves
//
//   - Of a writer, before it publishes: pages that nobody refers to. The next writer
//     goes on from the head, never from a meta page.
//   - Of a writer, after it has published: a commit that the next leader makes durable.
//   - Of a leader, at any point: perhaps a meta page in the slot that is not durable's,
//     which is where the next leader stores its own. Its flush may have failed, and the
//     system forgets that once it has told somebody. So whoever finds a mutex abandoned
//     raises suspect to the last txid handed out: as long as durable is older, each
//     leader stores its whole set again before it flushes. That covers pages of
//     transactions that were being built at the time.
//   - Of the last process: the first to open does as after a power cut.
//
// Each of these moments is tried. With the build tag killpoints a process stops
// before and after every store to the area and every system call that others see
// (package word). A test of package store lists the points that processes come to,
// and lets one die at each: alone, with readers, with writers that wait. The others
// go on, what was acknowledged is there, and no slot is left. One that is stopped
// there instead has what it held when it continues.
//
// A failed flush leaves unknown what is on disk. From then on nobody commits (poison),
// until all have closed the store and the next opener has done as after a crash. The
// system tells of a failure once for each open file, so within a process a flush is not
// believed before those that began earlier have ended, and poison is looked at after it.
// That it tells every open file is what Linux promises; of Windows it is not known.
//
// # Which pages are reused
//
// A page lives in [birth, death): it belongs to the snapshots from the transaction
// that wrote it up to the one that no longer needed it. A writer reuses a page iff it is
// dead in its base and none of these lies in [birth, death): syncing, which is what the
// last leader set out to make durable; durable; the snapshot of the other meta page; the
// reader slots. So a long reader keeps what it can see and nothing more, and between two
// flushes no page is kept that was born and died there.
//
// The other meta page counts although it is older than durable: should the newer one
// turn out to be damaged later, it must not lead to pages of another time.
//
// The writer loads syncing, then durable, then the slots, in this order, and each once.
//
//   - A leader stores syncing and then sees that the head has not moved. While a writer
//     runs it does not, so a leader that the writer does not see aims at the writer's
//     base, of which nothing is reused.
//   - What was durable when the writer looked, or becomes so later, is what it has loaded
//     as syncing or as durable, or its base.
//   - A reader puts the txid in its slot first and then sees that the record has not moved.
//     Of the two, reader and writer, one sees the other, or the reader reads what was
//     durable when the writer began, or something later; in async mode, the base.
//
// A leader that dies may leave a meta page on disk of which nobody knows, and whose
// snapshot the next leader no longer keeps. Whoever finds its mutex raises suspect
// before it stores syncing. While durable is older than that, and always in the default
// mode, a page is reused only if it was dead at the other meta page's snapshot: no
// younger one needs it. That is enough where each commit is flushed, and needs no lists
// of pages that meta pages keep. In async mode the next commit is flushed at once then.
//
// Retired pages wait in the free-space tree in the order of their death. A list of
// them comes up once: each page is free then, or filed under the youngest snapshot that
// needs it. When nobody keeps that any more, the list comes up again. So each page is
// looked at once, and once for each snapshot that it had to wait for.
//
// What adds to a store leaves some pages behind the high-water mark allocated. They are
// for deletes, which need pages before they free any. In async mode what is freed comes
// back only with flushes. So a commit that finds hardly any page free but those is flushed
// at once, and a transaction that is refused has the head made durable, and the other meta
// page renewed: the next one has all the room there can be.
//
// # Large transactions
//
// Overflow runs are stored when they are put. Tree pages are kept in memory up to a
// budget; beyond it they are stored in their places, leaves before branches, between
// two changes. Nobody else refers to them, so they can be read back, changed and stored
// in the same place again. Until the commit a power cut, or the death of the writer,
// leaves pages that are free. What was stored twice is flushed before it is published:
// page number and txid name one content then, also when a flush of somebody else fails,
// and the system forgets what it had not written.
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
//   - I4: durable is never younger than head, and both only go forward. A commit that
//     was acknowledged is durable, or the mode is async and nobody has asked for it.
//   - I5: the writer mutex is held from the choice of the base to publishing.
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
// while its slots are cleaned. The sync mutex is taken alone, when the writer mutex is
// free again. Within a process, whichever of them is held, then the mutex around
// flushes. Readers take none; one that finds no slot takes a mutex of its own process.
//
// # What it does not do
//
// It does not give space back to the system: a store keeps its greatest size. After the
// death of all processes it knows only what was flushed, although the system may have
// more in memory.
package txn

// Package store is an embedded key-value store that many processes open at once:
// a file mapped into each of them, with a B+tree in it.
//
//	db, err := store.Open("app.kv", nil)
//	if err != nil {
//		return err
//	}
//	defer db.Close()
//	err = db.Update(func(tx *store.Tx) error {
//		return tx.Put([]byte("name"), []byte("value"))
//	})
//
// # The picture
//
//	View, Get ─▶ the last durable commit, in the read-only view: no lock, no copy
//	Bucket ────▶ an entry of the bucket around it that says where its own tree begins
//	Update ────▶ writer mutex ─▶ changed copies of pages ─▶ unlock ─▶ one flush for all
//
// With Options.Async an Update ends at "unlock", and readers see it from there on.
//
// Readers never wait. Writers of all processes take turns, and the next one begins
// before the flush; commits that come together, of whatever processes, share it.
//
// # What holds
//
//   - When Update returns nil, its changes survive the death of any process, of
//     the system, and of the power, on a disk that honours flushes. With Options.Async
//     they survive all but the last two, and the death of all processes at once, before
//     the next flush.
//   - No reader ever sees what a power cut could take back, unless Options.Async says
//     so. A write transaction does,
//     but when it has ended without ErrFlushFailed or ErrUnknown, what it saw is durable.
//   - A process that is killed harms nobody: its half-built transaction is gone,
//     its lock passes on.
//   - Bad input, a damaged file included, is an error that says what is wrong; it
//     is never a panic. One damage cannot be told from a power cut: if the store was
//     not closed, and pages of the very last commit are damaged, it opens at the commit
//     before, and Options.Logger is told.
//
// A fault in the mapped file, when it was cut short or the disk fails, is ErrFault
// for calls of this package. Application code that reads a returned slice outside
// such a call is not covered: it copies what it must be sure of, or calls
// debug.SetPanicOnFault itself.
//
// # Locks
//
// The writer mutex is held from the start of an Update's function until its pages are
// stored; the commit then waits for the flush. Opening and closing hold the gate of the
// lock file.
//
// # What it does not do
//
// It does not work over network file systems, nor does it share anything between
// hosts. It does not give space back to the system: what a store no longer needs it
// reuses, and the file keeps its greatest size.
//
// Deleting needs pages first, and what it frees can be reused two flushes later. So
// what makes a store larger is refused some pages before Options.MaxSize, or the end
// of the disk, and deletes have those to begin with: they are enough for a few keys in
// a transaction, and then for the next ones. While a long reader keeps what was deleted
// they may still run out.
package store

package store

import (
	"runtime/debug"
	"time"
)

// Stats says how large a store is and how its space is used, as of one commit.
type Stats struct {
	Rev      Rev
	PageSize int   // in bytes
	Pages    int64 // up to the high-water mark, meta pages included
	FileSize int64 // in bytes, as far as allocated by those who have it open
	Free     int64 // pages that can be reused
	Retired  int64 // pages of older commits, which readers may still need
	Entries  int64 // in the root bucket
	Readers  int   // snapshots being kept for readers, also for dead ones that nobody has noticed
	Failed   bool  // a flush has failed: see ErrFlushFailed

	// Of all processes, since the first of those who have the store open opened it.
	// Commits that come while others are being flushed share the next flush.
	Commits int64
	Flushes int64 // by which they, and the state of the store itself, were made durable

	Async   time.Duration // as of Options, of all who have the store open
	Durable Rev           // of the last commit that is known to be on disk
}

// Stats returns figures of the last commit. The time that takes grows with the
// number of free extents, not with the size of the store.
func (db *DB) Stats() (stats Stats, err error) {
	if !db.calls.enter() {
		return stats, ErrClosed
	}
	defer db.calls.leave()
	defer db.catch(debug.SetPanicOnFault(true), &err)
	s, err := db.txn.Stats()
	if err != nil {
		return stats, err
	}
	return Stats{
		Rev:      Rev(s.TxID),
		PageSize: db.txn.PageSize(),
		Pages:    int64(s.Pages),
		FileSize: s.Grown,
		Free:     int64(s.Free),
		Retired:  int64(s.Retired),
		Entries:  int64(s.Entries),
		Readers:  s.Readers,
		Failed:   s.Failed,
		Commits:  int64(s.Commits),
		Flushes:  int64(s.Syncs),
		Async:    db.txn.Interval(),
		Durable:  Rev(s.Durable),
	}, nil
}

// Handle is one use of the store: what a call of Open returned, in this process
// or another.
type Handle struct {
	PID     int
	Program string
	Since   time.Time // when it was opened
	Self    bool      // it is the one that was asked
	Writing bool      // it has the write transaction
	Reading []Rev     // what its read transactions see, ascending, one for each
}

// Handles returns who has the store open. It is for people: a pid of another
// container says little.
func (db *DB) Handles() (handles []Handle, err error) {
	if !db.calls.enter() {
		return nil, ErrClosed
	}
	defer db.calls.leave()
	defer db.catch(debug.SetPanicOnFault(true), &err)
	for _, m := range db.txn.Members() {
		h := Handle{PID: m.PID, Program: m.Program, Since: m.Since, Self: m.Self, Writing: m.Writing}
		for _, txid := range m.Snapshots {
			h.Reading = append(h.Reading, Rev(txid))
		}
		handles = append(handles, h)
	}
	return handles, nil
}

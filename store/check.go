package store

import (
	"context"
	"runtime/debug"

	"github.com/sharekv/sharekv/index"
)

// Report is what Check found in a store without damage.
type Report struct {
	Rev       Rev   // of the commit that was checked
	PageSize  int   // in bytes
	Pages     int64 // all pages up to the high-water mark, meta pages included
	Reachable int64 // pages that this commit uses
	Free      int64 // pages that can be reused
	Retired   int64 // pages of older commits, which readers may still need
	Entries   int64 // values in all buckets
}

// Check reads the last commit as a whole and verifies every page of it: checksums,
// order of keys, separators, and that each page of the store has exactly one use.
// Damage is ErrCorrupt, and the text says where. Other processes can go on
// meanwhile. It ends early, with the context's cause, when ctx is done.
func (db *DB) Check(ctx context.Context) (*Report, error) {
	return db.CheckProgress(ctx, func(done, pages int64) {})
}

// CheckProgress is Check, and calls progress now and then with how many of the pages
// it has looked at.
func (db *DB) CheckProgress(ctx context.Context, progress func(done, pages int64)) (report *Report, err error) {
	if !db.calls.enter() {
		return nil, ErrClosed
	}
	defer db.calls.leave()
	ours := true // what runs: a panic of progress goes on
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if !ours {
			return
		}
		if r := recover(); r != nil {
			db.absorb(r, &err)
		}
	}()
	r, err := db.txn.Read()
	if err != nil {
		return nil, err
	}
	defer r.End()
	done, pages := int64(index.FirstPage), int64(len(r.Snapshot.Memory)/r.Snapshot.PageSize())
	c, err := r.Check(func(n int) error {
		done += int64(n)
		ours = false
		progress(done, pages)
		ours = true
		return context.Cause(ctx)
	})
	if err != nil {
		return nil, err
	}
	return &Report{
		Rev:       Rev(r.Snapshot.TxID),
		PageSize:  r.Snapshot.PageSize(),
		Pages:     int64(c.Pages),
		Reachable: int64(c.Reachable),
		Free:      int64(c.Free),
		Retired:   int64(c.Retired),
		Entries:   int64(c.Values),
	}, nil
}

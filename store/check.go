package store

import (
	"context"
	"runtime/debug"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
)

// Report is what Check found in a store without damage.
type Report struct {
	Rev       Rev   // of the commit that was checked
	PageSize  int   // in bytes
	Pages     int64 // all pages up to the high-water mark, meta pages included
	Reachable int64 // pages that this commit uses
	Entries   int64 // values in all buckets
}

// Check reads the last commit as a whole and verifies every page of it: checksums,
// order of keys, separators, and that no page is used twice. Damage is ErrCorrupt,
// and the text says where. Other processes can go on meanwhile. It ends early, with
// the context's cause, when ctx is done.
func (db *DB) Check(ctx context.Context) (report *Report, err error) {
	if !db.calls.enter() {
		return nil, ErrClosed
	}
	defer db.calls.leave()
	defer db.catch(debug.SetPanicOnFault(true), &err)
	r, err := db.txn.Read()
	if err != nil {
		return nil, err
	}
	pages := len(r.Snapshot.Memory) / r.Snapshot.PageSize()
	used := make([]bool, pages)
	report = &Report{
		Rev:       Rev(r.Snapshot.TxID),
		PageSize:  r.Snapshot.PageSize(),
		Pages:     int64(pages),
		Reachable: int64(index.FirstPage),
	}
	entries, err := r.Snapshot.Check(r.Main, func(ref index.Ref, n int) error {
		for i := range n {
			id := int(ref.Page) + i
			if used[id] {
				return errors.Wrapf(ErrCorrupt, "page %d is used twice", id)
			}
			used[id] = true
		}
		report.Reachable += int64(n)
		return context.Cause(ctx)
	})
	if err != nil {
		return nil, err
	}
	report.Entries = int64(entries)
	return report, nil
}

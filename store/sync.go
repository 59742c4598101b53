package store

import (
	"context"
	"runtime/debug"
	"time"
)

// Sync returns when all that anybody has committed before is on disk. With Options.Async
// that makes one flush; in the default mode every commit does that itself. ctx, and
// Options.LockTimeout, bound the wait for a flush of another process, nothing else.
// After an error it is not known what is on disk; that of a handle that is read-only is
// ErrReadOnly.
func (db *DB) Sync(ctx context.Context) (err error) {
	if !db.calls.enter() {
		return ErrClosed
	}
	defer db.calls.leave()
	defer db.catch(debug.SetPanicOnFault(true), &err)
	err = db.txn.Sync(ctx)
	if ctx.Err() != nil {
		return err
	}
	return asBusy(err)
}

// keepFlushing makes what others, and this handle, have committed durable, again and
// again until Close begins. Errors show where they count: a failed flush in the next
// commit and in Close, and what another process delays is tried again.
func (db *DB) keepFlushing(interval time.Duration) {
	tick := time.NewTicker(max(interval, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-db.life.Done():
			return
		case <-tick.C:
			db.Sync(db.life)
		}
	}
}

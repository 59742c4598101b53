package store

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
)

// Preload brings all pages of the last commit into memory, in the order of the
// file, as far as there is room. A process that answers requests calls it first:
// to wait for a page that is not in memory blocks a processor of the Go
// scheduler. It ends early, with the context's cause, when ctx is done.
func (db *DB) Preload(ctx context.Context) (err error) {
	if !db.calls.enter() {
		return ErrClosed
	}
	defer db.calls.leave()
	defer db.catch(debug.SetPanicOnFault(true), &err)
	r, err := db.txn.Read()
	if err != nil {
		return err
	}
	defer r.End()
	const step = 1 << 20 // between two looks at ctx
	for memory := r.Snapshot.Memory; len(memory) > 0; {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		n := min(step, len(memory))
		runtime.KeepAlive(touch(memory[:n]))
		memory = memory[n:]
	}
	return nil
}

// touch reads a byte of each page of the system.
func touch(memory []byte) (sum byte) {
	for i := 0; i < len(memory); i += os.Getpagesize() {
		sum += memory[i]
	}
	return sum
}

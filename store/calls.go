package store

import (
	"math"
	"runtime"
	"runtime/debug"
	"sync/atomic"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/invariant"
)

// calls counts the calls under way in a handle, so that Close can wait for them.
// A closed one has the count lowered by closedBias.
type calls struct {
	count atomic.Int64
	idle  chan struct{} // closed when the last call of a closed handle ends
}

const closedBias = math.MinInt64 / 2

func (c *calls) init() { c.idle = make(chan struct{}) }

// enter reports whether the handle is open; if so, leave must follow.
func (c *calls) enter() bool {
	for {
		n := c.count.Load()
		if n < 0 {
			return false
		}
		if c.count.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (c *calls) leave() {
	if c.count.Add(-1) == closedBias {
		close(c.idle)
	}
}

// close refuses new calls and waits for those under way. It reports whether this
// was the first close.
func (c *calls) close() bool {
	for {
		n := c.count.Load()
		if n < 0 {
			return false
		}
		if c.count.CompareAndSwap(n, n+closedBias) {
			if n > 0 {
				<-c.idle
			}
			return true
		}
	}
}

// catch ends the protection that debug.SetPanicOnFault(true) began, with what
// that returned: a fault in the mapped file becomes *err, any other panic goes on.
//
//	defer db.catch(debug.SetPanicOnFault(true), &err)
func (db *DB) catch(before bool, err *error) {
	debug.SetPanicOnFault(before)
	if r := recover(); r != nil {
		db.absorb(r, err)
	}
}

// absorb makes a recovered panic *err, or lets it go on.
func (db *DB) absorb(r any, err *error) {
	if *err = db.asError(r); *err == nil {
		panic(r)
	}
}

// asError returns the error that a recovered panic stands for, or nil if it is one
// that must go on. A page may be damaged after it was verified; then it can lead
// out of bounds. Under invariants that is taken for an error of sharekv itself.
func (db *DB) asError(r any) error {
	if fault := db.mapping.Fault(r); fault != nil {
		return fault
	}
	if fault := db.area.Fault(r); fault != nil {
		return fault
	}
	if e, ok := r.(runtime.Error); ok && !invariant.Enabled {
		return errors.Wrapf(ErrCorrupt, "%v", e)
	}
	return nil
}

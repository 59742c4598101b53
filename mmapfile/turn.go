package mmapfile

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// A turn lets the goroutines of one member at a mutex one after the other, first
// come, first served, so that only one of them deals with the other members: a
// goroutine that waits here costs no thread.
//
// It has one owner at a time, from take to give. In between, own and disown mark
// the time in which the mutex itself is held; shut waits for an owner outside that
// time and for no other, and nobody gets in after it.
type turn struct {
	state   atomic.Uint32
	mu      sync.Mutex
	queue   []chan bool   // guarded by mu: true = the turn is yours, false = shut
	settled chan struct{} // guarded by mu: what shut waits for
}

const (
	turnTaken = 1 << iota
	turnOwned
	turnQueued // set only under mu, like turnShut
	turnShut
)

// try takes the turn if nobody has it and nobody waits for it.
func (t *turn) try() bool { return t.state.CompareAndSwap(0, turnTaken) }

func (t *turn) take(ctx context.Context) error {
	if t.try() {
		return nil
	}
	t.mu.Lock()
	for {
		s := t.state.Load()
		if s&turnShut != 0 {
			t.mu.Unlock()
			return ErrClosed
		}
		if s&turnTaken == 0 {
			if t.state.CompareAndSwap(s, s|turnTaken) {
				t.mu.Unlock()
				return nil
			}
		} else if t.state.CompareAndSwap(s, s|turnQueued) {
			break
		}
	}
	mine := make(chan bool, 1)
	t.queue = append(t.queue, mine)
	t.mu.Unlock()
	select {
	case got := <-mine:
		if !got {
			return ErrClosed
		}
		return nil
	case <-ctx.Done():
		t.quit(mine)
		return context.Cause(ctx)
	}
}

// quit leaves the queue, or gives the turn on if it has just come.
func (t *turn) quit(mine chan bool) {
	t.mu.Lock()
	i := slices.Index(t.queue, mine)
	if i >= 0 {
		t.queue = slices.Delete(t.queue, i, i+1)
		if len(t.queue) == 0 {
			t.state.And(^uint32(turnQueued))
		}
	}
	t.mu.Unlock()
	if i < 0 && <-mine {
		t.give()
	}
}

// own begins the time in which the mutex is held.
func (t *turn) own() {
	if t.state.Or(turnOwned)&turnShut != 0 {
		t.settle()
	}
}

// disown ends it. False means that the turn was shut meanwhile, and that nothing
// must be touched any more.
func (t *turn) disown() (owned, open bool) {
	s := t.state.And(^uint32(turnOwned))
	return s&turnOwned != 0, s&turnShut == 0
}

func (t *turn) give() {
	if t.state.CompareAndSwap(turnTaken, 0) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.queue) == 0 {
		t.state.And(^uint32(turnTaken | turnQueued))
		t.settleLocked()
		return
	}
	t.queue[0] <- true
	if t.queue = slices.Delete(t.queue, 0, 1); len(t.queue) == 0 {
		t.state.And(^uint32(turnQueued))
	}
}

// shut sends the queue away and returns when nobody is on the way to the mutex.
// Who holds it keeps it.
func (t *turn) shut() {
	t.mu.Lock()
	s := t.state.Or(turnShut)
	for _, waiting := range t.queue {
		waiting <- false
	}
	t.queue = nil
	if s&turnTaken == 0 || s&turnOwned != 0 {
		t.mu.Unlock()
		return
	}
	settled := make(chan struct{})
	t.settled = settled
	t.mu.Unlock()
	<-settled
}

func (t *turn) settle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settleLocked()
}

func (t *turn) settleLocked() {
	if t.settled != nil {
		close(t.settled)
		t.settled = nil
	}
}

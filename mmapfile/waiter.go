package mmapfile

import (
	"context"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/word"
)

// A Waiter is a count that the members of an area raise and wait for. Whoever waits
// learns the newest count, and may find several changes as one. What has changed is
// for other words to say.
//
// Any number of goroutines may wait, and one of them sleeps in the kernel for all:
// so a member costs one thread, and a goroutine that gives up disturbs no other. A
// member that dies between raising the count and waking the others delays them by
// a second at most.
//
// It lies in 64 of the user bytes, which nobody else may touch:
//
//	OFFSET  SIZE  MEANING
//	0       4     the count, twice, + 1 if somebody may sleep
//	8       56    a bit for each member that may sleep (Windows)
//
// The count and the bit share a word, so that the one cannot change behind the back
// of the other: a bit beside the count could be cleared between being set and the
// sleep that it stands for.
type Waiter struct {
	area *Area
	word *word.Uint32
	bell memberBell
	nap  time.Duration // how long a sleep lasts at most

	// lead holds the place of the goroutine that sleeps for all. Close takes it for
	// ever.
	lead chan struct{}

	mu sync.Mutex
	// changed is closed when a count is seen that is not told, the one that all wait
	// to see change; nil if nobody has waited since then. Both are guarded by mu.
	changed chan struct{}
	told    uint32
}

// A memberBell is the part of a waiter that works between members. One goroutine
// of a member sleeps at a time; any may ring.
type memberBell interface {
	// sleep sleeps while the word is v and until ctx is done, for d at most. It may
	// return early for no reason.
	sleep(ctx context.Context, v uint32, d time.Duration) error
	// ring wakes the sleepers of all members. Whoever has found the word to be v
	// before it was changed, and the change before the ring, is among them.
	ring()
	// close frees what sleep has set up.
	close()
}

const (
	waiterSleepers = 1 // somebody may sleep: who raises the count must ring
	waiterOne      = 2 // the count's own 1

	// napMost is how long a change may go unnoticed when its maker died before it
	// could ring. Nobody looks more often than that.
	napMost = time.Second

	// waiterMembers is how many members of an area can have a bit in a line.
	waiterMembers = 8 * (lineSize - offBells)
	offBells      = 8
)

// Waiter returns the waiter in the user bytes [off, off+64); off is a multiple of
// 64, and bytes that are all zero have the count 0. It is always the same for one
// off. An area with waiters has room for 448 members at most.
func (a *Area) Waiter(off int) *Waiter {
	if off%lineSize != 0 || a.members > waiterMembers {
		panic(errors.AssertionFailedf("M4: waiter at %d of an area with %d members", off, a.members))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if w := a.mu.waiters[off]; w != nil {
		return w
	}
	w := &Waiter{area: a, word: a.Uint32(off), nap: napMost, lead: make(chan struct{}, 1)}
	w.bell = a.home.newBell(a, off, w.word)
	a.mu.waiters[off] = w
	return w
}

// Count returns the present count, from 0 to 2^31-1: after that it is 0 again. Like
// a word of the area, it is valid until Close.
func (w *Waiter) Count() uint32 { return w.word.Load() / waiterOne }

// Wake raises the count by one and wakes all who wait, in all members. If nobody
// does, that is one atomic operation and no system call. What was stored in the area
// before is seen by those who find the new count. Wake must not be called after
// Close.
func (w *Waiter) Wake() {
	for {
		v := w.word.Load()
		if w.word.CompareAndSwap(v, v&^waiterSleepers+waiterOne) {
			if v&waiterSleepers != 0 {
				w.bell.ring()
			}
			return
		}
	}
}

// Wait waits until the count differs from seen, which Count or Wait has returned,
// and returns it. Otherwise it returns seen and an error: ErrClosed if the area is
// closed, context.Cause(ctx) if ctx is done, even if the count differs as well.
func (w *Waiter) Wait(ctx context.Context, seen uint32) (uint32, error) {
	for {
		count, changed, err := w.look()
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return seen, err
		}
		if count != seen {
			return count, nil
		}
		select {
		case w.lead <- struct{}{}:
			err := w.sleep(ctx, seen)
			<-w.lead
			if err != nil {
				return seen, err
			}
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// look returns the count, and a channel that is closed as soon as anybody here has
// found another. Who sleeps for all has looked before, and does not sleep at another
// count than the one it found: so nobody waits for a change that has been.
func (w *Waiter) look() (count uint32, changed <-chan struct{}, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.area.life.Err() != nil {
		return 0, nil, ErrClosed
	}
	count = w.Count()
	if count != w.told {
		w.tell()
	}
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	w.told = count
	return count, w.changed, nil
}

// tell sends all who wait to look again. Requires mu.
func (w *Waiter) tell() {
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
}

// sleep sleeps while the count is seen, until ctx is done or the area closes, and
// for a nap at most. Requires the lead, which keeps Close from taking the memory.
func (w *Waiter) sleep(ctx context.Context, seen uint32) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.area.life, cancel)()
	for ctx.Err() == nil {
		v := w.word.Load()
		if v/waiterOne != seen {
			return nil
		}
		want := v | waiterSleepers
		if v == want || w.word.CompareAndSwap(v, want) {
			return w.bell.sleep(ctx, want, w.nap)
		}
	}
	return nil
}

// shut ends all waits, and returns when nobody touches the memory any more.
// Requires that life is over.
func (w *Waiter) shut() {
	w.mu.Lock()
	w.tell()
	w.mu.Unlock()
	w.lead <- struct{}{}
	w.bell.close()
}

// A wordBell wakes those who sleep on the word itself.
type wordBell struct {
	word *word.Uint32
	bed  sleeper
	mask uint32 // of this member, and of few others
}

func newWordBell(a *Area, word *word.Uint32, bed sleeper) *wordBell {
	return &wordBell{word: word, bed: bed, mask: 1 << (a.self % 32)}
}

func (b *wordBell) sleep(ctx context.Context, v uint32, d time.Duration) error {
	awake, quiet := make(chan struct{}), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		b.rouse(awake)
		close(quiet)
	})
	if ctx.Err() == nil {
		b.bed.wait(b.word, v, d, b.mask)
	}
	close(awake)
	if !stop() {
		<-quiet // the memory is touched no more
	}
	return nil
}

// rouse wakes the sleeper of this member until it is awake: once is not enough for
// one that was just about to fall asleep. To wake others as well does no harm.
func (b *wordBell) rouse(awake <-chan struct{}) {
	for {
		b.bed.wake(b.word, allSleepers, b.mask)
		select {
		case <-awake:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func (b *wordBell) ring() { b.bed.wake(b.word, allSleepers, anyMask) }

func (b *wordBell) close() {}

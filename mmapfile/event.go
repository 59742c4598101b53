package mmapfile

import (
	"context"

	"github.com/sharekv/sharekv/internal/word"
)

// An Event is set or not, and has a name. One with manual reset stays set, and lets all
// pass who look while it is, until Reset: those who wait may come too late if that comes
// at once. One with automatic reset lets one pass and is not set any more. All methods
// may be called concurrently; Close ends them.
//
//	OFFSET  SIZE  MEANING
//	0       8     1 if it is set
//	8       8     1 if its reset is manual
type Event struct {
	*object
	set    *word.Uint64
	manual bool
	waiter *Waiter
}

// CreateEvent opens the event of this name, which follows the rules of Options.Name. If
// nobody holds it, it is created as asked for, unless o forbids that. existed says that
// somebody did; then its reset and state are what they are.
func CreateEvent(name string, manual, set bool, o *ObjectOptions) (e *Event, existed bool, err error) {
	obj, existed, err := openObject(kindEvent, name, o, func(a *Area) {
		a.Uint64(0).Store(wordOf(set))
		a.Uint64(8).Store(wordOf(manual))
	})
	if err != nil {
		return nil, false, err
	}
	a := obj.area
	return &Event{object: obj, set: a.Uint64(0), manual: a.Uint64(8).Load() != 0, waiter: a.Waiter(objectWaits)}, existed, nil
}

func wordOf(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// Set sets the event.
func (e *Event) Set() error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.life.RUnlock()
	if e.set.CompareAndSwap(0, 1) {
		e.waiter.Wake()
	}
	return nil
}

// Reset makes the event one that is not set.
func (e *Event) Reset() error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.life.RUnlock()
	e.set.Store(0)
	return nil
}

// Wait returns when the event is set, and resets it if that is automatic: of all who
// wait, one returns. Its error is ErrClosed if the event is closed, otherwise
// context.Cause(ctx): then nothing was reset.
func (e *Event) Wait(ctx context.Context) error {
	return e.wait(ctx, e.waiter, e.pass)
}

// TryWait is Wait that does not wait, and reports whether the event was set.
func (e *Event) TryWait() (bool, error) { return e.try(e.pass) }

func (e *Event) pass() bool {
	if e.manual {
		return e.set.Load() != 0
	}
	return e.set.CompareAndSwap(1, 0)
}

package mmapfile

import (
	"context"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/word"
)

// A Semaphore is a count that never falls below zero and has a name. Whoever takes one
// from it waits while it is zero. It knows no owners: what a dead process took is not
// given back. All methods may be called concurrently; Close ends them.
//
//	OFFSET  SIZE  MEANING
//	0       8     the count
//	8       8     the most it may be
type Semaphore struct {
	*object
	count, most *word.Uint64
	waiter      *Waiter
}

// ErrTooMany is returned by Release when the count would be more than allowed.
var ErrTooMany = errors.New("mmapfile: semaphore would have more than its greatest count")

// CreateSemaphore opens the semaphore of this name, which follows the rules of
// Options.Name. If nobody holds it, it is created with the count initial, which can then
// be at most most, unless o forbids that. existed says that somebody did; then its
// count and bound are what they are.
func CreateSemaphore(name string, initial, most uint32, o *ObjectOptions) (s *Semaphore, existed bool, err error) {
	if most == 0 || initial > most {
		return nil, false, errors.Newf("mmapfile: semaphore with %d of at most %d", initial, most)
	}
	obj, existed, err := openObject(kindSemaphore, name, o, func(a *Area) {
		a.Uint64(0).Store(uint64(initial))
		a.Uint64(8).Store(uint64(most))
	})
	if err != nil {
		return nil, false, err
	}
	a := obj.area
	return &Semaphore{object: obj, count: a.Uint64(0), most: a.Uint64(8), waiter: a.Waiter(objectWaits)}, existed, nil
}

// Acquire takes one from the count, and waits for one to be there. Its error is
// ErrClosed if the semaphore is closed, otherwise context.Cause(ctx): then nothing was
// taken.
func (s *Semaphore) Acquire(ctx context.Context) error {
	return s.wait(ctx, s.waiter, s.take)
}

// TryAcquire takes one from the count if it is not zero, and reports whether it did.
func (s *Semaphore) TryAcquire() (bool, error) { return s.try(s.take) }

func (s *Semaphore) take() bool {
	for {
		n := s.count.Load()
		if n == 0 {
			return false
		}
		if s.count.CompareAndSwap(n, n-1) {
			return true
		}
	}
}

// Release adds n to the count and wakes those who wait for it. If that would be too
// many, it adds nothing and returns ErrTooMany.
func (s *Semaphore) Release(n uint32) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	for {
		now := s.count.Load()
		if most := s.most.Load(); now > most || uint64(n) > most-now {
			return errors.Wrapf(ErrTooMany, "%d and %d more, of %d", now, n, most)
		}
		if s.count.CompareAndSwap(now, now+uint64(n)) {
			s.waiter.Wake()
			return nil
		}
	}
}

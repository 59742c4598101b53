package mmapfile

import (
	"context"
	"slices"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/invariant"
	"github.com/sharekv/sharekv/internal/word"
)

// A Mutex excludes the members of an area, and the goroutines of each, from each
// other. It is not recursive, and bound to no goroutine and no thread: one
// goroutine may lock it and another unlock it. When a process dies holding it, the
// next one to get it is told; a process that is merely stopped keeps it.
//
// It lies in 64 of the user bytes, which nobody else may touch:
//
//	OFFSET  SIZE  MEANING
//	0       4     who holds it, in the owner bits: member + 1, 0 = nobody
//	8       8     since when (Unix ns)
type Mutex struct {
	area  *Area
	word  *word.Uint32
	since *word.Uint64
	turn  turn
	lock  memberLock
}

// A memberLock is the part of a mutex that works between members. One goroutine
// of a member uses it at a time.
type memberLock interface {
	// acquire gets the lock, or fails when ctx is done or the area closes.
	acquire(ctx context.Context) (abandoned bool, err error)
	// try gets the lock if nobody has it.
	try() (got, abandoned bool, err error)
	release()
	// disown makes the lock abandoned if the word says that this member holds it.
	disown()
	// close frees what acquire has set up; a lock that is held stays held.
	close()
}

// The bits of the word. Only the owner bits matter to all homes.
const (
	wordWaiters   = 1 << 31
	wordAbandoned = 1 << 30
	wordReserved  = 1 << 29
	wordOwner     = wordReserved - 1
)

// Mutex returns the mutex in the user bytes [off, off+64); off is a multiple of
// 64, and bytes that are all zero are a free mutex. It is always the same for one
// off. An area has room for 16.
func (a *Area) Mutex(off int) *Mutex {
	if off%lineSize != 0 {
		panic(errors.AssertionFailedf("M4: mutex at %d", off))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if m := a.mu.mutexes[off]; m != nil {
		return m
	}
	a.registerMutex(off)
	m := &Mutex{area: a, word: a.Uint32(off), since: a.Uint64(off + 8)}
	m.lock = a.home.newLock(a, off, m.word)
	if a.mu.closed {
		m.turn.shut()
	}
	a.mu.mutexes[off] = m
	return m
}

// registerMutex notes where a mutex is, for whoever gets this member's number
// when it is dead. The note comes before the first lock.
func (a *Area) registerMutex(off int) {
	for i := 0; i < mutexesMost; {
		note := uint32At(a.mem, offMutexes+4*i)
		switch v := note.Load(); {
		case v == uint32(off)+1:
			return
		case v != 0:
			i++
		case note.CompareAndSwap(0, uint32(off)+1):
			return
		}
	}
	panic(errors.AssertionFailedf("M4: more than %d mutexes in an area", mutexesMost))
}

// registeredMutexes returns where mutexes are. Offsets that make no sense, which
// only damage can bring, are left out.
func (a *Area) registeredMutexes() []int {
	var offsets []int
	for i := range mutexesMost {
		v := uint32At(a.mem, offMutexes+4*i).Load()
		off := int(v) - 1
		if v != 0 && off%lineSize == 0 && off <= len(a.user)-lineSize && !slices.Contains(offsets, off) {
			offsets = append(offsets, off)
		}
	}
	return offsets
}

// Lock waits until the mutex is free and takes it. There are three outcomes:
//
//   - nil: it is held.
//   - ErrAbandoned, exactly: it is held, and its last owner died, or closed its
//     area, holding it. What it protects must be put right before Unlock; if that
//     fails because this process dies too, the next one is told again.
//   - any other error: it is not held. ErrClosed if the area is closed, otherwise
//     context.Cause(ctx), wrapped with who holds the mutex and since when.
//
// A ctx that is already done fails even if the mutex is free.
func (m *Mutex) Lock(ctx context.Context) error {
	if ctx.Err() != nil {
		return m.refuse(context.Cause(ctx))
	}
	if err := m.turn.take(ctx); err != nil {
		return m.refuse(err)
	}
	abandoned, err := m.lock.acquire(ctx)
	if err != nil {
		err = m.refuse(err)
		m.turn.give()
		return err
	}
	m.since.Store(m.area.clock())
	m.turn.own()
	if abandoned {
		return ErrAbandoned
	}
	return nil
}

// TryLock takes the mutex if it is free, and reports whether it is held now; with
// ErrAbandoned, exactly, as of Lock. It does not look whether a holder has died: that
// is for Lock.
func (m *Mutex) TryLock() (bool, error) {
	if !m.turn.try() {
		return false, nil
	}
	got, abandoned, err := m.lock.try()
	if !got || err != nil {
		m.turn.give()
		return false, err
	}
	m.since.Store(m.area.clock())
	m.turn.own()
	if abandoned {
		return true, ErrAbandoned
	}
	return true, nil
}

// refuse says who holds the mutex.
func (m *Mutex) refuse(err error) error {
	if m.area.life.Err() != nil {
		return ErrClosed
	}
	holder, ok := m.Holder()
	switch {
	case !ok:
		return errors.Wrapf(err, "mmapfile: lock not taken")
	case holder.Number == m.area.self:
		return errors.Wrapf(err, "mmapfile: lock held by this process since %s", holder.since())
	}
	return errors.Wrapf(err, "mmapfile: lock held by %v", holder)
}

// Unlock frees the mutex, which must be held by this member. After Close of the
// area it does nothing: the mutex was abandoned then.
func (m *Mutex) Unlock() {
	owned, open := m.turn.disown()
	invariant.Assert(owned, "M5: unlock of a mutex that is not held")
	if !owned || !open {
		return
	}
	m.since.Store(0)
	m.lock.release()
	m.turn.give()
}

// Holder tells who holds the mutex, and since when. For people only.
func (m *Mutex) Holder() (MemberInfo, bool) {
	// Close waits for nobody who only asks: it must not unmap meanwhile.
	m.area.mu.Lock()
	defer m.area.mu.Unlock()
	if m.area.mu.closed {
		return MemberInfo{}, false
	}
	owner := m.word.Load() & wordOwner
	if owner == 0 {
		return MemberInfo{}, false
	}
	info, ok := m.area.Member(int(owner) - 1)
	if since := m.since.Load(); since != 0 {
		info.Since = time.Unix(0, int64(since))
	}
	return info, ok
}

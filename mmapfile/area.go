package mmapfile

import (
	"context"
	"io/fs"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/invariant"
	"github.com/sharekv/sharekv/internal/word"
)

// closeTimeout is how long Area.Close waits for the gate.
const closeTimeout = 5 * time.Second

// AreaOptions says what an area looks like. Size and Members must be the same for
// all who share it.
type AreaOptions struct {
	Size    int         // user bytes, a multiple of 64
	Members int         // how many may be members at once
	Mode    fs.FileMode // of a file made here, whatever the umask; 0 = 0600
	Like    string      // if this file exists, its owner, group and mode are used instead (Linux)
}

// An Area is a stretch of memory that several processes share, and the list of its
// members: one per call of OpenArea, also within one process. The memory is made
// of words that are used atomically, and lasts as long as there are members. The
// kernel proves which members live.
//
// All methods may be called concurrently, also Mutex.Lock, Mutex.Unlock and
// Waiter.Wait with Close; nothing else may be in use when Close is called.
type Area struct {
	home    home
	mem     []byte // all of it: header, member table, user bytes
	table   memberTable
	user    []byte
	members int
	self    int
	nonce   uint64
	joined  time.Time // for clock

	// life ends with Close, and with it every wait.
	life context.Context
	end  context.CancelCauseFunc

	mu struct {
		sync.Mutex
		mutexes map[int]*Mutex
		waiters map[int]*Waiter
		closed  bool
	}

	// probe guards what this member has locked besides its own number and the
	// gate: to the kernel all locks of one member are one owner's.
	probe struct {
		sync.Mutex
		seized map[int]bool
	}
}

// A home is where the bytes of an area live, and what proves that its members do.
type home interface {
	// tryLock takes the locks [first, first+n), or none of them if another member
	// has one. They are freed when the member dies.
	tryLock(first, n int64) (bool, error)
	unlock(first, n int64)
	// newLock returns the part of a mutex that works between members.
	newLock(a *Area, off int, word *word.Uint32) memberLock
	// newBell returns the part of a waiter that does.
	newBell(a *Area, off int, word *word.Uint32) memberBell
	// close lets go of the bytes and of all locks.
	close() error
}

// The locks of an area by number.
const (
	gateLock   = 0
	memberZero = 1
	memberMost = 1 << 20 // so that members of any version are noticed
)

// OpenArea joins the area in the file at path, which it creates if it must. start,
// which may be nil, runs when the bytes are mapped and the member has its number,
// and before any other member can join or leave; first says that there was no live
// member, and then all user bytes are zero. If start fails, the area is left again
// and the error returned.
//
// ctx bounds the wait for others that join or leave. ErrVersion means that live
// members see the area differently, ErrFull that there are too many, ErrWrongKind
// that the file is something else, ErrUntrusted that path is a link.
func OpenArea(ctx context.Context, path string, o *AreaOptions, start func(a *Area, first bool) error) (*Area, error) {
	layout, err := layoutOf(o)
	if err != nil {
		return nil, err
	}
	for {
		h, err := openAreaFile(path)
		if err != nil {
			return nil, err
		}
		if err := enterGate(ctx, h); err != nil {
			err = errors.Wrapf(err, "%s: others join or leave", path)
			return nil, errors.CombineErrors(err, h.close())
		}
		// Another file may have come to path before the gate was ours.
		same, err := leadsTo(path, h.file)
		if err == nil && same {
			return enterFile(h, layout, o, start)
		}
		h.unlock(gateLock, 1)
		if err := errors.CombineErrors(err, h.close()); err != nil {
			return nil, err
		}
	}
}

// enterFile makes this process a member. Requires the gate, and gives it back.
func enterFile(h *areaFile, l layout, o *AreaOptions, start func(*Area, bool) error) (*Area, error) {
	first, err := h.tryLock(memberZero, memberMost)
	if err == nil && first {
		err = h.prepare(l, o)
		h.unlock(memberZero, memberMost)
	} else if err == nil {
		err = h.check(l)
	}
	var mem []byte
	if err == nil {
		mem, err = h.mapBytes(l.total())
	}
	if err != nil {
		h.unlock(gateLock, 1)
		return nil, errors.CombineErrors(err, h.close())
	}
	return join(h, mem, l, first, start)
}

// join takes a number and runs start. Requires the gate, and gives it back.
func join(h home, mem []byte, l layout, first bool, start func(*Area, bool) error) (*Area, error) {
	user := l.userOffset()
	a := &Area{
		home: h, members: l.members, joined: time.Now(),
		mem: mem, table: mem[offMemberTab:user], user: mem[user:],
		nonce: uint64At(mem, offNonce).Load(),
	}
	a.life, a.end = context.WithCancelCause(context.Background())
	a.mu.mutexes = map[int]*Mutex{}
	a.mu.waiters = map[int]*Waiter{}
	a.probe.seized = map[int]bool{}
	err := errors.Wrapf(ErrVersion, "an area with the nonce %#x", a.nonce)
	if 0 < a.nonce && a.nonce < nonceEnd {
		err = a.claim()
	}
	if err != nil {
		h.unlock(gateLock, 1)
		return nil, errors.CombineErrors(err, h.close())
	}
	started := false
	defer func() {
		if !started { // an error, or a panic that goes on
			a.shut()
			_ = a.leave(true)
		}
	}()
	if start != nil {
		if err := start(a, first); err != nil {
			return nil, err
		}
	}
	started = true
	h.unlock(gateLock, 1)
	return a, nil
}

// claim takes the lowest number that no live member has, and cleans up what its
// last owner left. Requires the gate.
func (a *Area) claim() error {
	// A number that looks taken may only be probed at the moment.
	for try := range 4 {
		time.Sleep(time.Duration(try) * time.Millisecond)
		for i := range a.members {
			got, err := a.home.tryLock(int64(memberZero+i), 1)
			if err != nil {
				return err
			}
			if !got {
				continue
			}
			a.self = i
			a.disown()
			a.table.set(i, a.joined)
			return nil
		}
	}
	return errors.Wrapf(ErrFull, "all of %d", a.members)
}

// disown frees the mutexes that belong to this member's number, as abandoned.
func (a *Area) disown() {
	for _, off := range a.registeredMutexes() {
		a.Mutex(off).lock.disown()
	}
}

// Close leaves the area. If no other live member is there, last, which may be nil,
// runs before anybody can join. Waits for what is in this area end with ErrClosed;
// a mutex that is held becomes abandoned. If others keep the gate for some
// seconds, Close leaves as a killed process would, without last. A second Close
// does nothing and returns ErrClosed.
func (a *Area) Close(last func() error) error {
	a.mu.Lock()
	closed := a.mu.closed
	a.mu.closed = true
	a.mu.Unlock()
	if closed {
		return ErrClosed
	}
	a.shut()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	gate := enterGate(ctx, a.home) == nil
	left := false
	defer func() {
		if !left { // last panicked
			_ = a.leave(gate)
		}
	}()
	var err error
	if gate && last != nil && !a.othersLive() {
		err = last()
	}
	left = true
	return errors.CombineErrors(err, a.leave(gate))
}

// Kill leaves the area as a killed process would: what the member has said and
// locked stays as it is, for others to find. It is for tests, and may come at any
// time at which Close may.
func (a *Area) Kill() {
	a.mu.Lock()
	closed := a.mu.closed
	a.mu.closed = true
	a.mu.Unlock()
	if !closed {
		a.shut()
		_ = a.leave(false) // nobody asks a dead process
	}
}

// shut ends all waits, and returns when nobody touches a mutex or a waiter any more.
func (a *Area) shut() {
	a.end(ErrClosed)
	a.mu.Lock()
	a.mu.closed = true
	mutexes := make([]*Mutex, 0, len(a.mu.mutexes))
	for _, m := range a.mu.mutexes {
		mutexes = append(mutexes, m)
	}
	waiters := make([]*Waiter, 0, len(a.mu.waiters))
	for _, w := range a.mu.waiters {
		waiters = append(waiters, w)
	}
	a.mu.Unlock()
	for _, m := range mutexes {
		m.turn.shut()
		m.lock.close()
	}
	for _, w := range waiters {
		w.shut()
	}
}

// leave gives up the number and the memory. Without the gate it cleans up nothing:
// the next owner of the number does.
func (a *Area) leave(gate bool) error {
	a.probe.Lock()
	defer a.probe.Unlock()
	if gate {
		a.disown()
		a.table.clear(a.self)
	}
	invariant.Assert(len(a.probe.seized) == 0, "M6: area closed with %d members seized", len(a.probe.seized))
	// Unlocked one by one, and not only by closing: a child that this process is
	// just starting may hold the description a moment longer.
	a.home.unlock(int64(memberZero+a.self), 1)
	if gate {
		a.home.unlock(gateLock, 1)
	}
	a.probe.seized = nil
	return a.home.close()
}

// othersLive reports whether there is another live member. Requires the gate.
func (a *Area) othersLive() bool {
	a.probe.Lock()
	defer a.probe.Unlock()
	before, after := int64(a.self), int64(memberZero+a.self+1)
	for _, r := range [][2]int64{{memberZero, before}, {after, memberMost - before - 1}} {
		if r[1] == 0 {
			continue
		}
		if got, err := a.home.tryLock(r[0], r[1]); err != nil || !got {
			return true
		}
		a.home.unlock(r[0], r[1])
	}
	return false
}

func enterGate(ctx context.Context, h home) error {
	return waitLock(ctx, func() (bool, error) { return h.tryLock(gateLock, 1) })
}

// waitLock tries again and again to take a lock, for the kernel's own way of
// waiting cannot be cancelled.
func waitLock(ctx context.Context, try func() (bool, error)) error {
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if got, err := try(); err != nil || got {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// Nonce returns a random number from 1 to 2^40-1 that is the same for all members
// at a time, and another when the first member has come again. Mapping.Bind makes
// it known to those who use the same file with another area.
func (a *Area) Nonce() uint64 { return a.nonce }

// Uint64 returns the word at off in the user bytes; off is a multiple of 8. It is an
// atomic.Uint64, and valid until Close.
func (a *Area) Uint64(off int) *word.Uint64 { return uint64At(a.user, off) }

// Uint32 returns the word at off in the user bytes; off is a multiple of 4. It is an
// atomic.Uint32, and valid until Close.
func (a *Area) Uint32(off int) *word.Uint32 { return uint32At(a.user, off) }

// Fault does for the bytes of the area what Mapping.Fault does for a view.
func (a *Area) Fault(recovered any) error {
	if a == nil {
		return nil
	}
	off, ok := faultIn(a.mem, recovered)
	if !ok {
		return nil
	}
	return errors.Wrapf(ErrFault, "shared area at offset %d", off)
}

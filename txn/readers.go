package txn

import (
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sharekv/sharekv/index"
	"github.com/sharekv/sharekv/internal/word"
	"github.com/sharekv/sharekv/mmapfile"
)

// A reader slot is a line of the area: who has it, and which snapshot is read
// through it, 0 for none. The first slot of each member is its floor: it keeps
// whatever died after its txid, and all of the member's readers may share it. The
// others keep one snapshot, and are claimed by members as they need them.
const (
	areaSlots    = 1024 // the slots begin here
	slotBytes    = 64
	offSlotOwner = 0 // member number + 1, 0 for nobody
	offSlotTxID  = 8

	// MaxMembers is how many handles a store can have at once, in all processes.
	MaxMembers = 256
	// MaxReaders is how many read transactions can each keep their own snapshot
	// and nothing more, in all processes. More are possible: those of one handle
	// then keep what the oldest of them needs and all that came later.
	MaxReaders = 4096
)

// idleSlots is how many slots a handle keeps for its next readers.
const idleSlots = 64

// probeInterval is how often a writer looks whether the owner of a slot that
// holds pages back is alive.
const probeInterval = 50 * time.Millisecond

// readers is one handle's view of the reader slots of all.
type readers struct {
	area *mmapfile.Area
	log  *slog.Logger
	high *word.Uint64 // slots from here on were never claimed

	// own are the slots this handle has claimed. It keeps some when they are idle.
	own atomic.Pointer[[]*ownSlot]

	mu      sync.Mutex // guards what follows, and changes of own
	next    int        // where to look for a slot that nobody has
	floor   *word.Uint64
	floored int // read transactions that share the floor

	reaped time.Time // when claim last looked for slots of the dead

	probed map[int]time.Time // by member; of the writer
}

// ownSlot is a claimed slot. Readers of this process take turns on it.
type ownSlot struct {
	busy  atomic.Bool
	txid  *word.Uint64
	owner *word.Uint64
	_     [40]byte // a cache line for each
}

func newReaders(area *mmapfile.Area, log *slog.Logger) *readers {
	r := &readers{area: area, log: log, high: area.Uint64(areaHigh), probed: map[int]time.Time{}}
	r.own.Store(new([]*ownSlot))
	r.clean(area.Self()) // what a dead predecessor left
	r.floor = r.txid(area.Self())
	return r
}

func (r *readers) owner(slot int) *word.Uint64 {
	return r.area.Uint64(areaSlots + slot*slotBytes + offSlotOwner)
}

func (r *readers) txid(slot int) *word.Uint64 {
	return r.area.Uint64(areaSlots + slot*slotBytes + offSlotTxID)
}

// claimed returns how many slots have ever been claimed, floors included.
func (r *readers) claimed() int {
	return int(min(max(r.high.Load(), MaxMembers), MaxMembers+MaxReaders))
}

// acquire returns a slot of this handle that no reader uses, or nil if there is
// none to be had: then the floor serves.
func (r *readers) acquire() *ownSlot {
	if own := *r.own.Load(); len(own) > 0 {
		first := 0
		if len(own) > 1 {
			first = rand.IntN(len(own))
		}
		for i := range min(len(own), 4) {
			if s := own[(first+i)%len(own)]; s.take() {
				return s
			}
		}
	}
	return r.claim()
}

func (s *ownSlot) take() bool { return !s.busy.Load() && s.busy.CompareAndSwap(false, true) }

// release ends the use of a slot. A handle with many gives it back to all.
func (r *readers) release(s *ownSlot) {
	s.txid.Store(0)
	if len(*r.own.Load()) > idleSlots && r.giveBack(s) {
		return
	}
	s.busy.Store(false)
}

// giveBack frees a slot for other handles. It stays busy for this one, so that
// nobody who still sees it takes it.
func (r *readers) giveBack(s *ownSlot) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	own := *r.own.Load()
	i := slices.Index(own, s)
	if i < 0 || len(own) <= idleSlots {
		return false
	}
	own = slices.Concat(own[:i], own[i+1:])
	r.own.Store(&own)
	s.owner.Store(0)
	return true
}

// claim makes a slot that nobody has this handle's. If there is none it looks at
// all of its own, and at last for slots of the dead.
func (r *readers) claim() *ownSlot {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if s := r.claimFree(); s != nil {
			return s
		}
		for _, s := range *r.own.Load() {
			if s.take() {
				return s
			}
		}
		if !r.reapOwners() {
			return nil
		}
	}
}

func (r *readers) claimFree() *ownSlot {
	self := uint64(r.area.Self()) + 1
	for range MaxReaders {
		i := MaxMembers + r.next
		r.next = (r.next + 1) % MaxReaders
		o := r.owner(i)
		if o.Load() != 0 || !o.CompareAndSwap(0, self) {
			continue
		}
		// The writer looks at slots below the mark only.
		for h := r.high.Load(); h < uint64(i)+1; h = r.high.Load() {
			r.high.CompareAndSwap(h, uint64(i)+1)
		}
		s := &ownSlot{txid: r.txid(i), owner: o}
		s.busy.Store(true)
		own := append(slices.Clip(*r.own.Load()), s)
		r.own.Store(&own)
		return s
	}
	return nil
}

// enterFloor makes the floor keep all from txid on, or leaves it if it keeps more
// already. It is to be left again.
//
// It may have to be lowered, although snapshots only get younger: one who is still
// registering may have found the txid of a commit that is just being published.
func (r *readers) enterFloor(txid index.TxID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.floored++; r.floored == 1 || uint64(txid) < r.floor.Load() {
		r.floor.Store(uint64(txid))
	}
}

func (r *readers) leaveFloor() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.floored--; r.floored == 0 {
		r.floor.Store(0)
	}
}

// pins are the snapshots that are needed.
type pins struct {
	txids []index.TxID // each once, ascending
	floor index.TxID   // all that died after it is needed; the greatest number if none
}

// scan returns the snapshots being read, and those that are needed for something else.
// It cleans the slots of dead members if they read anything older than until. Requires
// the writer mutex, and that the durable record has been loaded before. What there is to
// log it notes.
func (r *readers) scan(until index.TxID, note func(func()), needed ...index.TxID) pins {
	p := pins{txids: needed, floor: math.MaxUint64}
	for i := range r.claimed() {
		txid := index.TxID(r.txid(i).Load())
		if txid == 0 {
			continue
		}
		if txid < until && r.dead(i, note) {
			continue
		}
		if i < MaxMembers {
			p.floor = min(p.floor, txid)
		} else {
			p.txids = append(p.txids, txid)
		}
	}
	slices.Sort(p.txids)
	p.txids = slices.Compact(p.txids)
	return p
}

// inUse returns how many slots hold a snapshot.
func (r *readers) inUse() (n int) {
	for i := range r.claimed() {
		if r.txid(i).Load() != 0 {
			n++
		}
	}
	return n
}

// dead reports whether the owner of a slot is dead, and cleans up after it if so.
func (r *readers) dead(slot int, note func(func())) bool {
	member := slot
	if slot >= MaxMembers {
		member = int(r.owner(slot).Load()) - 1
	}
	if member < 0 || member >= MaxMembers || time.Since(r.probed[member]) < probeInterval {
		return false
	}
	r.probed[member] = time.Now()
	info, _ := r.area.Member(member)
	if !r.reap(member) {
		return false
	}
	note(func() { r.log.Info("sharekv: freed the reader slots of a dead process", "process", info.String()) })
	return true
}

// reap cleans the slots of member if it is dead, and reports whether it was.
func (r *readers) reap(member int) bool {
	if member == r.area.Self() || r.area.Alive(member) {
		return false
	}
	release, ok := r.area.Seize(member) // nobody becomes this member meanwhile
	if !ok {
		return false
	}
	defer release()
	r.clean(member)
	return true
}

// reapOwners cleans up after all owners of slots that are dead, and reports
// whether there were any.
func (r *readers) reapOwners() bool {
	if time.Since(r.reaped) < probeInterval {
		return false
	}
	r.reaped = time.Now()
	seen := map[int]bool{r.area.Self(): true}
	reaped := false
	for i := MaxMembers; i < r.claimed(); i++ {
		member := int(r.owner(i).Load()) - 1
		if member >= 0 && member < MaxMembers && !seen[member] {
			seen[member] = true
			reaped = r.reap(member) || reaped
		}
	}
	return reaped
}

// clean frees the slots of member. Requires that no process is this member, or
// that it is this handle and reads nothing.
func (r *readers) clean(member int) {
	r.txid(member).Store(0)
	for i := MaxMembers; i < r.claimed(); i++ {
		if o := r.owner(i); o.Load() == uint64(member)+1 {
			r.txid(i).Store(0)
			o.Store(0)
		}
	}
}

// youngest returns the youngest snapshot being read in [birth, death), if there is
// one. With a floor in it, or below, that is the floor.
func (p *pins) youngest(birth, death index.TxID) (index.TxID, bool) {
	if p.floor < death {
		return p.floor, true
	}
	i, _ := slices.BinarySearch(p.txids, death)
	if i > 0 && p.txids[i-1] >= birth {
		return p.txids[i-1], true
	}
	return 0, false
}

// has reports whether lists filed under the snapshot must stay there.
func (p *pins) has(txid index.TxID) bool {
	_, ok := slices.BinarySearch(p.txids, txid)
	return ok || p.floor == txid
}

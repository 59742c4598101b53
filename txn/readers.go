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
	"github.com/sharekv/sharekv/mmapfile"
)

// A reader slot is a line of the area: who has it, and which snapshot is read
// through it, 0 for none. The first slot of each member is its floor: it keeps
// whatever died after its txid, and all of the member's readers may share it. The
// others keep one snapshot, and are claimed by members as they need them.
const (
	areaSlots    = 576 // the slots begin here
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

// probeInterval is how often a writer looks whether the owner of a slot that
// holds pages back is alive.
const probeInterval = 50 * time.Millisecond

// readers is one handle's view of the reader slots of all.
type readers struct {
	area *mmapfile.Area
	log  *slog.Logger
	high *atomic.Uint64 // slots from here on were never claimed

	// own are the slots this handle has claimed. It never gives one back before
	// it is closed.
	own atomic.Pointer[[]*ownSlot]

	mu      sync.Mutex // guards what follows, and changes of own
	floor   *atomic.Uint64
	floored int // read transactions that share the floor

	probed map[int]time.Time // by member; of the writer
}

// ownSlot is a claimed slot. Readers of this process take turns on it.
type ownSlot struct {
	busy atomic.Bool
	txid *atomic.Uint64
	_    [40]byte // a cache line for each
}

func newReaders(area *mmapfile.Area, log *slog.Logger) *readers {
	r := &readers{area: area, log: log, high: area.Uint64(areaHigh), probed: map[int]time.Time{}}
	r.own.Store(new([]*ownSlot))
	r.clean(area.Self()) // what a dead predecessor left
	r.floor = r.txid(area.Self())
	return r
}

func (r *readers) owner(slot int) *atomic.Uint64 {
	return r.area.Uint64(areaSlots + slot*slotBytes + offSlotOwner)
}

func (r *readers) txid(slot int) *atomic.Uint64 {
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

func (s *ownSlot) release() {
	s.txid.Store(0)
	s.busy.Store(false)
}

// claim makes a slot that nobody has this handle's. If there is none it waits for
// nothing, but looks at all of its own.
func (r *readers) claim() *ownSlot {
	r.mu.Lock()
	defer r.mu.Unlock()
	own := *r.own.Load()
	self := uint64(r.area.Self()) + 1
	for range 2 {
		for i := MaxMembers; i < MaxMembers+MaxReaders; i++ {
			if o := r.owner(i); o.Load() != 0 || !o.CompareAndSwap(0, self) {
				continue
			}
			// The writer looks at slots below the mark only.
			for h := r.high.Load(); h < uint64(i)+1; h = r.high.Load() {
				r.high.CompareAndSwap(h, uint64(i)+1)
			}
			s := &ownSlot{txid: r.txid(i)}
			s.busy.Store(true)
			own = append(slices.Clip(own), s)
			r.own.Store(&own)
			return s
		}
		for _, s := range own {
			if s.take() {
				return s
			}
		}
		r.reapAll()
	}
	return nil
}

// enterFloor makes the floor keep all from txid on, or leaves it if it keeps more
// already. It is to be left again.
func (r *readers) enterFloor(txid index.TxID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.floored++; r.floored == 1 {
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

// pins are the snapshots that are being read.
type pins struct {
	txids []index.TxID // each once, ascending
	floor index.TxID   // all that died after it is needed; the greatest number if none
}

// scan returns the snapshots being read. It cleans the slots of dead members if
// they read anything older than other. Requires the writer mutex, and that the
// durable record has been loaded before.
func (r *readers) scan(other index.TxID) pins {
	p := pins{floor: math.MaxUint64}
	for i := range r.claimed() {
		txid := index.TxID(r.txid(i).Load())
		if txid == 0 {
			continue
		}
		if txid < other && r.dead(i) {
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

// dead reports whether the owner of a slot is dead, and cleans up after it if so.
func (r *readers) dead(slot int) bool {
	member := slot
	if slot >= MaxMembers {
		member = int(r.owner(slot).Load()) - 1
	}
	if member < 0 || member >= MaxMembers || time.Since(r.probed[member]) < probeInterval {
		return false
	}
	r.probed[member] = time.Now()
	return r.reap(member)
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
	if r.clean(member) > 0 {
		info, _ := r.area.Member(member)
		r.log.Info("sharekv: freed the reader slots of a dead process", "process", info.String())
	}
	return true
}

func (r *readers) reapAll() {
	for member := range MaxMembers {
		r.reap(member)
	}
}

// clean frees the slots of member, and returns how many were in use. Requires that
// no process is this member, or that it is this handle and reads nothing.
func (r *readers) clean(member int) (used int) {
	if r.txid(member).Swap(0) != 0 {
		used++
	}
	for i := MaxMembers; i < r.claimed(); i++ {
		if o := r.owner(i); o.Load() == uint64(member)+1 {
			if r.txid(i).Swap(0) != 0 {
				used++
			}
			o.Store(0)
		}
	}
	return used
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

package txn

import (
	"github.com/sharekv/sharekv/index"
)

// Reader is a read transaction: the last commit that readers may see, which stays as
// it is until End. It may be used by several goroutines.
type Reader struct {
	Snapshot index.Snapshot
	Main     index.Root

	free  index.Root
	store *Store
	slot  *ownSlot // nil for the floor
}

// Read begins a read transaction. It never waits for a writer, and as long as this
// handle has an idle slot it takes no lock and makes no system call. End must
// follow, unless there is an error.
//
// The order matters: the snapshot is in the slot before the record is looked at
// again. If it is still the current one then, no writer that begins later will
// reuse a page of it, and those that began earlier reuse only what was dead
// before.
func (s *Store) Read() (Reader, error) {
	r := Reader{store: s, slot: s.readers.acquire()}
	d := s.visible()
	var c commit
	for {
		word := d.word.Load()
		txid := d.cells[word&1][0].Load()
		if r.slot == nil {
			s.readers.enterFloor(index.TxID(txid))
		} else {
			r.slot.txid.Store(txid)
		}
		if d.word.Load() == word {
			if c = d.load(); c.txid == index.TxID(txid) {
				break
			}
		}
		if r.slot == nil {
			s.readers.leaveFloor()
		}
	}
	r.Main, r.free = c.main, c.free
	var err error
	r.Snapshot, err = s.snapshotOf(&c.snapshot)
	if err != nil {
		r.End()
	}
	return r, err
}

// End ends the transaction. Slices of its snapshot may be overwritten from now on.
func (r *Reader) End() {
	if r.slot == nil {
		r.store.readers.leaveFloor()
		return
	}
	r.store.readers.release(r.slot)
}

func (s *Store) snapshotOf(c *snapshot) (index.Snapshot, error) {
	memory, err := s.view(c.pages)
	return index.Snapshot{
		Memory:    memory,
		PageShift: s.pageShift,
		TxID:      c.txid,
		Verified:  s.verified,
	}, err
}

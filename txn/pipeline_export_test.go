package txn

import "github.com/sharekv/sharekv/index"

// Progress returns the head and the durable snapshot.
func (s *Store) Progress() (head, durable index.TxID) {
	durable = s.shared.durable.txid()
	return s.shared.head.txid(), durable
}

// Wakes returns how often the durable record's sleepers have been woken.
func (s *Store) Wakes() uint32 { return s.shared.wake.Count() }

// Handed returns the last txid handed out.
func (s *Store) Handed() index.TxID { return index.TxID(s.shared.next.Load()) }

// Reach returns the pages of the snapshot's trees, and how many bytes of each are in use.
// The last page of a run has some behind its end.
func (r *Reader) Reach() (pages map[int]int, err error) {
	pages = map[int]int{}
	visit := func(w index.Written) error {
		for i := range w.Pages {
			pages[int(w.Page)+i] = min(r.Snapshot.PageSize(), len(w.Bytes)-i*r.Snapshot.PageSize())
		}
		return nil
	}
	if err = r.Snapshot.Changed(r.Main, 0, visit); err == nil {
		err = r.Snapshot.Changed(r.free, 0, visit)
	}
	return pages, err
}

// MetaOf returns what a test needs of the meta page in force in the store's bytes: the slot,
// the snapshot, the high-water mark, the epoch, and whether the data was flushed before.
func MetaOf(store []byte) (slot int, txid index.TxID, pages int, epoch uint32, flushed bool) {
	m, err := readMetas(store)
	if err != nil {
		return -1, 0, 0, 0, false
	}
	slot = m.newest()
	x := m[slot]
	return slot, x.txid, int(x.pages), m.epoch(), x.flushed
}

// AreaVersionAt is where the area says which layout it has.
const AreaVersionAt = areaVersion

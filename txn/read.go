package txn

import "github.com/sharekv/sharekv/index"

// Reader is a read transaction: the last durable commit, for as long as it is
// used. It may be used by several goroutines.
type Reader struct {
	Snapshot index.Snapshot
	Main     index.Root
}

// Read begins a read transaction. It takes no lock and never waits.
func (s *Store) Read() (Reader, error) {
	c := s.shared.durable.load()
	snap, err := s.snapshotOf(&c.snapshot)
	return Reader{snap, c.main}, err
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

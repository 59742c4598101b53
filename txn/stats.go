package txn

import "github.com/sharekv/sharekv/index"

// Stats says how large a store is and how its space is used.
type Stats struct {
	TxID    index.TxID // of the snapshot that the figures are of
	Entries uint64     // of the main tree, buckets counting as one
	Pages   uint64     // up to the high-water mark
	Grown   int64      // bytes allocated to the file
	Free    uint64     // pages that can be reused
	Retired uint64     // pages of older snapshots, which readers may still need
	Extents uint64     // free extents
	Readers int        // slots in use, also by the dead as far as nobody has noticed
	Failed  bool       // a flush has failed: nobody commits any more
	Commits uint64     // published since the first of those who have the store open came
	Syncs   uint64     // how often what was published has been made durable since then
	Durable index.TxID
}

// Stats returns the figures of the last commit. It reads the free-space tree,
// which takes time as it has entries.
func (s *Store) Stats() (Stats, error) {
	r, err := s.Read()
	if err != nil {
		return Stats{}, err
	}
	defer r.End()
	stats := Stats{
		TxID:    r.Snapshot.TxID,
		Entries: r.Main.Entries,
		Pages:   uint64(len(r.Snapshot.Memory)) >> s.pageShift,
		Grown:   int64(s.shared.grown.Load()),
		Readers: s.readers.inUse() - 1, // without r
		Failed:  s.shared.poison.Load() != 0,
		Commits: s.shared.head.count(),
		Syncs:   s.shared.durable.count(),
		Durable: s.shared.durable.txid(),
	}
	err = r.eachFree(func(e freeEntry) error {
		if e.kind == keyFree {
			stats.Free += e.free.pages
			stats.Extents++
		}
		for _, x := range e.list {
			stats.Retired += x.pages
		}
		return nil
	})
	return stats, err
}

// eachFree calls fn for the entries of the free-space tree.
func (r *Reader) eachFree(fn func(freeEntry) error) error {
	pages := index.PageID(len(r.Snapshot.Memory) >> r.Snapshot.PageShift)
	c := r.Snapshot.Cursor(r.free.Ref)
	for ok := c.First(); ok; ok = c.Next() {
		value, _, err := c.Value()
		if err != nil {
			return err
		}
		e, err := decodeFree(c.Key(), value, pages)
		if err != nil {
			return err
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	return c.Err()
}

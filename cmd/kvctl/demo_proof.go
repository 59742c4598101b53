package main

import (
	"slices"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/store"
)

// A snapshot is what one read transaction of the demo saw.
type snapshot struct {
	rev      revision
	records  []int // of each writer, counted one by one
	counters []int // of each writer, as it says
}

func (s snapshot) total() int {
	n := 0
	for _, r := range s.records {
		n += r
	}
	return n
}

// A witness sees snapshots one after another and finds out whether each is
// consistent in itself and none is older than the one before.
type witness struct {
	last  snapshot
	taken int // snapshots
	revs  int // different revisions among them
}

func (w *witness) see(s snapshot) error {
	for i := range s.records {
		if s.records[i] != s.counters[i] {
			return errors.Newf("revision %v is inconsistent: %d records of writer %d, whose counter says %d",
				s.rev, s.records[i], i+1, s.counters[i])
		}
	}
	if w.taken > 0 {
		if err := w.compare(s); err != nil {
			return err
		}
	}
	if w.taken == 0 || s.rev != w.last.rev {
		w.revs++
	}
	w.taken++
	w.last = s
	return nil
}

// compare refuses s if it cannot follow the last snapshot.
func (w *witness) compare(s snapshot) error {
	if s.rev < w.last.rev {
		return errors.Newf("revision %v came after revision %v", s.rev, w.last.rev)
	}
	if s.rev == w.last.rev && !slices.Equal(s.records, w.last.records) {
		return errors.Newf("revision %v had %v records of the writers, and then %v",
			s.rev, w.last.records, s.records)
	}
	for i := range s.records {
		if s.records[i] < w.last.records[i] {
			return errors.Newf("revision %v holds %d records of writer %d, but revision %v held %d",
				s.rev, s.records[i], i+1, w.last.rev, w.last.records[i])
		}
	}
	return nil
}

// proveAcknowledged checks s, seen after the death of a writer, which is victim:
// nothing is missing that was acknowledged before, and nothing is there of the
// transaction that the victim had not committed.
func proveAcknowledged(s snapshot, acknowledged []int, victim int) error {
	var w witness
	if err := w.see(s); err != nil {
		return err
	}
	for i, n := range acknowledged {
		if s.records[i] < n {
			return errors.Newf("%d records of writer %d were acknowledged, but revision %v holds %d",
				n, i+1, s.rev, s.records[i])
		}
		if i == victim && s.records[i] > n {
			return errors.Newf("writer %d committed %d records, but revision %v holds %d",
				i+1, n, s.rev, s.records[i])
		}
	}
	return nil
}

// proveComplete checks the store after the last writer: it must hold the whole
// data set. The bytes are compared by takeSnapshot.
func proveComplete(db *store.DB, records []demoRecord, writers int) error {
	return db.View(func(tx *store.Tx) error {
		s, err := takeSnapshot(tx, records, writers)
		if err != nil {
			return err
		}
		var end witness
		if err := end.see(s); err != nil {
			return err
		}
		if s.total() != len(records) {
			return errors.Newf("%d of %d records arrived", s.total(), len(records))
		}
		return nil
	})
}

// proveWatched checks that each reader saw the store change: to find one revision
// consistent again and again would prove nothing.
func proveWatched(readers []*worker) error {
	for _, r := range readers {
		if last := r.report(); last.Revs < 2 {
			return errors.Newf("%s saw %d revisions in %d snapshots, which proves nothing",
				r.name, last.Revs, last.Transactions)
		}
	}
	return nil
}

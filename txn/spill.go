package txn

import (
	"slices"

	"github.com/google/btree"

	"github.com/sharekv/sharekv/index"
	"github.com/sharekv/sharekv/internal/invariant"
)

// defaultBudget is how many bytes of changed tree pages a transaction keeps in
// memory before it stores them.
const defaultBudget = 16 << 20

// Spill stores pages, if there are too many in memory, in their places, which nobody
// refers to before the commit. It ends what is left of slices that were read before
// the last change.
func (w *Writer) Spill() error {
	if w.buffered<<w.store.pageShift <= w.store.budget {
		return nil
	}
	if err := w.spill(); err != nil {
		return w.Fail(err)
	}
	return nil
}

// spill keeps the branches as long as they are few: they are on the way to many
// keys.
func (w *Writer) spill() error {
	var leaves, branches []index.PageID
	for id, buf := range w.Snapshot.Made {
		if buf == nil {
			continue
		}
		if _, kind := index.Header(buf); kind == index.TypeBranch {
			branches = append(branches, id)
		} else {
			leaves = append(leaves, id)
		}
	}
	ids := leaves
	if len(branches) > len(leaves) {
		ids = append(ids, branches...)
	}
	if err := w.storePages(ids); err != nil {
		return err
	}
	for _, id := range ids {
		w.store.recycle(w.Snapshot.Made[id])
		w.Snapshot.Made[id] = nil
	}
	w.buffered -= len(ids)
	w.Snapshot.Spilled++
	return w.look()
}

// storeRest stores the pages that are still in memory.
func (w *Writer) storeRest() error {
	ids := make([]index.PageID, 0, w.buffered)
	for id, buf := range w.Snapshot.Made {
		if buf != nil {
			ids = append(ids, id)
		}
	}
	invariant.Assert(len(ids) == w.buffered, "%d pages are in memory, not %d", len(ids), w.buffered)
	return w.storePages(ids)
}

// storePages seals pages and stores them, neighbours together.
func (w *Writer) storePages(ids []index.PageID) error {
	s := w.store
	if err := w.refuse(s.grow(w.need())); err != nil {
		return err
	}
	slices.Sort(ids)
	for len(ids) > 0 {
		n := 1
		for n < len(ids) && ids[n] == ids[0]+index.PageID(n) {
			n++
		}
		run := make([][]byte, n)
		for i, id := range ids[:n] {
			run[i] = w.Snapshot.Made[id]
			r, _ := index.Header(run[i])
			invariant.Assert(r == index.Ref{Page: id, TxID: w.Snapshot.TxID}, "I9: page %d holds %v", id, r)
			index.Seal(run[i])
		}
		if err := s.storage.Store(int64(ids[0])<<s.pageShift, run); err != nil {
			return err
		}
		for _, id := range ids[:n] {
			s.verified.Add(id)
		}
		ids = ids[n:]
	}
	return nil
}

// maxBuffers is how many page buffers a handle keeps for its next transaction.
const maxBuffers = 256

// buffer returns a page of zeros. Requires the writer mutex.
func (s *Store) buffer() []byte {
	if n := len(s.buffers); n > 0 {
		b := s.buffers[n-1]
		s.buffers = s.buffers[:n-1]
		clear(b)
		return b
	}
	return make([]byte, s.pageSize)
}

// recycle takes back the buffer of a page, or nil, and with it what the application
// still holds of it. Under invariants it is spoiled instead, so that a late use
// shows.
func (s *Store) recycle(buf []byte) {
	switch {
	case buf == nil:
	case invariant.Enabled:
		for i := range buf {
			buf[i] = 0xdb
		}
	default:
		s.buffers = append(s.buffers, buf)
	}
}

// trim keeps maxBuffers.
func (s *Store) trim() {
	if len(s.buffers) > maxBuffers {
		clear(s.buffers[maxBuffers:])
		s.buffers = s.buffers[:maxBuffers]
	}
}

// runs are the runs that a transaction has made, by position. None touches another.
type runs struct{ byStart *btree.BTreeG[extent] }

func (r *runs) add(e extent) {
	if r.byStart == nil {
		r.byStart = btree.NewG(16, func(a, b extent) bool { return a.start < b.start })
	}
	r.byStart.ReplaceOrInsert(e)
}

func (r *runs) remove(start index.PageID) {
	if r.byStart != nil {
		r.byStart.Delete(extent{start: start})
	}
}

// touch reports whether e has a page of a run.
func (r *runs) touch(e extent) (found bool) {
	if r.byStart != nil {
		r.byStart.DescendLessOrEqual(extent{start: e.end() - 1}, func(x extent) bool {
			found = x.end() > e.start
			return false
		})
	}
	return found
}

package txn

import (
	"context"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
	"github.com/sharekv/sharekv/internal/invariant"
	"github.com/sharekv/sharekv/mmapfile"
)

// Writer is the write transaction: there is one at a time among all processes.
// It belongs to one goroutine at a time.
type Writer struct {
	// Main is the store's main tree. It may be read at any time, and changed after
	// Start.
	Main *index.Tree
	// Snapshot is what the transaction sees, its own changes included.
	Snapshot index.Snapshot

	store   *Store
	base    commit
	alloc   *allocator // from Start on
	started bool
	done    bool
	err     error // why the transaction cannot be committed any more
}

// Write waits for the writer mutex and begins a write transaction. ctx bounds the
// wait; the error then wraps context.Cause(ctx) and names the holder. The
// transaction must end by Commit or Rollback.
func (s *Store) Write(ctx context.Context) (*Writer, error) {
	if s.readOnly {
		return nil, ErrReadOnly
	}
	err := s.shared.writer.Lock(ctx)
	if errors.Is(err, mmapfile.ErrAbandoned) {
		// The dead writer may have stored a meta page that it did not publish. A
		// new session overwrites it before any page that it refers to.
		s.shared.session.Store(0)
		s.note(func() { s.log.Warn("sharekv: a writer died; its transaction is gone") })
	} else if err != nil {
		return nil, err
	}
	if s.shared.poison.Load() != 0 {
		s.unlock()
		return nil, ErrFlushFailed
	}
	base := s.shared.durable.load()
	w := &Writer{store: s, base: base}
	w.Snapshot, err = s.snapshotOf(&w.base.snapshot)
	if err != nil {
		s.unlock()
		return nil, err
	}
	w.Main = index.NewTree(&w.Snapshot, w, w.base.main)
	return w, nil
}

// Start must succeed before the first change. It gives the transaction its txid.
func (w *Writer) Start() error {
	if w.done {
		return ErrTxDone
	}
	if w.started || w.err != nil {
		return w.err
	}
	base, err := w.store.openSession(w.base)
	if err != nil {
		return w.Fail(err)
	}
	w.base = base
	// After the base, and once for the transaction: a reader that is not seen now
	// reads this base or a later one, which need nothing that was dead before.
	pins := w.store.readers.scan(base.other, w.store.note)
	next := w.store.shared.next.Add(1)
	w.Snapshot.TxID = index.TxID(next)
	w.Snapshot.Dirty = map[index.PageID][]byte{}
	invariant.Assert(w.Snapshot.TxID > w.base.txid, "I10: txid %v after %v", w.Snapshot.TxID, w.base.txid)
	w.alloc = newAllocator(&w.Snapshot, w, &w.base, pins)
	if err := w.alloc.sort(listsAtStart); err != nil {
		return w.Fail(err)
	}
	w.started = true
	return nil
}

// Fail makes the transaction one that cannot be committed, because of err, which
// it returns. The first reason counts.
func (w *Writer) Fail(err error) error {
	if w.err == nil {
		w.err = err
	}
	return err
}

// Err returns why the transaction cannot be committed any more, or nil.
func (w *Writer) Err() error { return w.err }

// Rollback ends the transaction without a trace.
func (w *Writer) Rollback() {
	if !w.done {
		w.done = true
		w.store.recycle(w.Snapshot.Dirty)
		w.Snapshot.Dirty = nil
		w.store.unlock()
	}
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

// recycle takes back the buffers of a transaction that ends, and with them what
// the application still holds of it. Under invariants they are spoiled instead, so
// that a late use shows.
func (s *Store) recycle(dirty map[index.PageID][]byte) {
	for _, b := range dirty {
		if invariant.Enabled {
			for i := range b {
				b[i] = 0xdb
			}
		} else if len(s.buffers) < maxBuffers {
			s.buffers = append(s.buffers, b)
		}
	}
}

// Alloc implements index.Pager.
func (w *Writer) Alloc() (index.PageID, []byte, error) {
	id, err := w.AllocRun(1)
	if err != nil {
		return 0, nil, err
	}
	buf := w.store.buffer()
	w.Snapshot.Dirty[id] = buf
	return id, buf, nil
}

// AllocRun implements index.Pager.
func (w *Writer) AllocRun(n int) (index.PageID, error) {
	id, err := w.alloc.alloc(uint64(n))
	if err != nil {
		return 0, err
	}
	for i := range index.PageID(n) {
		if w.Snapshot.Dirty[id+i] != nil {
			return 0, errors.Wrapf(index.ErrCorrupt, "page %d is free twice", id+i)
		}
	}
	return id, w.store.checkSize(w.alloc.pages)
}

// Store implements index.Pager.
func (w *Writer) Store(id index.PageID, bufs [][]byte) error {
	if err := w.store.grow(w.alloc.pages); err != nil {
		return err
	}
	if err := w.store.storage.Store(int64(id)<<w.store.pageShift, bufs); err != nil {
		return err
	}
	memory, err := w.store.view(w.alloc.pages)
	w.Snapshot.Memory = memory
	return err
}

// Retire implements index.Pager.
func (w *Writer) Retire(r index.Ref, n int) error {
	if r.TxID == w.Snapshot.TxID {
		delete(w.Snapshot.Dirty, r.Page)
	}
	return w.alloc.retire(r, n)
}

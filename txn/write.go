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
	pages   index.PageID // high-water mark
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
	} else if err != nil {
		return nil, err
	}
	if s.shared.poison.Load() != 0 {
		s.shared.writer.Unlock()
		return nil, ErrFlushFailed
	}
	base := s.shared.durable.load()
	w := &Writer{store: s, base: base, pages: base.pages}
	w.Snapshot, err = s.snapshotOf(&w.base.snapshot)
	if err != nil {
		s.shared.writer.Unlock()
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
	if err := w.store.openSession(w.base.snapshot); err != nil {
		return w.Fail(err)
	}
	next := w.store.shared.next.Add(1)
	w.Snapshot.TxID = index.TxID(next)
	w.Snapshot.Dirty = map[index.PageID][]byte{}
	invariant.Assert(w.Snapshot.TxID > w.base.txid, "I10: txid %v after %v", w.Snapshot.TxID, w.base.txid)
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
		w.Snapshot.Dirty = nil
		w.store.shared.writer.Unlock()
	}
}

// Alloc implements index.Pager.
func (w *Writer) Alloc() (index.PageID, []byte, error) {
	id, err := w.AllocRun(1)
	if err != nil {
		return 0, nil, err
	}
	buf := make([]byte, w.store.pageSize)
	w.Snapshot.Dirty[id] = buf
	return id, buf, nil
}

// AllocRun implements index.Pager. Pages come from the end of the store: this
// version reuses none.
func (w *Writer) AllocRun(n int) (index.PageID, error) {
	id := w.pages
	end := id + index.PageID(n)
	if err := w.store.checkSize(end); err != nil {
		return 0, err
	}
	w.pages = end
	return id, nil
}

// Store implements index.Pager.
func (w *Writer) Store(id index.PageID, bufs [][]byte) error {
	if err := w.store.grow(w.pages); err != nil {
		return err
	}
	if err := w.store.storage.Store(int64(id)<<w.store.pageShift, bufs); err != nil {
		return err
	}
	memory, err := w.store.view(w.pages)
	w.Snapshot.Memory = memory
	return err
}

// Retire implements index.Pager. Retired pages stay where they are: this version
// reuses none, so every snapshot stays whole for ever.
func (w *Writer) Retire(index.Ref, int) error { return nil }

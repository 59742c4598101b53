package txn

import (
	"context"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
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

	store    *Store
	base     commit
	alloc    *allocator // from Start on
	runs     runs
	buffered int  // pages of Snapshot.Made that are not stored
	twice    bool // a place has been stored, and may be stored again
	adds     bool
	refused  bool // there was no room
	scarce   bool // there is hardly any left
	started  bool
	done     bool
	err      error // why the transaction cannot be committed any more
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
		// What the dead writer stored lies in places that the head does not refer to.
		s.suspect(err)
		s.note(func() { s.log.Warn("sharekv: a writer died; its transaction is gone") })
	} else if err != nil {
		return nil, err
	}
	if s.shared.poison.Load() != 0 {
		s.unlock()
		return nil, ErrFlushFailed
	}
	w := &Writer{store: s, base: s.shared.head.load()}
	w.Snapshot, err = s.snapshotOf(&w.base.snapshot)
	if err != nil {
		s.unlock()
		return nil, err
	}
	w.Main = index.NewTree(&w.Snapshot, w, w.base.main)
	return w, nil
}

// Start must succeed before each change, and Spill after it. The first Start gives
// the transaction its txid. adds says that the change makes the store larger: it is
// refused a little earlier than others, so that in a full store deletes find pages
// to begin with.
func (w *Writer) Start(adds bool) error {
	if w.done {
		return ErrTxDone
	}
	if w.err != nil {
		return w.err
	}
	w.adds = w.adds || adds
	if w.started {
		return nil
	}
	return w.begin()
}

func (w *Writer) begin() error {
	if err := w.store.openSession(); err != nil {
		return w.Fail(err)
	}
	// After the base, in this order, and once for the transaction; package documentation
	// says why.
	syncing := index.TxID(w.store.shared.syncing.Load())
	durable := w.store.shared.durable.load()
	until := w.store.reusable(w.base.txid, &durable)
	pins := w.store.readers.scan(until, w.store.note, syncing, durable.txid, durable.other)
	next := w.store.shared.next
	switch last := index.TxID(next.Load()); {
	case last.Counter() == index.MaxCounter:
		return w.Fail(errors.WithHint(errors.New("txn: there are no more transaction numbers"),
			"close the store in all processes, then open it again"))
	case last < w.base.txid:
		return w.Fail(errors.Wrapf(index.ErrCorrupt, "shared area: the last txid is %v, and the head %v", last, w.base.txid))
	}
	w.Snapshot.TxID = index.TxID(next.Add(1))
	w.Snapshot.Made = map[index.PageID][]byte{}
	w.alloc = newAllocator(&w.Snapshot, w, &w.base, until, pins)
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

// Rollback ends the transaction without a trace. It returns when what the
// transaction has read is durable: nobody shall know what a power cut could take
// back. An error says that it may not be. A transaction that has ended stays so.
func (w *Writer) Rollback() error {
	if !w.end() {
		return nil
	}
	if w.refused {
		w.store.makeRoom()
	}
	return w.store.acknowledge(w.base.txid)
}

// end frees the writer mutex, and reports whether the transaction had not ended.
func (w *Writer) end() bool {
	ended := w.done
	if !w.done {
		w.done = true
		for _, buf := range w.Snapshot.Made {
			w.store.recycle(buf)
		}
		w.Snapshot.Made = nil
		w.store.trim()
		w.store.unlock()
	}
	return !ended
}

// Alloc implements index.Pager.
func (w *Writer) Alloc() (index.PageID, []byte, error) {
	id, err := w.alloc.alloc(1)
	if err != nil {
		return 0, nil, err
	}
	if err := w.claim(extent{id, 1}); err != nil {
		return 0, nil, err
	}
	buf := w.buffer(id)
	return id, buf, nil
}

// Again implements index.Pager.
func (w *Writer) Again(id index.PageID) ([]byte, error) {
	w.twice = true
	return w.buffer(id), nil
}

// buffer returns a page of zeros that becomes page id.
func (w *Writer) buffer(id index.PageID) []byte {
	buf := w.store.buffer()
	w.Snapshot.Made[id] = buf
	w.buffered++
	return buf
}

// AllocRun implements index.Pager.
func (w *Writer) AllocRun(n int) (index.PageID, error) {
	id, err := w.alloc.alloc(uint64(n))
	if err != nil {
		return 0, err
	}
	e := extent{id, uint64(n)}
	if err := w.claim(e); err != nil {
		return 0, err
	}
	w.Snapshot.Made[id] = nil
	w.runs.add(e)
	return id, nil
}

// claim returns an error if the transaction may not have the pages, or has them:
// the free-space tree of a damaged file may say so.
func (w *Writer) claim(e extent) error {
	twice := w.runs.touch(e)
	for id := e.start; id < e.end(); id++ {
		_, made := w.Snapshot.Made[id]
		twice = twice || made
	}
	if twice {
		return errors.Wrapf(index.ErrCorrupt, "%d pages from %d are free twice", e.pages, e.start)
	}
	if w.alloc.pages == w.base.pages {
		return nil
	}
	return w.refuse(w.store.checkSize(w.need()))
}

// Store implements index.Pager.
func (w *Writer) Store(id index.PageID, bufs [][]byte) error {
	if err := w.refuse(w.store.grow(w.need())); err != nil {
		return err
	}
	if err := w.store.storage.Store(int64(id)<<w.store.pageShift, bufs); err != nil {
		return err
	}
	return w.look()
}

// refuse takes note of an error if it says that there is no room, and returns it.
func (w *Writer) refuse(err error) error {
	w.refused = w.refused || errors.Is(err, mmapfile.ErrNoSpace)
	return err
}

// look brings all pages of the transaction that have been stored into view.
func (w *Writer) look() (err error) {
	w.Snapshot.Memory, err = w.store.view(w.alloc.pages)
	return err
}

// Retire implements index.Pager.
func (w *Writer) Retire(r index.Ref, n int) error {
	if r.TxID == w.Snapshot.TxID {
		if w.Snapshot.Made[r.Page] != nil {
			w.buffered--
		} else {
			w.twice = true
		}
		delete(w.Snapshot.Made, r.Page)
		w.runs.remove(r.Page)
	}
	return w.alloc.retire(r, n)
}

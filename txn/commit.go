package txn

import (
	"context"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
	"github.com/sharekv/sharekv/mmapfile"
)

// Commit makes the changes durable and then visible, and ends the transaction. If
// there are none, there is no new snapshot. In async mode they are visible at once.
//
// After ErrFlushFailed the outcome is unknown: it shows when all have closed the
// store and opened it again. After ErrUnknown it shows when somebody else commits, or
// the last one closes the store. After any other error nothing was changed.
func (w *Writer) Commit() error {
	if w.done {
		return ErrTxDone
	}
	if w.err != nil || !w.hasChanges() {
		return errors.CombineErrors(w.Rollback(), w.err)
	}
	if err := w.publish(); err != nil {
		return errors.CombineErrors(w.Rollback(), err)
	}
	w.end()
	err := w.store.acknowledge(w.Snapshot.TxID)
	if err == nil && w.scarce {
		err = w.store.settle(context.Background(), w.Snapshot.TxID)
	}
	if err != nil && !errors.Is(err, ErrFlushFailed) {
		err = errors.Wrapf(ErrUnknown, "%v", err)
	}
	return err
}

// hasChanges reports whether there is anything to commit.
func (w *Writer) hasChanges() bool {
	return w.started && (w.Main.Root != w.base.main || len(w.Snapshot.Made) > 0)
}

// publish stores what is left of the transaction and makes it the head: the base of
// the next writer. Readers do not see it yet.
func (w *Writer) publish() error {
	if err := w.count(); err != nil {
		return err
	}
	free, err := w.alloc.file()
	if err != nil {
		return err
	}
	if err := w.storeRest(); err != nil {
		return err
	}
	s := w.store
	if err := s.storage.Push(); err != nil {
		return s.fail(err)
	}
	// A place that was stored twice has two contents that look right, and only the last
	// one is. A flush that fails could bring back the first, before a leader looks.
	if w.twice {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.shared.head.publish(commit{snapshot: snapshot{
		txid:  w.Snapshot.TxID,
		pages: w.alloc.pages,
		main:  w.Main.Root,
		free:  free,
	}})
	return nil
}

// Growth goes in steps of an eighth of the size, within these bounds in bytes.
const (
	growMin = 64 << 10
	growMax = 64 << 20
)

// grow makes sure that the first pages pages are allocated and their space is on
// disk. The size that the file has says nothing: whoever made it so may have died
// before its flush. Requires the writer mutex.
func (s *Store) grow(pages index.PageID) error {
	need := int64(pages) << s.pageShift
	grown := int64(s.shared.grown.Load())
	if need <= grown {
		return nil
	}
	size := max(need, grown+min(max(grown/8, growMin), growMax))
	size = (size + growMin - 1) / growMin * growMin
	if s.maxSize > 0 {
		size = max(need, min(size, s.maxSize))
	}
	err := s.allocate(size)
	if errors.Is(err, mmapfile.ErrNoSpace) && size > need {
		size = need
		err = s.allocate(size)
	}
	if err != nil {
		return err
	}
	s.shared.grown.Store(uint64(size))
	return nil
}

func (s *Store) allocate(size int64) error {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	err := s.storage.Grow(size)
	if errors.Is(err, mmapfile.ErrFlush) {
		return s.fail(err)
	}
	return err
}

// sparePages are kept behind the pages that a transaction which adds may take, so
// that a full store still has room to begin a delete with, and its commit. The commit
// of the one that adds may take half of them.
const sparePages = 32

// need returns how many pages of the store the transaction needs allocated. Who
// takes no new ones needs no spare ones either.
func (w *Writer) need() index.PageID {
	pages := w.alloc.pages
	if !w.adds || pages == w.base.pages {
		return pages
	}
	spare := w.store.spare()
	if w.alloc.filing {
		spare /= 2
	}
	return pages + spare
}

func (s *Store) spare() index.PageID {
	if most := s.maxSize >> s.pageShift; most > 0 {
		return min(sparePages, index.PageID(most/8))
	}
	return sparePages
}

// count finds out, in async mode, whether the spare pages are in use, with none to be had
// behind them, and hardly any others are free. Then the commit is flushed, as in the
// default mode: that frees pages, so that the spare ones are enough for deletes.
func (w *Writer) count() error {
	s, spare := w.store, w.store.spare()
	if !s.async() || s.memory() {
		return nil
	}
	err := s.checkSize(w.alloc.pages + spare)
	if err == nil {
		err = s.grow(w.alloc.pages + spare)
	}
	if errors.Is(err, mmapfile.ErrNoSpace) {
		w.scarce, err = w.alloc.scarce(uint64(spare))
	}
	return err
}

// checkSize returns an error if the store may not have that many pages.
func (s *Store) checkSize(pages index.PageID) error {
	if size := int64(pages) << s.pageShift; s.maxSize > 0 && size > s.maxSize {
		return errors.WithHint(
			errors.Wrapf(mmapfile.ErrNoSpace, "%d bytes are more than MaxSize, %d", size, s.maxSize),
			"delete something, or open the store with a larger MaxSize")
	}
	return nil
}

package txn

import (
	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
	"github.com/sharekv/sharekv/mmapfile"
)

// Commit makes the changes durable and then visible, and ends the transaction.
// After ErrFlushFailed the outcome is unknown: it shows when all have closed the
// store and opened it again. After any other error nothing was changed.
func (w *Writer) Commit() error {
	if w.done {
		return ErrTxDone
	}
	err := w.commit()
	w.Rollback()
	return err
}

func (w *Writer) commit() error {
	if w.err != nil || !w.started {
		return w.err
	}
	free, err := w.alloc.file()
	if err != nil {
		return err
	}
	if err := w.storeRest(); err != nil {
		return err
	}
	if err := w.store.flush(); err != nil {
		return err
	}
	_, err = w.store.writeMeta(snapshot{
		txid:  w.Snapshot.TxID,
		pages: w.alloc.pages,
		main:  w.Main.Root,
		free:  free,
	}, nil)
	return err
}

// openSession writes and flushes a meta page of the snapshot in force, not clean,
// before the first page of a run of commits is stored (I11). Afterwards no meta
// page is left that refers to pages which are not in that snapshot. It returns
// the commit in force then. Requires the writer mutex.
func (s *Store) openSession(base commit) (commit, error) {
	sh := &s.shared
	if sh.session.Load() != 0 {
		return base, nil
	}
	c, err := s.writeMeta(base.snapshot, nil)
	if err == nil {
		sh.session.Store(1)
	}
	return c, err
}

// writeMeta writes the snapshot's meta page into the slot that is not durable's
// (I6), flushes it, and publishes it. All pages of the snapshot are on disk.
// change, if not nil, has the last word on the content.
func (s *Store) writeMeta(snap snapshot, change func(*meta)) (commit, error) {
	sh := &s.shared
	durable := sh.durable.load()
	c := commit{
		snapshot: snap,
		slot:     1 - durable.slot&1,
		sequence: durable.sequence + 1,
		other:    durable.txid,
	}
	m := meta{
		pageSize:       s.pageSize,
		compatible:     s.compatible,
		readCompatible: s.readCompatible,
		sequence:       c.sequence,
		storeID:        s.storeID,
		epoch:          uint32(sh.epoch.Load()),
		fork:           index.TxID(sh.fork.Load()),
		base:           durable.txid,
		snapshot:       snap,
	}
	if change != nil {
		change(&m)
	}
	if err := s.storage.Store(int64(c.slot*s.pageSize), [][]byte{m.encode(c.slot)}); err != nil {
		return c, s.fail(err)
	}
	if err := s.flush(); err != nil {
		return c, err
	}
	sh.durable.publish(c)
	return c, nil
}

// flush is Storage.Flush, after whose failure nobody commits any more: what was
// stored since the last one may be lost although it can still be read.
func (s *Store) flush() error {
	if err := s.storage.Flush(); err != nil {
		return s.fail(err)
	}
	return nil
}

func (s *Store) fail(err error) error {
	s.shared.poison.Store(1)
	s.note(func() {
		s.log.Error("sharekv: a flush failed; nobody commits until all have reopened the store", "error", err)
	})
	return flushFailed(err)
}

func flushFailed(err error) error {
	return errors.WithSecondaryError(errors.Wrapf(ErrFlushFailed, "%v", err), err)
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
	err := s.storage.Grow(size)
	if errors.Is(err, mmapfile.ErrNoSpace) && size > need {
		size = need
		err = s.storage.Grow(size)
	}
	if errors.Is(err, mmapfile.ErrFlush) {
		return s.fail(err)
	}
	if err != nil {
		return err
	}
	s.shared.grown.Store(uint64(size))
	return nil
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
	spare := index.PageID(sparePages)
	if most := w.store.maxSize >> w.store.pageShift; most > 0 {
		spare = min(spare, index.PageID(most/8))
	}
	if w.alloc.filing {
		spare /= 2
	}
	return pages + spare
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

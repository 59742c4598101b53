package txn

import (
	"context"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
	"github.com/sharekv/sharekv/mmapfile"
)

// changedMost is up to how many pages a commit may be verified after a crash,
// which is what allows its pages and its meta page to share a flush.
const changedMost = 1024

// leaderProbe is how long who waits for the leader sleeps before it looks whether
// the leader lives.
const leaderProbe = 20 * time.Millisecond

// acknowledge returns when the commit txid may be told to the application.
func (s *Store) acknowledge(txid index.TxID) error {
	if !s.async() || s.settles {
		return s.settle(context.Background(), txid)
	}
	durable := s.shared.durable.txid()
	if s.shared.poison.Load() != 0 && txid > durable {
		return ErrFlushFailed
	}
	// After a death few pages are reused before the next flush: it is not to be waited
	// for until the interval has passed.
	if !s.memory() && index.TxID(s.shared.suspect.Load()) > durable {
		_, err := s.lead()
		return err
	}
	return nil
}

// settle returns when the commit txid is durable. Whoever finds the sync mutex free
// leads: its flush is for all that was published before. If another member's takes
// longer than the handle's patience the error is context.DeadlineExceeded and names it.
func (s *Store) settle(ctx context.Context, txid index.TxID) error {
	sh := &s.shared
	impatient := false // from the first wait on
	for {
		seen := sh.wake.Count()
		if sh.durable.txid() >= txid {
			return nil
		}
		if sh.poison.Load() != 0 {
			return ErrFlushFailed
		}
		led, err := s.lead()
		if err != nil {
			return err
		}
		if led {
			continue
		}
		if !impatient {
			impatient = true
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, s.patience)
			defer cancel()
		}
		nap, wake := context.WithTimeout(ctx, leaderProbe)
		_, err = sh.wake.Wait(nap, seen)
		wake()
		if errors.Is(err, context.DeadlineExceeded) {
			err = s.takeOver(ctx, txid)
		}
		if err != nil {
			return err
		}
	}
}

// lead makes the head durable, unless somebody else is about to.
func (s *Store) lead() (led bool, err error) {
	ok, err := s.shared.sync.TryLock()
	if !ok {
		return false, err
	}
	defer s.follow()
	s.suspect(err)
	return true, s.sync()
}

// takeOver waits for the sync mutex, which comes free when the leader has died, too.
func (s *Store) takeOver(ctx context.Context, txid index.TxID) error {
	if err := s.lockSync(ctx); err != nil {
		return err
	}
	defer s.follow()
	if s.shared.durable.txid() >= txid {
		return nil
	}
	return s.sync()
}

// lockSync waits for the sync mutex. If the error is nil, follow must come.
func (s *Store) lockSync(ctx context.Context) error {
	err := s.shared.sync.Lock(ctx)
	if err != nil && !errors.Is(err, mmapfile.ErrAbandoned) {
		return err
	}
	s.suspect(err)
	return nil
}

// suspect takes note, if a mutex was abandoned, that a flush of its dead owner may
// have failed and nobody was told: the system believes then that all that was stored
// up to now is on disk. So it is stored again before it is taken to be durable.
func (s *Store) suspect(err error) {
	if err == nil {
		return
	}
	next := s.shared.next.Load()
	for old := s.shared.suspect.Load(); old < next; old = s.shared.suspect.Load() {
		s.shared.suspect.CompareAndSwap(old, next)
	}
}

// follow lets the next one lead.
func (s *Store) follow() {
	s.shared.sync.Unlock()
	s.shared.wake.Wake()
	s.tell()
}

// makeRoom does, when there was no room for a transaction, what frees pages in async
// mode: it makes the head durable, and lets the other meta page have the same snapshot.
// Nothing else would, if nobody has the room to commit. What is in the way of that shows
// in the next commit.
func (s *Store) makeRoom() {
	if !s.async() || s.memory() || s.settle(context.Background(), s.shared.head.txid()) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	if s.lockSync(ctx) != nil {
		return
	}
	defer s.follow()
	if durable := s.shared.durable.load(); durable.other != durable.txid && s.shared.poison.Load() == 0 {
		_, _ = s.writeMeta(durable.snapshot, nil)
	}
}

// sync makes the head durable. Requires the sync mutex. If what was published cannot be
// read, nobody can make it durable, and nobody commits any more.
func (s *Store) sync() error {
	sh := &s.shared
	if sh.poison.Load() != 0 {
		return ErrFlushFailed
	}
	faulted := true
	defer func() {
		if faulted {
			sh.poison.Store(1)
		}
	}()
	err := s.syncHead()
	faulted = false
	return err
}

func (s *Store) syncHead() error {
	head := s.aim()
	durable := s.shared.durable.load()
	if head.txid == durable.txid {
		return nil
	}
	changed, err := s.sumUp(&head.snapshot, durable.txid)
	switch {
	case errors.Is(err, mmapfile.ErrNoAddressSpace):
		return err // the others may have more
	case err != nil:
		return s.fail(err)
	}
	_, err = s.writeMeta(head.snapshot, func(m *meta) { m.changed = changed })
	return err
}

// aim returns the head, and sees to it that all that it needs stays as it is: those
// who begin to write from now on see syncing, and those who have begun have it, or what
// was before it, as their base.
func (s *Store) aim() commit {
	head := s.shared.head.load()
	for {
		s.shared.syncing.Store(uint64(head.txid))
		now := s.shared.head.load()
		if now.txid == head.txid {
			return head
		}
		head = now
	}
}

// changed is what a meta page says of the pages that were stored since another, so
// that after a crash it shows whether all of them are there.
type changed struct {
	count   uint64 // of pages
	sum     uint64
	flushed bool // they were flushed before the meta page was stored: nothing is to be verified
}

var errMany = errors.New("txn: many pages have changed")

// sumUp returns what has changed since durable. If that is much, or this process
// has no room to look at it, or the handle is to, it is flushed.
func (s *Store) sumUp(snap *snapshot, durable index.TxID) (c changed, err error) {
	again := index.TxID(s.shared.suspect.Load()) > durable
	if s.ordered && !again {
		return changed{flushed: true}, s.flush()
	}
	err = s.eachChanged(snap, durable, s.verified, func(w index.Written) error {
		c.add(w)
		if c.count > uint64(snap.pages) {
			return errors.Wrapf(index.ErrCorrupt, "page %d (txid %v): is in more than one place", w.Page, w.TxID)
		}
		if again {
			return s.storeAgain(w)
		}
		if c.count > changedMost {
			return errMany
		}
		return nil
	})
	unseen := errors.Is(err, mmapfile.ErrNoAddressSpace) && !again
	if err == errMany || unseen || err == nil && (s.ordered || c.count > changedMost) {
		return changed{flushed: true}, s.flush()
	}
	return c, err
}

func (c *changed) add(w index.Written) {
	c.count += uint64(w.Pages)
	c.sum += w.Checksum
}

// eachChanged calls fn for what the trees of the snapshot have that was written after
// since.
func (s *Store) eachChanged(snap *snapshot, since index.TxID, verified *index.Verified, fn func(index.Written) error) error {
	x, err := s.snapshotOf(snap)
	if err != nil {
		return err
	}
	x.Verified = verified
	for _, root := range []index.Root{snap.main, snap.free} {
		if err := x.Changed(root, since, fn); err != nil {
			return err
		}
	}
	return nil
}

// storeAgain stores what was found in the view, from a copy: what the system
// believes to be on disk may go from memory at any time, and come back as it was.
func (s *Store) storeAgain(w index.Written) error {
	f, err := s.found(w)
	if err != nil {
		return err
	}
	return s.storage.Store(f.off, [][]byte{f.bytes})
}

// openSession writes and flushes a meta page of the durable snapshot, not clean,
// before the first page of a run of commits is stored (I11): it makes the epoch
// durable. Requires the writer mutex. Nothing was published in this run, so that there
// is no leader.
func (s *Store) openSession() error {
	sh := &s.shared
	if sh.session.Load() == sessionOpen {
		return nil
	}
	_, err := s.writeMeta(sh.durable.load().snapshot, nil)
	if err == nil {
		sh.session.Store(sessionOpen)
	}
	return err
}

// writeMeta writes the snapshot's meta page into the slot that is not durable's
// (I6), flushes it and all that was stored before, and makes the snapshot the
// durable one. change, if not nil, has the last word on the content.
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

// flush flushes what was stored. When that fails, or any other flush has failed
// before it ended, nobody commits any more.
func (s *Store) flush() error {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	if err := s.storage.Flush(); err != nil {
		return s.fail(err)
	}
	// The system tells a handle once: another goroutine may have been told instead.
	if s.shared.poison.Load() != 0 {
		return ErrFlushFailed
	}
	return nil
}

// fail makes sure that nobody commits any more: what was stored since the last
// flush may be lost although it can still be read.
func (s *Store) fail(err error) error {
	if errors.Is(err, ErrFlushFailed) {
		return err
	}
	s.shared.poison.Store(1)
	s.note(func() {
		s.log.Error("sharekv: a flush failed; nobody commits until all have reopened the store", "error", err)
	})
	return flushFailed(err)
}

func flushFailed(err error) error {
	return errors.WithSecondaryError(errors.Wrapf(ErrFlushFailed, "%v", err), err)
}

package txn

import (
	"cmp"
	"encoding/binary"
	"log/slog"
	"math/bits"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
	"github.com/sharekv/sharekv/mmapfile"
)

// Options are the properties of one handle on a store.
type Options struct {
	ReadOnly bool            // no write transactions; nothing is stored
	ID       mmapfile.FileID // which file the storage is; all members must agree
	MaxSize  int64           // bytes that the store may grow to; 0 = no limit
	Budget   int             // bytes of changed pages kept in memory; 0 = 16 MiB
	Logger   *slog.Logger    // for rare events; nil = none
}

// Store is one process's handle on a store that many have open. Its methods may
// be used concurrently.
type Store struct {
	storage  Storage
	shared   shared
	readers  *readers
	readOnly bool
	maxSize  int64
	budget   int
	log      *slog.Logger
	notes    []func() // what to log once the writer mutex is free; guarded by it
	buffers  [][]byte // of pages, not in use; guarded by the writer mutex

	pageSize       int
	pageShift      uint8
	storeID        [16]byte
	compatible     uint64
	readCompatible uint64
	verified       *index.Verified
}

// Format returns the content of a new, empty store: two meta pages.
func Format(pageSize int, storeID [16]byte) ([]byte, error) {
	if !validPageSize(pageSize) {
		return nil, errors.Newf("txn: page size %d is not a power of two from %d to %d",
			pageSize, index.MinPageSize, index.MaxPageSize)
	}
	var b []byte
	for slot := range 2 {
		m := meta{
			pageSize: pageSize,
			sequence: uint64(1 + slot),
			storeID:  storeID,
			epoch:    1,
			next:     1,
			clean:    true,
			snapshot: snapshot{txid: index.MakeTxID(1, 0), pages: index.FirstPage},
		}
		b = append(b, m.encode(slot)...)
	}
	return b, nil
}

// Open joins the store that lies in storage and is coordinated in area. first
// says that nobody else has it open: the area is zero, and what an earlier
// process left behind is looked at and made durable. Requires the area's gate.
func Open(area *mmapfile.Area, first bool, storage Storage, o Options) (*Store, error) {
	s := &Store{
		storage:  storage,
		shared:   sharedIn(area),
		readOnly: o.ReadOnly,
		maxSize:  o.MaxSize,
		budget:   cmp.Or(o.Budget, defaultBudget),
		log:      o.Logger,
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if first {
		if err := s.recover(o.ID); err != nil {
			return nil, err
		}
	}
	s.readers = newReaders(area, s.log)
	sh := &s.shared
	if v := sh.version.Load(); v != areaLayout {
		return nil, errors.Wrapf(ErrVersion, "the shared area has layout %d instead of %d", v, areaLayout)
	}
	if (mmapfile.FileID{Volume: sh.volume.Load(), File: sh.file.Load()}) != o.ID {
		return nil, ErrReplaced
	}
	s.pageSize = int(sh.pageSize.Load())
	if !validPageSize(s.pageSize) {
		return nil, errors.Wrapf(index.ErrCorrupt, "page size %d in the shared area", s.pageSize)
	}
	s.pageShift = uint8(bits.TrailingZeros(uint(s.pageSize)))
	for i, w := range sh.storeID {
		binary.LittleEndian.PutUint64(s.storeID[i*8:], w.Load())
	}
	s.compatible, s.readCompatible = sh.compatible.Load(), sh.readCompatible.Load()
	if x := s.readCompatible &^ knownReadCompatible; x != 0 && !s.readOnly {
		return nil, errors.WithHint(
			errors.Wrapf(ErrVersion, "features %#x may only be read", x),
			"open it read-only, or with a newer version")
	}
	s.verified = index.NewVerified(1 << 40 >> s.pageShift)
	// A file that was cut short says so now, not at some later read.
	if _, err := s.view(sh.durable.load().pages); err != nil {
		return nil, err
	}
	return s, nil
}

// recover finds the snapshot in force and fills the area in.
//
// Every meta page was written after the pages of its snapshot were on disk, so
// the newest valid one is good. It may itself be in the page cache only, or a
// flush of it may have failed unseen. So nobody relies on it: it is stored again
// and flushed before anybody reads what it says, unless it is the mark of a clean
// end, and the other meta page, which is older, says the same. Then that one is
// taken for the durable one, and the mark is the first to be stored over.
func (s *Store) recover(id mmapfile.FileID) error {
	head, err := s.head()
	if err != nil {
		return err
	}
	metas, err := readMetas(head)
	if err != nil {
		return err
	}
	slot := metas.newest()
	m, other := metas[slot], metas[1-slot]
	next := index.MakeTxID(metas.epoch(), m.next-1)
	if !m.clean {
		next = index.MakeTxID(metas.epoch()+1, m.txid.Counter())
		if metas.epoch() == index.MaxEpoch {
			return errors.Wrapf(index.ErrCorrupt, "meta page %d: epoch %d", slot, m.epoch)
		}
	}
	if m.clean && other != nil && other.snapshot == m.snapshot {
		slot = 1 - slot
	} else if err := s.storeAgain(m, slot); err != nil {
		return err
	}
	if !m.clean {
		m.fork = m.txid
	}
	sh := &s.shared
	sh.durable.publish(commit{snapshot: m.snapshot, slot: slot, sequence: m.sequence})
	sh.next.Store(uint64(next))
	sh.grown.Store(uint64(m.pages) * uint64(m.pageSize))
	sh.epoch.Store(uint64(next.Epoch()))
	sh.fork.Store(uint64(m.fork))
	sh.volume.Store(id.Volume)
	sh.file.Store(id.File)
	sh.pageSize.Store(uint64(m.pageSize))
	for i, w := range sh.storeID {
		w.Store(binary.LittleEndian.Uint64(m.storeID[i*8:]))
	}
	sh.compatible.Store(m.compatible)
	sh.readCompatible.Store(m.readCompatible)
	sh.version.Store(areaLayout)
	return nil
}

// storeAgain makes a meta page durable that was found. What is stored is what is
// there: a power cut meanwhile changes nothing.
func (s *Store) storeAgain(m *meta, slot int) error {
	if s.readOnly {
		return errors.Wrapf(ErrReadOnly, "the store was not closed")
	}
	if !m.clean {
		s.log.Warn("sharekv: recovered a store that was not closed", "revision", m.txid)
	}
	if err := s.storage.Store(int64(slot*m.pageSize), [][]byte{m.encode(slot)}); err != nil {
		return err
	}
	if err := s.storage.Flush(); err != nil {
		return flushFailed(err)
	}
	return nil
}

// head returns as much of the store's beginning as has both meta pages, whatever
// the page size.
func (s *Store) head() (b []byte, err error) {
	for size := index.MaxPageSize; size >= index.MinPageSize; size /= 2 {
		b, err = s.storage.View(int64(size + metaSize))
		if !errors.Is(err, mmapfile.ErrTruncated) {
			return b, err
		}
	}
	return nil, errors.Wrapf(err, "not even two meta pages")
}

// note keeps what to log until the writer mutex is free: nobody waits for a log,
// and what it calls may use the store. Requires the writer mutex.
func (s *Store) note(log func()) { s.notes = append(s.notes, log) }

// unlock frees the writer mutex.
func (s *Store) unlock() {
	notes := s.notes
	s.notes = nil
	s.shared.writer.Unlock()
	for _, log := range notes {
		log()
	}
}

// Leave gives the reader slots of this handle back. It has no readers any more.
func (s *Store) Leave() { s.readers.clean(s.readers.area.Self()) }

// Finish marks the store as closed cleanly, in storage, which is the handle's own
// or another on the same store that can be written. Requires the area's gate and
// that nobody else has the store open.
func (s *Store) Finish(storage Storage) error {
	s.storage = storage
	sh := &s.shared
	if sh.session.Load() == 0 || sh.poison.Load() != 0 {
		return nil
	}
	c := sh.durable.load()
	_, err := s.writeMeta(c.snapshot, func(m *meta) {
		m.clean = true
		m.next = index.TxID(sh.next.Load()).Counter() + 1
	})
	return err
}

// PageSize returns the size of a page in bytes.
func (s *Store) PageSize() int { return s.pageSize }

// view returns the memory of the first pages pages.
func (s *Store) view(pages index.PageID) ([]byte, error) {
	if pages > maxPages(s.pageSize) {
		return nil, errors.Wrapf(index.ErrCorrupt, "%d pages in the shared area", pages)
	}
	return s.storage.View(int64(pages) << s.pageShift)
}

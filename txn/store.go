package txn

import (
	"cmp"
	"encoding/binary"
	"log/slog"
	"math"
	"math/bits"
	"sync"
	"time"

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
	Patience time.Duration   // how long to wait for a flush of another member; 0 = for ever
	Logger   *slog.Logger    // for rare events; nil = none

	Async          time.Duration // commits return at once; who commits sees to Sync after it; 0 = not
	AnyMode        bool          // Async counts if nobody else has set the mode
	Memory         bool          // the storage lasts as long as the area: nothing is made durable
	FlushDataFirst bool          // pages are on disk before the meta page that refers to them is stored
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
	patience time.Duration
	ordered  bool // Options.FlushDataFirst
	settles  bool // commits return when they are durable, whatever the mode
	log      *slog.Logger
	notes    notes
	buffers  [][]byte // of pages, not in use; guarded by the writer mutex

	// flushing is held while the file is flushed, so that a flush which fails is known
	// to have failed before another one is believed.
	flushing sync.Mutex

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
		patience: cmp.Or(o.Patience, math.MaxInt64),
		ordered:  o.FlushDataFirst,
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
		return nil, errors.WithHint(
			errors.Wrapf(ErrVersion, "the shared area has layout %d instead of %d, made for %s", v, areaLayout, neighbour(area)),
			"end the processes that use the other version, or use the same one here")
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
	if err := s.setMode(&o); err != nil {
		return nil, err
	}
	s.verified = index.NewVerified(1 << 40 >> s.pageShift)
	// A file that was cut short says so now, not at some later read.
	if _, err := s.view(sh.durable.load().pages); err != nil {
		return nil, err
	}
	return s, nil
}

// neighbour names a member that lives, and is not this one.
func neighbour(area *mmapfile.Area) string {
	for i := range MaxMembers {
		if info, ok := area.Member(i); ok && i != area.Self() && area.Alive(i) {
			return info.String()
		}
	}
	return "a process that has just ended"
}

// recover finds the snapshot in force and fills the area in.
//
// The newest valid meta page counts if all is there that was stored with it; if not,
// the power was cut, or all processes died, before its flush had ended, and the other
// one counts, which was durable before. What was found may be in the page cache only,
// or a flush of it may have failed unseen. So nobody relies on it: it is stored again
// and flushed before anybody reads it, unless the meta page is the mark of a clean
// end, and the other one, which is older, says the same. Then that is taken for the
// durable one, and the mark is the first to be stored over.
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
	if m.sequence > math.MaxInt64/2 || metas.epoch() == index.MaxEpoch {
		return errors.Wrapf(index.ErrCorrupt, "meta page %d: sequence %d, epoch %d", slot, m.sequence, metas.epoch())
	}
	s.pageSize = m.pageSize
	s.pageShift = uint8(bits.TrailingZeros(uint(m.pageSize)))
	next := index.MakeTxID(metas.epoch(), m.next-1)
	// Half of the numbers of an epoch are left for those who have the store open.
	newEpoch := !m.clean || m.next > index.MaxCounter/2
	if newEpoch {
		next = index.MakeTxID(metas.epoch()+1, 0)
	}
	switch again, err := s.verify(m); {
	case m.clean && other != nil && other.snapshot == m.snapshot:
		slot = 1 - slot
	case err == nil:
		if err := s.storeFound(m, slot, again); err != nil {
			return err
		}
	case m.clean || other == nil || !errors.Is(err, index.ErrCorrupt) && !errors.Is(err, mmapfile.ErrTruncated):
		return err
	default:
		s.log.Warn("sharekv: the newest commit is not whole, the one before is taken",
			"revision", m.txid, "taken", other.txid, "error", err)
		slot, m = 1-slot, other
		if err := s.storeFound(m, slot, nil); err != nil {
			return err
		}
	}
	sh := &s.shared
	if newEpoch {
		m.fork = m.txid
		sh.session.Store(sessionFound)
	}
	c := commit{snapshot: m.snapshot, slot: slot, sequence: m.sequence}
	sh.durable.publish(c)
	sh.head.publish(c)
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

// found is a copy of a page or a run whose checksum is right.
type found struct {
	off   int64
	bytes []byte
}

// found copies first and looks then: what is in the view may change.
func (s *Store) found(w index.Written) (found, error) {
	buf := make([]byte, w.Pages<<s.pageShift)
	copy(buf, w.Bytes)
	if !index.Sealed(buf[:len(w.Bytes)]) {
		return found{}, errors.Wrapf(index.ErrCorrupt, "page %d (txid %v): checksum differs", w.Page, w.TxID)
	}
	return found{int64(w.Page) << s.pageShift, buf}, nil
}

// verify checks that all is there that was stored with the meta page, and returns
// it. What the meta page says was flushed before it is not looked at.
func (s *Store) verify(m *meta) ([]found, error) {
	if m.changed.flushed {
		return nil, nil
	}
	var all []found
	var c changed
	err := s.eachChanged(&m.snapshot, m.base, nil, func(w index.Written) error {
		if c.add(w); c.count > m.changed.count {
			return errors.Wrapf(index.ErrCorrupt, "more than %d pages have changed", m.changed.count)
		}
		f, err := s.found(w)
		all = append(all, f)
		return err
	})
	if err == nil && c != m.changed {
		err = errors.Wrapf(index.ErrCorrupt, "%d of %d pages of the last commit are there", c.count, m.changed.count)
	}
	return all, err
}

// storeFound makes durable what was found. What is stored is what is there: a power
// cut meanwhile changes nothing.
func (s *Store) storeFound(m *meta, slot int, all []found) error {
	if s.readOnly {
		return errors.Wrapf(ErrReadOnly, "the store was not closed")
	}
	if !m.clean {
		s.log.Warn("sharekv: recovered a store that was not closed", "revision", m.txid)
	}
	if _, err := s.view(m.pages); err != nil {
		return err
	}
	for _, f := range all {
		if err := s.storage.Store(f.off, [][]byte{f.bytes}); err != nil {
			return err
		}
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

// notes are what to log once no mutex is held: nobody waits for a log, and what it
// calls may use the store.
type notes struct {
	mu   sync.Mutex
	list []func()
}

func (s *Store) note(log func()) {
	s.notes.mu.Lock()
	defer s.notes.mu.Unlock()
	s.notes.list = append(s.notes.list, log)
}

// tell logs what was noted.
func (s *Store) tell() {
	s.notes.mu.Lock()
	list := s.notes.list
	s.notes.list = nil
	s.notes.mu.Unlock()
	for _, log := range list {
		log()
	}
}

// unlock frees the writer mutex.
func (s *Store) unlock() {
	s.shared.writer.Unlock()
	s.tell()
}

// Leave gives the reader slots of this handle back. It has no readers any more.
func (s *Store) Leave() { s.readers.clean(s.readers.area.Self()) }

// Finish marks the store as closed cleanly, in storage, which is the handle's own
// or another on the same store that can be written. Requires the area's gate and
// that nobody else has the store open.
func (s *Store) Finish(storage Storage) error {
	s.storage = storage
	sh := &s.shared
	if sh.session.Load() == sessionNone || sh.poison.Load() != 0 || s.memory() {
		return nil
	}
	if sh.head.txid() != sh.durable.txid() { // the last one to commit has died
		s.suspect(mmapfile.ErrAbandoned)
		if err := s.sync(); err != nil {
			return err
		}
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
	if pages < index.FirstPage || pages > maxPages(s.pageSize) {
		return nil, errors.Wrapf(index.ErrCorrupt, "%d pages in the shared area", pages)
	}
	return s.storage.View(int64(pages) << s.pageShift)
}

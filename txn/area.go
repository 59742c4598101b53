package txn

import (
	"math"

	"github.com/sharekv/sharekv/index"
	"github.com/sharekv/sharekv/internal/word"
	"github.com/sharekv/sharekv/mmapfile"
)

// The shared area, in lines of 64 bytes. All of it is transient: the first opener
// finds zeros and fills them in, and nothing in it is needed to recover (I7).
const (
	areaWriter  = 0      // the writer mutex
	areaSync    = 64     // the sync mutex: who has it flushes for all
	areaDurable = 128    // the durable record: its word, then two cells
	areaDurCell = 192    //
	areaHead    = 448    // the head record, likewise
	areaHeadCel = 512    //
	areaWake    = 768    // raised when the durable record moves
	cellSize    = 2 * 64 //

	areaNext    = 832 // last txid handed out
	areaGrown   = 840 // bytes of the file that have been allocated and flushed
	areaSession = 848 // session
	areaEpoch   = 856 // of the meta page in force
	areaFork    = 864 // of the meta page in force
	areaSuspect = 872 // what is not younger than this may stay unflushed by a flush that goes well
	areaSyncing = 880 // what the last leader set out to make durable

	// Written once, by the first opener.
	areaVersion    = 896 // areaLayout
	areaVolume     = 904 // which file this area belongs to
	areaFile       = 912 //
	areaPageSize   = 920 // in bytes
	areaStoreID    = 928 // 16 bytes, as of the meta pages
	areaCompatible = 944 // as of the meta pages
	areaReadCompat = 952 // as of the meta pages

	// Seldom written.
	areaHigh   = 960 // reader slots from here on were never claimed
	areaMode   = 968 // when commits return: modeUnset, or 1 + the interval in nanoseconds
	areaPoison = 976 // 1 once a flush has failed
)

// What the session word says.
const (
	sessionNone  = 0 // closed cleanly, nothing stored since
	sessionFound = 1 // not closed cleanly, what was found is durable, nothing stored since
	sessionOpen  = 2 // a meta page has opened this run of commits
)

// What the mode word says.
const (
	modeUnset = 0 // nobody came to write
	modeSync  = 1 // commits return when they are durable; greater: earlier

	modeMemory = math.MaxUint64 // there is nothing that lasts
)

// AreaSize is the size in bytes of the area that Open expects.
const AreaSize = areaSlots + (MaxMembers+MaxReaders)*slotBytes

// areaLayout changes with the meaning of any word above.
const areaLayout = 3

// shared is the area as the words in it.
type shared struct {
	writer, sync  *mmapfile.Mutex
	head, durable record
	wake          *mmapfile.Waiter

	next, grown, session, epoch, fork, suspect, syncing *word.Uint64

	mode, poison *word.Uint64

	version, volume, file, pageSize *word.Uint64
	storeID                         [2]*word.Uint64
	compatible, readCompatible      *word.Uint64
}

func sharedIn(a *mmapfile.Area) shared {
	s := shared{
		writer:         a.Mutex(areaWriter),
		sync:           a.Mutex(areaSync),
		head:           recordIn(a, areaHead, areaHeadCel),
		durable:        recordIn(a, areaDurable, areaDurCell),
		wake:           a.Waiter(areaWake),
		next:           a.Uint64(areaNext),
		grown:          a.Uint64(areaGrown),
		session:        a.Uint64(areaSession),
		epoch:          a.Uint64(areaEpoch),
		fork:           a.Uint64(areaFork),
		suspect:        a.Uint64(areaSuspect),
		syncing:        a.Uint64(areaSyncing),
		mode:           a.Uint64(areaMode),
		poison:         a.Uint64(areaPoison),
		version:        a.Uint64(areaVersion),
		volume:         a.Uint64(areaVolume),
		file:           a.Uint64(areaFile),
		pageSize:       a.Uint64(areaPageSize),
		storeID:        [2]*word.Uint64{a.Uint64(areaStoreID), a.Uint64(areaStoreID + 8)},
		compatible:     a.Uint64(areaCompatible),
		readCompatible: a.Uint64(areaReadCompat),
	}
	return s
}

func recordIn(a *mmapfile.Area, word, cells int) (r record) {
	r.word = a.Uint64(word)
	for i := range r.cells {
		for j := range r.cells[i] {
			r.cells[i][j] = a.Uint64(cells + i*cellSize + j*8)
		}
	}
	return r
}

// commit is what a record says: a snapshot, and of the durable record the meta page
// that holds it.
type commit struct {
	snapshot
	slot     int        // of the meta page
	sequence uint64     // of the meta page
	other    index.TxID // whose snapshot the other meta page has, at most
}

const commitWords = 13

func (c *commit) words() [commitWords]uint64 {
	return [...]uint64{
		uint64(c.txid), uint64(c.pages),
		uint64(c.main.Page), uint64(c.main.TxID), c.main.Entries, c.main.Sequence,
		uint64(c.free.Page), uint64(c.free.TxID), c.free.Entries, c.free.Sequence,
		uint64(c.slot), c.sequence, uint64(c.other),
	}
}

func commitOf(w [commitWords]uint64) commit {
	root := func(w []uint64) index.Root {
		return index.Root{
			Ref:      index.Ref{Page: index.PageID(w[0]), TxID: index.TxID(w[1])},
			Entries:  w[2],
			Sequence: w[3],
		}
	}
	return commit{
		snapshot: snapshot{
			txid:  index.TxID(w[0]),
			pages: index.PageID(w[1]),
			main:  root(w[2:6]),
			free:  root(w[6:10]),
		},
		slot:     int(w[10]),
		sequence: w[11],
		other:    index.TxID(w[12]),
	}
}

// record is a commit in shared memory, in two cells. Its word counts the commits
// published, and its lowest bit says which cell has the current one: a writer
// that dies half-way has touched only the other cell, and nobody waits for it.
type record struct {
	word  *word.Uint64
	cells [2][commitWords]*word.Uint64
}

// load returns the current commit. It never waits: it reads again only if a whole
// commit was published meanwhile.
func (r *record) load() commit {
	for {
		word := r.word.Load()
		var w [commitWords]uint64
		for i, cell := range r.cells[word&1] {
			w[i] = cell.Load()
		}
		if r.word.Load() == word {
			return commitOf(w)
		}
	}
}

// count returns how many commits were published, but for the one that was found at
// opening.
func (r *record) count() uint64 { return r.word.Load() - 1 }

// txid returns that of the current commit.
func (r *record) txid() index.TxID {
	for {
		word := r.word.Load()
		txid := r.cells[word&1][0].Load()
		if r.word.Load() == word {
			return index.TxID(txid)
		}
	}
}

// publish makes c the current commit. Requires the mutex that belongs to the
// record, or the area's gate before anybody else is a member.
func (r *record) publish(c commit) {
	word := r.word.Load() + 1
	for i, w := range c.words() {
		r.cells[word&1][i].Store(w)
	}
	r.word.Store(word)
}

// Package crashsim is a disk for tests that can lose power at any moment.
package crashsim

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/mmapfile"
)

const sector = 512

// Disk implements txn.Storage over memory. It keeps what a process sees apart
// from what is surely on the medium: between the two lies what was stored since
// the last flush, of which a power cut keeps any part.
//
// It may be used by several goroutines, except that the hooks are set before. They
// are called without a lock: one that never returns is a process that dies there, and
// the others go on.
type Disk struct {
	// Op, if not nil, is called before every operation that changes something;
	// its error is the operation's. Done is called after one that succeeded.
	Op   func(name string) error
	Done func(name string)

	// TellAll makes a lost flush an error of the next one of each handle that was open
	// then, as Linux does. Otherwise only its own process could know.
	TellAll bool

	mu      sync.Mutex
	live    []byte // at its full capacity, so that views stay where they are
	size    int
	durable []byte
	pending []write
	stores  int // ever
	lost    int // flushes
}

type write struct {
	number int // of the store
	off    int
	data   []byte
}

// New returns a disk with the given content, durable, that can grow to capacity
// bytes.
func New(content []byte, capacity int) *Disk {
	d := &Disk{live: zeroed.get(capacity), size: len(content), durable: append(used.get(len(content))[:0], content...)}
	copy(d.live, content)
	return d
}

// Release gives the memory of the disk to those to come. Nobody may use the disk, or
// views of it, any more.
func (d *Disk) Release() {
	clear(d.live[:d.size])
	zeroed.put(d.live)
	Recycle(d.durable)
	*d = Disk{}
}

// View implements txn.Storage.
func (d *Disk) View(size int64) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if size > int64(d.size) {
		return nil, errors.Wrapf(mmapfile.ErrTruncated, "%d bytes, not %d", d.size, size)
	}
	return d.live[:size:size], nil
}

// Store implements txn.Storage.
func (d *Disk) Store(off int64, bufs [][]byte) error { return d.Handle().Store(off, bufs) }

// Push implements txn.Storage: whatever is stored is everybody's.
func (d *Disk) Push() error { return nil }

// Flush implements txn.Storage.
func (d *Disk) Flush() error { return d.Handle().Flush() }

// Grow implements txn.Storage. New space holds garbage on the medium until it is
// written and flushed.
func (d *Disk) Grow(size int64) error { return d.Handle().Grow(size) }

func (d *Disk) store(off int, bufs [][]byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range bufs {
		if off+len(b) > d.size {
			return errors.AssertionFailedf("store of %d bytes at %d, behind the end", len(b), off)
		}
		// To store what is there already changes nothing for those who read it meanwhile.
		if !bytes.Equal(d.live[off:off+len(b)], b) {
			copy(d.live[off:], b)
		}
		d.stores++
		d.pending = append(d.pending, write{d.stores, off, bytes.Clone(b)})
		off += len(b)
	}
	return nil
}

// stored returns how many stores there have been.
func (d *Disk) stored() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stores
}

// settle brings the first stores to the medium. What was stored since the flush
// began is not part of it.
func (d *Disk) settle(stores int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for n < len(d.pending) && d.pending[n].number <= stores {
		copy(d.durable[d.pending[n].off:], d.pending[n].data)
		n++
	}
	d.pending = slices.Delete(d.pending, 0, n)
}

// Drop loses what was not flushed, while everybody goes on seeing it and the next
// flush goes well: so systems do when a flush fails. Of a flush whose Op returns an
// error it is part.
func (d *Disk) Drop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending = nil
	d.lost++
}

// DropSome is Drop, but some of what was not flushed is on the medium, as of Some.
func (d *Disk) DropSome(rng *rand.Rand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.durable = (&Cut{d.durable, d.pending}).Random(Some, rng)
	d.pending = nil
	d.lost++
}

func (d *Disk) failures() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lost
}

func (d *Disk) grow(size int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if size > len(d.live) {
		return mmapfile.ErrNoSpace
	}
	for len(d.durable) < size {
		d.durable = append(d.durable, byte(len(d.durable)*31))
	}
	d.size = max(d.size, size)
	return nil
}

// Keep says how much of what was not flushed a power cut leaves on the medium.
type Keep int

// None keeps nothing, All keeps everything. Some keeps a random part of each
// write, independently of the order in which they were stored: sectors, and of a
// sector none, all, or the first bytes.
const (
	None Keep = iota
	All
	Some
)

// PowerCut returns what is on the medium after a power cut now.
func (d *Disk) PowerCut(keep Keep, rng *rand.Rand) []byte { return d.Cut().Random(keep, rng) }

// Clone returns the disk as it is now, without its hooks: what other processes
// see stays, and what is durable.
func (d *Disk) Clone() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &Disk{
		live:    bytes.Clone(d.live),
		size:    d.size,
		durable: bytes.Clone(d.durable),
		pending: slices.Clone(d.pending),
		stores:  d.stores,
	}
}

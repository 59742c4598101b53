// Package crashsim is a disk for tests that can lose power at any moment.
package crashsim

import (
	"bytes"
	"math/rand/v2"
	"slices"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/mmapfile"
)

const sector = 512

// Disk implements txn.Storage over memory. It keeps what a process sees apart
// from what is surely on the medium: between the two lies what was stored since
// the last flush, of which a power cut keeps any part.
//
// It may not be used by several goroutines at once.
type Disk struct {
	// Op, if not nil, is called before every operation that changes something;
	// its error is the operation's. Done is called after one that succeeded.
	Op   func(name string) error
	Done func(name string)

	live    []byte // at its full capacity, so that views stay where they are
	size    int
	durable []byte
	pending []write
}

type write struct {
	off  int
	data []byte
}

// New returns a disk with the given content, durable, that can grow to capacity
// bytes.
func New(content []byte, capacity int) *Disk {
	d := &Disk{live: make([]byte, capacity), size: len(content), durable: bytes.Clone(content)}
	copy(d.live, content)
	return d
}

// View implements txn.Storage.
func (d *Disk) View(size int64) ([]byte, error) {
	if size > int64(d.size) {
		return nil, errors.Wrapf(mmapfile.ErrTruncated, "%d bytes, not %d", d.size, size)
	}
	return d.live[:size:size], nil
}

// Store implements txn.Storage.
func (d *Disk) Store(off int64, bufs [][]byte) error {
	return d.do("store", func() error {
		for _, b := range bufs {
			if int(off)+len(b) > d.size {
				return errors.AssertionFailedf("store of %d bytes at %d, behind the end", len(b), off)
			}
			copy(d.live[off:], b)
			d.pending = append(d.pending, write{int(off), bytes.Clone(b)})
			off += int64(len(b))
		}
		return nil
	})
}

// Push implements txn.Storage: whatever is stored is everybody's.
func (d *Disk) Push() error { return nil }

// Flush implements txn.Storage.
func (d *Disk) Flush() error { return d.flush("flush") }

// flush brings what was stored to the medium. If Op lets it fail, that is lost
// while everybody goes on seeing it, and the next flush goes well: so systems do.
func (d *Disk) flush(name string) error {
	if d.Op != nil {
		if err := d.Op(name); err != nil {
			d.pending = nil
			return errors.Wrapf(mmapfile.ErrFlush, "%v", err)
		}
	}
	for _, w := range d.pending {
		copy(d.durable[w.off:], w.data)
	}
	d.pending = nil
	if d.Done != nil {
		d.Done(name)
	}
	return nil
}

// Grow implements txn.Storage. New space holds garbage on the medium until it is
// written and flushed.
func (d *Disk) Grow(size int64) error {
	err := d.do("grow", func() error {
		if size > int64(len(d.live)) {
			return mmapfile.ErrNoSpace
		}
		for len(d.durable) < int(size) {
			d.durable = append(d.durable, byte(len(d.durable)*31))
		}
		d.size = max(d.size, int(size))
		return nil
	})
	if err != nil {
		return err
	}
	return d.flush("flush of growth")
}

func (d *Disk) do(name string, op func() error) error {
	if d.Op != nil {
		if err := d.Op(name); err != nil {
			return err
		}
	}
	if err := op(); err != nil {
		return err
	}
	if d.Done != nil {
		d.Done(name)
	}
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
func (d *Disk) PowerCut(keep Keep, rng *rand.Rand) []byte {
	image := bytes.Clone(d.durable)
	for _, w := range d.pending {
		share := rng.IntN(3) // none of this write, about half, all
		for at := 0; at < len(w.data); at += sector {
			end := min(at+sector, len(w.data))
			switch {
			case keep == None, keep == Some && rng.IntN(2) >= share:
				continue
			case keep == Some && rng.IntN(4) == 0:
				end = at + rng.IntN(end-at)&^7
			}
			copy(image[w.off+at:], w.data[at:end])
		}
	}
	return image
}

// Clone returns the disk as it is now, without its hooks: what other processes
// see stays, and what is durable.
func (d *Disk) Clone() *Disk {
	return &Disk{
		live:    bytes.Clone(d.live),
		size:    d.size,
		durable: bytes.Clone(d.durable),
		pending: slices.Clone(d.pending),
	}
}

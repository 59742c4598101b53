package store

import (
	"bytes"
	"runtime/debug"

	"github.com/sharekv/sharekv/index"
)

// Cursor walks the values of a bucket in the order of their keys, either way. It
// begins nowhere: before the first of the methods that move, and after one of
// them returned false, there is no key and no value.
//
// In a write transaction the bucket may be changed meanwhile. Next goes on at the
// first key greater than the one the cursor was at, Prev at the last key less.
//
// A cursor may not be used by several goroutines. An error ends the walk, and
// Tx.Err says so.
type Cursor struct {
	bucket *Bucket
	kind   index.Kind // of the entries that are not skipped
	cursor *index.Cursor
	lo, hi []byte // bounds of the keys, as of Range
	at     bool   // an entry
	err    error
}

// Cursor returns a cursor over the values of b.
func (b *Bucket) Cursor() *Cursor { return b.cursor(index.KindValue) }

func (b *Bucket) cursor(kind index.Kind) *Cursor {
	c := &Cursor{bucket: b, kind: kind}
	if b.tree != nil {
		c.cursor = b.tree.Cursor()
	} else {
		c.cursor = b.tx.snapshot.Cursor(b.root.Ref)
	}
	return c
}

// First moves to the first key. It reports whether there is one, as do all methods
// that move.
func (c *Cursor) First() bool { return c.move(first, nil) }

// Last moves to the last key.
func (c *Cursor) Last() bool { return c.move(last, nil) }

// Seek moves to the first key that is not less than key.
func (c *Cursor) Seek(key []byte) bool { return c.move(seek, key) }

// Next moves to the next key.
func (c *Cursor) Next() bool { return c.at && c.move(next, nil) }

// Prev moves to the key before.
func (c *Cursor) Prev() bool { return c.at && c.move(prev, nil) }

// seekBefore moves to the last key that is less than key.
func (c *Cursor) seekBefore(key []byte) bool { return c.move(before, key) }

// motion is a way to move.
type motion int

const (
	first motion = iota
	seek
	next
	last
	before
	prev
)

func (c *Cursor) move(m motion, key []byte) bool {
	c.at = false
	if c.bucket.gone || c.err != nil {
		return false // there is nothing in it, or the walk has ended
	}
	if err := c.bucket.readable(); err != nil {
		return c.fail(err)
	}
	ok, err := c.tryMove(m, key)
	if err != nil {
		return c.fail(err)
	}
	c.at = ok
	return ok
}

func (c *Cursor) tryMove(m motion, key []byte) (ok bool, err error) {
	defer c.bucket.tx.db.catch(debug.SetPanicOnFault(true), &err)
	on := c.cursor.Next
	switch m {
	case first:
		ok = c.cursor.First()
	case seek:
		ok = c.cursor.Seek(key)
	case next:
		ok = c.cursor.Next()
	case last:
		ok, on = c.cursor.Last(), c.cursor.Prev
	case prev:
		ok, on = c.cursor.Prev(), c.cursor.Prev
	case before:
		ok, on = c.cursor.SeekLast(key), c.cursor.Prev
		if ok && string(c.cursor.Key()) == string(key) {
			ok = c.cursor.Prev()
		}
	}
	for ok && c.within() && c.cursor.Kind() != c.kind {
		ok = on()
	}
	return ok && c.within(), c.cursor.Err()
}

// within reports whether the key that the cursor is at is within the bounds.
func (c *Cursor) within() bool {
	key := c.cursor.Key()
	return bytes.Compare(key, c.lo) >= 0 && (c.hi == nil || bytes.Compare(key, c.hi) < 0)
}

func (c *Cursor) fail(err error) bool {
	c.at, c.err = false, err
	c.bucket.tx.fail(err)
	return false
}

// Key returns the key that the cursor is at, also if it has been deleted since;
// nil if it is at none.
func (c *Cursor) Key() []byte {
	if !c.at || c.bucket.tx.done.Load() {
		return nil
	}
	return c.cursor.Key()
}

// Value returns the value of the key that the cursor is at; nil if it is at none,
// or the key has been deleted since.
func (c *Cursor) Value() []byte {
	if !c.at || c.bucket.gone {
		return nil
	}
	value, err := c.value()
	if err != nil && err != ErrNotFound {
		c.fail(err)
	}
	return value
}

func (c *Cursor) value() (value []byte, err error) {
	if err := c.bucket.readable(); err != nil {
		return nil, err
	}
	defer c.bucket.tx.db.catch(debug.SetPanicOnFault(true), &err)
	value, kind, err := c.cursor.Value()
	if err == nil && kind != index.KindValue {
		return nil, ErrNotFound // a bucket has taken its place
	}
	return value, err
}

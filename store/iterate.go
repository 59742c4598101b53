package store

import (
	"iter"
	"slices"
)

// All returns the keys with their values, in key order.
func (b *Bucket) All() iter.Seq2[[]byte, []byte] { return b.Range(nil, nil) }

// Range returns the keys with lo <= key < hi and their values, in key order; nil is
// no bound. Buckets are not among them.
//
// In a write transaction the bucket may be changed meanwhile: the iterator goes on
// at the first key greater than the last one it returned. An iterator that meets
// an error ends, and Tx.Err says so; View and Update return that error.
func (b *Bucket) Range(lo, hi []byte) iter.Seq2[[]byte, []byte] {
	lo, hi = slices.Clone(lo), slices.Clone(hi)
	return func(yield func(key, value []byte) bool) {
		c := b.Cursor()
		c.lo, c.hi = lo, hi
		for ok := c.Seek(lo); ok && c.yield(yield); ok = c.Next() {
		}
	}
}

// Prefix is Range for the keys that begin with prefix.
func (b *Bucket) Prefix(prefix []byte) iter.Seq2[[]byte, []byte] {
	return b.Range(prefix, behind(prefix))
}

// Backward is Range from the greatest key down to the least.
func (b *Bucket) Backward(lo, hi []byte) iter.Seq2[[]byte, []byte] {
	lo, hi = slices.Clone(lo), slices.Clone(hi)
	return func(yield func(key, value []byte) bool) {
		c := b.Cursor()
		c.lo, c.hi = lo, hi
		start := c.Last
		if hi != nil {
			start = func() bool { return c.seekBefore(hi) }
		}
		for ok := start(); ok && c.yield(yield); ok = c.Prev() {
		}
	}
}

// yield passes the entry that the cursor is at on. It reports whether to go on.
func (c *Cursor) yield(yield func(key, value []byte) bool) bool {
	value, err := c.value()
	if err != nil {
		return c.fail(err)
	}
	return yield(c.cursor.Key(), value)
}

// behind returns the least key that is greater than all that begin with prefix, or
// nil if there is none.
func behind(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			b := slices.Clone(prefix[:i+1])
			b[i]++
			return b
		}
	}
	return nil
}

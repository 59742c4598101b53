package store

import (
	"bytes"
	"math"
	"runtime/debug"
	"slices"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
)

// Bucket is a set of keys with their values, in the order of bytes.Compare, and of
// further buckets, whose names are in one name space with the keys. It is valid
// until its transaction ends.
//
// Keys and values that a method returns are not copies. In a read transaction
// they are valid until it ends, in a write transaction until its next change.
// They must not be changed: in a read transaction they lie in memory that cannot
// be written.
//
// After an error about its arguments, ErrConflict, and those about buckets that
// are, or are not, there, a write transaction can go on. After any other error of
// a change it cannot be committed.
type Bucket struct {
	tx   *Tx
	root index.Root // in a read transaction

	// In a write transaction.
	tree   *index.Tree
	stored index.Root         // what the bucket that this one is in says
	open   map[string]*Bucket // those in this one that have been asked for
	gone   bool               // deleted
}

// Get returns the value of key, or ErrNotFound.
func (b *Bucket) Get(key []byte) ([]byte, error) {
	v, kind, err := b.entry(key)
	if err == nil && kind != index.KindValue {
		return nil, ErrNotFound
	}
	return v, err
}

// entry returns what key has, be it a value or a bucket.
func (b *Bucket) entry(key []byte) (value []byte, kind index.Kind, err error) {
	if err := b.readable(); err != nil {
		return nil, 0, err
	}
	defer b.tx.db.catch(debug.SetPanicOnFault(true), &err)
	return b.tx.snapshot.Get(b.ref(), key)
}

// readable returns why the bucket cannot be read: its transaction has ended, or a
// change has failed half-way, or it was deleted.
func (b *Bucket) readable() error {
	switch tx := b.tx; {
	case tx.done.Load():
		return ErrTxDone
	case b.gone:
		return errors.Wrapf(ErrBucketNotFound, "it was deleted")
	case tx.writer != nil:
		return tx.writer.Err()
	}
	return nil
}

func (b *Bucket) ref() index.Ref {
	if b.tree != nil {
		return b.tree.Root.Ref
	}
	return b.root.Ref
}

// Put makes value the value of key. Both are copied. ErrIsBucket if key names a
// bucket.
func (b *Bucket) Put(key, value []byte) error {
	if err := b.changeable(key); err != nil {
		return err
	}
	if len(value) > MaxValue {
		return errors.Wrapf(ErrValueTooLarge, "%d bytes are more than %d", len(value), MaxValue)
	}
	return b.change(adding, func(t *index.Tree) error { return t.Put(key, value) })
}

// PutIf is Put if the value of key is old, and otherwise changes nothing and
// returns ErrConflict. A nil old stands for no value: it is not the same as an
// empty one.
func (b *Bucket) PutIf(key, old, value []byte) error {
	if err := b.changeable(key); err != nil {
		return err
	}
	now, kind, err := b.entry(key)
	switch {
	case err != nil && err != ErrNotFound:
		return b.tx.writer.Fail(err)
	case kind == index.KindBucket:
		return ErrIsBucket
	case (err == nil) != (old != nil) || !bytes.Equal(now, old):
		return ErrConflict
	}
	return b.Put(key, value)
}

// Delete removes key and its value. A key that is not there is no error.
// ErrIsBucket if key names a bucket.
func (b *Bucket) Delete(key []byte) error {
	if err := b.changeable(key); err != nil {
		return err
	}
	return b.change(deleting, func(t *index.Tree) error {
		_, err := t.Delete(key)
		return err
	})
}

// DeleteRange deletes the keys with lo <= key < hi and returns how many there
// were; nil is no bound. Buckets stay. After an error the number is of those that
// had been deleted.
func (b *Bucket) DeleteRange(lo, hi []byte) (deleted int, err error) {
	if err := b.writable(); err != nil {
		return 0, err
	}
	c := b.Cursor()
	c.lo, c.hi = slices.Clone(lo), slices.Clone(hi)
	for ok := c.Seek(lo); ok; ok = c.Next() {
		if err := b.Delete(c.Key()); err != nil {
			return deleted, err
		}
		deleted++
	}
	return deleted, c.err
}

// NextSequence returns the next number of the bucket's own: 1, then 2, and so on.
// Numbers of a transaction that is not committed are returned again.
func (b *Bucket) NextSequence() (next uint64, err error) {
	if err := b.writable(); err != nil {
		return 0, err
	}
	if b.tree.Root.Sequence == math.MaxUint64 {
		return 0, errors.New("store: the sequence of the bucket is at its end")
	}
	err = b.change(adding, func(t *index.Tree) error {
		t.Root.Sequence++
		next = t.Root.Sequence
		return nil
	})
	return next, err
}

// writable returns why the bucket cannot be changed.
func (b *Bucket) writable() error {
	switch tx := b.tx; {
	case tx.done.Load():
		return ErrTxDone
	case tx.writer == nil:
		return ErrReadOnly
	}
	return b.readable()
}

// changeable returns why key cannot be changed.
func (b *Bucket) changeable(key []byte) error {
	if err := b.writable(); err != nil {
		return err
	}
	pageSize := b.tx.snapshot.PageSize()
	err := index.CheckKey(key, pageSize)
	if err == ErrKeyTooLarge {
		return errors.Wrapf(err, "%d bytes are more than %d", len(key), index.MaxKey(pageSize))
	}
	return err
}

// What a change does to the size of the store.
const (
	adding   = true
	deleting = false
)

// change lets fn change the tree. Whatever goes wrong half-way, the transaction
// cannot be committed any more.
func (b *Bucket) change(adds bool, fn func(*index.Tree) error) error {
	err := errChangePanicked
	defer func() {
		if err != nil && err != ErrIsBucket && err != ErrNotBucket {
			b.tx.writer.Fail(err)
		}
	}()
	err = b.tryChange(adds, fn)
	return err
}

// errChangePanicked is why a transaction cannot be committed after a panic in a
// change that the application recovered from.
var errChangePanicked = errors.New("store: a change did not end")

func (b *Bucket) tryChange(adds bool, fn func(*index.Tree) error) (err error) {
	defer b.tx.db.catch(debug.SetPanicOnFault(true), &err)
	if err := b.tx.writer.Start(adds); err != nil {
		return err
	}
	if err := fn(b.tree); err != nil {
		return err
	}
	return b.tx.writer.Spill()
}

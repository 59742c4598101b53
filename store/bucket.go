package store

import (
	"bytes"
	"iter"
	"runtime/debug"
	"slices"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
)

// Bucket is a set of keys with their values, in the order of bytes.Compare. It is
// valid until its transaction ends.
//
// Keys and values that a method returns are not copies. In a read transaction
// they are valid until it ends, in a write transaction until its next change.
// They must not be changed: in a read transaction they lie in memory that cannot
// be written.
type Bucket struct {
	tx *Tx
}

// Get returns the value of key, or ErrNotFound.
func (b *Bucket) Get(key []byte) (value []byte, err error) {
	tx := b.tx
	if err := tx.readable(); err != nil {
		return nil, err
	}
	defer tx.db.catch(debug.SetPanicOnFault(true), &err)
	v, kind, err := tx.snapshot.Get(tx.root(), key)
	if err == nil && kind != index.KindValue {
		return nil, ErrNotFound
	}
	return v, err
}

// readable returns why the transaction cannot be read: it has ended, or a change
// has failed half-way.
func (tx *Tx) readable() error {
	if tx.done.Load() {
		return ErrTxDone
	}
	if tx.writer != nil {
		return tx.writer.Err()
	}
	return nil
}

func (tx *Tx) root() index.Ref {
	if tx.writer != nil {
		return tx.writer.Main.Root.Ref
	}
	return tx.reader.Main.Ref
}

// Put makes value the value of key. Both are copied. After an error about the
// key or the value the transaction can go on; after any other it cannot be
// committed.
func (b *Bucket) Put(key, value []byte) error {
	tx := b.tx
	if err := tx.changeable(key); err != nil {
		return err
	}
	if len(value) > MaxValue {
		return errors.Wrapf(ErrValueTooLarge, "%d bytes are more than %d", len(value), MaxValue)
	}
	return tx.change(func(t *index.Tree) error { return t.Put(key, value) })
}

// Delete removes key and its value. A key that is not there is no error. Errors
// are those of Put.
func (b *Bucket) Delete(key []byte) error {
	tx := b.tx
	if err := tx.changeable(key); err != nil {
		return err
	}
	return tx.change(func(t *index.Tree) error {
		_, err := t.Delete(key)
		return err
	})
}

// changeable returns the error for a change of key that is not possible.
func (tx *Tx) changeable(key []byte) error {
	switch {
	case tx.done.Load():
		return ErrTxDone
	case tx.writer == nil:
		return ErrReadOnly
	}
	pageSize := tx.snapshot.PageSize()
	err := index.CheckKey(key, pageSize)
	if errors.Is(err, ErrKeyTooLarge) {
		return errors.Wrapf(err, "%d bytes are more than %d", len(key), index.MaxKey(pageSize))
	}
	return err
}

// change lets fn change the tree. Whatever goes wrong half-way, the transaction
// cannot be committed any more.
func (tx *Tx) change(fn func(*index.Tree) error) error {
	err := errChangePanicked
	defer func() {
		if err != nil {
			tx.writer.Fail(err)
		}
	}()
	err = tx.tryChange(fn)
	return err
}

// errChangePanicked is why a transaction cannot be committed after a panic in a
// change that the application recovered from.
var errChangePanicked = errors.New("store: a change did not end")

func (tx *Tx) tryChange(fn func(*index.Tree) error) (err error) {
	defer tx.db.catch(debug.SetPanicOnFault(true), &err)
	if err := tx.writer.Start(true); err != nil {
		return err
	}
	return fn(tx.writer.Main)
}

// All returns the entries in key order.
func (b *Bucket) All() iter.Seq2[[]byte, []byte] { return b.Range(nil, nil) }

// Range returns the entries with lo <= key < hi in key order; nil is no bound.
//
// In a write transaction the bucket may be changed while the iterator is used:
// it goes on at the first key greater than the last one. An iterator that meets
// an error ends, and Tx.Err says so.
func (b *Bucket) Range(lo, hi []byte) iter.Seq2[[]byte, []byte] {
	lo, hi = slices.Clone(lo), slices.Clone(hi)
	return func(yield func(key, value []byte) bool) {
		w := walk{tx: b.tx}
		for ok := w.seek(lo); ok; ok = w.next() {
			if hi != nil && bytes.Compare(w.key, hi) >= 0 || !yield(w.key, w.value) {
				return
			}
		}
		if w.err != nil {
			b.tx.fail(w.err)
		}
	}
}

// walk is the state of an iterator: a cursor that skips what is no value.
type walk struct {
	tx         *Tx
	cursor     *index.Cursor
	key, value []byte
	err        error
}

func (w *walk) seek(lo []byte) (ok bool) {
	if w.err = w.tx.readable(); w.err != nil {
		return false
	}
	defer w.tx.db.catch(debug.SetPanicOnFault(true), &w.err)
	if w.tx.writer != nil {
		w.cursor = w.tx.writer.Main.Cursor()
	} else {
		w.cursor = w.tx.snapshot.Cursor(w.tx.reader.Main.Ref)
	}
	return w.settle(w.cursor.Seek(lo))
}

func (w *walk) next() (ok bool) {
	if w.err = w.tx.readable(); w.err != nil {
		return false
	}
	defer w.tx.db.catch(debug.SetPanicOnFault(true), &w.err)
	return w.settle(w.cursor.Next())
}

func (w *walk) settle(ok bool) bool {
	for ; ok; ok = w.cursor.Next() {
		value, kind, err := w.cursor.Value()
		if err != nil {
			w.err = err
			return false
		}
		if kind == index.KindValue {
			w.key, w.value = w.cursor.Key(), value
			return true
		}
	}
	w.err = w.cursor.Err()
	return false
}

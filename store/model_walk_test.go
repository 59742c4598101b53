package store_test

import (
	"bytes"
	"iter"
	"slices"
	"strings"

	"github.com/sharekv/sharekv/store"
)

// walker is a cursor and where it should be.
type walker struct {
	c   *store.Cursor
	in  *content
	at  bool
	key string
}

const (
	toFirst = iota
	toLast
	toKey
	toNext
	toPrev
)

// want returns where a move leads to.
func (w *walker) want(move int, key string) (string, bool) {
	keys := w.in.keys()
	i, found := 0, false
	switch move {
	case toFirst:
	case toLast:
		i = len(keys) - 1
	case toKey:
		i, _ = slices.BinarySearch(keys, key)
	case toNext:
		if i, found = slices.BinarySearch(keys, w.key); found {
			i++
		}
	case toPrev:
		i, _ = slices.BinarySearch(keys, w.key)
		i--
	}
	if move >= toNext && !w.at || i < 0 || i >= len(keys) {
		return "", false
	}
	return keys[i], true
}

func (m *model) moveWalker(w *walker) {
	move := m.pick("move", toNext, toPrev, toNext, toPrev, toKey, toFirst, toLast)
	var key []byte
	do := w.c.Next
	switch move {
	case toFirst:
		do = w.c.First
	case toLast:
		do = w.c.Last
	case toPrev:
		do = w.c.Prev
	case toKey:
		key = m.key()
		do = func() bool { return w.c.Seek(key) }
	}
	want, ok := w.want(move, string(key))
	w.at, w.key = ok, want
	if got := do(); got != ok {
		m.Fatalf("move %d to %.20q: %v; at %.20q it should be", move, key, got, want)
	}
	m.lookAt(w)
}

// lookAt compares where a cursor is.
func (m *model) lookAt(w *walker) {
	k, v := w.c.Key(), w.c.Value()
	if (k != nil) != w.at || string(k) != w.key {
		m.Fatalf("the cursor is at %.20q instead of %.20q", k, w.key)
	}
	if _, ok := w.in.values[w.key]; ok && w.at {
		m.sameValue("Value", k, v, nil, w.in)
	} else if v != nil {
		m.Fatalf("Value of %.20q, which is not there: %.20x", k, v)
	}
}

// walk moves a cursor of a read transaction.
func (m *model) walk(tx *store.Tx, sees *content) {
	w := &walker{c: tx.Cursor(), in: sees}
	for range m.between("moves", 0, 10) {
		m.moveWalker(w)
	}
}

func (a *attempt) newWalker(b bucket) {
	w := &walker{c: b.Cursor(), in: b.has}
	a.walkers = append(a.walkers, w)
	a.moveWalker(w)
}

// move moves a cursor that has perhaps been left behind by changes.
func (a *attempt) move() {
	if len(a.walkers) == 0 {
		return
	}
	w := a.walkers[a.between("cursor", 0, len(a.walkers)-1)]
	a.lookAt(w)
	for range a.between("moves", 1, 3) {
		a.moveWalker(w)
	}
}

// iterate goes through a range and changes things meanwhile.
func (a *attempt) iterate(b bucket) {
	lo, hi := a.bounds()
	var seq iter.Seq2[[]byte, []byte]
	backward := false
	within := func(k string) bool { return k >= string(lo) && (hi == nil || k < string(hi)) }
	switch a.between("iterator", 0, 3) {
	case 0:
		seq, within = b.All(), func(string) bool { return true }
	case 1:
		seq = b.Range(lo, hi)
	case 2:
		seq, within = b.Prefix(lo), func(k string) bool { return strings.HasPrefix(k, string(lo)) }
	case 3:
		seq, backward = b.Backward(lo, hi), true
	}
	last, begun := "", false
	next := func() (string, bool) {
		keys := b.has.keys()
		if backward {
			slices.Reverse(keys)
		}
		for _, k := range keys {
			if within(k) && (!begun || k != last && (k < last) == backward) {
				return k, true
			}
		}
		return "", false
	}
	steps := a.between("entries", 1, 40)
	for k, v := range seq {
		want, ok := next()
		if !ok || string(k) != want {
			a.Fatalf("after %.20q the iterator comes to %.20q instead of %.20q", last, k, want)
		}
		a.sameValue("iterator", k, v, nil, b.has)
		last, begun = want, true
		if steps--; steps == 0 {
			return
		}
		a.changeAt(b, k)
		if a.full {
			return
		}
	}
	if want, ok := next(); ok {
		a.Fatalf("after %.20q the iterator ends before %.20q", last, want)
	}
}

// changeAt changes something while an iterator is at k.
func (a *attempt) changeAt(b bucket, k []byte) {
	switch a.between("meanwhile", 0, 10) {
	case 0, 1, 2, 3:
	case 4, 5:
		a.deleteKey(b, k)
	case 6:
		key := bytes.Clone(k)
		a.putKey(b, key, a.value(key))
	case 7: // just behind
		if len(k) < a.db().MaxKey() {
			key := append(bytes.Clone(k), 0)
			a.putKey(b, key, a.valueOf(3))
		}
	case 8:
		a.delete(b)
	case 9:
		a.put(b)
	case 10:
		a.rarely(b)
	}
}

func (a *attempt) rarely(b bucket) {
	switch a.between("rarely", 0, 6) {
	case 0:
		a.deleteRange(b)
	case 1:
		a.fill(b)
	case 2:
		a.deleteBucket(a.some())
	case 3:
		a.ensure(b)
	case 4:
		a.sequence(b)
	case 5:
		a.put(a.some())
	case 6:
		a.move()
	}
}

// iterateBuckets goes through the names, and makes and deletes buckets meanwhile.
func (a *attempt) iterateBuckets(b bucket) {
	last, begun := "", false
	next := func() (string, bool) {
		for _, name := range b.has.names() {
			if !begun || name > last {
				return name, true
			}
		}
		return "", false
	}
	for name := range b.Buckets() {
		if want, ok := next(); !ok || name != want {
			a.Fatalf("after %.20q Buckets comes to %.20q instead of %.20q", last, name, want)
		}
		last, begun = name, true
		switch a.between("meanwhile", 0, 5) {
		case 1:
			a.expect("DeleteBucket", b, b.DeleteBucket(name), b.has.deleteBucket(name))
		case 2:
			a.ensure(b)
		case 3:
			a.deleteBucket(b)
		case 4:
			a.put(b)
		}
		if a.full {
			return
		}
	}
	if want, ok := next(); ok {
		a.Fatalf("after %.20q Buckets ends before %.20q", last, want)
	}
}

package store_test

import (
	"context"
	"reflect"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/store"
)

// attempt is a write transaction under way.
type attempt struct {
	*model
	tx      *store.Tx
	root    *content // as the transaction should see it
	buckets []bucket // those that have been asked for, also deleted ones
	walkers []*walker
	full    bool      // a change was ErrNoSpace
	rev     store.Rev // that it has in the end
}

// bucket is a bucket of a write transaction, and what it should have.
type bucket struct {
	*store.Bucket
	has *content
}

var errAbort = errors.New("abort")

// write is a write transaction that ends in one of all the ways.
func (m *model) write() {
	a := &attempt{model: m, root: m.now.clone()}
	var err error
	committed := true
	switch db := m.db(); m.between("end", 0, 7) {
	default:
		err = db.Update(func(tx *store.Tx) error { a.run(tx); return nil })
	case 4:
		err = db.Update(func(tx *store.Tx) error { a.run(tx); return errAbort })
		if err != errAbort {
			m.Fatalf("Update whose function fails: %+v", err)
		}
		err, committed = nil, false
	case 5:
		m.mustPanic(func() { db.Update(func(tx *store.Tx) error { a.run(tx); panic(errAbort) }) })
		committed = false
	case 6:
		tx := m.begin(db)
		a.run(tx)
		err = tx.Commit()
	case 7:
		tx := m.begin(db)
		a.run(tx)
		err, committed = tx.Rollback(), false
	}
	if committed && m.isFull(err) {
		err, committed = nil, false // perhaps only now
	} else if committed && a.full {
		m.Fatalf("commit after a change failed: %v", err)
	}
	if err != nil {
		m.Fatalf("write: %+v", err)
	}
	before := m.now
	if committed {
		m.now = a.root
	}
	m.newRevision(before, a.rev, committed)
	a.over()
}

// newRevision looks at the revision after a write transaction that had rev itself. A
// commit of nothing may go without one.
func (m *model) newRevision(before *content, rev store.Rev, committed bool) {
	got := m.glance()
	switch {
	case committed && got == rev && rev >= m.rev:
	case got == m.rev && (!committed || reflect.DeepEqual(before, m.now)):
	default:
		m.Fatalf("revision %d after %d; the transaction had %d", got, m.rev, rev)
	}
	m.rev = got
}

func (m *model) begin(db *store.DB) *store.Tx {
	tx, err := db.Begin(context.Background(), true)
	if err != nil {
		m.Fatalf("Begin: %+v", err)
	}
	m.Cleanup(func() { tx.Rollback() })
	return tx
}

func (m *model) mustPanic(fn func()) {
	defer func() {
		if r := recover(); r != errAbort {
			panic(r)
		}
	}()
	fn()
}

// over looks at what is left of a transaction that has ended.
func (a *attempt) over() {
	for _, b := range a.buckets {
		if _, err := b.Get([]byte("k")); err != store.ErrTxDone {
			a.Fatalf("Get after the end: %v", err)
		}
		if err := b.Put([]byte("k"), nil); err != store.ErrTxDone {
			a.Fatalf("Put after the end: %v", err)
		}
	}
	for _, w := range a.walkers {
		if w.c.Next() || w.c.First() || w.c.Key() != nil || w.c.Value() != nil {
			a.Fatalf("a cursor goes on after the end")
		}
	}
}

func (a *attempt) run(tx *store.Tx) {
	a.tx = tx
	root, err := tx.Bucket()
	if err != nil {
		a.Fatalf("root bucket: %+v", err)
	}
	a.buckets = []bucket{{root, a.root}}
	steps := []struct {
		name string
		do   func()
	}{
		{"put", func() { a.put(a.some()) }},
		{"put", func() { a.put(a.some()) }},
		{"put", func() { a.put(a.some()) }},
		{"fill", func() { a.fill(a.some()) }},
		{"delete", func() { a.delete(a.some()) }},
		{"delete", func() { a.delete(a.some()) }},
		{"ensure", func() { a.ensure(a.some()) }},
		{"ensure", func() { a.ensure(a.some()) }},
		{"delete bucket", func() { a.deleteBucket(a.some()) }},
		{"bucket", func() { a.bucket(a.some()) }},
		{"get", func() { a.get(a.some()) }},
		{"put if", func() { a.putIf(a.some()) }},
		{"delete range", func() { a.deleteRange(a.some()) }},
		{"copy", func() { a.copy(a.some(), a.some()) }},
		{"sequence", func() { a.sequence(a.some()) }},
		{"iterate", func() { a.iterate(a.some()) }},
		{"iterate", func() { a.iterate(a.some()) }},
		{"iterate buckets", func() { a.iterateBuckets(a.some()) }},
		{"new cursor", func() { a.newWalker(a.some()) }},
		{"move", func() { a.move() }},
		{"move", func() { a.move() }},
		{"move", func() { a.move() }},
		{"compare", func() { a.compare(a.tx, a.root) }},
		{"view", a.view},
	}
	for range a.between("changes", 0, 15) {
		if a.full {
			return
		}
		s := steps[a.between("change", 0, len(steps)-1)]
		a.Log(s.name)
		s.do()
	}
	if !a.full {
		a.compare(a.tx, a.root)
	}
	a.rev = tx.Rev()
}

// some returns one of the buckets that have been asked for.
func (a *attempt) some() bucket {
	return a.buckets[a.between("bucket", 0, len(a.buckets)-1)]
}

// found adds a bucket to those that have been asked for.
func (a *attempt) found(b *store.Bucket, has *content) {
	if len(a.buckets) < 8 {
		a.buckets = append(a.buckets, bucket{b, has})
	}
}

// expect compares an error. It reports whether the change went well.
func (a *attempt) expect(what string, b bucket, err, want error) bool {
	if a.isFull(err) {
		a.full = true
		return false
	}
	if b.has.gone {
		want = store.ErrBucketNotFound
	}
	if !errors.Is(err, want) {
		a.Fatalf("%s: %+v instead of %v", what, err, want)
	}
	return err == nil
}

func (a *attempt) put(b bucket) {
	key := a.key()
	if a.chance("bad key", 20) {
		a.expect("Put of an empty key", b, b.Put(nil, nil), store.ErrKeyEmpty)
		tooLong := a.longKey(1, a.db().MaxKey()+1)
		a.expect("Put of a long key", b, b.Put(tooLong, nil), store.ErrKeyTooLarge)
		return
	}
	a.putKey(b, key, a.value(key))
}

func (a *attempt) putKey(b bucket, key, value []byte) {
	err := b.Put(key, value)
	a.expect("Put", b, err, a.ifThere(b, func() error { return b.has.put(key, value) }))
}

// ifThere changes the model of a bucket, unless the bucket is gone.
func (a *attempt) ifThere(b bucket, change func() error) error {
	if b.has.gone {
		return store.ErrBucketNotFound
	}
	return change()
}

// fill puts many keys, so that the tree gets high.
func (a *attempt) fill(b bucket) {
	keys, values := 3+a.between("length of keys", 0, 2)*a.db().MaxKey()/3, a.pageSize/a.pick("values for a page", 100, 10, 3)
	from := a.between("first", 0, 40)
	n, by := a.between("how many", 1, 60), a.pick("step", 1, 7, 59)
	for i := range n {
		key := a.longKey(from+i*by%60, keys)
		a.putKey(b, key, a.valueOf(values))
		if a.full {
			return
		}
	}
}

// keyIn returns the key of a value that is there, or any.
func (a *attempt) keyIn(b bucket) []byte {
	keys := b.has.keys()
	if len(keys) == 0 || a.chance("other key", 4) {
		return a.key()
	}
	return []byte(keys[a.between("key", 0, len(keys)-1)])
}

func (a *attempt) delete(b bucket) { a.deleteKey(b, a.keyIn(b)) }

func (a *attempt) deleteKey(b bucket, key []byte) {
	name := string(key) // key may lie in the page that changes
	err := b.Delete(key)
	a.expect("Delete", b, err, a.ifThere(b, func() error { return b.has.delete([]byte(name)) }))
}

func (a *attempt) get(b bucket) {
	key := a.keyIn(b)
	v, err := b.Get(key)
	if b.has.gone {
		a.expect("Get", b, err, nil)
		return
	}
	a.sameValue("Get", key, v, err, b.has)
}

func (a *attempt) putIf(b bucket) {
	key := a.keyIn(b)
	value := a.value(key)
	old := b.has.values[string(key)]
	switch a.between("old", 0, 3) {
	case 1:
		old = nil
	case 2:
		old = []byte{}
	case 3:
		if len(old) > 0 {
			old = old[:len(old)-1]
		}
	}
	err := b.PutIf(key, old, value)
	a.expect("PutIf", b, err, a.ifThere(b, func() error { return b.has.putIf(key, old, value) }))
}

// bounds returns a range, perhaps without bounds.
func (a *attempt) bounds() (lo, hi []byte) {
	if !a.chance("no lower bound", 3) {
		lo = a.key()
	}
	if !a.chance("no upper bound", 3) {
		hi = a.key()
	}
	return lo, hi
}

func (a *attempt) deleteRange(b bucket) {
	lo, hi := a.bounds()
	n, err := b.DeleteRange(lo, hi)
	if !a.expect("DeleteRange", b, err, nil) {
		return
	}
	for _, key := range b.has.keys() {
		if key >= string(lo) && (hi == nil || key < string(hi)) {
			delete(b.has.values, key)
			n--
		}
	}
	if n != 0 {
		a.Fatalf("DeleteRange counts %d too many", n)
	}
}

// copy puts slices that come from the transaction itself.
func (a *attempt) copy(from, to bucket) {
	if from.has.gone || to.has.gone {
		return
	}
	if a.chance("all", 3) {
		for k, v := range from.All() {
			key, want := string(k), from.has.values[string(k)]
			err := to.Put(k, v)
			if !a.expect("Put of what an iterator gave", to, err, to.has.put([]byte(key), want)) && a.full {
				return
			}
		}
		return
	}
	key := a.keyIn(from)
	v, err := from.Get(key)
	if err != nil {
		return
	}
	target := a.key()
	err = to.Put(target, v)
	a.expect("Put of what Get gave", to, err, to.has.put(target, from.has.values[string(key)]))
}

func (a *attempt) sequence(b bucket) {
	for range a.between("how often", 1, 3) {
		n, err := b.NextSequence()
		if !a.expect("NextSequence", b, err, nil) {
			return
		}
		if b.has.sequence++; n != b.has.sequence {
			a.Fatalf("NextSequence: %d instead of %d", n, b.has.sequence)
		}
	}
}

// names returns a path, of buckets that are there as far as possible.
func (a *attempt) names(b bucket) (path []string) {
	c := b.has
	for range a.between("names", 1, 3) {
		names := c.names()
		if len(names) == 0 || a.chance("other name", 3) {
			path = append(path, string(a.key()))
			c = newContent()
			continue
		}
		name := names[a.between("name", 0, len(names)-1)]
		path = append(path, name)
		c = c.buckets[name]
	}
	return path
}

func (a *attempt) ensure(b bucket) {
	path := a.names(b)
	got, err := b.EnsureBucket(path...)
	var has *content
	want := a.ifThere(b, func() (err error) { has, err = b.has.ensure(path...); return err })
	if a.expect("EnsureBucket", b, err, want) {
		a.found(got, has)
	}
}

func (a *attempt) bucket(b bucket) {
	path := a.names(b)
	got, err := b.Bucket.Bucket(path...)
	var has *content
	want := a.ifThere(b, func() (err error) { has, err = b.has.inner(path...); return err })
	if a.expect("Bucket", b, err, want) {
		a.found(got, has)
	}
}

func (a *attempt) deleteBucket(b bucket) {
	path := a.names(b)
	err := b.DeleteBucket(path...)
	a.expect("DeleteBucket", b, err, a.ifThere(b, func() error { return b.has.deleteBucket(path...) }))
}

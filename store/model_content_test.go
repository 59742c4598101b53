package store_test

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/store"
)

// content is what a bucket should have.
type content struct {
	values   map[string][]byte
	buckets  map[string]*content
	sequence uint64
	gone     bool // deleted
}

func newContent() *content {
	return &content{values: map[string][]byte{}, buckets: map[string]*content{}}
}

func (c *content) clone() *content {
	d := &content{values: maps.Clone(c.values), buckets: map[string]*content{}, sequence: c.sequence}
	for name, in := range c.buckets {
		d.buckets[name] = in.clone()
	}
	return d
}

// keys returns the keys of the values in order.
func (c *content) keys() []string { return slices.Sorted(maps.Keys(c.values)) }

func (c *content) names() []string { return slices.Sorted(maps.Keys(c.buckets)) }

// size is how many values there are in all buckets.
func (c *content) size() int64 {
	n := int64(len(c.values))
	for _, in := range c.buckets {
		n += in.size()
	}
	return n
}

func (c *content) put(key, value []byte) error {
	if c.buckets[string(key)] != nil {
		return store.ErrIsBucket
	}
	c.values[string(key)] = value
	return nil
}

func (c *content) delete(key []byte) error {
	if c.buckets[string(key)] != nil {
		return store.ErrIsBucket
	}
	delete(c.values, string(key))
	return nil
}

func (c *content) putIf(key, old, value []byte) error {
	now, ok := c.values[string(key)]
	switch {
	case c.buckets[string(key)] != nil:
		return store.ErrIsBucket
	case ok != (old != nil) || !bytes.Equal(now, old):
		return store.ErrConflict
	}
	return c.put(key, value)
}

// inner returns the bucket that path leads to.
func (c *content) inner(path ...string) (*content, error) {
	for _, name := range path {
		_, isValue := c.values[name]
		switch {
		case isValue:
			return nil, store.ErrNotBucket
		case c.buckets[name] == nil:
			return nil, store.ErrBucketNotFound
		}
		c = c.buckets[name]
	}
	return c, nil
}

func (c *content) ensure(path ...string) (*content, error) {
	for _, name := range path {
		in, err := c.inner(name)
		if err == store.ErrNotBucket {
			return nil, err
		}
		if err != nil {
			in = newContent()
			c.buckets[name] = in
		}
		c = in
	}
	return c, nil
}

func (c *content) deleteBucket(path ...string) error {
	in, err := c.inner(path...)
	if err != nil {
		return err
	}
	last := len(path) - 1
	parent, _ := c.inner(path[:last]...)
	delete(parent.buckets, path[last])
	in.forget()
	return nil
}

func (c *content) forget() {
	c.gone = true
	for _, in := range c.buckets {
		in.forget()
	}
	clear(c.values)
	clear(c.buckets)
}

// noise is what values are made of: slices of it, which are all different.
var noise = func() []byte {
	b := make([]byte, 4*65536)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}()

// key returns a key that is in use, more often than not, or has a length or bytes
// that are special.
func (m *model) key() []byte {
	const letters = "abcdefgh"
	switch kind := m.between("kind of key", 0, 9); {
	case kind < 4:
		i := m.between("letter", 0, len(letters)-1)
		return []byte(letters[i : i+1])
	case kind < 6:
		i := m.between("letter", 0, len(letters)-2)
		return []byte(letters[i : i+2])
	case kind < 8:
		short := []string{"\x00", "\x00\x00", "a\x00", "a\x00\x00", "a\xff", "\xff", "\xff\xff", "b\x00a"}
		return []byte(short[m.between("key", 0, len(short)-1)])
	case kind < 9:
		return m.longKey(m.between("number", 0, 30), m.db().MaxKey())
	}
	return m.longKey(m.between("number", 0, 30), m.between("length", 3, m.db().MaxKey()))
}

// longKey returns the key of n bytes with the given number, which is at its end.
func (m *model) longKey(number, n int) []byte {
	end := string([]byte{'0' + byte(number/10), '0' + byte(number%10)})
	return []byte(strings.Repeat("c", n-len(end)) + end)
}

// value returns a value for key whose length is special to leaves or to runs of
// pages.
func (m *model) value(key []byte) []byte {
	inline := (m.pageSize-32)/2 - 12 - len(key)
	n := 0
	switch kind := m.between("kind of value", 0, 9); {
	case kind < 5:
		n = m.between("length", 0, 40)
	case kind < 7:
		n = max(0, inline+m.between("beyond the leaf", -1, 1))
	case kind < 8:
		n = max(0, m.pageSize/4-m.between("length", 0, 100))
	default:
		pages := m.between("pages", 1, 3)
		n = pages*m.pageSize - 32 + m.between("beyond the page", -1, 1)
	}
	return m.valueOf(n)
}

func (m *model) valueOf(n int) []byte {
	from := m.between("content", 0, 255)
	return noise[from : from+n : from+n]
}

func (m *model) sameValue(what string, key, got []byte, err error, in *content) {
	want, ok := in.values[string(key)]
	switch {
	case !ok && err == store.ErrNotFound:
	case err != nil || !ok:
		m.Fatalf("%s of %.20q: %v; there is one: %v", what, key, err, ok)
	case !bytes.Equal(got, want):
		m.Fatalf("%s of %.20q: %d bytes %.20x instead of %d bytes %.20x", what, key, len(got), got, len(want), want)
	}
}

// compareBucket reads all that is in b in every order.
func (m *model) compareBucket(b *store.Bucket, want *content) {
	keys := want.keys()
	i := 0
	for k, v := range b.All() {
		if i == len(keys) || string(k) != keys[i] {
			m.Fatalf("All: %.20q as number %d of %.20q", k, i, keys)
		}
		m.sameValue("All", k, v, nil, want)
		i++
	}
	for k, v := range b.Backward(nil, nil) {
		if i--; i < 0 || string(k) != keys[i] {
			m.Fatalf("Backward: %.20q as number %d of %.20q", k, i, keys)
		}
		m.sameValue("Backward", k, v, nil, want)
	}
	if i != 0 {
		m.Fatalf("All and Backward differ by %d of %d values", i, len(keys))
	}
	names := want.names()
	if got := slices.Collect(b.Buckets()); !slices.Equal(got, names) {
		m.Fatalf("Buckets: %.20q instead of %.20q", got, names)
	}
	for _, name := range names {
		in, err := b.Bucket(name)
		if err != nil {
			m.Fatalf("bucket %.20q: %+v", name, err)
		}
		m.compareBucket(in, want.buckets[name])
	}
}

// sameSequences compares the next number of b and of all buckets in it. It stops
// early in a full store.
func (m *model) sameSequences(b *store.Bucket, want *content) {
	n, err := b.NextSequence()
	if m.isFull(err) {
		return
	}
	if err != nil || n != want.sequence+1 {
		m.Fatalf("NextSequence: %d instead of %d, %v", n, want.sequence+1, err)
	}
	for _, name := range want.names() {
		in, err := b.Bucket(name)
		if m.isFull(err) {
			return
		}
		if err != nil {
			m.Fatalf("bucket %.20q: %+v", name, err)
		}
		m.sameSequences(in, want.buckets[name])
	}
}

// isFull reports whether err says that a store with a MaxSize is full.
func (m *model) isFull(err error) bool {
	return m.options.MaxSize > 0 && errors.Is(err, store.ErrNoSpace)
}

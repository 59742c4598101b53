package store

import (
	"iter"
	"maps"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
)

// Bucket returns the bucket that path leads to: the one named path[0] in b, the
// one named path[1] in that, and so on; without names b itself. ErrBucketNotFound
// if there is none, ErrNotBucket if a name is the key of a value.
func (b *Bucket) Bucket(path ...string) (*Bucket, error) {
	if err := b.readable(); err != nil {
		return nil, err
	}
	for i, name := range path {
		in, err := b.inner(name)
		if err != nil {
			return nil, errors.Wrapf(err, "bucket %s", pathText(path[:i+1]))
		}
		b = in
	}
	return b, nil
}

// EnsureBucket is Bucket, and creates what is not there.
func (b *Bucket) EnsureBucket(path ...string) (*Bucket, error) {
	if err := b.writable(); err != nil {
		return nil, err
	}
	for i, name := range path {
		in, err := b.ensure(name)
		if err != nil {
			return nil, errors.Wrapf(err, "bucket %s", pathText(path[:i+1]))
		}
		b = in
	}
	return b, nil
}

func (b *Bucket) ensure(name string) (*Bucket, error) {
	if err := b.changeable([]byte(name)); err != nil {
		return nil, err
	}
	in, err := b.inner(name)
	if err == nil || !errors.Is(err, ErrBucketNotFound) {
		return in, err
	}
	err = b.change(adding, func(t *index.Tree) error { return t.PutRoot([]byte(name), index.Root{}) })
	if err != nil {
		return nil, err
	}
	return b.inner(name)
}

// inner returns the bucket of that name in b. In a write transaction each has one
// Bucket only, however often it is asked for.
func (b *Bucket) inner(name string) (in *Bucket, err error) {
	if err := b.readable(); err != nil {
		return nil, err
	}
	if in := b.open[name]; in != nil {
		return in, nil
	}
	defer b.tx.db.catch(debug.SetPanicOnFault(true), &err)
	v, kind, err := b.tx.snapshot.Get(b.ref(), []byte(name))
	switch {
	case err == ErrNotFound:
		return nil, ErrBucketNotFound
	case err != nil:
		return nil, err
	case kind != index.KindBucket:
		return nil, ErrNotBucket
	}
	root := index.DecodeRoot(v)
	in = &Bucket{tx: b.tx, root: root}
	if b.tx.writer != nil {
		in.tree, in.stored = index.NewTree(b.tx.snapshot, b.tx.writer, root), root
		if b.open == nil {
			b.open = map[string]*Bucket{}
		}
		b.open[name] = in
	}
	return in, nil
}

// DeleteBucket deletes the bucket that path leads to, as of Bucket, with all that
// is in it. It takes time as the bucket has pages.
func (b *Bucket) DeleteBucket(path ...string) error {
	if err := b.writable(); err != nil {
		return err
	}
	if len(path) == 0 {
		return errors.WithHint(errors.Wrapf(ErrBucketNotFound, "no name was given"),
			"a bucket cannot delete itself: name it in the one that it is in")
	}
	last := len(path) - 1
	parent, err := b.Bucket(path[:last]...)
	if err != nil {
		return err
	}
	in, err := parent.inner(path[last])
	if err != nil {
		return errors.Wrapf(err, "bucket %s", pathText(path))
	}
	if err := in.save(); err != nil {
		return err
	}
	err = parent.change(deleting, func(t *index.Tree) error {
		if err := in.tree.Drop(); err != nil {
			return err
		}
		_, err := t.DeleteRoot([]byte(path[last]))
		return err
	})
	if err == nil {
		delete(parent.open, path[last])
		in.forget()
	}
	return err
}

// forget makes b, and all in it, a bucket that is not there.
func (b *Bucket) forget() {
	b.gone = true
	for _, in := range b.open {
		in.forget()
	}
	b.open = nil
}

// save writes the roots of all buckets in b that have changed to where they
// belong, innermost first.
func (b *Bucket) save() error {
	for _, name := range slices.Sorted(maps.Keys(b.open)) {
		in := b.open[name]
		if err := in.save(); err != nil {
			return err
		}
		if in.tree.Root == in.stored {
			continue
		}
		root := in.tree.Root
		err := b.change(deleting, func(t *index.Tree) error { return t.PutRoot([]byte(name), root) })
		if err != nil {
			return err
		}
		in.stored = in.tree.Root
	}
	return nil
}

// Buckets returns the names of the buckets in b, in the order of keys, not of those
// further in. In a write transaction buckets may be made and deleted meanwhile, as
// with Range.
func (b *Bucket) Buckets() iter.Seq[string] {
	return func(yield func(name string) bool) {
		c := b.cursor(index.KindBucket)
		for ok := c.First(); ok; ok = c.Next() {
			if !yield(string(c.Key())) {
				return
			}
		}
	}
}

// pathText is a path for people, unambiguous.
func pathText(path []string) string {
	var b strings.Builder
	for i, name := range path {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(strconv.Quote(name))
	}
	return b.String()
}

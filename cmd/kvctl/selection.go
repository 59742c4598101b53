package main

import (
	"bytes"
	"encoding/hex"
	"iter"

	"github.com/cockroachdb/errors"
	"github.com/spf13/pflag"

	"github.com/sharekv/sharekv/store"
)

// A selection says which entries a command is about: those of one bucket, perhaps
// also of the buckets in it, with keys that are both under a prefix and between two
// bounds. An empty string bounds nothing.
type selection struct {
	bucket           bucketPath // empty for the root bucket
	recursive        bool
	hexKey           bool // keys of the command line are hexadecimal
	prefix, from, to string
}

// The help of the flags that a selection registers.
const (
	bucketHelp = `Without --bucket it is about the root bucket.
` + pathHelp
	rangeHelp = `--prefix, --from and --to take bytes as they are, without escapes; with --hex-key
they are hexadecimal. --from is the first key, --to the one after the last.`
)

func (s *selection) registerBucket(flags *pflag.FlagSet) {
	flags.VarP(&s.bucket, "bucket", "b", "the bucket, such as a/b; the root bucket without it")
}

// registerKey registers what a command needs that is given keys.
func (s *selection) registerKey(flags *pflag.FlagSet) {
	s.registerBucket(flags)
	flags.BoolVar(&s.hexKey, "hex-key", false, "keys on the command line are hexadecimal")
}

func (s *selection) registerRange(flags *pflag.FlagSet) {
	s.registerKey(flags)
	flags.StringVar(&s.prefix, "prefix", "", "only keys that begin with `P`")
	flags.StringVar(&s.from, "from", "", "only keys from `K` on")
	flags.StringVar(&s.to, "to", "", "only keys before `K`")
}

func (s *selection) registerRecursive(flags *pflag.FlagSet) {
	flags.BoolVarP(&s.recursive, "recursive", "r", false, "also the buckets in the bucket, and in those")
}

// key returns the key that text of the command line stands for.
func (s *selection) key(text string) ([]byte, error) {
	if !s.hexKey {
		return []byte(text), nil
	}
	key, err := hex.DecodeString(text)
	if err != nil {
		return nil, usageErrorf("--hex-key: %q is not hexadecimal, two digits to a byte, such as 0a7f", text)
	}
	return key, nil
}

// keys returns the bounds of the keys.
func (s *selection) keys() (r keyRange, err error) {
	prefix, err := s.key(s.prefix)
	if err != nil {
		return r, err
	}
	if r.lo, err = s.key(s.from); err != nil {
		return r, err
	}
	if bytes.Compare(r.lo, prefix) < 0 {
		r.lo = prefix
	}
	if s.to != "" {
		if r.hi, err = s.key(s.to); err != nil {
			return r, err
		}
	}
	if end := prefixEnd(string(prefix)); end != nil && (r.hi == nil || bytes.Compare(end, r.hi) < 0) {
		r.hi = end
	}
	return r, nil
}

// find returns the bucket, which must be there.
func (s *selection) find(tx *store.Tx) (*store.Bucket, error) {
	b, err := tx.Bucket(s.bucket...)
	return b, explain(err, s.bucket)
}

// ensure returns the bucket, which is created if it is not there.
func (s *selection) ensure(tx *store.Tx) (*store.Bucket, error) {
	b, err := tx.EnsureBucket(s.bucket...)
	return b, explain(err, s.bucket)
}

// explain says for people why there is no bucket at path, if that is what err says.
func explain(err error, path bucketPath) error {
	const hint = "kvctl buckets -r lists the buckets that there are"
	switch {
	case errors.Is(err, store.ErrBucketNotFound):
		return errors.WithHint(plainErrorf(err, "there is no bucket %v", path), hint)
	case errors.Is(err, store.ErrNotBucket):
		err = plainErrorf(err, "a name in the path %v is the key of a value, not a bucket", path)
		return errors.WithHint(err, hint)
	}
	return err
}

// explainKey says for people that key is the name of a bucket, if that is what err
// says.
func explainKey(err error, key []byte) error {
	if !errors.Is(err, store.ErrIsBucket) {
		return err
	}
	return errors.WithHint(plainErrorf(err, "%.64q is a bucket, and no key with a value", key),
		"kvctl buckets lists and deletes buckets; --bucket PATH is for what is in one")
}

// A place is a bucket with its path from where a walk began.
type place struct {
	path   bucketPath
	bucket *store.Bucket
}

// places yields top and, if the selection is recursive, the buckets in it: each
// before those that lie in it, in the order of their names.
func (s *selection) places(top *store.Bucket) iter.Seq2[place, error] {
	return func(yield func(place, error) bool) {
		if yield(place{nil, top}, nil) && s.recursive {
			descend(place{nil, top}, yield)
		}
	}
}

// descend yields the buckets in the one at p, and those in them.
func descend(p place, yield func(place, error) bool) (more bool) {
	for name := range p.bucket.Buckets() {
		inner, err := p.bucket.Bucket(name)
		q := place{p.path.join(name), inner}
		if !yield(q, err) || err != nil || !descend(q, yield) {
			return false
		}
	}
	return true
}

// hasBuckets reports whether there are buckets in b.
func hasBuckets(b *store.Bucket) bool {
	for range b.Buckets() {
		return true
	}
	return false
}

// A keyRange is the keys from lo on and before hi; nil is no bound.
type keyRange struct{ lo, hi []byte }

// all reports whether the range has all keys.
func (r keyRange) all() bool { return len(r.lo) == 0 && r.hi == nil }

// in moves a cursor over the entries of b in the range, so that a value is read
// only if the loop asks for it.
func (r keyRange) in(b *store.Bucket, reverse bool) iter.Seq[*store.Cursor] {
	return func(yield func(*store.Cursor) bool) {
		c := b.Cursor()
		if reverse {
			for ok := r.seekLast(c); ok && bytes.Compare(c.Key(), r.lo) >= 0 && yield(c); {
				ok = c.Prev()
			}
			return
		}
		for ok := c.Seek(r.lo); ok && r.before(c.Key()) && yield(c); {
			ok = c.Next()
		}
	}
}

// before reports whether key is before the end of the range.
func (r keyRange) before(key []byte) bool { return r.hi == nil || bytes.Compare(key, r.hi) < 0 }

// seekLast moves c to the last entry before the end of the range.
func (r keyRange) seekLast(c *store.Cursor) bool {
	if r.hi != nil && c.Seek(r.hi) {
		return c.Prev()
	}
	return c.Last()
}

// prefixEnd returns the smallest key above all that begin with prefix, or nil if
// there is none.
func prefixEnd(prefix string) []byte {
	end := bytes.TrimRight([]byte(prefix), "\xff")
	if len(end) == 0 {
		return nil
	}
	end[len(end)-1]++
	return end
}

package main

import (
	"bytes"
	"iter"

	"github.com/spf13/pflag"

	"github.com/sharekv/sharekv/store"
)

// A keyRange is the keys that are both under a prefix and between two bounds. An
// empty string bounds nothing.
type keyRange struct{ prefix, from, to string }

// rangeHelp describes the flags to users.
const rangeHelp = `--prefix, --from and --to take bytes as they are, without escapes.`

func (r *keyRange) register(flags *pflag.FlagSet) {
	flags.StringVar(&r.prefix, "prefix", "", "only keys that begin with `P`")
	flags.StringVar(&r.from, "from", "", "only keys from `K` on")
	flags.StringVar(&r.to, "to", "", "only keys before `K`")
}

// in returns the entries of the range.
func (r *keyRange) in(tx *store.Tx) iter.Seq2[[]byte, []byte] {
	return tx.Range(r.bounds())
}

// bounds returns the first key and the one after the last; nil is no bound.
func (r *keyRange) bounds() (lo, hi []byte) {
	lo = []byte(max(r.from, r.prefix))
	if r.to != "" {
		hi = []byte(r.to)
	}
	if end := prefixEnd(r.prefix); end != nil && (hi == nil || bytes.Compare(end, hi) < 0) {
		hi = end
	}
	return lo, hi
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

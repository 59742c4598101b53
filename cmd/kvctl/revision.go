package main

import (
	"fmt"

	"github.com/sharekv/sharekv/store"
)

// revision is a store.Rev for people: epoch.counter. The counter grows with every
// commit, and the epoch when the store is opened after it was not closed.
type revision store.Rev

const counterBits = 40

func (r revision) epoch() uint64   { return uint64(r) >> counterBits }
func (r revision) counter() uint64 { return uint64(r) & (1<<counterBits - 1) }

func (r revision) String() string { return fmt.Sprintf("%d.%d", r.epoch(), r.counter()) }

// MarshalText makes it a string in JSON, where many programs lose the last digits
// of a number as large as a Rev.
func (r revision) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// behind returns how many revisions, at most, came after r up to now. Those of
// transactions that did not commit count too.
func (r revision) behind(now revision) uint64 {
	if r >= now || r.counter() >= now.counter() {
		return 0
	}
	return now.counter() - r.counter()
}

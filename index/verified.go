package index

import "sync/atomic"

// Pages of one chunk: 32 KiB of bits for 2^18 pages.
const (
	chunkShift = 18
	chunkWords = 1 << chunkShift / 64
)

// Verified remembers, a bit per page, which pages this process has verified
// since it opened the store. Damage that comes later is found by Check or at the
// next open. All methods may be used concurrently.
type Verified struct {
	chunks []atomic.Pointer[[chunkWords]atomic.Uint64]
}

// NewVerified returns an empty set for page numbers below pages. Higher numbers
// are never remembered.
func NewVerified(pages PageID) *Verified {
	n := (uint64(pages) + 1<<chunkShift - 1) >> chunkShift
	return &Verified{chunks: make([]atomic.Pointer[[chunkWords]atomic.Uint64], n)}
}

// Add says that the caller has sealed the page, or the run that begins there, and
// stored it.
func (v *Verified) Add(id PageID) { v.set(id) }

func (v *Verified) has(id PageID) bool {
	i := uint64(id) >> chunkShift
	if i >= uint64(len(v.chunks)) {
		return false
	}
	c := v.chunks[i].Load()
	return c != nil && c[uint64(id)/64%chunkWords].Load()&(1<<(id%64)) != 0
}

func (v *Verified) set(id PageID) {
	i := uint64(id) >> chunkShift
	if i >= uint64(len(v.chunks)) {
		return
	}
	c := v.chunks[i].Load()
	if c == nil {
		v.chunks[i].CompareAndSwap(nil, new([chunkWords]atomic.Uint64))
		c = v.chunks[i].Load()
	}
	c[uint64(id)/64%chunkWords].Or(1 << (id % 64))
}

package main

import (
	"math"
	"math/bits"
	"time"
)

const (
	subBits    = 7
	subBuckets = 1 << subBits
	buckets    = (64 - subBits + 1) * subBuckets
)

// A histogram counts latencies in buckets: exact below subBuckets nanoseconds,
// above it no wider than 1/subBuckets of what they hold.
type histogram struct {
	counts [buckets]uint64
	max    time.Duration
}

func bucket(d time.Duration) int {
	ns := uint64(d)
	if ns < subBuckets {
		return int(ns)
	}
	shift := bits.Len64(ns) - 1 - subBits
	return shift<<subBits + int(ns>>shift)
}

// upper returns the greatest latency that a bucket holds.
func upper(bucket int) time.Duration {
	if bucket < subBuckets {
		return time.Duration(bucket)
	}
	shift := bucket>>subBits - 1
	return time.Duration((uint64(bucket)-uint64(shift)<<subBits+1)<<shift - 1)
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(d)]++
	h.max = max(h.max, d)
}

// quantile returns the latency that a share q of all did not exceed, rounded up to
// the bucket's end; 0 without any.
func (h *histogram) quantile(q float64) time.Duration {
	var total, below uint64
	for _, n := range h.counts {
		total += n
	}
	rank := max(1, uint64(math.Ceil(q*float64(total))))
	for b, n := range h.counts {
		if below += n; below >= rank {
			return min(upper(b), h.max)
		}
	}
	return h.max
}

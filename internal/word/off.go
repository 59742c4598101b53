//go:build !killpoints

package word

import "sync/atomic"

// Uint32 is a word of 4 bytes.
type Uint32 = atomic.Uint32

// Uint64 is a word of 8 bytes.
type Uint64 = atomic.Uint64

// BeforeCall and AfterCall stand around a system call whose effect others see.
func BeforeCall() {}

// AfterCall is the other half of BeforeCall.
func AfterCall() {}

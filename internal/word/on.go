//go:build killpoints

package word

import (
	"fmt"
	"path"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
)

// A Point is a moment right before or right after something that other processes can
// see. It is the same moment in each process of one program.
type Point struct {
	When  string // "before" or "after"
	Calls string // the functions and lines that led there, the nearest first, with " < " between
}

// Watch makes fn be called at each point, on the goroutine that has come there. It is
// to be called before any word is used.
func Watch(fn func(Point)) { watch = fn }

var watch = func(Point) {}

// Uint32 is a word of 4 bytes.
type Uint32 struct{ atomic atomic.Uint32 }

// Uint64 is a word of 8 bytes.
type Uint64 struct{ atomic atomic.Uint64 }

// Load does as that of sync/atomic.
func (w *Uint32) Load() uint32 { return w.atomic.Load() }

// Load does as that of sync/atomic.
func (w *Uint64) Load() uint64 { return w.atomic.Load() }

// Store does as that of sync/atomic.
func (w *Uint32) Store(v uint32) {
	at("before")
	w.atomic.Store(v)
	at("after")
}

// Store does as that of sync/atomic.
func (w *Uint64) Store(v uint64) {
	at("before")
	w.atomic.Store(v)
	at("after")
}

// CompareAndSwap does as that of sync/atomic.
func (w *Uint32) CompareAndSwap(old, new uint32) bool {
	at("before")
	swapped := w.atomic.CompareAndSwap(old, new)
	if swapped {
		at("after")
	}
	return swapped
}

// CompareAndSwap does as that of sync/atomic.
func (w *Uint64) CompareAndSwap(old, new uint64) bool {
	at("before")
	swapped := w.atomic.CompareAndSwap(old, new)
	if swapped {
		at("after")
	}
	return swapped
}

// Swap does as that of sync/atomic.
func (w *Uint32) Swap(v uint32) uint32 {
	at("before")
	defer at("after")
	return w.atomic.Swap(v)
}

// Add does as that of sync/atomic.
func (w *Uint64) Add(delta uint64) uint64 {
	at("before")
	defer at("after")
	return w.atomic.Add(delta)
}

// And does as that of sync/atomic.
func (w *Uint64) And(mask uint64) uint64 {
	at("before")
	defer at("after")
	return w.atomic.And(mask)
}

// Or does as that of sync/atomic.
func (w *Uint64) Or(mask uint64) uint64 {
	at("before")
	defer at("after")
	return w.atomic.Or(mask)
}

// BeforeCall and AfterCall stand around a system call whose effect others see.
func BeforeCall() { at("before") }

// AfterCall is the other half of BeforeCall.
func AfterCall() { at("after") }

// A way is how a point was reached, by the calls that were under way.
type way struct {
	when  string
	calls [24]uintptr
}

var points sync.Map // from way to Point: names are looked up once

// at calls what watches. Its caller is a function of this package.
func at(when string) {
	w := way{when: when}
	n := runtime.Callers(3, w.calls[:])
	p, ok := points.Load(w)
	if !ok {
		p, _ = points.LoadOrStore(w, pointOf(when, w.calls[:n]))
	}
	watch(p.(Point))
}

// pointOf names a point. Functions that are not of sharekv do not count, nor do
// those of tests.
func pointOf(when string, calls []uintptr) Point {
	var names []string
	frames := runtime.CallersFrames(calls)
	for {
		f, more := frames.Next()
		if strings.Contains(f.Function, "/sharekv/") && !strings.HasSuffix(f.File, "_test.go") {
			names = append(names, fmt.Sprintf("%s:%d", path.Base(f.Function), f.Line))
		}
		if !more {
			break
		}
	}
	return Point{When: when, Calls: strings.Join(names, " < ")}
}

package mmapfile

import (
	"unsafe"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/word"
)

// uint64At returns the word at off; mem begins at a multiple of 64.
func uint64At(mem []byte, off int) *word.Uint64 {
	if off%8 != 0 {
		panic(errors.AssertionFailedf("M4: 64-bit word at %d", off))
	}
	// SAFETY: mem begins at a multiple of 64, so the word is aligned, and slicing
	// has checked that it lies inside.
	return (*word.Uint64)(unsafe.Pointer(unsafe.SliceData(mem[off : off+8])))
}

// uint32At does so for half a word.
func uint32At(mem []byte, off int) *word.Uint32 {
	if off%4 != 0 {
		panic(errors.AssertionFailedf("M4: 32-bit word at %d", off))
	}
	// SAFETY: as in uint64At.
	return (*word.Uint32)(unsafe.Pointer(unsafe.SliceData(mem[off : off+4])))
}

// addressOf returns where mem begins.
func addressOf(mem []byte) uintptr {
	// SAFETY: it is only looked at, never made into a pointer again. Mapped memory
	// does not move, and neither does what the heap has.
	return uintptr(unsafe.Pointer(unsafe.SliceData(mem)))
}

// faultIn tells whether a recovered value is a fault at an address in mem, and at
// which offset.
func faultIn(mem []byte, recovered any) (off uint64, ok bool) {
	fault, ok := recovered.(interface {
		error
		Addr() uintptr
	})
	if !ok || len(mem) == 0 {
		return 0, false
	}
	base := addressOf(mem)
	if addr := fault.Addr(); addr >= base && addr-base < uintptr(len(mem)) {
		return uint64(addr - base), true
	}
	return 0, false
}

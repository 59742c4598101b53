package mmapfile

import "unsafe"

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
	// SAFETY: the address is only compared.
	base := uintptr(unsafe.Pointer(unsafe.SliceData(mem)))
	if addr := fault.Addr(); addr >= base && addr-base < uintptr(len(mem)) {
		return uint64(addr - base), true
	}
	return 0, false
}

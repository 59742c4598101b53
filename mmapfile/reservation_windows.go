package mmapfile

import (
	"os"

	"golang.org/x/sys/windows"
)

// A reservation is address space in which a file is mapped piece by piece, each
// right behind the one before.
//
// With placeholders, which Windows has since version 1803, nobody else can get in
// between. Without them the rest of the reservation is given up for a moment
// whenever a piece is mapped, and another thread may take the place; then nothing
// more can be mapped.
type reservation struct {
	base         uintptr
	length       int64
	used         int64 // mapped from the base on, a multiple of granule
	placeholders bool
	ended        bool // nothing more can be mapped
	held         bool // the rest is ours
}

// reserve sets aside length bytes, or as many of them as there are, but at least
// need.
func reserve(need, length int64, placeholders bool) (*reservation, bool) {
	placeholders = placeholders && havePlaceholders()
	for length = max(length, need); length >= max(need, granule); length /= 2 {
		r := &reservation{length: length &^ (granule - 1), placeholders: placeholders}
		if int64(uintptr(r.length)) != r.length {
			continue // more than the process can address
		}
		if r.holdRest() {
			return r, true
		}
		// The calls may be there and know nothing of placeholders.
		if r.placeholders = false; placeholders && r.holdRest() {
			return r, true
		}
	}
	return nil, false
}

// havePlaceholders says whether the calls are there. On 32-bit systems they take
// their arguments in another way, and are not used.
func havePlaceholders() bool {
	const wide = ^uintptr(0)>>63 == 1
	return wide && procVirtualAlloc2.Find() == nil && procMapViewOfFile3.Find() == nil
}

// holdRest reserves what is behind the used part; at the beginning, anywhere.
func (r *reservation) holdRest() bool {
	at, n := uintptr(0), uintptr(r.length-r.used)
	if r.base != 0 {
		at = r.base + uintptr(r.used)
	}
	var addr uintptr
	switch {
	case n == 0:
		return false
	case r.placeholders:
		addr, _, _ = procVirtualAlloc2.Call(0, at, n,
			windows.MEM_RESERVE|memReservePlaceholder, windows.PAGE_NOACCESS, 0, 0)
	default:
		addr, _ = windows.VirtualAlloc(at, n, windows.MEM_RESERVE, windows.PAGE_NOACCESS)
	}
	if r.held = addr != 0; r.held && r.base == 0 {
		r.base = addr
	}
	return r.held
}

// extend maps the n bytes of the file behind what is mapped, which the section
// reaches. It reports whether there was room. Unless n is a multiple of granule it
// is the last piece, and placeholders cannot be used.
func (r *reservation) extend(section windows.Handle, n int64) (bool, error) {
	if r.ended || n > r.length-r.used {
		return false, nil
	}
	var err error
	if r.placeholders {
		err = r.replace(section, n)
	} else {
		err = r.squeeze(section, n)
	}
	if err != nil || r.ended {
		return false, err
	}
	r.used += (n + granule - 1) &^ (granule - 1)
	if !r.placeholders {
		r.ended = !r.holdRest() || n%granule != 0
	}
	return true, nil
}

// replace splits the placeholder and maps the file in its first part.
func (r *reservation) replace(section windows.Handle, n int64) error {
	at := r.base + uintptr(r.used)
	if r.held = n < r.length-r.used; r.held {
		err := windows.VirtualFree(at, uintptr(n), windows.MEM_RELEASE|memPreservePlaceholder)
		if err != nil {
			return os.NewSyscallError("VirtualFree", err)
		}
	}
	addr, _, err := procMapViewOfFile3.Call(uintptr(section), 0, at, uintptr(r.used), uintptr(n),
		memReplacePlaceholder, windows.PAGE_READONLY, 0, 0)
	if addr == 0 {
		// Undone if it can be: if not, the next try fails as well.
		_ = windows.VirtualFree(at, uintptr(r.length-r.used), windows.MEM_RELEASE|memCoalescePlaceholder)
		r.held = true
		return os.NewSyscallError("MapViewOfFile3", err)
	}
	return nil
}

// squeeze gives up the rest of the reservation and maps the file at its beginning,
// again and again if somebody is in the way for a moment. For good, that is the
// end of the reservation.
func (r *reservation) squeeze(section windows.Handle, n int64) error {
	at := r.base + uintptr(r.used)
	for range 10 {
		if err := windows.VirtualFree(at, 0, windows.MEM_RELEASE); err != nil {
			return os.NewSyscallError("VirtualFree", err)
		}
		r.held = false
		addr, _, err := procMapViewOfFileEx.Call(uintptr(section), windows.FILE_MAP_READ,
			uintptr(r.used>>32), uintptr(uint32(r.used)), uintptr(n), at)
		if addr != 0 {
			return nil
		}
		if err != windows.ERROR_INVALID_ADDRESS {
			r.ended = !r.holdRest()
			return os.NewSyscallError("MapViewOfFileEx", err)
		}
		if !r.holdRest() {
			break
		}
	}
	r.ended = true
	return nil
}

// release gives back what is not mapped.
func (r *reservation) release() error {
	if !r.held {
		return nil
	}
	r.held = false
	return os.NewSyscallError("VirtualFree",
		windows.VirtualFree(r.base+uintptr(r.used), 0, windows.MEM_RELEASE))
}

package mmapfile

import (
	"os"
	"sync"
	"time"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/windows"
)

// A reservation is address space in which a file is mapped piece by piece, each
// right behind the one before.
//
// With placeholders, which Windows has since version 1803, nobody else can get in
// between. Without them the space is reserved in chunks, and that in which the next
// piece goes is given up for a moment: another thread may take the place, and then
// nothing more can be mapped. Small chunks make that rare, because only what fits
// can get in.
type reservation struct {
	base         uintptr
	length       int64
	used         int64 // mapped from the base on, a multiple of granule
	placeholders bool
	held         bool    // with placeholders: the rest is ours
	chunks       []chunk // without: what is ours of the rest, in order
	ended        bool    // nothing more can be mapped
}

// places is held while address space is given up for a moment, and by whoever of us
// might take it: other stores of this process. Threads of others we cannot stop.
var places sync.Mutex

// mapAnywhere maps size bytes of the section from off on.
func mapAnywhere(section windows.Handle, access uint32, off, size int64) (uintptr, error) {
	places.Lock()
	defer places.Unlock()
	return windows.MapViewOfFile(section, access, uint32(off>>32), uint32(off), uintptr(size))
}

// chunk is a stretch of reserved address space.
type chunk struct {
	at   uintptr
	size int64
}

func (c chunk) hold() bool {
	addr, _ := windows.VirtualAlloc(c.at, uintptr(c.size), windows.MEM_RESERVE, windows.PAGE_NOACCESS)
	return addr != 0
}

func (c chunk) free() error {
	return os.NewSyscallError("VirtualFree", windows.VirtualFree(c.at, 0, windows.MEM_RELEASE))
}

// chunkSizes are the sizes of chunks from the base on, and how many of each. The
// last is for what is left.
var chunkSizes = []struct{ size, count int64 }{
	{512 << 10, 64}, {4 << 20, 64}, {64 << 20, 64}, {4 << 30, 1 << 20},
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
		if placeholders && r.holdPlaceholder() {
			return r, true
		}
		// The calls may be there and know nothing of placeholders.
		r.placeholders = false
		if r.holdChunks(need) {
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

func (r *reservation) holdPlaceholder() bool {
	r.base, _, _ = procVirtualAlloc2.Call(0, 0, uintptr(r.length),
		windows.MEM_RESERVE|memReservePlaceholder, windows.PAGE_NOACCESS, 0, 0)
	r.held = r.base != 0
	return r.held
}

// holdChunks finds a place for the whole and then reserves it chunk by chunk. What
// somebody takes meanwhile is the end.
func (r *reservation) holdChunks(need int64) bool {
	places.Lock()
	defer places.Unlock()
	base, err := windows.VirtualAlloc(0, uintptr(r.length), windows.MEM_RESERVE, windows.PAGE_NOACCESS)
	if err != nil || (chunk{base, r.length}).free() != nil {
		return false
	}
	r.base = base
	held := int64(0)
	for _, s := range chunkSizes {
		for range s.count {
			c := chunk{base + uintptr(held), min(s.size, r.length-held)}
			if c.size == 0 || !c.hold() {
				break
			}
			r.chunks = append(r.chunks, c)
			held += c.size
		}
	}
	if r.length = held; held >= max(need, granule) {
		return true
	}
	_ = r.release()
	return false
}

// extend maps up to n bytes of the file behind what is mapped, which the section
// reaches, and returns how many; none if there is no room. Unless they are a
// multiple of granule they are the last piece, and placeholders cannot be used.
func (r *reservation) extend(section windows.Handle, n int64) (int64, error) {
	if r.ended || n > r.length-r.used {
		return 0, nil
	}
	var err error
	if r.placeholders {
		err = r.replace(section, n)
	} else {
		n, err = r.squeeze(section, n)
	}
	if err != nil {
		return 0, err
	}
	r.used += wholeGranules(n)
	return n, nil
}

func wholeGranules(n int64) int64 { return (n + granule - 1) &^ (granule - 1) }

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

// squeeze gives up the next chunk and maps the file at its beginning, again and
// again if somebody is in the way for a moment. For good, that is the end of the
// reservation.
func (r *reservation) squeeze(section windows.Handle, n int64) (int64, error) {
	c := r.chunks[0]
	n = min(n, c.size)
	for try := range 10 {
		time.Sleep(time.Duration(try) * time.Millisecond)
		mapped, err := r.swap(c, section, n)
		if mapped || err != nil {
			return n, err
		}
		if r.ended {
			break
		}
	}
	return 0, nil
}

// swap gives up chunk c and maps n bytes at its beginning, or holds it again.
func (r *reservation) swap(c chunk, section windows.Handle, n int64) (mapped bool, err error) {
	places.Lock()
	defer places.Unlock()
	if err := c.free(); err != nil {
		return false, err
	}
	addr, _, err := procMapViewOfFileEx.Call(uintptr(section), windows.FILE_MAP_READ,
		uintptr(r.used>>32), uintptr(uint32(r.used)), uintptr(n), c.at)
	if addr != 0 {
		r.keepBehind(c, n)
		return true, nil
	}
	if !c.hold() {
		r.chunks, r.ended = r.chunks[1:], true
	}
	if err != windows.ERROR_INVALID_ADDRESS {
		return false, os.NewSyscallError("MapViewOfFileEx", err)
	}
	return false, nil
}

// keepBehind reserves again what is left of c, of which n bytes are mapped.
func (r *reservation) keepBehind(c chunk, n int64) {
	whole := wholeGranules(n)
	rest := chunk{c.at + uintptr(whole), c.size - whole}
	switch {
	case rest.size == 0:
		r.chunks = r.chunks[1:]
	case rest.hold():
		r.chunks[0] = rest
	default:
		r.chunks, r.ended = r.chunks[1:], true
	}
	if n != whole || len(r.chunks) == 0 {
		r.ended = true
	}
}

// release gives back what is not mapped.
func (r *reservation) release() error {
	if r.held {
		r.held = false
		return (chunk{at: r.base + uintptr(r.used)}).free()
	}
	var err error
	for _, c := range r.chunks {
		err = errors.CombineErrors(err, c.free())
	}
	r.chunks = nil
	return err
}

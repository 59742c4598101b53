package mmapfile

import (
	"fmt"

	"golang.org/x/sys/windows"
)

// Spans are what a flush goes by.
type (
	Spans = spans
	Span  = span
)

const SpansMost = spansMost

func (list spans) Add(begin, end int64) spans { return list.add(span{begin, end}) }
func (s span) Bounds() (begin, end int64)     { return s.begin, s.end }

// Unpushed returns what was stored and not yet handed over to the file system.
func (m *Mapping) Unpushed() spans { return m.view.writable.stored }

// Window returns the writable window in which off lies, nil if none is mapped.
func (m *Mapping) Window(off int64) []byte { return m.view.writable.windows[off/storeWindow] }

// A Reservation is the address space of a view.
type Reservation = reservation

func (m *Mapping) Reservation() *Reservation { return m.view.shown.room }

func (r *reservation) InPlaceholder() bool { return r.placeholders }
func (r *reservation) Base() uintptr       { return r.base }
func (r *reservation) Length() int64       { return r.length }
func (r *reservation) Used() int64         { return r.used }

// Reserve and what follows are what views are made of.
var Reserve = reserve

func (r *reservation) Extend(section windows.Handle, n int64) (int64, error) {
	return r.extend(section, n)
}
func (r *reservation) Release() error { return r.release() }

// CreateSection makes a section of a file.
var CreateSection = createSection

// WithoutPlaceholders makes the calls for placeholders missing, as they are before
// Windows 10 1803, until restored.
func WithoutPlaceholders() (restore func()) {
	there := procVirtualAlloc2
	procVirtualAlloc2 = kernelbase.NewProc("VirtualAllocMissing")
	return func() { procVirtualAlloc2 = there }
}

// MemoryAt returns what is at an address.
var MemoryAt = memoryAt

// AddressOf is the way back.
var AddressOf = addressOf

// KernelName returns what the kernel's mutex at off is called.
func (a *Area) KernelName(off int) (string, error) { return kernelName(a.home.(*areaFile).file, off) }

// Memory returns the bytes of the area.
func (a *Area) Memory() []byte { return a.mem }

// NameOfBell returns the name of the event that member i of an object of the scope Local
// sleeps on.
func NameOfBell(base string, i int) (string, error) {
	path, err := bodyPath(objectName{scopeLocal, base})
	if err != nil {
		return "", err
	}
	id, err := fileIDAt(path)
	return fmt.Sprintf(`Global\sharekv-%x-%x-%x-%d`, id.Volume, id.File, objectWaits, i), err
}

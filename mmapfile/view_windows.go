package mmapfile

import (
	"io/fs"
	"os"
	"runtime/debug"
	"sync"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/windows"
)

const (
	defaultReserve int64 = 256 << 30

	// storeWindow is how much of the file one writable view shows: little enough
	// for systems that want to have memory for all of it.
	storeWindow int64 = 64 << 20
	windowsMost       = 64
)

// A fileView is two kinds of view of one file. The read-only one begins at a fixed
// base and gets longer, by a piece behind the others, when somebody needs more of
// the file than is mapped. The writable ones show a window of the file each, where
// something is stored; nobody else knows their addresses, so they come and go.
type fileView struct {
	mem []byte // the whole reservation

	shown struct {
		sync.Mutex
		room   *reservation
		pieces []uintptr
		size   int64 // bytes of the file that are mapped
	}
	writable struct {
		sync.Mutex
		windows map[int64][]byte // by offset / storeWindow
		stored  spans            // what may not have reached the file system
	}
	cut struct {
		sync.Mutex
		wanted bool
		size   int64
	}
}

func mapFile(f *os.File, readOnly bool, _, length int64) (*fileView, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size() // which allocate has rounded, if it may
	room, ok := reserve(size, length, size%granule == 0)
	if !ok {
		return nil, errors.Wrapf(ErrNoAddressSpace, "%s has %d bytes", f.Name(), size)
	}
	v := &fileView{mem: memoryAt(room.base, room.length)}
	v.shown.room = room
	v.writable.windows = map[int64][]byte{}
	if _, err := v.cover(f, size); err != nil {
		return nil, errors.CombineErrors(err, v.unmap(f))
	}
	return v, nil
}

// cover maps what is in the file and not yet in the view, and returns how many of
// the size bytes are. The end of a file that nobody has opened for writing may be
// no multiple of granule: then nothing can be mapped behind it.
func (v *fileView) cover(f *os.File, size int64) (int64, error) {
	v.shown.Lock()
	defer v.shown.Unlock()
	room := v.shown.room
	reach := min(size, room.length)
	if room.placeholders {
		reach &^= granule - 1
	}
	if reach <= v.shown.size || room.ended {
		return min(size, v.shown.size), nil
	}
	section, err := createSection(f, windows.PAGE_READONLY, reach)
	if err != nil {
		return v.shown.size, err
	}
	for err == nil && v.shown.size < reach {
		begin := room.base + uintptr(room.used)
		var n int64
		if n, err = room.extend(section, reach-room.used); n == 0 {
			break
		}
		v.shown.pieces = append(v.shown.pieces, begin)
		v.shown.size += n
	}
	err = errors.CombineErrors(err, closeHandle(section))
	if err != nil {
		err = &fs.PathError{Op: "map", Path: f.Name(), Err: err}
	}
	return min(size, v.shown.size), err
}

// store copies into the writable windows. There only flush finds the bytes: for the
// file system, they are in the memory of this process.
func (v *fileView) store(f *os.File, off int64, bufs [][]byte) error {
	v.keep()
	v.writable.Lock()
	defer v.writable.Unlock()
	begin, end := off, off
	for _, buf := range bufs {
		end += int64(len(buf))
	}
	for off < end {
		window, err := v.window(f, off, end)
		if err != nil {
			return err
		}
		to := window[off%storeWindow : min(int64(len(window)), off%storeWindow+end-off)]
		v.writable.stored = v.writable.stored.add(span{off, off + int64(len(to))})
		n, rest, err := copyOut(to, bufs)
		if err != nil {
			return errors.Wrapf(asNoSpace(&fs.PathError{Op: "store", Path: f.Name(), Err: err}),
				"[%d, %d)", begin, end)
		}
		off, bufs = off+int64(n), rest
	}
	return nil
}

// window returns the writable window around off, mapped so far that it shows what
// of [off, end) can be in it. A file that somebody has cut is an error.
func (v *fileView) window(f *os.File, off, end int64) ([]byte, error) {
	i := off / storeWindow
	begin := i * storeWindow
	window := v.writable.windows[i]
	if min(end, begin+storeWindow) <= begin+int64(len(window)) {
		return window, nil
	}
	full := len(v.writable.windows) >= windowsMost
	if window != nil || full {
		if err := v.push(f); err != nil {
			return nil, err
		}
		if err := v.closeWindows(func(j int64) bool { return j == i || full }); err != nil {
			return nil, err
		}
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	limit := min(info.Size(), begin+storeWindow)
	if limit < min(end, begin+storeWindow) {
		return nil, errors.Wrapf(ErrTruncated, "%s has %d bytes: cannot store [%d, %d)",
			f.Name(), info.Size(), off, end)
	}
	section, err := createSection(f, windows.PAGE_READWRITE, limit)
	if err != nil {
		return nil, err
	}
	addr, err := mapAnywhere(section, windows.FILE_MAP_WRITE, begin, limit-begin)
	if err != nil {
		err = &fs.PathError{Op: "MapViewOfFile", Path: f.Name(), Err: err}
		return nil, errors.CombineErrors(err, closeHandle(section))
	}
	window = memoryAt(addr, limit-begin)
	v.writable.windows[i] = window
	return window, closeHandle(section)
}

// handOver gives what was stored here to the file system.
func (v *fileView) handOver(f *os.File) error {
	v.writable.Lock()
	defer v.writable.Unlock()
	return v.push(f)
}

// flush brings what was stored here to the disk.
func (v *fileView) flush(f *os.File) error {
	if err := v.handOver(f); err != nil {
		return err
	}
	return flushAll(f)
}

// push hands what was stored over to the file system. Requires that writable is
// locked.
func (v *fileView) push(f *os.File) error {
	for _, s := range v.writable.stored {
		for i := s.begin / storeWindow; i*storeWindow < s.end; i++ {
			// Where spans have become one there may be no window.
			window := v.writable.windows[i]
			from, to := max(s.begin-i*storeWindow, 0), min(s.end-i*storeWindow, int64(len(window)))
			if from >= to {
				continue
			}
			if err := windows.FlushViewOfFile(addressOf(window[from:to]), uintptr(to-from)); err != nil {
				return asNoSpace(&fs.PathError{Op: "FlushViewOfFile", Path: f.Name(), Err: err})
			}
		}
	}
	v.writable.stored = v.writable.stored[:0]
	return nil
}

func (v *fileView) closeWindows(which func(i int64) bool) error {
	var err error
	for i, window := range v.writable.windows {
		if which(i) {
			delete(v.writable.windows, i)
			err = errors.CombineErrors(err, unmapShared(window))
		}
	}
	return err
}

// copyOut copies as much of bufs as goes into to, and returns the rest of them. A
// disk that cannot give the old content of a page is an error.
func copyOut(to []byte, bufs [][]byte) (n int, rest [][]byte, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recovered := recover(); recovered != nil {
			if _, ok := faultIn(to, recovered); !ok {
				panic(recovered)
			}
			err = ErrFault
		}
	}()
	for len(bufs) > 0 {
		copied := copy(to[n:], bufs[0])
		n += copied
		if copied < len(bufs[0]) {
			return n, append([][]byte{bufs[0][copied:]}, bufs[1:]...), nil
		}
		bufs = bufs[1:]
	}
	return n, nil, nil
}

// trim leaves a note for unmap: a mapped file cannot be cut.
func (v *fileView) trim(_ *os.File, size int64) error {
	v.cut.Lock()
	defer v.cut.Unlock()
	v.cut.wanted, v.cut.size = true, size
	return nil
}

// keep forgets a cut that is to be made later.
func (v *fileView) keep() {
	v.cut.Lock()
	defer v.cut.Unlock()
	v.cut.wanted = false
}

func (v *fileView) unmap(f *os.File) error {
	var err error
	for _, piece := range v.shown.pieces {
		err = errors.CombineErrors(err,
			os.NewSyscallError("UnmapViewOfFile", windows.UnmapViewOfFile(piece)))
	}
	v.shown.pieces = nil
	err = errors.CombineErrors(err, v.shown.room.release())
	err = errors.CombineErrors(err, v.closeWindows(func(int64) bool { return true }))
	if v.cut.wanted {
		// It fails if others have the file mapped. Then one of them may cut it.
		_ = f.Truncate(v.cut.size)
	}
	return err
}

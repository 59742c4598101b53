package mmapfile

import (
	"io/fs"
	"math"
	"os"
	"sync/atomic"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/unix"
)

const (
	defaultReserve int64 = 1 << 40
	pageSize             = 4096 // for rounding only
	vectorMax            = 1024 // buffers the kernel takes in one call

	// writeBehind is how many bytes may be stored before a Push until the system is told
	// to begin to write them. Else a large transaction that dies would leave as much to
	// the next flush as memory holds, and whoever opens the store waits for that.
	writeBehind = 4 << 20
)

// A fileView is one mapping of the whole reservation: the kernel lets it reach as
// far into the file as the file goes, so growth needs nothing.
type fileView struct {
	mem    []byte
	stored atomic.Int64 // bytes since the last Push, or since the system was told to write
}

// mapFile reserves address space and maps the file there. size is what it needs
// at least.
func mapFile(f *os.File, _ bool, size, reserve int64) (*fileView, error) {
	need := (size + pageSize - 1) &^ (pageSize - 1)
	if need > math.MaxInt {
		return nil, errors.Wrapf(ErrNoAddressSpace, "%s has %d bytes", f.Name(), size)
	}
	length := min(max(reserve&^(pageSize-1), need), math.MaxInt&^(pageSize-1))
	for {
		mem, err := unix.Mmap(int(f.Fd()), 0, int(length), unix.PROT_READ,
			unix.MAP_SHARED|unix.MAP_NORESERVE)
		if err == nil {
			// A core dump must not try to hold the reservation. Where the advice is
			// unknown, it does no harm that it is missing.
			_ = unix.Madvise(mem, unix.MADV_DONTDUMP)
			return &fileView{mem: mem}, nil
		}
		if err != unix.ENOMEM && err != unix.EOVERFLOW && err != unix.EAGAIN {
			return nil, &fs.PathError{Op: "mmap", Path: f.Name(), Err: err}
		}
		if length <= need {
			return nil, errors.Wrapf(ErrNoAddressSpace, "%s has %d bytes", f.Name(), size)
		}
		length = max(length/2&^(pageSize-1), need)
	}
}

// cover returns how many of the size bytes in the file the view can show.
func (v *fileView) cover(_ *os.File, size int64) (int64, error) {
	return min(size, int64(len(v.mem))), nil
}

// keep forgets a cut that is to be made later.
func (v *fileView) keep() {}

func (v *fileView) trim(f *os.File, size int64) error { return f.Truncate(size) }

func (v *fileView) unmap(f *os.File) error {
	if err := unix.Munmap(v.mem); err != nil {
		return &fs.PathError{Op: "munmap", Path: f.Name(), Err: err}
	}
	return nil
}

// store writes with as few calls as the kernel allows. The page cache it writes to
// is the memory that every view shows.
func (v *fileView) store(f *os.File, off int64, bufs [][]byte) error {
	pending := make([][]byte, 0, min(len(bufs), vectorMax))
	for len(bufs) > 0 || len(pending) > 0 {
		for len(bufs) > 0 && len(pending) < vectorMax {
			if len(bufs[0]) > 0 {
				pending = append(pending, bufs[0])
			}
			bufs = bufs[1:]
		}
		if len(pending) == 0 {
			break
		}
		var n int
		err := ignoringEINTR(func() (err error) {
			n, err = unix.Pwritev(int(f.Fd()), pending, off)
			return err
		})
		if err == nil && n == 0 {
			err = unix.EIO
		}
		if err != nil {
			return asNoSpace(&fs.PathError{Op: "pwritev", Path: f.Name(), Err: err})
		}
		off += int64(n)
		pending = pending[:copy(pending, unwritten(pending, n))]
		v.stored.Add(int64(n))
	}
	if v.stored.Load() >= writeBehind {
		v.stored.Store(0)
		// It neither waits nor looks for errors: the next flush tells of them.
		_ = unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	}
	return nil
}

// handOver has nothing to hand over: what was stored is in the page cache, which all
// share. When it is written is for the next flush to say.
func (v *fileView) handOver(*os.File) error {
	v.stored.Store(0)
	return nil
}

// flush brings the content of the file to the disk, whoever has stored it, and of
// the metadata what is needed to read it.
func (v *fileView) flush(f *os.File) error {
	err := ignoringEINTR(func() error { return unix.Fdatasync(int(f.Fd())) })
	if err != nil {
		return asNoSpace(&fs.PathError{Op: "fdatasync", Path: f.Name(), Err: err})
	}
	return nil
}

// unwritten returns what is left of bufs when the first n bytes are done.
func unwritten(bufs [][]byte, n int) [][]byte {
	for len(bufs) > 0 && n >= len(bufs[0]) {
		n -= len(bufs[0])
		bufs = bufs[1:]
	}
	if n > 0 {
		bufs[0] = bufs[0][n:]
	}
	return bufs
}

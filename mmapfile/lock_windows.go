package mmapfile

import (
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// tryLockBytes takes the bytes [off, off+n) of the file for this handle alone, or
// reports that another handle has some of them. The system frees them when the
// handle is gone.
func tryLockBytes(f *os.File, off, n int64) (bool, error) {
	at := windows.Overlapped{Offset: uint32(off), OffsetHigh: uint32(off >> 32)}
	err := windows.LockFileEx(windows.Handle(f.Fd()),
		windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY,
		0, uint32(n), uint32(n>>32), &at)
	switch err {
	case nil:
		return true, nil
	case windows.ERROR_LOCK_VIOLATION, windows.ERROR_IO_PENDING:
		return false, nil
	}
	return false, &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
}

// unlockBytes frees a range that tryLockBytes took as a whole.
func unlockBytes(f *os.File, off, n int64) {
	at := windows.Overlapped{Offset: uint32(off), OffsetHigh: uint32(off >> 32)}
	// It fails only if the lock or the handle is gone already.
	_ = windows.UnlockFileEx(windows.Handle(f.Fd()), 0, uint32(n), uint32(n>>32), &at)
}

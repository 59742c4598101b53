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
	return setLock(f, windows.LOCKFILE_EXCLUSIVE_LOCK, off, n)
}

// tryShareByte takes the byte at off unless another handle has it alone. The file
// may have been opened for reading only.
func tryShareByte(f *os.File, off int64) (bool, error) { return setLock(f, 0, off, 1) }

// anyLocked reports whether a handle has any of the bytes [off, off+n), alone or
// shared. It has them alone itself for a moment, and so does another that looks:
// the answer yes may be true for that long only.
func anyLocked(f *os.File, off, n int64) (bool, error) {
	free, err := tryLockBytes(f, off, n)
	if err == nil && free {
		unlockBytes(f, off, n)
	}
	return !free, err
}

func setLock(f *os.File, kind uint32, off, n int64) (bool, error) {
	at := windows.Overlapped{Offset: uint32(off), OffsetHigh: uint32(off >> 32)}
	err := windows.LockFileEx(windows.Handle(f.Fd()),
		kind|windows.LOCKFILE_FAIL_IMMEDIATELY,
		0, uint32(n), uint32(n>>32), &at)
	switch err {
	case nil:
		return true, nil
	case windows.ERROR_LOCK_VIOLATION, windows.ERROR_IO_PENDING:
		return false, nil
	}
	return false, &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
}

// unlockBytes frees a range that was taken as a whole.
func unlockBytes(f *os.File, off, n int64) {
	at := windows.Overlapped{Offset: uint32(off), OffsetHigh: uint32(off >> 32)}
	// It fails only if the lock or the handle is gone already.
	_ = windows.UnlockFileEx(windows.Handle(f.Fd()), 0, uint32(n), uint32(n>>32), &at)
}

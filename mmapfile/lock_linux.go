package mmapfile

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// tryLockBytes takes the bytes [off, off+n) of the file for this description
// alone, or reports that another description has some of them. The kernel frees
// them when the last reference to the description goes.
func tryLockBytes(f *os.File, off, n int64) (bool, error) {
	return setLock(f, unix.F_WRLCK, off, n)
}

// tryShareByte takes the byte at off unless another description has it alone. The
// file may have been opened for reading only.
func tryShareByte(f *os.File, off int64) (bool, error) {
	return setLock(f, unix.F_RDLCK, off, 1)
}

// anyLocked reports whether another description has any of the bytes [off, off+n),
// alone or shared.
func anyLocked(f *os.File, off, n int64) (bool, error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: off, Len: n}
	err := ignoringEINTR(func() error {
		return unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock)
	})
	if err != nil {
		return false, &fs.PathError{Op: "look for locks", Path: f.Name(), Err: err}
	}
	return lock.Type != unix.F_UNLCK, nil
}

func unlockBytes(f *os.File, off, n int64) {
	// There is no way to fail that would leave the lock: at worst the
	// description is gone, and the lock with it.
	_, _ = setLock(f, unix.F_UNLCK, off, n)
}

func setLock(f *os.File, kind int16, off, n int64) (bool, error) {
	lock := unix.Flock_t{Type: kind, Start: off, Len: n}
	err := ignoringEINTR(func() error {
		return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock)
	})
	switch err {
	case nil:
		return true, nil
	case unix.EAGAIN, unix.EACCES:
		return false, nil
	}
	return false, &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
}

package mmapfile

import (
	"io/fs"
	"os"
	"sync"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/unix"

	"github.com/sharekv/sharekv/internal/word"
)

// fillByte is the lock that a process holds while it fills the end of a file with
// zeros, on the file systems that cannot allocate.
const fillByte = 1<<41 + 1

// filling keeps the goroutines of this process apart there: a lock does not
// exclude others that come through the same description.
var filling sync.Mutex

func openFile(path string, readOnly, create bool, mode fs.FileMode) (f *os.File, created bool, err error) {
	flags := os.O_RDWR
	if readOnly {
		flags = os.O_RDONLY
	}
	// Others may create and remove the file meanwhile. A link to nowhere does not
	// exist, and yet is in the way, however often one tries.
	for range 100 {
		f, err = os.OpenFile(path, flags, 0)
		if !create || !errors.Is(err, fs.ErrNotExist) {
			return f, false, err
		}
		f, err = os.OpenFile(path, flags|os.O_CREATE|os.O_EXCL, defaultMode)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		return nil, false, err
	}
	if mode == 0 {
		mode = defaultMode
	}
	if err := setMode(f, mode); err != nil {
		err = errors.CombineErrors(err, f.Close())
		return nil, false, errors.CombineErrors(err, os.Remove(path))
	}
	return f, true, nil
}

func setMode(f *os.File, mode fs.FileMode) error { return f.Chmod(mode.Perm()) }

func fileID(f *os.File) (FileID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return FileID{}, &fs.PathError{Op: "fstat", Path: f.Name(), Err: err}
	}
	return FileID{Volume: uint64(st.Dev), File: st.Ino}, nil
}

// fileIDAt identifies what is at path, be it a link.
func fileIDAt(path string) (FileID, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return FileID{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return FileID{Volume: uint64(st.Dev), File: st.Ino}, nil
}

// allocate makes the file at least size bytes long, and gives what it adds space
// on the disk.
func allocate(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	now := info.Size()
	if size <= now {
		return nil
	}
	err = ignoringEINTR(func() error {
		return unix.Fallocate(int(f.Fd()), 0, now, size-now)
	})
	switch err {
	case nil:
		return nil
	case unix.EOPNOTSUPP, unix.ENOSYS:
		return fillZeros(f, size)
	}
	return asNoSpace(&fs.PathError{Op: "fallocate", Path: f.Name(), Err: err})
}

// allocateHoles makes the file at least size bytes long, and gives these bytes space
// on the disk, holes included. It reports false, having done nothing, where the file
// system can only do that by being written to.
func allocateHoles(f *os.File, size int64) (bool, error) {
	err := ignoringEINTR(func() error { return unix.Fallocate(int(f.Fd()), 0, 0, size) })
	switch err {
	case nil:
		return true, nil
	case unix.EOPNOTSUPP, unix.ENOSYS:
		return false, nil
	}
	return false, asNoSpace(&fs.PathError{Op: "fallocate", Path: f.Name(), Err: err})
}

// fillZeros writes zeros from the end of the file up to size. The lock keeps it
// from writing them over what another process has stored behind an end that moved
// meanwhile.
func fillZeros(f *os.File, size int64) error {
	filling.Lock()
	defer filling.Unlock()
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: fillByte, Len: 1}
	err := ignoringEINTR(func() error {
		return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLKW, &lock)
	})
	if err != nil {
		return &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
	}
	defer unlockBytes(f, fillByte, 1)
	info, err := f.Stat()
	if err != nil {
		return err
	}
	zeros := make([]byte, 1<<20)
	for now := info.Size(); now < size; {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-now)], now)
		if err != nil {
			return asNoSpace(err)
		}
		now += int64(n)
	}
	return nil
}

func isNoSpace(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG)
}

// flushAll brings the file and its metadata to the disk.
func flushAll(f *os.File) error { return asNoSpace(ignoringEINTR(f.Sync)) }

// renameNew renames without replacing what is at path.
func renameNew(sibling, path string) error {
	err := ignoringEINTR(func() error {
		return unix.Renameat2(unix.AT_FDCWD, sibling, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	})
	switch err {
	case nil:
		return nil
	case unix.EINVAL, unix.ENOSYS:
		if err := os.Link(sibling, path); err != nil {
			return err
		}
		return os.Remove(sibling)
	}
	return &os.LinkError{Op: "rename", Old: sibling, New: path, Err: err}
}

// syncDir makes the entries of a directory durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.CombineErrors(f.Sync(), f.Close())
}

func ignoringEINTR(call func() error) error {
	for {
		word.BeforeCall()
		err := call()
		word.AfterCall()
		if err != unix.EINTR {
			return err
		}
	}
}

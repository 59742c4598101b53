package mmapfile

import (
	"io/fs"
	"os"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/unix"

	"github.com/sharekv/sharekv/internal/word"
)

// openLockFile opens or creates the file of an area, for its maker only until
// adoptOwner has been called.
func openLockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, defaultMode)
	if errors.Is(err, unix.ELOOP) {
		return nil, errors.Wrapf(ErrUntrusted, "%s is a symbolic link", path)
	}
	return f, err
}

// adoptOwner gives a new lock file the owner, group and mode of the file at like,
// so that whoever may use the one may use the other, and nobody else. Without such
// a file it just sets the mode.
func adoptOwner(f *os.File, like string, mode fs.FileMode) error {
	if mode == 0 {
		mode = defaultMode
	}
	var model unix.Stat_t
	err := unix.ENOENT
	if like != "" {
		err, _ = unix.Stat(like, &model).(unix.Errno)
	}
	switch err {
	case unix.ENOENT:
		return setMode(f, mode)
	case 0:
	default:
		return &fs.PathError{Op: "stat", Path: like, Err: err}
	}
	mode = fs.FileMode(model.Mode).Perm() | 0o600
	// Only root can give a file away, and others only to a group of theirs. A
	// group that it cannot be given to must not get the rights of that group.
	fd := int(f.Fd())
	if unix.Fchown(fd, int(model.Uid), int(model.Gid)) != nil && unix.Fchown(fd, -1, int(model.Gid)) != nil {
		mode &^= 0o070
	}
	return setMode(f, mode)
}

func mapShared(f *os.File, size int) ([]byte, error) {
	mem, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err == unix.ENOMEM {
		return nil, errors.Wrapf(ErrNoAddressSpace, "%s: %d bytes", f.Name(), size)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "mmap", Path: f.Name(), Err: err}
	}
	return mem, nil
}

func unmapShared(mem []byte) error {
	if err := unix.Munmap(mem); err != nil {
		return os.NewSyscallError("munmap", err)
	}
	return nil
}

func (h *areaFile) newLock(a *Area, _ int, word *word.Uint32) memberLock {
	return &wordLock{area: a, word: word, sleep: futex{}}
}

func (h *areaFile) newBell(a *Area, _ int, word *word.Uint32) memberBell {
	return newWordBell(a, word, futex{})
}

package mmapfile

import (
	"io/fs"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/unix"
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

func (h *areaFile) newLock(a *Area, _ int, word *atomic.Uint32) memberLock {
	return &wordLock{area: a, word: word, sleep: futex{}}
}

// The futex calls, without the flag that would keep them inside one process.
const (
	futexWaitBitset = 9
	futexWakeBitset = 10
)

// futex is the sleeper of words in shared memory.
type futex struct{}

func (futex) wait(word *atomic.Uint32, v uint32, d time.Duration, mask uint32) wakeup {
	// The call wants to know when to end, and not how long to wait.
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return changed
	}
	end := unix.NsecToTimespec(now.Nano() + int64(d))
	// SAFETY: the kernel reads both only during the call.
	_, _, err := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWaitBitset,
		uintptr(v), uintptr(unsafe.Pointer(&end)), 0, uintptr(mask))
	switch err {
	case 0:
		return wokenUp
	case unix.ETIMEDOUT:
		return timedOut
	}
	return changed
}

func (futex) wake(word *atomic.Uint32, n int, mask uint32) int {
	// SAFETY: the kernel uses the address only.
	woken, _, err := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWakeBitset,
		uintptr(n), 0, 0, uintptr(mask))
	if err != 0 {
		return 0
	}
	return int(woken)
}

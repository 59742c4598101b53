package mmapfile

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sharekv/sharekv/internal/word"
)

// The futex calls, without the flag that would keep them inside one process.
const (
	futexWaitBitset = 9
	futexWakeBitset = 10
)

// futex is the sleeper of words in shared memory.
type futex struct{}

func (futex) wait(word *word.Uint32, v uint32, d time.Duration, mask uint32) wakeup {
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

func (futex) wake(word *word.Uint32, n int, mask uint32) int {
	// SAFETY: the kernel uses the address only.
	woken, _, err := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWakeBitset,
		uintptr(n), 0, 0, uintptr(mask))
	if err != 0 {
		return 0
	}
	return int(woken)
}

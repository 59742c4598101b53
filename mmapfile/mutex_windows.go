package mmapfile

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/windows"

	"github.com/sharekv/sharekv/internal/word"
)

// A kernelLock is a mutex of the kernel, found by the identity of the area's file.
// The word only says who holds it: it lets others be told of a death that the
// kernel has forgotten, because nobody else had the mutex open.
//
// The kernel gives a mutex to a thread. One thread takes and frees it for all
// goroutines; it exists from the first acquire to close.
type kernelLock struct {
	area   *Area
	word   *word.Uint32
	file   *os.File
	off    int
	thread *lockThread // nil before the first acquire; belongs to who has the turn
}

func (h *areaFile) newLock(a *Area, off int, word *word.Uint32) memberLock {
	return &kernelLock{area: a, word: word, file: h.file, off: off}
}

func (l *kernelLock) me() uint32 { return uint32(l.area.self) + 1 }

func (l *kernelLock) acquire(ctx context.Context) (abandoned bool, err error) {
	if l.thread == nil {
		if l.thread, err = l.startThread(); err != nil {
			return false, err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.area.life, func() { cancel(context.Cause(l.area.life)) })()
	l.thread.acquire <- ctx
	status := <-l.thread.status
	switch status.event {
	case windows.WAIT_OBJECT_0, windows.WAIT_ABANDONED:
		left := l.word.Swap(l.me())
		return left != 0 || status.event == windows.WAIT_ABANDONED, nil
	case windows.WAIT_OBJECT_0 + 1:
		return false, context.Cause(ctx)
	}
	return false, os.NewSyscallError("WaitForMultipleObjects", status.err)
}

func (l *kernelLock) try() (got, abandoned bool, err error) {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	abandoned, err = l.acquire(now)
	if errors.Is(err, context.Canceled) {
		return false, false, nil
	}
	return err == nil, abandoned, err
}

func (l *kernelLock) release() {
	l.word.Store(0)
	l.thread.release <- struct{}{}
	<-l.thread.status
}

func (l *kernelLock) disown() {
	for {
		v := l.word.Load()
		if v&wordOwner != l.me() || l.word.CompareAndSwap(v, v&^wordOwner|wordAbandoned) {
			return
		}
	}
}

// close ends the thread. A mutex that is held goes back to the kernel, but not
// from the word: so the next one to get it is told.
func (l *kernelLock) close() {
	if l.thread != nil {
		close(l.thread.acquire)
		<-l.thread.status
	}
}

// A lockThread is a thread that takes and frees one mutex.
type lockThread struct {
	mutex  windows.Handle
	cancel windows.Handle // an event that ends a wait

	acquire chan context.Context // closed to end the thread
	release chan struct{}
	status  chan waitStatus // one for each acquire and release, and when it has ended
}

// A waitStatus is what a wait for the mutex has returned.
type waitStatus struct {
	event uint32
	err   error
}

func (l *kernelLock) startThread() (*lockThread, error) {
	mutex, err := openMutex(l.file, l.off)
	if err != nil {
		return nil, err
	}
	cancel, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		err = os.NewSyscallError("CreateEvent", err)
		return nil, errors.CombineErrors(err, closeHandle(mutex))
	}
	t := &lockThread{
		mutex: mutex, cancel: cancel,
		acquire: make(chan context.Context), release: make(chan struct{}), status: make(chan waitStatus),
	}
	go t.run()
	return t, nil
}

func (t *lockThread) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	held := false
	for {
		select {
		case ctx, open := <-t.acquire:
			if !open {
				if held {
					_ = windows.ReleaseMutex(t.mutex) // fails only if it is not held
				}
				_ = windows.CloseHandle(t.mutex)
				_ = windows.CloseHandle(t.cancel)
				t.status <- waitStatus{}
				return
			}
			status := t.wait(ctx)
			held = status.event == windows.WAIT_OBJECT_0 || status.event == windows.WAIT_ABANDONED
			t.status <- status
		case <-t.release:
			held = false
			t.status <- waitStatus{err: windows.ReleaseMutex(t.mutex)}
		}
	}
}

func (t *lockThread) wait(ctx context.Context) waitStatus {
	event, err := windows.WaitForSingleObject(t.mutex, 0)
	if event != uint32(windows.WAIT_TIMEOUT) {
		return waitStatus{event, err}
	}
	signalled := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = windows.SetEvent(t.cancel) // fails only without the event
		close(signalled)
	})
	event, err = windows.WaitForMultipleObjects([]windows.Handle{t.mutex, t.cancel}, false, windows.INFINITE)
	if !stop() {
		<-signalled
		if e := windows.ResetEvent(t.cancel); err == nil {
			err = e
		}
	}
	return waitStatus{event, err}
}

// openMutex opens or creates the mutex at off in the area of a file.
func openMutex(f *os.File, off int) (windows.Handle, error) {
	attributes, err := ownAttributes()
	if err != nil {
		return 0, err
	}
	name, err := kernelName(f, off)
	if err != nil {
		return 0, err
	}
	name16, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return 0, err
	}
	const access = windows.SYNCHRONIZE | windows.MUTEX_MODIFY_STATE
	mutex, err := windows.CreateMutexEx(attributes, name16, 0, access)
	if mutex == 0 {
		return 0, &os.PathError{Op: "CreateMutexEx", Path: name, Err: err}
	}
	return mutex, nil
}

// kernelName returns what the object of the kernel is called that belongs to the
// line at off in the area of a file. All sessions know it by that.
func kernelName(f *os.File, off int) (string, error) {
	id, err := fileID(f)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`Global\sharekv-%x-%x-%x`, id.Volume, id.File, off), nil
}

// ownAttributes let an object be used by this user, by administrators and by the
// system.
func ownAttributes() (*windows.SecurityAttributes, error) {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return nil, os.NewSyscallError("GetTokenUser", err)
	}
	return securityAttributes(
		fmt.Sprintf("D:P(A;;GA;;;SY)(A;;GA;;;BA)(A;;GA;;;%s)", user.User.Sid))
}

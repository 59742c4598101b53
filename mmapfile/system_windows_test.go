package mmapfile_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/windows"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/mmapfile"
)

// mustOpenMutex opens a mutex of the kernel by its name, as any program may.
func mustOpenMutex(t *testing.T, name string, access uint32) windows.Handle {
	t.Helper()
	name16, err := windows.UTF16PtrFromString(name)
	if err != nil {
		t.Fatal(err)
	}
	mutex, err := windows.OpenMutex(access, false, name16)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	t.Cleanup(func() { windows.CloseHandle(mutex) })
	return mutex
}

func mustBeCalled(t *testing.T, a *mmapfile.Area, off int) string {
	t.Helper()
	name, err := a.KernelName(off)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// Whoever knows the name can wait for the mutex, and an owner that dies is reported by
// the kernel itself, whatever the words of the area say.
func TestMutexIsOneOfTheKernelThatHasAName(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	a := openArea(t, path)
	name := mustBeCalled(t, a, mutexAt)
	if !strings.HasPrefix(name, `Global\sharekv-`) || name == mustBeCalled(t, a, mutexAt+64) {
		t.Error("the name is ", name)
	}
	child := start(t, "member", path)
	child.mustHear("1 false")
	if answer := child.ask("lock"); answer != "locked" {
		t.Fatal(answer)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	mutex := mustOpenMutex(t, name, windows.SYNCHRONIZE|windows.MUTEX_MODIFY_STATE)
	mustGet := func(want uint32) {
		t.Helper()
		if event, err := windows.WaitForSingleObject(mutex, 0); event != want {
			t.Fatalf("%#x, want %#x: %v", event, want, err)
		}
	}
	mustGet(uint32(windows.WAIT_TIMEOUT))
	if answer := child.ask("unlock"); answer != "unlocked" {
		t.Fatal(answer)
	}
	mustGet(windows.WAIT_OBJECT_0)
	child.tell("lock")
	ctx, cancel := context.WithTimeout(background, 20*time.Millisecond)
	defer cancel()
	if err := a.Mutex(mutexAt).Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := windows.ReleaseMutex(mutex); err != nil {
		t.Fatal(err)
	}
	child.mustHear("locked")
	child.kill()
	mustGet(windows.WAIT_ABANDONED)
	if err := windows.ReleaseMutex(mutex); err != nil {
		t.Error(err)
	}
}

// The mutex belongs to the file, by whatever path it is opened.
func TestMutexIsNamedAfterTheFileAndNotItsPath(t *testing.T) {
	dir := testdir.New(t)
	a := openArea(t, filepath.Join(dir, "area"))
	upper := openArea(t, filepath.Join(strings.ToUpper(dir), "AREA"))
	other := openArea(t, filepath.Join(dir, "zone"))
	name := mustBeCalled(t, a, mutexAt)
	if mustBeCalled(t, upper, mutexAt) != name || mustBeCalled(t, other, mutexAt) == name {
		t.Error("names: ", name, mustBeCalled(t, upper, mutexAt), mustBeCalled(t, other, mutexAt))
	}
	if err := a.Mutex(mutexAt).Lock(background); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(background, 20*time.Millisecond)
	defer cancel()
	if err := upper.Mutex(mutexAt).Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := other.Mutex(mutexAt).Lock(soon(t)); err != nil {
		t.Error(err)
	}
	other.Mutex(mutexAt).Unlock()
	a.Mutex(mutexAt).Unlock()
}

// The mutex is for this user, the administrators and the system.
func TestMutexIsNotForEverybody(t *testing.T) {
	a := openArea(t, filepath.Join(testdir.New(t), "area"))
	if err := a.Mutex(mutexAt).Lock(background); err != nil {
		t.Fatal(err)
	}
	defer a.Mutex(mutexAt).Unlock()
	mutex := mustOpenMutex(t, mustBeCalled(t, a, mutexAt), windows.READ_CONTROL)
	descriptor, err := windows.GetSecurityInfo(mutex, windows.SE_KERNEL_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		t.Fatal(err)
	}
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		t.Fatal(err)
	}
	text := descriptor.String()
	entries := strings.Split(text, "(")
	if len(entries) != 4 || !strings.HasPrefix(text, "D:P") {
		t.Fatal(text)
	}
	for i, trustee := range []string{";SY)", ";BA)", ";" + user.User.Sid.String() + ")"} {
		if !strings.HasPrefix(entries[i+1], "A;") || !strings.HasSuffix(entries[i+1], trustee) {
			t.Errorf("entry %d of %s is not for %s", i, text, trustee)
		}
	}
}

// control calls what suspends or resumes a process.
func control(t *testing.T, p *process, call string) {
	t.Helper()
	err := p.Process.WithHandle(func(handle uintptr) {
		status, _, _ := windows.NewLazySystemDLL("ntdll.dll").NewProc(call).Call(handle)
		if status != 0 {
			t.Fatalf("%s: %#x", call, status)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSuspendedHolderIsNotRobbed(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	a := openArea(t, path)
	child := start(t, "member", path)
	child.mustHear("1 false")
	if answer := child.ask("lock"); answer != "locked" {
		t.Fatal(answer)
	}
	control(t, child, "NtSuspendProcess")
	if !a.Alive(1) {
		t.Error("a suspended process does not live")
	}
	if _, ok := a.Seize(1); ok {
		t.Error("seized a suspended process")
	}
	info, held := a.Mutex(mutexAt).Holder()
	if !held || info.PID != child.Process.Pid {
		t.Error("holder", info, held)
	}
	ctx, cancel := context.WithTimeout(background, 100*time.Millisecond)
	defer cancel()
	if err := a.Mutex(mutexAt).Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	control(t, child, "NtResumeProcess")
	if answer := child.ask("unlock"); answer != "unlocked" {
		t.Fatal(answer)
	}
	if err := a.Mutex(mutexAt).Lock(soon(t)); err != nil {
		t.Error(err)
	}
	a.Mutex(mutexAt).Unlock()
	child.finish()
}

// While it is suspended a process can still be killed, and then it is dead.
func TestSuspendedHolderThatIsKilledIsDead(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	a := openArea(t, path)
	child := start(t, "member", path)
	child.mustHear("1 false")
	if answer := child.ask("lock"); answer != "locked" {
		t.Fatal(answer)
	}
	control(t, child, "NtSuspendProcess")
	child.kill()
	if a.Alive(1) {
		t.Error("alive after being killed")
	}
	if err := a.Mutex(mutexAt).Lock(soon(t)); err != mmapfile.ErrAbandoned {
		t.Error(err)
	}
	a.Mutex(mutexAt).Unlock()
}

// The locks that prove life lie where nobody reads or writes: there they would keep
// others from it.
func TestLockFileCanBeReadWhileItsLocksAreHeld(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	a := openArea(t, path)
	openArea(t, path)
	if err := a.Mutex(mutexAt).Lock(background); err != nil {
		t.Fatal(err)
	}
	defer a.Mutex(mutexAt).Unlock()
	if _, err := os.ReadFile(path); err != nil {
		t.Error(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	all := &windows.Overlapped{}
	const immediately = windows.LOCKFILE_FAIL_IMMEDIATELY | windows.LOCKFILE_EXCLUSIVE_LOCK
	if err := windows.LockFileEx(windows.Handle(f.Fd()), immediately, 0, uint32(info.Size()), 0, all); err != nil {
		t.Error("something is locked inside the file: ", err)
	}
	behind := &windows.Overlapped{Offset: uint32(info.Size())}
	err = windows.LockFileEx(windows.Handle(f.Fd()), immediately, 0, 1<<32-1, 1<<31-2, behind)
	if err != windows.ERROR_LOCK_VIOLATION {
		t.Error("nothing is locked behind the file: ", err)
	}
}

// What is in use is neither removed nor renamed, nor cut.
func TestFileInUseStaysWhatItIs(t *testing.T) {
	path := filepath.Join(testdir.New(t), "file")
	m := create(t, path, 128*kib, nil)
	mustView(t, m, 128*kib)
	if err := os.Remove(path); !errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
		t.Error("removed: ", err)
	}
	if err := os.Rename(path, path+"-old"); !errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
		t.Error("renamed: ", err)
	}
	if err := os.Truncate(path, 64*kib); !errors.Is(err, windows.ERROR_USER_MAPPED_FILE) {
		t.Error("cut: ", err)
	}
	if size, err := m.Size(); err != nil || size != 128*kib {
		t.Error("size", size, err)
	}
}

// Push leaves nothing that another process could not flush.
func TestPushHandsOverWhatWasStored(t *testing.T) {
	m := create(t, filepath.Join(testdir.New(t), "file"), 64*kib, nil)
	if err := m.Store(100, [][]byte{[]byte("hello")}); err != nil {
		t.Fatal(err)
	}
	if len(m.Unpushed()) != 1 {
		t.Error(m.Unpushed())
	}
	if err := m.Push(); err != nil {
		t.Error(err)
	}
	if len(m.Unpushed()) != 0 {
		t.Error(m.Unpushed())
	}
}

// A window that has gone makes the hand-over to the file system fail. That is
// ErrFlush, and what was not handed over is not forgotten.
func TestFailedFlushIsErrFlushAndForgetsNothing(t *testing.T) {
	m := create(t, filepath.Join(testdir.New(t), "file"), 64*kib, nil)
	if err := m.Store(100, [][]byte{[]byte("hello")}); err != nil {
		t.Fatal(err)
	}
	window := m.Window(0)
	if err := windows.UnmapViewOfFile(mmapfile.AddressOf(window)); err != nil {
		t.Fatal(err)
	}
	for _, try := range []func() error{m.Flush, m.Push, m.Flush} {
		if err := try(); !errors.Is(err, mmapfile.ErrFlush) {
			t.Error(err)
		}
	}
	if list := m.Unpushed(); len(list) != 1 {
		t.Error(list)
	}
	if err := m.Close(); err == nil {
		t.Error("closed without a window")
	}
}

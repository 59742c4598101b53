package store_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sharekv/sharekv/internal/testdir"
)

// inPrivate runs the test once more, in a process with mounts and process ids of its
// own, and there returns a directory in memory. Everywhere else it returns "", and the
// test is over: it is skipped without thorough, and where disks cannot be mounted,
// which is a failure in CI.
//
// When that process ends, in whatever way, the system kills what it has started,
// unmounts what it has mounted, and detaches its loop devices.
func inPrivate(t *testing.T, thorough bool, programs ...string) (dir string) {
	t.Helper()
	if dir = os.Getenv("SHAREKV_PRIVATE"); dir != "" {
		mount(t, "proc", "/proc", "proc", "")
		mount(t, "sharekv-test", dir, "tmpfs", "size=3g")
		return dir
	}
	if !thorough {
		t.Skip("takes minutes and root: SHAREKV_TEST=ci runs it, or SHAREKV_TEST=soak for SHAREKV_SOAK=30m")
	}
	if os.Geteuid() != 0 {
		cannot(t, "mounting disks takes root")
	}
	for _, name := range append(programs, "/dev/loop-control") {
		if _, err := exec.LookPath(name); err != nil && filepath.Base(name) == name {
			cannot(t, "%v", err)
		}
		if _, err := os.Stat(name); err != nil && filepath.Base(name) != name {
			cannot(t, "%v", err)
		}
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-test.v", "-test.run=^" + t.Name() + "$"}
	if end, ok := t.Deadline(); ok {
		// The other one ends first, and says what it was doing.
		args = append(args, fmt.Sprint("-test.timeout=", time.Until(end)*9/10))
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), "SHAREKV_PRIVATE="+testdir.New(t))
	cmd.SysProcAttr = &unix.SysProcAttr{
		Cloneflags:   unix.CLONE_NEWPID,
		Unshareflags: unix.CLONE_NEWNS,
		Pdeathsig:    unix.SIGKILL,
	}
	// The signal comes when the thread ends that has started the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	t.Logf("in private:\n%s", out)
	if err != nil {
		t.Error(err)
	}
	return ""
}

// cannot skips the test, or fails it in CI and in a soak.
func cannot(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("SHAREKV_TEST") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

func mount(t testing.TB, source, dir, kind, options string) {
	t.Helper()
	if err := unix.Mount(source, dir, kind, 0, options); err != nil {
		t.Fatalf("mount %s (%s, %q) on %s: %v", source, kind, options, dir, err)
	}
}

// unmount unmounts what may be in use for a moment still, and removes the directory.
func unmount(t testing.TB, dir string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		err := unix.Unmount(dir, 0)
		if err == nil {
			break
		}
		if err != unix.EBUSY || time.Now().After(end) {
			t.Fatalf("unmount %s: %v", dir, err)
		}
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
}

// disk is a file that holds a file system.
type disk struct {
	path    string
	kind    string
	options string
}

// make creates the file, sparse, and the file system in it.
func (d *disk) make(t testing.TB, bytes int64, options ...string) {
	t.Helper()
	f, err := os.Create(d.path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(bytes); err != nil {
		t.Fatal(err)
	}
	run(t, "mkfs."+d.kind, append(append([]string{"-q"}, options...), d.path)...)
}

// mount mounts the disk on a fresh directory dir, through a loop device that is
// detached when it is unmounted.
func (d *disk) mount(t testing.TB, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	dev := d.attach(t)
	defer dev.Close()
	mount(t, dev.Name(), dir, d.kind, d.options)
}

func (d *disk) attach(t testing.TB) *os.File {
	t.Helper()
	f, err := os.OpenFile(d.path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	config := unix.LoopConfig{Fd: uint32(f.Fd())}
	config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
	for {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			t.Fatalf("free loop device: %v", err)
		}
		dev, err := os.OpenFile(fmt.Sprint("/dev/loop", n), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		err = unix.IoctlLoopConfigure(int(dev.Fd()), &config)
		if err == nil {
			return dev
		}
		dev.Close()
		if err != unix.EBUSY { // others take loop devices, too
			t.Fatalf("attach %s: %v", d.path, err)
		}
	}
}

// clone makes the file to hold what the disk holds at one moment.
func (d *disk) clone(t testing.TB, to string) *disk {
	t.Helper()
	src, err := os.Open(d.path)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	if err := unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())); err != nil {
		t.Fatalf("clone %s: %v", d.path, err)
	}
	return &disk{to, d.kind, d.options}
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, bytes.TrimSpace(out))
	}
}

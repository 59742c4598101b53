package mmapfile_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/unix"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/mmapfile"
)

func init() {
	roles["limited"] = limitedRole
}

// limitedRole sets the limits of the process to the numbers it is given, and then
// maps a file and makes it longer.
func limitedRole(args []string, _ *bufio.Scanner) error {
	var kind int
	var limit uint64
	var size int64
	if _, err := fmt.Sscan(args[1]+" "+args[2]+" "+args[3], &kind, &limit, &size); err != nil {
		return err
	}
	if err := unix.Setrlimit(kind, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
		return err
	}
	m, err := mmapfile.Create(args[0], 64*kib, nil)
	if err != nil {
		return err
	}
	err = m.Grow(size)
	now, sizeErr := m.Size()
	switch {
	case errors.Is(err, mmapfile.ErrNoSpace):
		fmt.Println("no space", now)
	case err == nil && sizeErr == nil:
		_, err = m.View(size)
		fmt.Println(now, errors.Is(err, mmapfile.ErrNoAddressSpace))
	}
	return m.Close()
}

func TestFullDiskIsAnErrorWhenTheFileGrows(t *testing.T) {
	path := filepath.Join(testdir.New(t), "file")
	child := start(t, "limited", path, fmt.Sprint(unix.RLIMIT_FSIZE), fmt.Sprint(1<<20), fmt.Sprint(2<<20))
	child.mustHear("no space 65536")
	child.finish()

	if !thorough() {
		return
	}
	dir := testdir.New(t)
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("no file system to fill: ", err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	m, err := mmapfile.Create(filepath.Join(dir, "file"), 64*kib, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Grow(2 << 20); !errors.Is(err, mmapfile.ErrNoSpace) {
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if _, err := mmapfile.Create(filepath.Join(dir, "other"), 2<<20, nil); !errors.Is(err, mmapfile.ErrNoSpace) {
		t.Error(err)
	}
	if err := mmapfile.NewFile(filepath.Join(dir, "new"), 0, make([]byte, 2<<20)); !errors.Is(err, mmapfile.ErrNoSpace) {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Error("left behind:", entries, err)
	}
	large := mmapfile.AreaOptions{Size: 2 << 20, Members: 1}
	if _, err := mmapfile.OpenArea(background, filepath.Join(dir, "area"), &large, nil); !errors.Is(err, mmapfile.ErrNoSpace) {
		t.Error(err)
	}
}

// A copy of a lock file may have holes where zeros were.
func TestAreaHasSpaceOnTheDisk(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	o := mmapfile.AreaOptions{Size: 256 << 10, Members: 16}
	for range 2 {
		a, err := mmapfile.OpenArea(background, path, &o, nil)
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil || st.Size < int64(o.Size) || st.Blocks*512 < st.Size {
			t.Errorf("%d bytes, %d blocks, %v", st.Size, st.Blocks, err)
		}
		if err := a.Close(nil); err != nil {
			t.Fatal(err)
		}
		if err := errors.CombineErrors(os.Truncate(path, 4096), os.Truncate(path, st.Size)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReservationFitsTheLimitsOfTheProcess(t *testing.T) {
	if math.MaxInt == math.MaxInt32 {
		t.Skip("the address space is the limit")
	}
	path := filepath.Join(testdir.New(t), "file")
	const size = 4 << 30 // more than the limit, and no matter for the disk: it is sparse
	if err := os.WriteFile(path, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	child := start(t, "limited", path, fmt.Sprint(unix.RLIMIT_AS), fmt.Sprint(int64(3<<30)), fmt.Sprint(1<<20))
	child.mustHear("1048576 false")
	child.finish()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	child = start(t, "limited", path, fmt.Sprint(unix.RLIMIT_AS), fmt.Sprint(int64(3<<30)), "1")
	if answer := child.hear(); !bytes.Contains([]byte(answer), []byte("no address space")) {
		t.Error(answer)
	}
}

func TestZerosAreWrittenWhereNothingCanBeAllocated(t *testing.T) {
	path := filepath.Join(testdir.New(t), "file")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 3<<20 + 5
	for range 2 {
		if err := mmapfile.FillZeros(f, size); err != nil {
			t.Fatal(err)
		}
	}
	want := append([]byte("content"), make([]byte, size-7)...)
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Error(len(got), err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Blocks*512 < size {
		t.Error("blocks", st.Blocks, err)
	}
}

func TestShortWriteIsContinuedWhereItEnded(t *testing.T) {
	const text = "abcdefghij"
	for n := range len(text) + 1 {
		bufs := [][]byte{[]byte(text[:3]), []byte(text[3:4]), []byte(text[4:])}
		rest := mmapfile.Unwritten(bufs, n)
		if got := string(bytes.Join(rest, nil)); got != text[n:] {
			t.Errorf("after %d: %q", n, got)
		}
	}
}

// The memory behind a view goes when the file is cut. That is an error and not the
// end of the process, and over when the file is as long as before.
func TestCutFileFaultsAsAnError(t *testing.T) {
	path := filepath.Join(testdir.New(t), "file")
	m := create(t, path, 1<<20, nil)
	view := mustView(t, m, 1<<20)
	if err := os.Truncate(path, 4096); err != nil {
		t.Fatal(err)
	}
	var read byte
	fault := recoverFault(func() { read = view[1<<19] })
	if err := m.Fault(fault); !errors.Is(err, mmapfile.ErrFault) {
		t.Error(read, err)
	}
	if err := m.Grow(1 << 20); err != nil {
		t.Error(err)
	}
	if fault := recoverFault(func() { read = view[1<<19] }); fault != nil {
		t.Error(fault)
	}

	path = filepath.Join(testdir.New(t), "area")
	area := openArea(t, path)
	word := area.Uint64(512)
	if err := area.Fault(fault); err != nil {
		t.Error("a fault of something else:", err)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	fault = recoverFault(func() { word.Load() })
	if err := area.Fault(fault); !errors.Is(err, mmapfile.ErrFault) {
		t.Error(fault, err)
	}
	if err := os.Truncate(path, 1<<20); err != nil {
		t.Fatal(err)
	}
}

func TestStoppedHolderIsNotRobbed(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	a := openArea(t, path)
	child := start(t, "member", path)
	child.mustHear("1 false")
	if answer := child.ask("lock"); answer != "locked" {
		t.Fatal(answer)
	}
	if err := child.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if !a.Alive(1) {
		t.Error("a stopped process does not live")
	}
	if _, ok := a.Seize(1); ok {
		t.Error("seized a stopped process")
	}
	ctx, cancel := context.WithTimeout(background, 300*time.Millisecond)
	defer cancel()
	if err := a.Mutex(mutexAt).Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if err := child.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if answer := child.ask("unlock"); answer != "unlocked" {
		t.Fatal(answer)
	}
	if err := a.Mutex(mutexAt).Lock(soon(t)); err != nil {
		t.Error(err)
	}
	a.Mutex(mutexAt).Unlock()
}

func TestFilesGetTheModeAskedForWhateverTheUmask(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	for _, mask := range []int{0, 0o077, 0o022} {
		unix.Umask(mask)
		for _, mode := range []fs.FileMode{0, 0o600, 0o640, 0o666} {
			want := mode
			if mode == 0 {
				want = 0o600
			}
			dir := testdir.New(t)
			create(t, filepath.Join(dir, "mapped"), 4096, &mmapfile.Options{Mode: mode})
			if err := mmapfile.NewFile(filepath.Join(dir, "new"), mode, []byte("x")); err != nil {
				t.Fatal(err)
			}
			o := testArea
			o.Mode = mode
			a, err := mmapfile.OpenArea(background, filepath.Join(dir, "area"), &o, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close(nil)
			o.Mode, o.Like = 0o666, filepath.Join(dir, "mapped")
			like, err := mmapfile.OpenArea(background, filepath.Join(dir, "like"), &o, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer like.Close(nil)
			for _, name := range []string{"mapped", "new", "area", "like"} {
				info, err := os.Stat(filepath.Join(dir, name))
				if err != nil || info.Mode() != want {
					t.Errorf("%s: %v, want %v, %v", name, info.Mode(), want, err)
				}
			}
		}
	}
}

func TestLockFileGoesToTheOwnerOfTheDataFile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := testdir.New(t)
	data := filepath.Join(dir, "data")
	if err := mmapfile.NewFile(data, 0o640, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(data, 65534, 65533); err != nil {
		t.Fatal(err)
	}
	o := testArea
	o.Like = data
	a, err := mmapfile.OpenArea(background, filepath.Join(dir, "area"), &o, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close(nil)
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "area"), &st); err != nil {
		t.Fatal(err)
	}
	if st.Uid != 65534 || st.Gid != 65533 || st.Mode&0o777 != 0o640 {
		t.Errorf("%d:%d %o", st.Uid, st.Gid, st.Mode)
	}
}

func TestLinksAreNotFollowed(t *testing.T) {
	dir := testdir.New(t)
	target := filepath.Join(dir, "target")
	if err := os.WriteFile(target, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if _, err := mmapfile.OpenArea(background, link, &testArea, nil); !errors.Is(err, mmapfile.ErrUntrusted) {
		t.Error(err)
	}
	if err := mmapfile.NewFile(link, 0, []byte("new")); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	if err := os.Symlink(target, filepath.Join(dir, "fresh-new")); err != nil {
		t.Fatal(err)
	}
	if err := mmapfile.NewFile(filepath.Join(dir, "fresh"), 0, []byte("new")); err != nil {
		t.Error(err)
	}
	nowhere := filepath.Join(dir, "nowhere")
	if err := os.Symlink(filepath.Join(dir, "missing"), nowhere); err != nil {
		t.Fatal(err)
	}
	if _, err := mmapfile.Create(nowhere, 4096, nil); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	if got, err := os.ReadFile(target); err != nil || string(got) != "precious" {
		t.Errorf("%q %v", got, err)
	}

	name := testName(t)
	m := create(t, target, 0, &mmapfile.Options{Name: name})
	file := filepath.Join("/dev/shm", fmt.Sprintf("sharekv-%d", os.Geteuid()), "Local."+name)
	if info, err := os.Lstat(file); err != nil || info.Mode() != 0o600 {
		t.Fatal(info, err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, file); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(file)
	if _, err := mmapfile.Open(name, nil); !errors.Is(err, mmapfile.ErrUntrusted) {
		t.Error(err)
	}
	if _, err := mmapfile.Create(target, 0, &mmapfile.Options{Name: name}); !errors.Is(err, mmapfile.ErrUntrusted) {
		t.Error(err)
	}
}

// A lock file that is removed and made anew is another area.
func TestAreaFollowsItsPath(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	a := openArea(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	b := openArea(t, path)
	if a.Self() != 0 || b.Self() != 0 {
		t.Error(a.Self(), b.Self())
	}
	if c := openArea(t, path); c.Self() != 1 {
		t.Error(c.Self())
	}
}

// A mapping that was opened by name must be of the file that has the name, and not
// of one that has come to its path since.
func TestNameOfReplacedFileLeadsNowhere(t *testing.T) {
	dir, name := testdir.New(t), testName(t)
	path := filepath.Join(dir, "file")
	create(t, path, 4096, &mmapfile.Options{Name: name})
	if err := os.Rename(path, path+"-old"); err != nil {
		t.Fatal(err)
	}
	if _, err := mmapfile.Open(name, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	create(t, path, 4096, nil)
	if _, err := mmapfile.Open(name, nil); !errors.Is(err, mmapfile.ErrNotExist) {
		t.Error(err)
	}
}

// The file may be replaced while somebody waits for its gate: what it then gets is
// the gate of a file that nobody will ever find again.
func TestGateOfRemovedFileIsNotEnough(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	joined := make(chan *mmapfile.Area)
	removed, err := mmapfile.OpenArea(background, path, &testArea, func(*mmapfile.Area, bool) error {
		go func() {
			a, err := mmapfile.OpenArea(background, path, &testArea, nil)
			if err != nil {
				t.Error(err)
			}
			joined <- a
		}()
		for openDescriptors(t, path) < 2 {
			time.Sleep(time.Millisecond)
		}
		return os.Remove(path)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer removed.Close(nil)
	a := <-joined
	defer a.Close(nil)
	if a.Self() != 0 {
		t.Errorf("joined the removed area as %d", a.Self())
	}
	if b := openArea(t, path); b.Self() != 1 {
		t.Error("the next one finds another area")
	}
}

// openDescriptors returns how often this process has the file open.
func openDescriptors(t *testing.T, path string) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, entry := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil && target == path {
			n++
		}
	}
	return n
}

package mmapfile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/windows"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/mmapfile"
)

// protect takes the memory at mem away for the length of a test, or makes it what
// else it is asked to be.
func protect(t *testing.T, mem []byte, as uint32) (restore func()) {
	t.Helper()
	var before uint32
	at, n := mmapfile.AddressOf(mem), uintptr(len(mem))
	if err := windows.VirtualProtect(at, n, as, &before); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := windows.VirtualProtect(at, n, before, &before); err != nil {
			t.Fatal(err)
		}
	}
}

// Memory that cannot be read any more is an error and not the end of the process,
// wherever it is met, and over when it can be read again.
func TestLostMemoryFaultsAsAnError(t *testing.T) {
	dir := testdir.New(t)
	m := create(t, filepath.Join(dir, "file"), 64*kib, nil)
	if err := m.Grow(256 * kib); err != nil {
		t.Fatal(err)
	}
	view := mustView(t, m, 256*kib)
	a := openArea(t, filepath.Join(dir, "area"))
	var read byte
	for _, at := range []int{5, 64*kib + 5, 256*kib - 1} {
		restore := protect(t, view[at&^4095:][:4096], windows.PAGE_NOACCESS)
		fault := recoverFault(func() { read = view[at] })
		err := m.Fault(fault)
		if !errors.Is(err, mmapfile.ErrFault) || !strings.Contains(err.Error(), "offset") {
			t.Errorf("at %d: %v from %v, read %d", at, err, fault, read)
		}
		if err := a.Fault(fault); err != nil {
			t.Error("a fault of something else: ", err)
		}
		restore()
		if fault := recoverFault(func() { read = view[at] }); fault != nil {
			t.Error(fault)
		}
	}

	word := a.Uint64(512)
	restore := protect(t, a.Memory(), windows.PAGE_NOACCESS)
	fault := recoverFault(func() { word.Load() })
	restore()
	if err := a.Fault(fault); !errors.Is(err, mmapfile.ErrFault) {
		t.Error(fault, err)
	}
	if err := m.Fault(fault); err != nil {
		t.Error("a fault of something else: ", err)
	}
}

func TestStoreInLostMemoryIsAnError(t *testing.T) {
	m := create(t, filepath.Join(testdir.New(t), "file"), 64*kib, nil)
	hello := [][]byte{[]byte("hel"), []byte("lo")}
	if err := m.Store(8190, hello); err != nil {
		t.Fatal(err)
	}
	restore := protect(t, m.Window(0)[8192:12288], windows.PAGE_READONLY)
	if err := m.Store(8190, hello); !errors.Is(err, mmapfile.ErrFault) {
		t.Error(err)
	}
	restore()
	if err := m.Store(8190, hello); err != nil {
		t.Error(err)
	}
	if view := mustView(t, m, 64*kib); string(view[8190:8195]) != "hello" {
		t.Errorf("%q", view[8190:8195])
	}
}

// The memory behind what is shown is never seen by a View, and a fault there, by
// somebody's stray pointer, is still told from other faults.
func TestReservedMemoryFaults(t *testing.T) {
	eachWay(t, func(t *testing.T, _ bool) {
		m := create(t, filepath.Join(testdir.New(t), "file"), 64*kib, nil)
		mustView(t, m, 64*kib)
		r := m.Reservation()
		behind := mmapfile.MemoryAt(r.Base()+uintptr(r.Used()), 1)
		var read byte
		fault := recoverFault(func() { read = behind[0] })
		if err := m.Fault(fault); !errors.Is(err, mmapfile.ErrFault) {
			t.Error(read, err)
		}
	})
}

// cut makes a file shorter although it is mapped. Windows does not let anybody do so,
// unless the file comes from another machine. Wine does not either, but Linux below
// it does, and Wine runs Linux programs.
func cut(t *testing.T, path string, size string) {
	t.Helper()
	if wineVersion(t) == 0 {
		t.Skip("Windows lets nobody cut a mapped file; only below Wine somebody can")
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	p, err := os.StartProcess(`Z:\usr\bin\truncate`, []string{"truncate", "-s", size, filepath.Base(path)},
		&os.ProcAttr{Dir: filepath.Dir(path), Files: []*os.File{null, null, os.Stderr}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	for ctx := soon(t); ; time.Sleep(time.Millisecond) { // Wine does not tell when it ends
		info, err := os.Stat(path)
		if err != nil || ctx.Err() != nil {
			t.Fatal("not cut: ", err)
		}
		if fmt.Sprint(info.Size()) == size {
			return
		}
	}
}

// The memory behind a view goes when the file is cut. To read it or to store there is
// an error and not the end of the process, and possible when the file is as long as
// before.
func TestCutFileIsAnErrorWhereverItIsUsed(t *testing.T) {
	eachWay(t, func(t *testing.T, _ bool) {
		dir := testdir.New(t)
		m := create(t, filepath.Join(dir, "file"), 1<<20, nil)
		view := mustView(t, m, 1<<20)
		hello := [][]byte{[]byte("hello")}
		cut(t, m.Path(), "65536")
		var read byte
		fault := recoverFault(func() { read = view[1<<19] })
		if err := m.Fault(fault); !errors.Is(err, mmapfile.ErrFault) {
			t.Error(read, err)
		}
		for _, off := range []int64{64*kib - 2, 64 * kib, 1 << 19} {
			if err := m.Store(off, hello); !errors.Is(err, mmapfile.ErrTruncated) {
				t.Errorf("store at %d: %v", off, err)
			}
		}
		if err := m.Store(100, hello); err != nil {
			t.Error(err)
		}
		if err := m.Grow(1 << 20); err != nil {
			t.Error(err)
		}
		if err := m.Store(1<<19, hello); err != nil {
			t.Error(err)
		}
		if string(view[1<<19:][:5]) != "hello" {
			t.Errorf("%q", view[1<<19:][:5])
		}

		// Now there is a window, and it is the window that faults.
		cut(t, m.Path(), "65536")
		if err := m.Store(1<<19, hello); !errors.Is(err, mmapfile.ErrFault) {
			t.Error(err)
		}
		if err := m.Grow(1 << 20); err != nil {
			t.Error(err)
		}

		a := openArea(t, filepath.Join(dir, "area"))
		word := a.Uint64(512)
		cut(t, filepath.Join(dir, "area"), "0")
		fault = recoverFault(func() { word.Load() })
		if err := a.Fault(fault); !errors.Is(err, mmapfile.ErrFault) {
			t.Error(fault, err)
		}
		cut(t, filepath.Join(dir, "area"), "1048576")
	})
}

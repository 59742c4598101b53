package mmapfile_test

import (
	"bytes"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/mmapfile"
)

const kib = 1 << 10

// create maps a file for the length of a test.
func create(t *testing.T, path string, size int64, o *mmapfile.Options) *mmapfile.Mapping {
	t.Helper()
	m, err := mmapfile.Create(path, size, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil && !errors.Is(err, mmapfile.ErrClosed) {
			t.Error(err)
		}
	})
	return m
}

func mustView(t *testing.T, m *mmapfile.Mapping, size int64) []byte {
	t.Helper()
	view, err := m.View(size)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(view)) != size || int64(cap(view)) != size {
		t.Fatalf("view of %d has length %d and capacity %d", size, len(view), cap(view))
	}
	return view
}

// What a second process stores in the file, also where it has made it longer,
// shows in the view of the first, whose base never moves.
func TestViewShowsGrowthAndStoresOfAnotherProcess(t *testing.T) {
	path := filepath.Join(testdir.New(t), "file")
	m := create(t, path, 64*kib, nil)
	view := mustView(t, m, 64*kib)
	other := start(t, "mapper", path)
	if answer := other.ask("store %d hello", 100); answer != "ok" {
		t.Fatal(answer)
	}
	if string(view[100:105]) != "hello" {
		t.Errorf("the view shows %q", view[100:105])
	}

	end := int64(64 * kib)
	for _, size := range []int64{65 * kib, 200 * kib, 3 << 20, 130 << 20} {
		if now, err := m.Size(); err != nil || now != end {
			t.Fatal(now, err)
		}
		if _, err := m.View(end + 1); !errors.Is(err, mmapfile.ErrTruncated) {
			t.Errorf("view behind the end: %v", err)
		}
		if answer := other.ask("grow %d", size); answer != "ok" {
			t.Fatal(answer)
		}
		if answer := other.ask("store %d there", size-5); answer != "ok" {
			t.Fatal(answer)
		}
		longer := mustView(t, m, size)
		if &longer[0] != &view[0] {
			t.Error("the base has moved")
		}
		if string(longer[size-5:]) != "there" || string(longer[100:105]) != "hello" {
			t.Errorf("the view shows %q and %q", longer[size-5:], longer[100:105])
		}
		var err error
		if end, err = m.Size(); err != nil || end < size {
			t.Fatal(end, err)
		}
		if err := m.Store(size-10, [][]byte{[]byte("HERE")}); err != nil {
			t.Fatal(err)
		}
		if answer := other.ask("view %d", size-10); answer != "H" {
			t.Errorf("the other process sees %q", answer)
		}
	}
	other.finish()
}

// Buffers of random lengths at random places end up where a plain slice has them,
// in the view and in the file.
func TestStoresEndUpWhereTheyBelong(t *testing.T) {
	const size = 1 << 20
	path := filepath.Join(testdir.New(t), "file")
	m := create(t, path, size, nil)
	want := make([]byte, size)
	random := rand.New(rand.NewPCG(1, 2))
	for _, lengths := range [][]int{{}, {0}, {1}, {5000}, {0, 3, 0, 4096, 0}, make([]int, 2000), make([]int, 5000)} {
		for round := range 3 {
			total := 0
			var bufs [][]byte
			for _, n := range lengths {
				if len(lengths) > 100 {
					n = random.IntN(150)
				}
				buf := bytes.Repeat([]byte{byte(random.IntN(255) + 1)}, n)
				bufs = append(bufs, buf)
				total += n
			}
			off := random.Int64N(int64(size - total + 1))
			if round == 0 {
				off = int64(size - total)
			}
			at := off
			kept := make([]int, len(bufs))
			for i, buf := range bufs {
				kept[i] = len(buf)
				at += int64(copy(want[at:], buf))
			}
			if err := m.Store(off, bufs); err != nil {
				t.Fatal(err)
			}
			for i, buf := range bufs {
				if len(buf) != kept[i] {
					t.Fatal("the caller's buffers were changed")
				}
			}
		}
	}
	if !bytes.Equal(mustView(t, m, size), want) {
		t.Error("the view differs")
	}
	if err := m.Flush(); err != nil {
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Error("the file differs", err)
	}
}

func TestStoreBehindTheEndIsRefused(t *testing.T) {
	m := create(t, filepath.Join(testdir.New(t), "file"), 64*kib, nil)
	for _, off := range []int64{-1, 64*kib - 3, 64 * kib, 1 << 40} {
		if err := m.Store(off, [][]byte{[]byte("ab"), []byte("cd")}); !errors.Is(err, mmapfile.ErrTruncated) {
			t.Errorf("store at %d: %v", off, err)
		}
	}
	if size, err := m.Size(); err != nil || size != 64*kib {
		t.Error("size", size, err)
	}
}

func TestStoreToViewFaults(t *testing.T) {
	m := create(t, filepath.Join(testdir.New(t), "file"), 64*kib, nil)
	view := mustView(t, m, 64*kib)
	fault := recoverFault(func() { view[1000] = 1 })
	if err := m.Fault(fault); !errors.Is(err, mmapfile.ErrFault) {
		t.Errorf("%v from %v", err, fault)
	}
	other := create(t, filepath.Join(testdir.New(t), "file"), 64*kib, nil)
	if err := other.Fault(fault); err != nil {
		t.Errorf("a fault of another mapping: %v", err)
	}
	var missing *int
	for _, recovered := range []any{nil, "text", errors.New("test"), recoverFault(func() { *missing = 1 })} {
		if err := m.Fault(recovered); err != nil {
			t.Errorf("%v became %v", recovered, err)
		}
	}
}

func recoverFault(access func()) (recovered any) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { recovered = recover() }()
	access()
	return nil
}

func TestEmptyFileIsAnErrorAndLeavesNoFile(t *testing.T) {
	dir := testdir.New(t)
	path := filepath.Join(dir, "file")
	if _, err := mmapfile.Create(path, 0, nil); !errors.Is(err, mmapfile.ErrEmpty) {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a file was left behind:", err)
	}
	for _, o := range []*mmapfile.Options{{MustExist: true}, {ReadOnly: true}} {
		for _, size := range []int64{0, 4096} {
			if _, err := mmapfile.Create(path, size, o); !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
		}
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range []*mmapfile.Options{nil, {MustExist: true}, {ReadOnly: true}} {
		if _, err := mmapfile.Create(path, 0, o); !errors.Is(err, mmapfile.ErrEmpty) {
			t.Error(err)
		}
	}
	if _, err := mmapfile.Create(dir, 4096, nil); err == nil {
		t.Error("mapped a directory")
	}
	if _, err := mmapfile.Create(filepath.Join(dir, "missing", "file"), 4096, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestReadOnlyMappingChangesNothing(t *testing.T) {
	path := filepath.Join(testdir.New(t), "file")
	content := bytes.Repeat([]byte("content "), 1000)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	m := create(t, path, 0, &mmapfile.Options{ReadOnly: true})
	if view := mustView(t, m, int64(len(content))); !bytes.Equal(view, content) {
		t.Error("the view differs")
	}
	for _, err := range []error{m.Store(0, [][]byte{{1}}), m.Flush(), m.Grow(1 << 20), m.Trim(1)} {
		if !errors.Is(err, mmapfile.ErrReadOnly) {
			t.Error(err)
		}
	}
	if _, err := m.View(int64(len(content)) + 1); !errors.Is(err, mmapfile.ErrTruncated) {
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
		t.Error("the file was changed", err)
	}
	if _, err := mmapfile.Create(path, 1<<20, &mmapfile.Options{ReadOnly: true}); !errors.Is(err, mmapfile.ErrTruncated) {
		t.Error(err)
	}
}

func TestSmallReservationEndsGrowthWithAnError(t *testing.T) {
	const reserve = 1 << 20
	m := create(t, filepath.Join(testdir.New(t), "file"), 64*kib, &mmapfile.Options{Reserve: reserve})
	if err := m.Grow(2 * reserve); err != nil {
		t.Fatal(err)
	}
	mustView(t, m, reserve)
	if _, err := m.View(reserve + 1); !errors.Is(err, mmapfile.ErrNoAddressSpace) {
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	again := create(t, m.Path(), 0, &mmapfile.Options{Reserve: 1})
	mustView(t, again, 2*reserve)
}

func TestTrimCutsTheFileAtTheLatestWhenItIsClosed(t *testing.T) {
	path := filepath.Join(testdir.New(t), "file")
	m := create(t, path, 1<<20, nil)
	mustView(t, m, 1<<20)
	if err := m.Trim(2 << 20); err != nil {
		t.Error(err)
	}
	if size, err := m.Size(); err != nil || size != 1<<20 {
		t.Error("size", size, err)
	}
	if err := m.Trim(128 * kib); err != nil {
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 128*kib {
		t.Error(info, err)
	}

	m = create(t, path, 1<<20, nil)
	if err := m.Trim(128 * kib); err != nil {
		t.Error(err)
	}
	if err := m.Grow(512 * kib); err != nil {
		t.Error(err)
	}
	mustView(t, m, 512*kib)
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() < 512*kib {
		t.Error("cut below what was grown since", info, err)
	}
}

func TestFileHasOneIdentityUnderAllItsNames(t *testing.T) {
	dir := testdir.New(t)
	m := create(t, filepath.Join(dir, "file"), 4096, nil)
	same := create(t, filepath.Join(dir, ".", "x", "..", "file"), 0, nil)
	other := create(t, filepath.Join(dir, "other"), 4096, nil)
	if m.ID() != same.ID() || m.ID() == other.ID() || m.ID() == (mmapfile.FileID{}) {
		t.Error(m.ID(), same.ID(), other.ID())
	}
	if m.Path() != same.Path() || !filepath.IsAbs(m.Path()) {
		t.Error(m.Path(), same.Path())
	}
}

func TestUseAfterCloseIsAnError(t *testing.T) {
	m := create(t, filepath.Join(testdir.New(t), "file"), 64*kib, nil)
	mustView(t, m, 10)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	_, viewErr := m.View(10)
	_, noViewErr := m.View(0)
	_, sizeErr := m.Size()
	for _, err := range []error{
		viewErr, noViewErr, sizeErr, m.Close(), m.Flush(), m.Grow(1), m.Trim(1), m.Store(0, nil),
	} {
		if !errors.Is(err, mmapfile.ErrClosed) {
			t.Error(err)
		}
	}
}

func TestNewFileAppearsWholeAndReplacesNothing(t *testing.T) {
	dir := testdir.New(t)
	path := filepath.Join(dir, "file")
	// What a dead creator has left does not matter.
	if err := os.WriteFile(path+"-new", []byte("half of an old file, and longer than the new one"), 0o600); err != nil {
		t.Fatal(err)
	}
	content := []byte("the content")
	if err := mmapfile.NewFile(path, 0, content); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%q %v", got, err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Error("left behind:", entries, err)
		}
		if err := mmapfile.NewFile(path, 0, []byte("other")); !errors.Is(err, fs.ErrExist) {
			t.Error(err)
		}
	}
	if err := mmapfile.NewFile(filepath.Join(dir, "missing", "file"), 0, content); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

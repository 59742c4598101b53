package mmapfile_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/windows"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/mmapfile"
)

// wineVersion returns the major version of the Wine that this process runs under,
// or 0 on Windows.
func wineVersion(t testing.TB) int {
	t.Helper()
	proc := windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version")
	if proc.Find() != nil {
		return 0
	}
	addr, _, _ := proc.Call()
	text := windows.BytePtrToString(&mmapfile.MemoryAt(addr, 1)[0])
	digits, _, _ := strings.Cut(text, ".")
	major, err := strconv.Atoi(digits)
	if err != nil || major == 0 {
		t.Fatalf("Wine calls its version %q", text)
	}
	return major
}

// differences are where Wine is known to do something else than Microsoft documents.
// The code stands on neither; tests do what Wine can.
var differences = []struct {
	documented string // what Windows does
	wine       string // what Wine does instead
	last       int    // the last version of Wine in which that was seen
	asWritten  func(t *testing.T) bool
}{
	{
		"Windows has placeholders since 10 1803",
		"Wine 8 has the call and refuses the flag",
		8, havePlaceholders,
	},
	{
		"DeleteFile and its newer ways remove a file",
		"Wine 8 does not know the way of os.RemoveAll",
		8, removesAll,
	},
	{
		"ReadFile fails where another handle has a byte locked",
		"Wine lets everybody read",
		10, locksAreMandatory,
	},
	{
		"a symbolic link to nothing can be made and seen",
		"Wine makes one that it cannot see",
		10, linksToNothing,
	},
}

// Each subtest says in its name what Windows is documented to do and what Wine does.
// It fails where that is not what happens: then the list is out of date, and tests
// may be able to do more.
func TestWineDiffersFromWindowsInTheseWays(t *testing.T) {
	version := wineVersion(t)
	t.Log("Wine ", version)
	for _, d := range differences {
		t.Run(d.documented+"; "+d.wine, func(t *testing.T) {
			want := version == 0 || version > d.last
			if got := d.asWritten(t); got != want {
				t.Errorf("as documented: %v, want %v in Wine %d (0: Windows)", got, want, version)
			}
		})
	}
}

func havePlaceholders(t *testing.T) bool {
	r, ok := mmapfile.Reserve(0, 1<<20, true)
	if !ok {
		t.Fatal("no address space")
	}
	defer r.Release()
	return r.InPlaceholder()
}

func removesAll(t *testing.T) bool {
	dir := filepath.Join(testdir.New(t), "dir")
	if err := os.MkdirAll(filepath.Join(dir, "inner"), 0o700); err != nil {
		t.Fatal(err)
	}
	err := os.RemoveAll(dir)
	t.Log(err)
	return err == nil
}

func locksAreMandatory(t *testing.T) bool {
	path := filepath.Join(testdir.New(t), "file")
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK, 0, 1, 0, new(windows.Overlapped))
	if err != nil {
		t.Fatal(err)
	}
	_, err = os.ReadFile(path)
	t.Log(err)
	return err != nil
}

func linksToNothing(t *testing.T) bool {
	link := filepath.Join(testdir.New(t), "link")
	err := os.Symlink(link+" leads here", link)
	if err == windows.ERROR_PRIVILEGE_NOT_HELD {
		t.Skip("Windows lets only developers and administrators make symbolic links")
	}
	if err == nil {
		_, err = os.Lstat(link)
	}
	t.Log(err)
	return err == nil
}

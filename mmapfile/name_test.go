package mmapfile_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/mmapfile"
)

// testName returns a name that nobody else uses.
func testName(t *testing.T) string {
	return fmt.Sprintf("sharekv test %s %d", t.Name(), os.Getpid())
}

func TestNamedMappingCanBeOpenedWhileSomebodyHoldsIt(t *testing.T) {
	name := testName(t)
	path := filepath.Join(testdir.New(t), "file")
	if _, err := mmapfile.Open(name, nil); !errors.Is(err, mmapfile.ErrNotExist) || !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	m := create(t, path, 64*kib, &mmapfile.Options{Name: name})
	if err := m.Store(0, [][]byte{[]byte("hello")}); err != nil {
		t.Fatal(err)
	}
	other := start(t, "opener", `Local\`+name)
	other.mustHear("hello")
	other.finish()

	second, err := mmapfile.Open("Local/"+name, &mmapfile.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if second.ID() != m.ID() || second.Path() != m.Path() {
		t.Error(second.ID(), second.Path())
	}
	if err := second.Store(0, nil); !errors.Is(err, mmapfile.ErrReadOnly) {
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	third, err := mmapfile.Open(name, nil) // second still holds it
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*mmapfile.Mapping{second, third} {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := mmapfile.Open(name, nil); !errors.Is(err, mmapfile.ErrNotExist) {
		t.Error(err)
	}
}

func TestNameGoesWithTheProcessThatIsKilled(t *testing.T) {
	name := testName(t)
	path := filepath.Join(testdir.New(t), "file")
	for range 2 {
		child := start(t, "namer", path, name)
		child.mustHear("ok")
		m, err := mmapfile.Open(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		child.kill()
		if _, err := mmapfile.Open(name, nil); !errors.Is(err, mmapfile.ErrNotExist) {
			t.Error(err)
		}
	}
	create(t, path, 0, &mmapfile.Options{Name: name})
}

func TestNameStandsForOneFile(t *testing.T) {
	dir, name := testdir.New(t), testName(t)
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	create(t, a, 4096, &mmapfile.Options{Name: name})
	same := create(t, a, 0, &mmapfile.Options{Name: name})
	if err := same.Close(); err != nil {
		t.Error(err)
	}
	_, err := mmapfile.Create(b, 4096, &mmapfile.Options{Name: name})
	if !errors.Is(err, mmapfile.ErrWrongKind) || !strings.Contains(err.Error(), a) {
		t.Error(err)
	}
	if _, err := os.Stat(b); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a file was left behind:", err)
	}
	global := create(t, b, 4096, &mmapfile.Options{Name: `Global\` + name})
	found, err := mmapfile.Open("Global/"+name, nil)
	if err != nil {
		t.Fatal(err)
	}
	if found.ID() != global.ID() {
		t.Error("Global and Local are mixed up")
	}
	if err := found.Close(); err != nil {
		t.Error(err)
	}
}

func TestBadNamesAreRefused(t *testing.T) {
	dir := testdir.New(t)
	for _, name := range []string{
		`Local\`, "Global/", `a\b`, "a/b", "/a", `Local\a/b`, "..", "a..b", ".", "a\x00b", "\xff",
		strings.Repeat("x", 201), `Global\Local\x`,
	} {
		if _, err := mmapfile.Create(filepath.Join(dir, "file"), 4096, &mmapfile.Options{Name: name}); !errors.Is(err, mmapfile.ErrName) {
			t.Errorf("create %q: %v", name, err)
		}
		if _, err := mmapfile.Open(name, nil); !errors.Is(err, mmapfile.ErrName) {
			t.Errorf("open %q: %v", name, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Error("left behind:", entries, err)
	}
	if _, err := mmapfile.Open("", nil); !errors.Is(err, mmapfile.ErrName) {
		t.Error(err)
	}
	longest := strings.Repeat("x", 190) + fmt.Sprintf("%010d", os.Getpid())
	create(t, filepath.Join(dir, "file"), 4096, &mmapfile.Options{Name: `Global\` + longest})
}

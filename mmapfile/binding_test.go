package mmapfile_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/mmapfile"
)

// A user is what uses a data file with an area, as a store does.
type user struct {
	area *mmapfile.Area
	data *mmapfile.Mapping
}

// use opens the area at lock, and the file at path under its gate.
func use(lock, path string, o *mmapfile.Options) (u user, err error) {
	u.area, err = mmapfile.OpenArea(background, lock, &testArea, func(a *mmapfile.Area, _ bool) error {
		m, err := mmapfile.Create(path, 4096, o)
		if err != nil {
			return err
		}
		if err := m.Bind(a.Nonce()); err != nil {
			return errors.CombineErrors(err, m.Close())
		}
		u.data = m
		return nil
	})
	return u, err
}

func (u user) close() error {
	return errors.CombineErrors(u.data.Close(), u.area.Close(nil))
}

func mustUse(t *testing.T, lock, path string, o *mmapfile.Options) user {
	t.Helper()
	u, err := use(lock, path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := u.close(); err != nil && !errors.Is(err, mmapfile.ErrClosed) {
			t.Error(err)
		}
	})
	return u
}

func mustSplit(t *testing.T, lock, path string, o *mmapfile.Options) {
	t.Helper()
	u, err := use(lock, path, o)
	if err == nil {
		err = u.close()
	}
	if !errors.Is(err, mmapfile.ErrSplit) || len(errors.GetAllHints(err)) == 0 {
		t.Errorf("not split: %v", err)
	}
}

// binderRole uses a file with an area until its input ends.
func binderRole(args []string, commands *bufio.Scanner) error {
	u, err := use(args[0], args[1], nil)
	if err != nil {
		return err
	}
	fmt.Println("bound")
	commands.Scan()
	return u.close()
}

// rebinderRole binds a file again and again for so many milliseconds. No gate keeps
// it from doing so while others do.
func rebinderRole(args []string, _ *bufio.Scanner) error {
	ms, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	rounds := 0
	for begin := time.Now(); time.Since(begin) < time.Duration(ms)*time.Millisecond; rounds++ {
		m, err := mmapfile.Create(args[0], 4096, nil)
		if err != nil {
			return err
		}
		if err := m.Bind(1 << 20); err != nil {
			return err
		}
		if err := m.Close(); err != nil {
			return err
		}
	}
	fmt.Println("bound", rounds)
	return nil
}

func TestNonceIsOfTheAreaAndItsMembers(t *testing.T) {
	heap := mmapfile.NewHeapArea(&testArea)
	path := filepath.Join(testdir.New(t), "area")
	for name, open := range map[string]func() (*mmapfile.Area, error){
		"file": func() (*mmapfile.Area, error) { return mmapfile.OpenArea(background, path, &testArea, nil) },
		"heap": func() (*mmapfile.Area, error) { return heap.Open(nil) },
	} {
		seen := map[uint64]bool{}
		for range 3 {
			a, err := open()
			if err != nil {
				t.Fatal(err)
			}
			b, err := open()
			if err != nil {
				t.Fatal(err)
			}
			if n := a.Nonce(); n == 0 || n >= 1<<40 || n != b.Nonce() || seen[n] {
				t.Errorf("%s: nonces %#x and %#x", name, n, b.Nonce())
			}
			seen[a.Nonce()] = true
			if err := errors.CombineErrors(a.Close(nil), b.Close(nil)); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestFileIsBoundToOneNonceAtATime(t *testing.T) {
	const least, most = 1, 1<<40 - 1
	for _, nonce := range []uint64{least, least + 1, 1 << 39, most - 1, most} {
		t.Run(fmt.Sprintf("%#x", nonce), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(testdir.New(t), "data")
			holder, other := create(t, path, 4096, nil), create(t, path, 4096, nil)
			for range 2 {
				if err := holder.Bind(nonce); err != nil {
					t.Fatal(err)
				}
			}
			mate := create(t, path, 0, &mmapfile.Options{ReadOnly: true})
			if err := mate.Bind(nonce); err != nil {
				t.Error("twice:", err)
			}
			if err := holder.Bind(nonce%most + 1); !errors.Is(err, mmapfile.ErrSplit) {
				t.Error("two of one mapping:", err)
			}
			if err := other.Bind(nonce%most + 1); !errors.Is(err, mmapfile.ErrSplit) {
				t.Error("another:", err)
			}
			if err := holder.Close(); err != nil {
				t.Fatal(err)
			}
			if err := other.Bind((nonce+most-2)%most + 1); !errors.Is(err, mmapfile.ErrSplit) {
				t.Error("another, beside one that is read-only:", err)
			}
			if err := mate.Close(); err != nil {
				t.Fatal(err)
			}
			if err := other.Bind(nonce%most + 1); err != nil {
				t.Error("after all have left:", err)
			}
		})
	}
}

func TestBindRefusesWhatIsNoNonceAndWhatIsClosed(t *testing.T) {
	m := create(t, filepath.Join(testdir.New(t), "data"), 4096, nil)
	for _, nonce := range []uint64{0, 1 << 40, 1 << 63} {
		if err := m.Bind(nonce); err == nil || errors.Is(err, mmapfile.ErrSplit) {
			t.Errorf("nonce %#x: %v", nonce, err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Bind(1); !errors.Is(err, mmapfile.ErrClosed) {
		t.Error(err)
	}
}

func TestLockFileMayNotBeReplacedWhileAMemberLives(t *testing.T) {
	t.Parallel()
	dir := testdir.New(t)
	lock, data := filepath.Join(dir, "lock"), filepath.Join(dir, "data")
	child := start(t, "binder", lock, data)
	child.mustHear("bound")
	for _, o := range []*mmapfile.Options{nil, {ReadOnly: true}} {
		if u, err := use(lock, data, o); err != nil {
			t.Error(err)
		} else if err := u.close(); err != nil {
			t.Error(err)
		}
	}
	// Not every system lets a lock file go that is open: then another stands for
	// the one that would be made anew.
	other := lock
	if err := os.Remove(lock); err != nil {
		t.Log(err)
		other = filepath.Join(dir, "other")
	}
	mustSplit(t, other, data, nil)
	mustSplit(t, other, data, &mmapfile.Options{ReadOnly: true})
	child.kill()
	mustUse(t, other, data, nil)
	child = start(t, "binder", filepath.Join(dir, "third"), data)
	if answer := child.hear(); !strings.Contains(answer, "another lock file") {
		t.Error(answer)
	}
}

func TestHardLinkElsewhereIsNoSecondFile(t *testing.T) {
	t.Parallel()
	here, there := testdir.New(t), testdir.New(t)
	data := filepath.Join(here, "data")
	u := mustUse(t, filepath.Join(here, "lock"), data, nil)
	link := filepath.Join(there, "data")
	if err := os.Link(data, link); err != nil {
		t.Skip("no hard links: ", err)
	}
	mustSplit(t, filepath.Join(there, "lock"), link, nil)
	if err := u.close(); err != nil {
		t.Error(err)
	}
	mustUse(t, filepath.Join(there, "lock"), link, nil)
	mustSplit(t, filepath.Join(here, "lock"), data, nil)
}

func TestKilledProcessIsBoundNoMore(t *testing.T) {
	dir := testdir.New(t)
	lock, data := filepath.Join(dir, "lock"), filepath.Join(dir, "data")
	for range 5 {
		// Each finds no live member, and so makes a new area.
		child := start(t, "binder", lock, data)
		child.mustHear("bound")
		child.kill()
	}
	mustUse(t, lock, data, nil)
}

func TestProcessesThatComeAndGoAreNotMistakenForASplit(t *testing.T) {
	data := filepath.Join(testdir.New(t), "data")
	ms := "1000"
	if thorough() {
		ms = "5000"
	}
	var children []*process
	for range 8 {
		children = append(children, start(t, "rebinder", data, ms))
	}
	for _, child := range children {
		answer := child.hear()
		if !strings.HasPrefix(answer, "bound ") || answer == "bound 0" {
			t.Error(answer)
		}
		t.Log(answer)
		child.finish()
	}
}

func TestOneOfTwoAreasWinsTheFile(t *testing.T) {
	t.Parallel()
	dir := testdir.New(t)
	data := filepath.Join(dir, "data")
	var children []*process
	for i := range 4 {
		children = append(children, start(t, "binder", filepath.Join(dir, fmt.Sprint("lock", i)), data))
	}
	bound := 0
	for _, child := range children {
		switch answer := child.hear(); {
		case answer == "bound":
			bound++
		case !strings.Contains(answer, "another lock file"):
			t.Error(answer)
		}
	}
	if bound != 1 {
		t.Errorf("%d are bound", bound)
	}
}

package mmapfile_test

import (
	"context"
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/mmapfile"
)

func TestFirstMemberFindsZerosAndOthersFindItsWords(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	for round := range 2 {
		firsts := 0
		open := func() *mmapfile.Area {
			a, err := mmapfile.OpenArea(background, path, &testArea, func(a *mmapfile.Area, first bool) error {
				word := a.Uint64(testArea.Size - 8)
				if first {
					firsts++
					for off := 0; off < testArea.Size; off += 8 {
						if v := a.Uint64(off).Load(); v != 0 {
							t.Errorf("round %d: word at %d is %d", round, off, v)
						}
					}
					word.Store(7)
				} else if word.Load() != 7 {
					t.Errorf("round %d: a joiner sees %d", round, word.Load())
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		a, b := open(), open()
		if a.Self() != 0 || b.Self() != 1 {
			t.Errorf("numbers %d and %d", a.Self(), b.Self())
		}
		lasts := 0
		last := func() error { lasts++; return nil }
		if err := a.Close(last); err != nil {
			t.Error(err)
		}
		if lasts != 0 {
			t.Error("the first to leave was last")
		}
		c := open()
		if c.Self() != 0 {
			t.Errorf("the free number is 0, not %d", c.Self())
		}
		if err := b.Close(last); err != nil || lasts != 0 {
			t.Error(err, lasts)
		}
		if err := c.Close(last); err != nil || lasts != 1 {
			t.Error(err, lasts)
		}
		if firsts != 1 {
			t.Errorf("round %d: %d first members", round, firsts)
		}
		if err := c.Close(last); !errors.Is(err, mmapfile.ErrClosed) || lasts != 1 {
			t.Error("second close:", err, lasts)
		}
	}
}

func TestErrorOfLastIsReturned(t *testing.T) {
	a := openArea(t, filepath.Join(testdir.New(t), "area"))
	sentinel := errors.New("test: last failed")
	if err := a.Close(func() error { return sentinel }); !errors.Is(err, sentinel) {
		t.Error(err)
	}
}

func TestFailedStartLeavesAgain(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	sentinel := errors.New("test: start failed")
	for range 2 {
		_, err := mmapfile.OpenArea(background, path, &testArea, func(a *mmapfile.Area, first bool) error {
			if !first {
				t.Error("somebody is still there")
			}
			if err := a.Mutex(mutexAt).Lock(background); err != nil {
				t.Error(err)
			}
			return sentinel
		})
		if !errors.Is(err, sentinel) {
			t.Fatal(err)
		}
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		_, _ = mmapfile.OpenArea(background, path, &testArea, func(*mmapfile.Area, bool) error {
			panic("test")
		})
	}()
	if a := openArea(t, path); a.Self() != 0 {
		t.Error("number", a.Self())
	}
}

func TestKilledMemberIsDeadAndItsPlaceCanBeSeized(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	a := openArea(t, path)
	child := start(t, "member", path)
	child.mustHear("1 false")
	if !a.Alive(0) || !a.Alive(1) || a.Alive(2) || a.Alive(-1) || a.Alive(1000) {
		t.Error("who lives?")
	}
	if _, ok := a.Seize(1); ok {
		t.Error("seized a live member")
	}
	info, ok := a.Member(1)
	if !ok || info.PID <= 0 || info.Program != filepath.Base(os.Args[0]) ||
		time.Since(info.Since).Abs() > time.Minute {
		t.Errorf("member 1: %v %v", info, ok)
	}
	if _, ok := a.Member(2); ok {
		t.Error("nobody is a member")
	}

	child.kill()
	if a.Alive(1) {
		t.Error("alive after being killed")
	}
	release, ok := a.Seize(1)
	if !ok {
		t.Fatal("cannot seize the dead")
	}
	if _, ok := a.Seize(1); ok {
		t.Error("seized twice")
	}
	b := openArea(t, path)
	if b.Self() != 2 {
		t.Errorf("the seized number was given away: %d", b.Self())
	}
	release()
	release()
	if c := openArea(t, path); c.Self() != 1 {
		t.Errorf("the released number was not given away: %d", c.Self())
	}
	if a.Alive(3) || !a.Alive(1) || !b.Alive(0) {
		t.Error("who lives now?")
	}
}

func TestAreaIsNewWhenOnlyDeadMembersAreLeft(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	for range 2 {
		child := start(t, "member", path)
		child.mustHear("0 true")
		if answer := child.ask("lock"); answer != "locked" {
			t.Fatal(answer)
		}
		child.kill()
	}
}

func TestFullAreaIsAnError(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	for range testArea.Members {
		openArea(t, path)
	}
	if _, err := mmapfile.OpenArea(background, path, &testArea, nil); !errors.Is(err, mmapfile.ErrFull) {
		t.Error(err)
	}
}

func TestOtherGeometryIsRefusedWhileThereAreMembers(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	a := openArea(t, path)
	other := mmapfile.AreaOptions{Size: testArea.Size * 2, Members: testArea.Members / 2}
	_, err := mmapfile.OpenArea(background, path, &other, nil)
	if !errors.Is(err, mmapfile.ErrVersion) || !strings.Contains(err.Error(), filepath.Base(os.Args[0])) {
		t.Error(err)
	}
	if err := a.Close(nil); err != nil {
		t.Error(err)
	}
	b, err := mmapfile.OpenArea(background, path, &other, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.Uint64(other.Size - 8).Store(1)
	if err := b.Close(nil); err != nil {
		t.Error(err)
	}
}

func TestAreaWithoutANonceIsRefused(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	a := openArea(t, path)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const offNonce = 32
	for _, nonce := range []uint64{0, 1 << 40, 1 << 63} {
		if _, err := f.WriteAt(binary.NativeEndian.AppendUint64(nil, nonce), offNonce); err != nil {
			t.Fatal(err)
		}
		if _, err := mmapfile.OpenArea(background, path, &testArea, nil); !errors.Is(err, mmapfile.ErrVersion) {
			t.Errorf("nonce %#x: %v", nonce, err)
		}
	}
	if a.Nonce() == 0 {
		t.Error("the nonce of a member has changed")
	}
}

func TestForeignFileIsNoArea(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	content := []byte(strings.Repeat("precious", 20))
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := mmapfile.OpenArea(background, path, &testArea, nil); !errors.Is(err, mmapfile.ErrWrongKind) {
		t.Error(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != string(content) {
		t.Error("the file was changed", err)
	}
	if _, err := mmapfile.OpenArea(background, filepath.Join(path, "x"), &testArea, nil); err == nil {
		t.Error("no error below a file")
	}
	missing := filepath.Join(filepath.Dir(path), "missing", "area")
	if _, err := mmapfile.OpenArea(background, missing, &testArea, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestWaitForTheGateCanBeCancelled(t *testing.T) {
	path := filepath.Join(testdir.New(t), "area")
	sentinel := errors.New("test: gate wanted")
	_, err := mmapfile.OpenArea(background, path, &testArea, func(*mmapfile.Area, bool) error {
		ctx, cancel := context.WithTimeoutCause(background, 20*time.Millisecond, sentinel)
		defer cancel()
		_, err := mmapfile.OpenArea(ctx, path, &testArea, nil)
		return err
	})
	if !errors.Is(err, sentinel) {
		t.Error(err)
	}
}

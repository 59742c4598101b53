package mmapfile_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os/signal"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/unix"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/mmapfile"
)

func init() { roles["short"] = shortRole }

// shortRole stores more than the process may write: a part of it, and then nothing. When
// it may, it stores all.
func shortRole(args []string, _ *bufio.Scanner) error {
	const size, at, limit = 1 << 20, 100_000, 500_001
	m, err := mmapfile.Create(args[0], size, nil)
	if err != nil {
		return err
	}
	first, second := bytes.Repeat([]byte("first"), 60_000), bytes.Repeat([]byte("second"), 50_000)
	want := make([]byte, size)
	copy(want[at:limit], append(bytes.Clone(first), second...))
	view, err := m.View(size)
	if err != nil {
		return err
	}
	signal.Ignore(unix.SIGXFSZ)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: limit, Max: unix.RLIM_INFINITY}); err != nil {
		return err
	}
	if err := m.Store(at, [][]byte{first, second}); !errors.Is(err, mmapfile.ErrNoSpace) {
		return errors.Newf("a store beyond the limit: %v", err)
	}
	if !bytes.Equal(view, want) {
		return errors.New("the store did not end at the limit")
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: size, Max: unix.RLIM_INFINITY}); err != nil {
		return err
	}
	if err := m.Store(at, [][]byte{first, second}); err != nil {
		return err
	}
	copy(want[at:], append(first, second...))
	if !bytes.Equal(view, want) {
		return errors.New("the second store is not whole")
	}
	fmt.Println("stored")
	return m.Close()
}

func TestStoreThatTheSystemCutsShortIsAnErrorAndCanBeRepeated(t *testing.T) {
	child := start(t, "short", filepath.Join(testdir.New(t), "file"))
	child.mustHear("stored")
	child.finish()
}

// Local file systems let no signal interrupt them any more, so that a real one cannot be
// had.
func TestInterruptedCallIsMadeAgain(t *testing.T) {
	answers := []error{unix.EINTR, unix.EINTR, unix.EIO, nil}
	for _, want := range []error{unix.EIO, nil} {
		err := mmapfile.IgnoringEINTR(func() error {
			next := answers[0]
			answers = answers[1:]
			return next
		})
		if err != want {
			t.Errorf("%v instead of %v", err, want)
		}
	}
}

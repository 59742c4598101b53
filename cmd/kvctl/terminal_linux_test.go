package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sharekv/sharekv/testdata"
)

// onTerminal runs a command with the streams that attach chooses on a terminal,
// and returns what the terminal got.
func onTerminal(t *testing.T, cmd *exec.Cmd, attach func(terminal *os.File)) string {
	t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	defer control.Close()
	fd := int(control.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	size := &unix.Winsize{Row: 25, Col: 120}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, size); err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	attach(terminal)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	terminal.Close()
	var shown bytes.Buffer
	shown.ReadFrom(control) // ends with an error when the last user has gone
	if err := cmd.Wait(); err != nil {
		t.Errorf("%q: %v", cmd.Args, err)
	}
	return strings.ReplaceAll(shown.String(), "\r\n", "\n")
}

func TestGetAddsANewlineOnATerminalOnly(t *testing.T) {
	path := tempStore(t)
	kvctl(t, exitOK, nil, "-s", path, "put", "greeting", "hello")
	if got, _ := kvctl(t, exitOK, nil, "-s", path, "get", "greeting"); got != "hello" {
		t.Errorf("to a pipe: %q", got)
	}
	cmd := as(t, "kvctl", "-s", path, "get", "greeting")
	if got := onTerminal(t, cmd, func(tty *os.File) { cmd.Stdout = tty }); got != "hello\n" {
		t.Errorf("to a terminal: %q", got)
	}
}

func TestLoadShowsProgressOnATerminal(t *testing.T) {
	for _, name := range []string{"../../testdata/unicode.tsv", "-"} {
		cmd := as(t, "kvctl", "-s", tempStore(t), "load", name)
		cmd.Stdin = strings.NewReader(testdata.Unicode)
		got := onTerminal(t, cmd, func(tty *os.File) { cmd.Stderr = tty })
		want := "1.9 MiB of 1.9 MiB"
		if name == "-" {
			want = "1.9 MiB read"
		}
		last := max(strings.LastIndex(got, want), 0)
		if !strings.HasPrefix(got[last:], want+"\n34924 records in ") {
			t.Errorf("load %s shows %q", name, got)
		}
	}
}

func TestCheckShowsProgressOnATerminalOnly(t *testing.T) {
	path := tempStore(t)
	_, stderr := kvctl(t, exitOK, []byte(testdata.Unicode), "-s", path, "load", "-")
	if strings.Contains(stderr, "[") {
		t.Errorf("load shows a bar where there is no terminal: %q", stderr)
	}
	report, stderr := kvctl(t, exitOK, nil, "-s", path, "check", "--json")
	if stderr != "" {
		t.Errorf("check says %q where there is no terminal", stderr)
	}
	var f struct{ Pages int64 }
	if err := json.Unmarshal([]byte(report), &f); err != nil {
		t.Fatal(err)
	}
	cmd := as(t, "kvctl", "-s", path, "check")
	got := onTerminal(t, cmd, func(tty *os.File) { cmd.Stderr = tty })
	want := fmt.Sprintf("%d of %d pages\n", f.Pages, f.Pages)
	if !strings.HasSuffix(got, want) {
		t.Errorf("check shows %q, and at the end not %q", got, want)
	}
}

package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/testdata"
)

func TestReaderProcessSeesEachPut(t *testing.T) {
	path := tempStore(t)
	kvctl(t, exitOK, nil, "-s", path, "put", "n", "0")
	_, lines, stop := start(t, "reader", path, "n")
	for n := range 20 {
		if n > 0 {
			kvctl(t, exitOK, nil, "-s", path, "put", "n", strconv.Itoa(n))
		}
		if !lines.Scan() || strings.TrimSpace(lines.Text()) != strconv.Itoa(n) {
			t.Fatalf("put %d, but the reader saw %q (%v)", n, lines.Text(), lines.Err())
		}
	}
	stop()
}

func TestPutNamesTheHolderOfTheLock(t *testing.T) {
	path := tempStore(t)
	kvctl(t, exitOK, nil, "-s", path, "put", "k", "before")
	pid, lines, stop := start(t, "lock holder", path)
	if !lines.Scan() {
		t.Fatal(lines.Err())
	}
	_, stderr := kvctl(t, exitBusy, nil, "-s", path, "--timeout", "1s", "put", "k", "meanwhile")
	for _, want := range []string{strconv.Itoa(pid), "hint: wait longer with --timeout"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("pid %d holds the lock, but the message is\n%s", pid, stderr)
		}
	}
	if got, _ := kvctl(t, exitOK, nil, "-s", path, "get", "k"); got != "before" {
		t.Errorf("get while the lock is held: %q", got)
	}
	stop()
	kvctl(t, exitOK, nil, "-s", path, "put", "k", "after")
	if got, _ := kvctl(t, exitOK, nil, "-s", path, "get", "k"); got != "after" {
		t.Errorf("get after the lock was released: %q", got)
	}
}

func TestScanPrintsWhatLoadReadSorted(t *testing.T) {
	path := tempStore(t)
	_, stderr := kvctl(t, exitOK, []byte(testdata.Unicode), "-s", path, "load", "-")
	if !strings.HasPrefix(stderr, "34924 records in ") {
		t.Errorf("load says %q", stderr)
	}
	lines := slices.Sorted(strings.Lines(testdata.Unicode))
	if got, _ := kvctl(t, exitOK, nil, "-s", path, "scan"); got != strings.Join(lines, "") {
		t.Error("scan does not print the input of load sorted")
	}

	json, _ := kvctl(t, exitOK, nil, "-s", path, "scan", "--json")
	again := tempStore(t)
	kvctl(t, exitOK, []byte(json), "-s", again, "load", "-")
	if got, _ := kvctl(t, exitOK, nil, "-s", again, "scan"); got != strings.Join(lines, "") {
		t.Error("the way through JSON changed something")
	}
}

// TestScanAndLoadKeepEveryByte is about keys and values that an argument or a
// line could not hold as they are.
func TestScanAndLoadKeepEveryByte(t *testing.T) {
	path := tempStore(t)
	var every []byte
	for b := range 256 {
		every = append(every, byte(b))
	}
	kvctl(t, exitOK, every, "-s", path, "put", "every byte", "-")
	kvctl(t, exitOK, nil, "-s", path, "put", `{"key":"a","value":"b"}`, "")
	kvctl(t, exitOK, nil, "-s", path, "put", "tab\there, line\nthere, \\ and \r\n", "\r")
	kvctl(t, exitOK, bytes.Repeat([]byte("long\n"), 100_000), "-s", path, "put", "long", "-")
	if got, _ := kvctl(t, exitOK, nil, "-s", path, "get", "every byte"); got != string(every) {
		t.Errorf("get: %q", got)
	}
	for form, load := range map[string]string{
		"auto": "auto", "ascii": "auto", "json": "auto", "hex": "hex",
	} {
		lines, _ := kvctl(t, exitOK, nil, "-s", path, "scan", "-r", "--format", form)
		again := tempStore(t)
		kvctl(t, exitOK, []byte(lines), "-s", again, "load", "--format", load, "-")
		if got, _ := kvctl(t, exitOK, nil, "-s", again, "scan", "-r", "--format", form); got != lines {
			t.Errorf("scan --format %s and load changed %.200q to %.200q", form, lines, got)
		}
		if got, _ := kvctl(t, exitOK, nil, "-s", again, "get", "every byte"); got != string(every) {
			t.Errorf("after scan --format %s and load: %q", form, got)
		}
	}
}

// TestKeysAreReadWithoutTheirValues damages a value, so that whoever reads it fails.
func TestKeysAreReadWithoutTheirValues(t *testing.T) {
	path := tempStore(t)
	large := bytes.Repeat([]byte("a large value, "), 20_000)
	kvctl(t, exitOK, large, "-s", path, "put", "--bucket", "a/b", "large", "-")
	kvctl(t, exitOK, nil, "-s", path, "put", "--bucket", "a/b", "small", "1")
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(file, large[:1000])
	if at < 0 {
		t.Fatal("the value is not in the file")
	}
	file[at] ^= 1
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}

	for _, args := range [][]string{
		{"scan", "--keys-only"},
		{"scan", "--keys-only", "--json", "-r"},
		{"scan", "--keys-only", "--reverse"},
		{"count"},
		{"count", "-r"},
		{"get", "small"},
	} {
		kvctl(t, exitOK, nil, append(args, "-s", path, "--bucket", "a/b")...)
	}
	for _, args := range [][]string{{"scan"}, {"scan", "--reverse"}, {"get", "large"}} {
		out, _ := kvctl(t, exitCorrupt, nil, append(args, "-s", path, "--bucket", "a/b")...)
		if strings.Contains(out, "large") {
			t.Errorf("%q prints the record with the damaged value: %.100q", args, out)
		}
	}
	kvctl(t, exitCorrupt, nil, "-s", path, "check")
}

func TestScanEndsQuietlyWhenItsReaderHasGone(t *testing.T) {
	path := tempStore(t)
	kvctl(t, exitOK, []byte(testdata.Unicode), "-s", path, "load", "-")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := as(t, "kvctl", "-s", path, "scan")
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = w, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "U+0000\t") {
		t.Errorf("first line %q, %v", line, err)
	}
	r.Close()
	if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
		t.Errorf("scan ended with %v and said %q", err, stderr.String())
	}
}

func TestInterruptedDemoLeavesNothingBehind(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows: os.Process.Signal sends no Interrupt, and a control event needs a console, which Wine without a display has not")
	}
	dir := testdir.New(t)
	cmd := as(t, "kvctl", "demo")
	cmd.Env = append(cmd.Env, "TMPDIR="+dir)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	messages := bufio.NewReader(stderr)
	if line, err := messages.ReadString('\n'); err != nil || !strings.Contains(line, "25%") {
		t.Errorf("first message %q, %v", line, err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(messages)
	if err != nil || !strings.Contains(string(rest), "kvctl: interrupt") {
		t.Errorf("the demo said %q, %v", rest, err)
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitError {
		t.Errorf("exit code %d", code)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/internal/testprocess"
	"github.com/sharekv/sharekv/mmapfile"
	"github.com/sharekv/sharekv/store"
)

// roleVariable makes the test binary play another program.
const roleVariable = "KVCTL_TEST_ROLE"

// roles are the programs that the test binary can play.
var roles = map[string]func(args []string) int{
	"kvctl":            run,
	"liar":             lie,
	"lock holder":      holdLock,
	"snapshot holder":  holdSnapshots,
	"reader":           readOnAndOn,
	"async writer":     commitAsync,
	"until stdin ends": untilStdinEnds,
	"mutex holder":     holdMutex,
}

func TestMain(m *testing.M) {
	name := os.Getenv(roleVariable)
	if name == "" {
		os.Exit(m.Run())
	}
	role, ok := roles[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "no role %q\n", name)
		os.Exit(99)
	}
	os.Exit(role(os.Args[1:]))
}

// holdLock keeps the write lock of a store from the moment that it prints a line
// until its stdin ends.
func holdLock(args []string) int {
	db, err := store.Open(args[0], &store.Options{MustExist: true})
	if err != nil {
		return report(os.Stderr, err)
	}
	return report(os.Stderr, db.Update(func(*store.Tx) error {
		fmt.Println("held")
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	}))
}

// untilStdinEnds is a kvctl that is interrupted when its stdin ends.
func untilStdinEnds(args []string) int {
	ctx, interrupt := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		interrupt()
	}()
	root := newRootCommand()
	root.SetArgs(args)
	return report(os.Stderr, root.ExecuteContext(ctx))
}

// holdMutex holds a named mutex from the moment that it prints a line until its stdin
// ends.
func holdMutex(args []string) int {
	m, _, err := mmapfile.CreateMutex(args[0], nil)
	if err != nil {
		return report(os.Stderr, err)
	}
	err = m.Lock(context.Background())
	fmt.Println("held")
	io.Copy(io.Discard, os.Stdin)
	return report(os.Stderr, errors.CombineErrors(err, m.Close()))
}

// commitAsync commits something in async mode, prints a line, and keeps the store open
// until its stdin ends.
func commitAsync(args []string) int {
	db, err := store.Open(args[0], &store.Options{Async: time.Hour})
	if err != nil {
		return report(os.Stderr, err)
	}
	err = db.Put([]byte("theirs"), []byte("not on disk"))
	fmt.Println("committed")
	io.Copy(io.Discard, os.Stdin)
	return report(os.Stderr, errors.CombineErrors(err, db.Close()))
}

// holdSnapshots has two read transactions on one revision and one on the next, from
// the moment that it prints a line until its stdin ends.
func holdSnapshots(args []string) int {
	db, err := store.Open(args[0], &store.Options{MustExist: true})
	if err != nil {
		return report(os.Stderr, err)
	}
	view := func(fn func() error) error {
		return db.View(func(*store.Tx) error { return fn() })
	}
	err = view(func() error {
		return view(func() error {
			if err := db.Put([]byte("held"), nil); err != nil {
				return err
			}
			return view(func() error {
				fmt.Println("held")
				_, err := io.Copy(io.Discard, os.Stdin)
				return err
			})
		})
	})
	return report(os.Stderr, errors.CombineErrors(err, db.Close()))
}

// lie is kvctl, but its workers report a batch more than they were told is stored.
func lie(args []string) int {
	root := newRootCommand()
	root.SetArgs(args)
	if args[0] == "demo-worker" {
		root.SetOut(exaggerator{os.Stdout})
	}
	return report(os.Stderr, root.Execute())
}

type exaggerator struct{ w io.Writer }

// Write expects one report.
func (e exaggerator) Write(p []byte) (int, error) {
	var r workReport
	if err := json.Unmarshal(p, &r); err != nil {
		return 0, err
	}
	r.Records += demoBatch
	return len(p), json.NewEncoder(e.w).Encode(r)
}

// readOnAndOn prints each new value of a key that it sees, until its stdin ends.
func readOnAndOn(args []string) int {
	db, err := store.Open(args[0], &store.Options{ReadOnly: true, MustExist: true})
	if err != nil {
		return report(os.Stderr, err)
	}
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		io.Copy(io.Discard, os.Stdin)
	}()
	last := ""
	for {
		select {
		case <-stop:
			return report(os.Stderr, db.Close())
		default:
		}
		value, err := db.Get([]byte(args[1]))
		if err != nil {
			return report(os.Stderr, err)
		}
		if string(value) != last {
			last = string(value)
			fmt.Println(last)
		}
	}
}

// as returns a command that runs the test binary in a role.
func as(t testing.TB, role string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	return cmd
}

// start runs a role that goes on until its stdin ends, and returns its lines.
// The test waits for its end, which must be a good one.
func start(t testing.TB, role string, args ...string) (pid int, lines *bufio.Scanner, stop func()) {
	t.Helper()
	p, err := testprocess.Start([]string{roleVariable + "=" + role}, args...)
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		p.In.Close()
		if err := p.Wait(); err != nil {
			t.Errorf("%s: %v", role, err)
		}
	}
	t.Cleanup(stop)
	return p.Process.Pid, p.Out, stop
}

// kvctl runs a command that must end with the given exit code, and returns what
// it printed.
func kvctl(t testing.TB, code int, stdin []byte, args ...string) (stdout, stderr string) {
	t.Helper()
	cmd := as(t, "kvctl", args...)
	var out, messages bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &messages
	cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("kvctl %q: exit code %d, want %d\n%s", args, got, code, messages.String())
	}
	return out.String(), messages.String()
}

// tempStore returns the path of a store that does not exist yet.
func tempStore(t testing.TB) string {
	return filepath.Join(testdir.New(t), "test.kv")
}

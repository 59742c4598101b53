package main

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/internal/testprocess"
)

// The scripts have these commands besides those of testscript:
//
//	kvctl ARG...            must succeed; with ! it must fail
//	exits CODE ARG...       kvctl must end with this exit code
//	bytes FILE HEX          writes a file
//	cut FILE SIZE           truncates a file
//	vacant DIR              must be empty; with ! it must not
//	starts ROLE ARG...      starts another process, which uses the store that the last
//	                        argument names once it has printed a line; $PID is its pid
//
// $NAME is the name of an object, and $SHM of a store in shared memory, that no other
// script uses; $KVCTL is kvctl.
//
//	ends                    ends all that were started
//	kills                   kills them
//
// Nothing is removed by testscript itself: Wine 8 cannot do it its way.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:         "testdata/script",
		WorkdirRoot: testdir.New(t),
		Setup: func(env *testscript.Env) error {
			env.Setenv(roleVariable, "kvctl")
			name := fmt.Sprintf("sharekv test %d %d", os.Getpid(), rand.Uint32())
			env.Setenv("NAME", name)
			env.Setenv("SHM", "shm:"+name)
			exe, err := os.Executable()
			env.Setenv("KVCTL", exe)
			o := new(others)
			env.Values[othersKey{}] = o
			env.Defer(func() { o.end() })
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"kvctl":  scriptKvctl,
			"exits":  scriptExits,
			"bytes":  scriptBytes,
			"cut":    scriptCut,
			"vacant": scriptVacant,
			"starts": scriptStarts,
			"ends":   scriptEnds,
			"kills":  scriptKills,
		},
	})
}

func scriptKvctl(ts *testscript.TestScript, neg bool, args []string) {
	if err := ts.Exec(executable(ts), args...); (err != nil) != neg {
		ts.Fatalf("kvctl %q: %v", args, err)
	}
}

func scriptExits(ts *testscript.TestScript, _ bool, args []string) {
	code, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(executable(ts), args[1:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != code {
		ts.Fatalf("kvctl %q: exit code %d, want %d", args[1:], got, code)
	}
}

func scriptBytes(ts *testscript.TestScript, _ bool, args []string) {
	b, err := hex.DecodeString(strings.Join(args[1:], ""))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

func scriptCut(ts *testscript.TestScript, _ bool, args []string) {
	size, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), size))
}

func scriptVacant(ts *testscript.TestScript, neg bool, args []string) {
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	if (len(entries) > 0) != neg {
		ts.Fatalf("%s holds %v", args[0], entries)
	}
}

func scriptStarts(ts *testscript.TestScript, _ bool, args []string) {
	at := &args[len(args)-1]
	if *at != ts.Getenv("NAME") && !locate(*at).shared() {
		*at = ts.MkAbs(*at)
	}
	pid, err := ts.Value(othersKey{}).(*others).start(args[0], args[1:]...)
	ts.Check(err)
	ts.Setenv("PID", strconv.Itoa(pid))
}

func scriptEnds(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(ts.Value(othersKey{}).(*others).end())
}

func executable(ts *testscript.TestScript) string {
	exe, err := os.Executable()
	ts.Check(err)
	return exe
}

func scriptKills(ts *testscript.TestScript, _ bool, _ []string) {
	o := ts.Value(othersKey{}).(*others)
	for _, p := range o.running {
		ts.Check(p.Process.Kill())
		p.Wait() // it says that it was killed
	}
	o.running = nil
}

// others are the processes that a script has started: roles that go on until their
// stdin ends.
type others struct{ running []*player }

// player is a process that plays a role.
type player struct {
	*testprocess.Player
	role string
}

type othersKey struct{}

// start returns when the process has printed a line.
func (o *others) start(role string, args ...string) (pid int, err error) {
	p, err := testprocess.Start([]string{roleVariable + "=" + role}, args...)
	if err != nil {
		return 0, err
	}
	o.running = append(o.running, &player{p, role})
	if !p.Out.Scan() {
		err = errors.CombineErrors(p.Out.Err(), errors.Newf("%s has nothing to say", role))
	}
	return p.Process.Pid, err
}

func (o *others) end() (err error) {
	for _, p := range o.running {
		err = errors.CombineErrors(err, errors.Wrapf(errors.CombineErrors(p.In.Close(), p.Wait()), "%s", p.role))
	}
	o.running = nil
	return err
}

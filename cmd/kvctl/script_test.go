package main

import (
	"encoding/hex"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sharekv/sharekv/internal/testdir"
)

// The scripts have these commands besides those of testscript:
//
//	kvctl ARG...            must succeed; with ! it must fail
//	exits CODE ARG...       kvctl must end with this exit code
//	bytes FILE HEX          writes a file
//	cut FILE SIZE           truncates a file
//	vacant DIR              must be empty; with ! it must not
//
// Nothing is removed by testscript itself: Wine 8 cannot do it its way.
func TestScripts(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:         "testdata/script",
		WorkdirRoot: testdir.New(t),
		Setup: func(env *testscript.Env) error {
			env.Setenv(roleVariable, "kvctl")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"kvctl": func(ts *testscript.TestScript, neg bool, args []string) {
				if err := ts.Exec(exe, args...); (err != nil) != neg {
					ts.Fatalf("kvctl %q: %v", args, err)
				}
			},
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				code, err := strconv.Atoi(args[0])
				ts.Check(err)
				got := 0
				var exit *exec.ExitError
				if err := ts.Exec(exe, args[1:]...); errors.As(err, &exit) {
					got = exit.ExitCode()
				} else {
					ts.Check(err)
				}
				if got != code {
					ts.Fatalf("kvctl %q: exit code %d, want %d", args[1:], got, code)
				}
			},
			"bytes": func(ts *testscript.TestScript, _ bool, args []string) {
				b, err := hex.DecodeString(strings.Join(args[1:], ""))
				ts.Check(err)
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
			},
			"cut": func(ts *testscript.TestScript, _ bool, args []string) {
				size, err := strconv.ParseInt(args[1], 10, 64)
				ts.Check(err)
				ts.Check(os.Truncate(ts.MkAbs(args[0]), size))
			},
			"vacant": func(ts *testscript.TestScript, neg bool, args []string) {
				entries, err := os.ReadDir(ts.MkAbs(args[0]))
				ts.Check(err)
				if (len(entries) > 0) != neg {
					ts.Fatalf("%s holds %v", args[0], entries)
				}
			},
		},
	})
}

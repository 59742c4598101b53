package main

import (
	"context"
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/errors"
)

// An engine is one of those that are compared.
type engine struct {
	name       string
	open       opener // nil if its player is another program
	oneProcess bool   // only one at a time can have a store open
	onlyShared bool   // it makes sense for several goroutines only
}

const lmdb = "lmdb" // the engine that all are compared with

var engines = []engine{
	{name: "sharekv", open: openSharekv},
	{name: lmdb},
	{name: "bbolt", open: openBbolt, oneProcess: true},
	{name: "bbolt-batch", open: openBboltBatch, oneProcess: true, onlyShared: true},
	{name: "pebble", open: openPebble, oneProcess: true},
}

// A shape is how the workers of a round are spread.
type shape struct {
	name, title        string
	processes, threads int
}

var shapes = []shape{
	{"1", "one writer", 1, 1},
	{"8t", "8 writers in one process", 1, 8},
	{"8p", "8 processes with a writer each", 8, 1},
}

// cannot says why the engine has no figures of a shape, or is empty.
func (e *engine) cannot(s *shape) string {
	switch {
	case e.oneProcess && s.processes > 1:
		return "one process at a time"
	case e.onlyShared && s.threads == 1:
		return "for several goroutines"
	}
	return ""
}

//go:embed lmdb/driver.c
var lmdbDriver []byte

var (
	errNoCompiler = errors.New("no C compiler")
	errNoLMDB     = errors.New("no LMDB to compile with")
)

// compileDriver makes the player of LMDB, in dir, with the C compiler cc. The usual
// variables of the environment lead the compiler to an LMDB elsewhere.
func compileDriver(ctx context.Context, dir string) (path string, err error) {
	const without = "or leave LMDB out: --engines sharekv,bbolt,bbolt-batch,pebble"
	cc, err := exec.LookPath("cc")
	if err != nil {
		return "", errors.WithHint(errors.Wrapf(errNoCompiler, "cc"),
			"on Debian: apt-get install gcc libc6-dev; "+without)
	}
	probe := exec.CommandContext(ctx, cc, "-fsyntax-only", "-x", "c", "-")
	probe.Stdin = strings.NewReader("#include <lmdb.h>\n")
	if out, err := probe.CombinedOutput(); err != nil {
		return "", errors.WithHint(errors.Wrapf(errNoLMDB, "%v: %s", err, out),
			"on Debian: apt-get install liblmdb-dev; "+without)
	}
	source := filepath.Join(dir, "driver.c")
	if err := os.WriteFile(source, lmdbDriver, 0o600); err != nil {
		return "", err
	}
	path = filepath.Join(dir, "lmdb-driver")
	out, err := exec.CommandContext(ctx, cc, "-O2", "-o", path, source, "-llmdb", "-pthread").CombinedOutput()
	return path, errors.Wrapf(err, "compile the LMDB driver: %s", out)
}

package tidy_test

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// below lists, for each package directory, the packages of ours that its code
// may import: the arrows of the house, which point down only. Tests may import
// all of internal besides. A directory that is not here may import nothing of
// ours.
var below = map[string][]string{
	"cmd/kvctl":          {"store", "mmapfile", "testdata"},
	"store":              {"txn", "index", "mmapfile", "internal/invariant"},
	"txn":                {"index", "mmapfile", "internal/invariant", "internal/word"},
	"index":              {"internal/invariant"},
	"mmapfile":           {"internal/invariant", "internal/word"},
	"internal/invariant": {},
	"internal/word":      {},
}

// light lists the libraries that code in store, and whatever lies below it, may
// import: all that an application takes in with the store.
var light = []string{
	"golang.org/x/sys",
	"github.com/google/btree",
	"github.com/cockroachdb/errors",
	"github.com/zeebo/xxh3",
}

// nested is a module of its own, with dependencies of its own.
const nested = "cmd/kvbench"

func inNested(f *file) bool {
	return strings.HasPrefix(f.path, nested+"/")
}

func imports(f *file) []string {
	var paths []string
	for _, spec := range f.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			panic(err) // the parser accepted it
		}
		paths = append(paths, name)
	}
	return paths
}

func importRule(f *file) (problems []string) {
	if inNested(f) {
		return nil
	}
	for i, name := range imports(f) {
		ours, isOurs := strings.CutPrefix(name, module+"/")
		switch {
		case isOurs && !mayImport(f, ours):
			problems = append(problems, f.at(f.Imports[i], "%s may not import %s: arrows point down only; "+
				"move the code, or declare an interface where it is used", f.dir(), ours))
		case !isOurs && isLibrary(name) && inStore(f) && !isLight(name):
			problems = append(problems, f.at(f.Imports[i], "%s would bring %s into every application: "+
				"use the standard library, or keep it in cmd or in tests", f.dir(), name))
		}
	}
	return problems
}

func mayImport(f *file, ours string) bool {
	dir := f.dir()
	internal := strings.HasPrefix(ours, "internal/")
	_, listed := below[dir]
	switch {
	case ours == dir: // an external test
		return f.isTest()
	case f.isTest() && internal:
		return true
	case !listed && strings.HasPrefix(dir, "internal/"): // it serves tests
		return internal || !strings.HasPrefix(ours, "cmd/")
	default:
		return slices.Contains(below[dir], ours)
	}
}

// inStore reports whether the file is compiled into applications that import
// the store.
func inStore(f *file) bool {
	return !f.isTest() && (f.dir() == "store" || slices.Contains(below["store"], f.dir()))
}

func isLibrary(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	return strings.Contains(first, ".")
}

func isLight(name string) bool {
	for _, library := range light {
		if name == library || strings.HasPrefix(name, library+"/") {
			return true
		}
	}
	return false
}

func TestImportsPointDown(t *testing.T) {
	report(t, importRule)
}

func TestImportRuleSeesWrongArrows(t *testing.T) {
	ours := func(dir, name string, imported ...string) example {
		text := "package " + path.Base(dir) + "\n"
		for _, i := range imported {
			text += "import " + strconv.Quote(i) + "\n"
		}
		return example{path: dir + "/" + name, text: text}
	}
	bad := func(e example, want string) example {
		e.want = want
		return e
	}
	runExamples(t, importRule, []example{
		ours("store", "a.go", module+"/txn", module+"/index", module+"/mmapfile", module+"/internal/invariant"),
		ours("store", "a.go", "fmt", "golang.org/x/sys/unix", "github.com/cockroachdb/errors"),
		ours("store", "a_test.go", module+"/store", module+"/internal/testdir", "pgregory.net/rapid"),
		ours("internal/crash", "a.go", module+"/txn", module+"/internal/testdir"),
		ours("cmd/kvctl", "a.go", module+"/store", "github.com/spf13/cobra"),
		ours("cmd/kvbench", "a.go", module+"/index", "go.etcd.io/bbolt"),

		bad(ours("txn", "a.go", module+"/store"), "txn may not import store"),
		bad(ours("txn", "a_test.go", module+"/store"), "txn may not import store"),
		bad(ours("index", "a_linux.go", module+"/mmapfile"), "index may not import mmapfile"),
		bad(ours("mmapfile", "a.go", module+"/index"), "mmapfile may not import index"),
		bad(ours("mmapfile", "a.go", module+"/internal/testdir"), "mmapfile may not import internal/testdir"),
		bad(ours("internal/invariant", "a.go", module+"/index"), "internal/invariant may not import index"),
		bad(ours("internal/crash", "a.go", module+"/cmd/kvctl"), "internal/crash may not import cmd/kvctl"),
		bad(ours("cmd/kvctl", "a.go", module+"/txn"), "cmd/kvctl may not import txn"),
		bad(ours("store", "a.go", "github.com/spf13/cobra"), "would bring github.com/spf13/cobra"),
		bad(ours("store", "a.go", "golang.org/x/term"), "would bring golang.org/x/term"),
		bad(ours("index", "a.go", "github.com/cockroachdb/errorspace"), "would bring"),
		bad(ours("internal/invariant", "a.go", "pgregory.net/rapid"), "would bring"),
	})
}

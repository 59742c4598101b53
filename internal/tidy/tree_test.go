package tidy_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/sharekv/sharekv"

// file is a parsed Go file of the repository.
type file struct {
	path  string // from the repository's root, with slashes
	lines int
	fset  *token.FileSet
	*ast.File
}

func (f *file) dir() string { return path.Dir(f.path) }

func (f *file) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

// at prefixes a message with a position in the file.
func (f *file) at(n ast.Node, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: ", f.path, f.fset.Position(n.Pos()).Line) + fmt.Sprintf(format, args...)
}

// parse reads a file's text. Text that does not parse fails the test.
func parse(t testing.TB, name, text string) *file {
	t.Helper()
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Count(text, "\n")
	return &file{path: name, lines: lines, fset: fset, File: parsed}
}

// root returns the directory that holds the module's go.mod.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.Contains(string(text), "module "+module+"\n") {
			return dir
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod of " + module + " above the working directory")
		}
		dir = filepath.Dir(dir)
	}
}

var (
	readOnce sync.Once
	files    []*file
)

// repository returns every Go file of the repository, nested modules and the
// build's own programs included.
func repository(t testing.TB) []*file {
	t.Helper()
	readOnce.Do(func() {
		top := root(t)
		err := filepath.WalkDir(top, func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if entry.IsDir() && name != top && strings.HasPrefix(entry.Name(), ".") && entry.Name() != ".ci" {
				return fs.SkipDir
			}
			if entry.IsDir() || filepath.Ext(name) != ".go" {
				return nil
			}
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			slashed, err := filepath.Rel(top, name)
			if err == nil {
				files = append(files, parse(t, filepath.ToSlash(slashed), string(text)))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	if len(files) == 0 {
		t.Fatal("no Go files found")
	}
	return files
}

// report fails the test with every problem a rule finds in the repository.
func report(t *testing.T, rule func(*file) []string) {
	t.Helper()
	for _, f := range repository(t) {
		for _, problem := range rule(f) {
			t.Error(problem)
		}
	}
}

// example is a file and what a rule must say of it; an empty want means that
// the rule must be content.
type example struct {
	path, text, want string
}

func runExamples(t *testing.T, rule func(*file) []string, examples []example) {
	t.Helper()
	for _, e := range examples {
		got := strings.Join(rule(parse(t, e.path, e.text)), "\n")
		switch {
		case e.want == "" && got != "":
			t.Errorf("%s\n%s\nwas refused: %s", e.path, e.text, got)
		case !strings.Contains(got, e.want):
			t.Errorf("%s\n%s\nwas answered by %q, want %q in it", e.path, e.text, got, e.want)
		}
	}
}

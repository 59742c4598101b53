package mutants_test

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/rogpeppe/go-internal/txtar"
)

const (
	module = "github.com/sharekv/sharekv"
	root   = "../.."
)

// mutant is a wrong variant of the code.
type mutant struct {
	name  string
	wrong string // what is
	in    string // the directory of the package whose test must notice
	test  string // its name, or a regular expression
	env   []string
	args  []string      // of the test binary
	limit time.Duration // how long the mutant may stay unnoticed
	edits []edit
}

// within is how long mutants may stay unnoticed that say nothing else.
const within = 10 * time.Second

// edit is one place at which a mutant differs.
type edit struct {
	path     string // from the repository's root, with slashes
	old, new string
}

func readMutants(t *testing.T) []mutant {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var all []mutant
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m, err := parseMutant(strings.TrimSuffix(filepath.Base(path), ".txtar"), text)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, m)
	}
	return all
}

func parseMutant(name string, text []byte) (mutant, error) {
	archive := txtar.Parse(text)
	m := mutant{name: name, limit: within}
	for i, line := range strings.Split(strings.TrimSpace(string(archive.Comment)), "\n") {
		key, value, _ := strings.Cut(line, ": ")
		switch {
		case i == 0:
			m.wrong = line
		case key == "package":
			m.in = value
		case key == "test":
			m.test = value
		case key == "env":
			m.env = append(m.env, value)
		case key == "args":
			m.args = strings.Fields(value)
		case key == "within":
			d, err := time.ParseDuration(value)
			if err != nil {
				return m, err
			}
			m.limit = min(d, within)
		case line != "":
			return m, errors.Newf("what is %q?", line)
		}
	}
	for files := archive.Files; len(files) > 0; files = files[2:] {
		path, ok := strings.CutPrefix(files[0].Name, "old ")
		if !ok || len(files) == 1 || files[1].Name != "new" {
			return m, errors.Newf("-- %s --: want pairs of old, with a path, and new", files[0].Name)
		}
		m.edits = append(m.edits, edit{path, string(files[0].Data), string(files[1].Data)})
	}
	if m.wrong == "" || m.in == "" || m.test == "" || len(m.edits) == 0 {
		return m, errors.New("want what is wrong, the package, the test, and what is changed")
	}
	return m, nil
}

// change is what one mutant makes of a function.
type change struct {
	mutant string
	edits  []edit
}

// weave returns the text of the file at path with the mutants in it.
func weave(path, text string, mutants []mutant) (string, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, text, parser.SkipObjectResolution)
	if err != nil {
		return "", err
	}
	at := func(p token.Pos) int { return fset.Position(p).Offset }
	changes := map[*ast.FuncDecl][]change{}
	for _, m := range mutants {
		for _, e := range m.edits {
			if e.path != path {
				continue
			}
			if n := strings.Count(text, e.old); n != 1 {
				return "", errors.Newf("mutant %s is out of date: what it changes occurs in %s %d times, not once:\n%s",
					m.name, path, n, e.old)
			}
			begin := strings.Index(text, e.old)
			i := slices.IndexFunc(file.Decls, func(d ast.Decl) bool {
				f, ok := d.(*ast.FuncDecl)
				return ok && f.Body != nil && at(f.Body.Lbrace) < begin && begin+len(e.old) <= at(f.Body.Rbrace)
			})
			if i < 0 {
				return "", errors.Newf("mutant %s: what it changes in %s is not within a function:\n%s", m.name, path, e.old)
			}
			f := file.Decls[i].(*ast.FuncDecl)
			if c := changes[f]; len(c) > 0 && c[len(c)-1].mutant == m.name {
				c[len(c)-1].edits = append(c[len(c)-1].edits, e)
			} else {
				changes[f] = append(c, change{m.name, []edit{e}})
			}
		}
	}
	var functions []*ast.FuncDecl
	for f := range changes {
		functions = append(functions, f)
	}
	slices.SortFunc(functions, func(f, g *ast.FuncDecl) int { return cmp.Compare(g.Pos(), f.Pos()) })
	for _, f := range functions { // the last one first, so that the others stay where they are
		begin, end := at(f.Body.Lbrace)+1, at(f.Body.Rbrace)
		text = text[:begin] + variants(f, text[begin:end], changes[f]) + text[begin:]
	}
	name := at(file.Name.End())
	text = text[:name] + fmt.Sprintf("; import %q", module+"/internal/mutants") + text[name:]
	_, err = parser.ParseFile(token.NewFileSet(), path, text, 0)
	return text, errors.Wrapf(err, "with mutants in it")
}

// variants returns the code that comes before the body of a function.
func variants(f *ast.FuncDecl, body string, changes []change) string {
	var b strings.Builder
	for _, c := range changes {
		wrong := body
		for _, e := range c.edits {
			wrong = strings.Replace(wrong, e.old, e.new, 1)
		}
		fmt.Fprintf(&b, "\nif mutants.On(%q) {%s", c.mutant, wrong)
		if f.Type.Results == nil {
			b.WriteString("\nreturn\n")
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// overlay writes the files that have mutants to dir, and returns where they are by the
// absolute path of the file that each stands for.
func overlay(t *testing.T, dir string, mutants []mutant) map[string]string {
	t.Helper()
	replace := map[string]string{}
	for _, m := range mutants {
		for _, e := range m.edits {
			path, err := filepath.Abs(filepath.Join(root, filepath.FromSlash(e.path)))
			if err != nil {
				t.Fatal(err)
			}
			if replace[path] != "" {
				continue
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("mutant %s: %v", m.name, err)
			}
			woven, err := weave(e.path, strings.ReplaceAll(string(text), "\r\n", "\n"), mutants)
			if err != nil {
				t.Fatal(err)
			}
			replace[path] = filepath.Join(dir, strings.ReplaceAll(e.path, "/", "_"))
			if err := os.WriteFile(replace[path], []byte(woven), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return replace
}

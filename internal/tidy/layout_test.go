package tidy_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// topLevel lists what lies at the repository's root besides dot files.
var topLevel = []string{
	"go.mod", "go.sum", "README.md", "CHANGELOG.md", "LICENSE",
	"cmd", "index", "internal", "mmapfile", "store", "testdata", "txn",
}

// libraries are the packages that a reader begins with: each has a doc.go.
var libraries = []string{"store", "txn", "index", "mmapfile"}

func topLevelRule(names []string) (problems []string) {
	for _, name := range names {
		if !strings.HasPrefix(name, ".") && !slices.Contains(topLevel, name) {
			problems = append(problems, fmt.Sprintf("%s lies at the top level: "+
				"move it below one of %s, or do not commit it", name, strings.Join(topLevel, " ")))
		}
	}
	return problems
}

// documentationRule wants a doc comment for each package that is more than
// tests, and a library's in its doc.go.
func documentationRule(files []*file) (problems []string) {
	documented := map[string]bool{}
	for _, f := range files {
		if f.isTest() {
			continue
		}
		here := f.Doc != nil && (path.Base(f.path) == "doc.go" || !slices.Contains(libraries, f.dir()))
		documented[f.dir()] = documented[f.dir()] || here
	}
	for _, dir := range slices.Sorted(maps.Keys(documented)) {
		switch {
		case documented[dir]:
		case slices.Contains(libraries, dir):
			problems = append(problems, fmt.Sprintf("%s has no doc comment in doc.go: "+
				"write what it is for, the picture, the invariants, the lock order, what it does not do", dir))
		default:
			problems = append(problems, fmt.Sprintf("%s has no doc comment: "+
				"say above a package clause what it is for", dir))
		}
	}
	return problems
}

func TestTopLevelHoldsOnlyTheHouse(t *testing.T) {
	for _, problem := range topLevelRule(topLevelNames(t)) {
		t.Error(problem)
	}
}

// topLevelNames returns what git keeps at the top level. Where git does not
// answer, or keeps nothing yet, it returns what lies there, without the
// programs that a build may have left.
func topLevelNames(t *testing.T) []string {
	t.Helper()
	dir := root(t)
	names := map[string]bool{}
	if list, err := exec.Command("git", "-C", dir, "ls-files", "-z").Output(); err == nil && len(list) > 0 {
		for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
			first, _, _ := strings.Cut(name, "/")
			names[first] = true
		}
		return slices.Sorted(maps.Keys(names))
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.IsDir() || !isBinary(t, filepath.Join(dir, entry.Name())) {
			names[entry.Name()] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func isBinary(t *testing.T, name string) bool {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.IndexByte(text, 0) >= 0
}

func TestPackagesAreDocumented(t *testing.T) {
	for _, problem := range documentationRule(repository(t)) {
		t.Error(problem)
	}
}

func TestTopLevelRuleSeesStrays(t *testing.T) {
	if problems := topLevelRule(append([]string{".ci", ".gitignore"}, topLevel...)); len(problems) > 0 {
		t.Errorf("the house itself was refused: %s", problems)
	}
	problems := topLevelRule([]string{"docs", "index"})
	if len(problems) != 1 || !strings.HasPrefix(problems[0], "docs lies at the top level") {
		t.Errorf("docs was answered by %q", problems)
	}
}

func TestDocumentationRuleSeesMissingComments(t *testing.T) {
	described := "// Package a is an example.\npackage a\n"
	bare := "package a\n"
	cases := []struct {
		name, want string
		files      map[string]string
	}{
		{"library", "", map[string]string{"txn/doc.go": described, "txn/a.go": bare}},
		{"other", "", map[string]string{"internal/a/a.go": described, "internal/a/b.go": bare}},
		{"tests only", "", map[string]string{"internal/a/a_test.go": bare}},
		{"library elsewhere", "txn has no doc comment in doc.go", map[string]string{"txn/a.go": described, "txn/doc.go": bare}},
		{"missing", "internal/a has no doc comment", map[string]string{"internal/a/a.go": bare, "internal/a/a_test.go": described}},
	}
	for _, c := range cases {
		var parsed []*file
		for name, text := range c.files {
			parsed = append(parsed, parse(t, name, text))
		}
		got := strings.Join(documentationRule(parsed), "\n")
		if c.want == "" && got != "" || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: was answered by %q, want %q", c.name, got, c.want)
		}
	}
}

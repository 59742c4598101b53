package tidy_test

import (
	"go/ast"
	"maps"
	"slices"
	"strings"
	"testing"
)

// unsafeFiles lists the files that may import unsafe.
var unsafeFiles = []string{
	"mmapfile/futex_linux.go",
	"mmapfile/memory.go",
	"mmapfile/syscall_windows.go",
}

func importsUnsafe(f *file) bool {
	return slices.Contains(imports(f), "unsafe")
}

// unsafeRule asks that every declaration with a use of unsafe says, in a
// comment that begins with SAFETY:, why it is right. Sizes and offsets cannot
// go wrong and need none.
func unsafeRule(f *file) (problems []string) {
	if !importsUnsafe(f) {
		return nil
	}
	if !inNested(f) && !slices.Contains(unsafeFiles, f.path) {
		problems = append(problems, f.at(f.Name, "imports unsafe: use the package that already does, "+
			"or add the file to unsafeFiles in internal/tidy"))
	}
	for _, decl := range f.Decls {
		if use := unsafeUse(decl); use != nil && !arguesSafety(f, decl) {
			problems = append(problems, f.at(use, "unsafe without a reason: "+
				"say in a // SAFETY: comment of this declaration why it cannot go wrong"))
		}
	}
	return problems
}

// unsafeUse returns the first use in n that can break memory.
func unsafeUse(n ast.Node) (use ast.Node) {
	harmless := []string{"Sizeof", "Alignof", "Offsetof"}
	ast.Inspect(n, func(n ast.Node) bool {
		if name, ok := selected(n, "unsafe"); ok && use == nil && !slices.Contains(harmless, name) {
			use = n
		}
		return use == nil
	})
	return use
}

// arguesSafety reports whether a SAFETY: comment lies in the declaration or
// directly above it.
func arguesSafety(f *file, decl ast.Decl) bool {
	first := f.fset.Position(decl.Pos()).Line
	for _, group := range f.Comments {
		inside := decl.Pos() <= group.Pos() && group.End() <= decl.End()
		above := f.fset.Position(group.End()).Line == first-1
		if (inside || above) && strings.Contains(group.Text(), "SAFETY: ") {
			return true
		}
	}
	return false
}

func TestUnsafeIsRareAndArguedFor(t *testing.T) {
	report(t, unsafeRule)

	unused := map[string]bool{}
	for _, name := range unsafeFiles {
		unused[name] = true
	}
	for _, f := range repository(t) {
		if importsUnsafe(f) {
			delete(unused, f.path)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(unused)) {
		t.Errorf("%s does not import unsafe any more: take it out of unsafeFiles", name)
	}
}

func TestUnsafeRuleSeesWhatIsNotArguedFor(t *testing.T) {
	allowed := unsafeFiles
	unsafeFiles = []string{"index/a.go"}
	t.Cleanup(func() { unsafeFiles = allowed })

	head := "package index\nimport \"unsafe\"\n"
	runExamples(t, unsafeRule, []example{
		{"index/a.go", head + "// SAFETY: it is a byte.\nvar p = unsafe.Pointer(&b)\n", ""},
		{"index/a.go", head + "func f() {\n\t// SAFETY: it is a byte.\n\t_ = unsafe.Pointer(&b)\n}\n", ""},
		{"index/a.go", head + "const n = unsafe.Sizeof(b)\n", ""},
		{"cmd/kvbench/a.go", head + "const n = unsafe.Sizeof(b)\n", ""},

		{"index/b.go", head + "const n = unsafe.Sizeof(b)\n", "index/b.go:1: imports unsafe"},
		{"index/a.go", head + "var p = unsafe.Pointer(&b)\n", "index/a.go:3: unsafe without a reason"},
		{"index/a.go", head + "type s struct { p unsafe.Pointer }\n", "unsafe without a reason"},
		{"index/a.go", head + "// SAFETY: for g only.\nfunc g() {}\nfunc f() { _ = unsafe.Pointer(&b) }\n", "index/a.go:5: unsafe without a reason"},
	})
}

// Package formatdoc holds a format's description and the code that implements
// it together: a test gives it the constants of the code, and it fails where
// the tables of the description say anything else.
//
// Two forms of Markdown table are understood, by their header rows:
//
//	| OFFSET | SIZE | NAME | MEANING |
//	| CONSTANT | VALUE | MEANING |
//
// A section is what follows a heading "## Section" up to the next heading of
// that level or above, and holds one table of the form asked for. Cells other
// than MEANING may be in backticks.
package formatdoc

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/cockroachdb/errors"
)

// Variable stands for an offset or a size that the description gives as a word
// instead of a number, such as K for the length of a key.
const Variable = -1

// Reserved is the name, in the description, of bytes that no field uses. The
// code has no field for them.
const Reserved = "-"

// Field is a field of a fixed layout, in bytes. Offset and Size may be
// Variable.
type Field struct {
	Name         string
	Offset, Size int
}

// F returns the field with that name, offset and size.
func F(name string, offset, size int) Field { return Field{name, offset, size} }

// Check compares the field table of a section of the file at path with want.
// Each row must be in want and each field of want in the table, with the same
// offset and size. The rows must lie one behind the other without gap or
// overlap; reserved rows, which fill gaps, are not in want.
func Check(t testing.TB, path, section string, want []Field) {
	t.Helper()
	rows, ok := read(t, path, section, "OFFSET", "SIZE", "NAME", "MEANING")
	if !ok {
		return
	}
	got, problems := fields(rows)
	problems = append(problems, gaps(got)...)
	problems = append(problems, differences(got, want)...)
	report(t, path, section, problems)
}

// CheckConstants compares the constant table of a section of the file at path
// with want: the same names with the same values.
func CheckConstants(t testing.TB, path, section string, want map[string]int64) {
	t.Helper()
	rows, ok := read(t, path, section, "CONSTANT", "VALUE", "MEANING")
	if !ok {
		return
	}
	var problems []string
	seen := map[string]bool{}
	for _, row := range rows {
		name := row.cells[0]
		value, err := strconv.ParseInt(row.cells[1], 0, 64)
		switch expected, known := want[name]; {
		case seen[name]:
			problems = append(problems, row.says("%s is here twice", name))
		case err != nil:
			problems = append(problems, row.says("%s: %q is not an integer", name, row.cells[1]))
		case !known:
			problems = append(problems, row.says("%s is not in the code", name))
		case value != expected:
			problems = append(problems, row.says("%s is %d, in the code %d", name, value, expected))
		}
		seen[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if !seen[name] {
			problems = append(problems, fmt.Sprintf("%s is missing, in the code it is %d", name, want[name]))
		}
	}
	report(t, path, section, problems)
}

// read returns the rows of the one table with that header in the section, or
// fails the test.
func read(t testing.TB, path, section string, header ...string) ([]row, bool) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Errorf("read the format's description: %v", err)
		return nil, false
	}
	rows, err := table(string(text), section, header)
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return nil, false
	}
	return rows, true
}

func report(t testing.TB, path, section string, problems []string) {
	t.Helper()
	for _, problem := range problems {
		t.Errorf("%s: section %q: %s", path, section, problem)
	}
}

// placed is a Field with the row that describes it.
type placed struct {
	Field
	row row
}

func fields(rows []row) (got []placed, problems []string) {
	for _, row := range rows {
		offset, err := extent(row.cells[0])
		if err != nil {
			problems = append(problems, row.says("offset: %v", err))
			continue
		}
		size, err := extent(row.cells[1])
		if err != nil {
			problems = append(problems, row.says("size: %v", err))
			continue
		}
		got = append(got, placed{Field{Name: row.cells[2], Offset: offset, Size: size}, row})
	}
	return got, problems
}

// extent reads an offset or a size: a number of bytes, or else a word or a
// formula with a word in it, which is Variable.
func extent(cell string) (int, error) {
	if n, err := strconv.ParseInt(cell, 0, 32); err == nil && n >= 0 {
		return int(n), nil
	}
	for _, r := range cell {
		if 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' {
			return Variable, nil
		}
	}
	return 0, errors.Newf("%q is neither a number of bytes nor a word", cell)
}

// gaps checks that each row begins where the one before it ends. Behind a
// variable size no fixed offset can be true.
func gaps(got []placed) (problems []string) {
	for i, f := range got {
		if f.Size == 0 {
			problems = append(problems, f.row.says("%s has no bytes", f.Name))
		}
		if i == 0 {
			continue
		}
		last := got[i-1]
		end := last.Offset + last.Size
		if last.Offset == Variable || last.Size == Variable {
			end = Variable
		}
		switch {
		case f.Offset == end:
		case end == Variable:
			problems = append(problems, f.row.says("%s has the fixed offset %d behind the variable %s", f.Name, f.Offset, last.Name))
		case f.Offset == Variable:
			problems = append(problems, f.row.says("%s has a variable offset, but %s ends at %d", f.Name, last.Name, end))
		default:
			problems = append(problems, f.row.says("%s begins at %d, but %s ends at %d", f.Name, f.Offset, last.Name, end))
		}
	}
	return problems
}

func differences(got []placed, want []Field) (problems []string) {
	known := map[string]Field{}
	for _, f := range want {
		if _, twice := known[f.Name]; twice || f.Name == Reserved {
			problems = append(problems, fmt.Sprintf("the code lists %q twice or as a reserved field", f.Name))
		}
		known[f.Name] = f
	}
	seen := map[string]bool{}
	for _, f := range got {
		if f.Name == Reserved {
			continue
		}
		switch expected, ok := known[f.Name]; {
		case seen[f.Name]:
			problems = append(problems, f.row.says("%s is here twice", f.Name))
		case !ok:
			problems = append(problems, f.row.says("%s is not in the code", f.Name))
		case f.Field != expected:
			problems = append(problems, f.row.says("%s has offset %d and size %d, in the code %d and %d",
				f.Name, f.Offset, f.Size, expected.Offset, expected.Size))
		}
		seen[f.Name] = true
	}
	for _, f := range want {
		if !seen[f.Name] {
			problems = append(problems, fmt.Sprintf("%s is missing, in the code it has offset %d and size %d",
				f.Name, f.Offset, f.Size))
		}
	}
	return problems
}

package formatdoc_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sharekv/sharekv/internal/formatdoc"
	"github.com/sharekv/sharekv/internal/testdir"
)

const good = "# The format\n" + `
## Page header

Every page begins with it.

| OFFSET | SIZE | NAME   | MEANING             |
|-------:|:----:|--------|---------------------|
| 0      | 8    | ` + "`number`" + ` | where the page lies |
| 8      | 0x8  | txid   | who wrote it: a \| b |
| 16     | 4    | -      | zero                |
| 20     | 2    | count  |                     |
| 22     | 2    | -      | zero                |

### Its limits

| CONSTANT | VALUE | MEANING |
|---|---|---|
| PageSizeMin | 4096 | |
| ` + "`Magic`" + ` | 0x5348 | |
| Lowest | -1 | |

## Cell

` + "```" + `
| OFFSET | SIZE | NAME | MEANING |
| 7 | 7 | drawing | not a table |
` + "```" + `

| OFFSET | SIZE | NAME | MEANING |
|---|---|---|---|
| 0 | 4 | length | K |
| 4 | K | key | |
| 4+K | V | value | |

## Empty

| OFFSET | SIZE | NAME | MEANING |
|---|---|---|---|
`

var (
	header = []formatdoc.Field{{"number", 0, 8}, {"txid", 8, 8}, {"count", 20, 2}}
	cell   = []formatdoc.Field{
		{"length", 0, 4},
		{"key", 4, formatdoc.Variable},
		{"value", formatdoc.Variable, formatdoc.Variable},
	}
	limits = map[string]int64{"PageSizeMin": 4096, "Magic": 0x5348, "Lowest": -1}
)

func TestTablesThatAgreePass(t *testing.T) {
	path := write(t, good)
	formatdoc.Check(t, path, "Page header", header)
	formatdoc.Check(t, path, "Cell", cell)
	formatdoc.CheckConstants(t, path, "Page header", limits)
}

func TestWindowsLineEndsMakeNoDifference(t *testing.T) {
	path := write(t, strings.ReplaceAll(good, "\n", "\r\n"))
	formatdoc.Check(t, path, "Page header", header)
	formatdoc.CheckConstants(t, path, "Page header", limits)
}

func TestWrongFieldTableFails(t *testing.T) {
	cases := []struct {
		name, old, new string // the edit of the good text
		want           string // in the failure
	}{
		{"offset", "| 20     | 2    | count", "| 18     | 2    | count", "count begins at 18, but - ends at 20"},
		{"size", "| 20     | 2    | count", "| 20     | 1    | count", "count has offset 20 and size 1, in the code 20 and 2"},
		{"name", "| txid ", "| tx ", "tx is not in the code"},
		{"missing", "| txid ", "| - ", "txid is missing, in the code it has offset 8 and size 8"},
		{"twice", "| 16     | 4    | - ", "| 16     | 4    | txid ", "txid is here twice"},
		{"gap at a reserved row", "| 22     | 2    | - ", "| 24     | 2    | - ", "- begins at 24, but count ends at 22"},
		{"overlap", "| 8      | 0x8 ", "| 7      | 0x8 ", "txid begins at 7, but number ends at 8"},
		{"no bytes", "| 16     | 4    | - ", "| 16     | 0    | - ", "- has no bytes"},
		{"not a number", "| 16     | 4    | - ", "| 16     | ?    | - ", `size: "?" is neither`},
		{"negative", "| 16     | 4    | - ", "| -4     | 4    | - ", `offset: "-4" is neither`},
		{"too few cells", "| 22     | 2    | -      | zero                |", "| 22 | 2 | - |", "3 cells where the header has 4"},
		{"other header", "| OFFSET | SIZE | NAME   |", "| OFFSET | BYTES | NAME   |", "has 0 tables"},
		{"second table", "### Its limits", "| OFFSET | SIZE | NAME | MEANING |\n\n### Its limits", "has 2 tables"},
		{"no section", "## Page header", "## Page head", `no section "Page header"`},
		{"section of another level", "## Page header", "### Page header", `no section "Page header"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, edit(t, c.old, c.new))
			expectFailure(t, c.want, func(t testing.TB) { formatdoc.Check(t, path, "Page header", header) })
		})
	}
}

func TestWrongVariableTableFails(t *testing.T) {
	cases := []struct{ name, old, new, want string }{
		{"fixed size", "| 4 | K | key", "| 4 | 9 | key", "key has offset 4 and size 9, in the code 4 and -1"},
		{"fixed offset behind it", "| 4+K | V", "| 8 | V", "value has the fixed offset 8 behind the variable key"},
		{"variable offset too early", "| 4 | K | key", "| L | K | key", "key has a variable offset, but length ends at 4"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, edit(t, c.old, c.new))
			expectFailure(t, c.want, func(t testing.TB) { formatdoc.Check(t, path, "Cell", cell) })
		})
	}
}

func TestWrongConstantTableFails(t *testing.T) {
	cases := []struct{ name, old, new, want string }{
		{"value", "| 4096 |", "| 8192 |", "PageSizeMin is 8192, in the code 4096"},
		{"name", "| PageSizeMin |", "| PageMin |", "PageMin is not in the code"},
		{"missing", "| Lowest | -1 | |\n", "", "Lowest is missing, in the code it is -1"},
		{"twice", "| Lowest |", "| PageSizeMin |", "PageSizeMin is here twice"},
		{"not a number", "| -1 |", "| none |", `Lowest: "none" is not an integer`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, edit(t, c.old, c.new))
			expectFailure(t, c.want, func(t testing.TB) { formatdoc.CheckConstants(t, path, "Page header", limits) })
		})
	}
}

func TestFieldsWithoutTableFail(t *testing.T) {
	path := write(t, good)
	more := append(header[:len(header):len(header)], formatdoc.Field{Name: "checksum", Offset: 24, Size: 8})
	expectFailure(t, "checksum is missing", func(t testing.TB) { formatdoc.Check(t, path, "Page header", more) })

	twice := append(header[:len(header):len(header)], header[0])
	expectFailure(t, `the code lists "number" twice`, func(t testing.TB) { formatdoc.Check(t, path, "Page header", twice) })

	expectFailure(t, "is empty", func(t testing.TB) { formatdoc.Check(t, path, "Empty", nil) })
	expectFailure(t, "read the format's description", func(t testing.TB) {
		formatdoc.Check(t, filepath.Join(filepath.Dir(path), "absent.md"), "Page header", header)
	})
}

// expectFailure runs check and wants it to fail with a text that holds want.
func expectFailure(t *testing.T, want string, check func(testing.TB)) {
	t.Helper()
	r := &recorder{TB: t}
	check(r)
	if !strings.Contains(r.failures.String(), want) {
		t.Errorf("no failure with %q, but:\n%s", want, &r.failures)
	}
}

// recorder notes failures instead of failing.
type recorder struct {
	testing.TB
	failures strings.Builder
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	fmt.Fprintf(&r.failures, format+"\n", args...)
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(testdir.New(t), "FORMAT.md")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func edit(t *testing.T, from, to string) string {
	t.Helper()
	if strings.Count(good, from) != 1 {
		t.Fatalf("%q is not exactly once in the good text", from)
	}
	return strings.Replace(good, from, to, 1)
}

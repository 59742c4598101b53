package formatdoc

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/errors"
)

// row is a row of a table, without the spaces and backticks around its cells.
type row struct {
	line  int // in the file, from 1
	cells []string
}

func (r row) says(format string, args ...any) string {
	return fmt.Sprintf("line %d: ", r.line) + fmt.Sprintf(format, args...)
}

// table returns the rows below the header of the one table in the section that
// has this header.
func table(text, section string, header []string) ([]row, error) {
	var rows []row
	var found, inSection, inTable, inFence bool
	tables := 0
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "```") {
			inFence = !inFence
		}
		if inFence {
			continue
		}
		if level, title := heading(line); level == 1 || level == 2 {
			inSection = level == 2 && title == section
			found = found || inSection
		}
		if !inSection {
			continue
		}
		cells, isRow := split(line)
		switch {
		case !isRow:
			inTable = false
		case slices.Equal(cells, header):
			inTable = true
			tables++
		case inTable && !isRule(cells):
			if len(cells) != len(header) {
				return nil, errors.Newf("line %d: %d cells where the header has %d", i+1, len(cells), len(header))
			}
			rows = append(rows, row{line: i + 1, cells: cells})
		}
	}
	form := "| " + strings.Join(header, " | ") + " |"
	switch {
	case !found:
		return nil, errors.Newf("no section %q", section)
	case tables != 1:
		return nil, errors.Newf("section %q has %d tables %s, want one", section, tables, form)
	case len(rows) == 0:
		return nil, errors.Newf("section %q: the table %s is empty", section, form)
	}
	return rows, nil
}

// heading returns the level and the title of a heading, or level 0.
func heading(line string) (level int, title string) {
	title = strings.TrimLeft(line, "#")
	level = len(line) - len(title)
	if level == 0 || !strings.HasPrefix(title, " ") {
		return 0, ""
	}
	return level, strings.TrimSpace(title)
}

// split returns the cells of a table row. A vertical bar inside a cell is
// written \|.
func split(line string) (cells []string, ok bool) {
	line, ok = strings.CutPrefix(line, "|")
	if !ok {
		return nil, false
	}
	const bar = "\x00"
	line = strings.ReplaceAll(line, `\|`, bar)
	line = strings.TrimSuffix(line, "|")
	for cell := range strings.SplitSeq(line, "|") {
		cell = strings.ReplaceAll(strings.TrimSpace(cell), bar, "|")
		if inner, quoted := strings.CutPrefix(cell, "`"); quoted && strings.Count(cell, "`") == 2 {
			if whole, ends := strings.CutSuffix(inner, "`"); ends {
				cell = whole
			}
		}
		cells = append(cells, cell)
	}
	return cells, true
}

// isRule reports whether the row is the line of dashes below a header. One dash
// alone is the name of a reserved field and not a rule.
func isRule(cells []string) bool {
	for _, cell := range cells {
		dashes := strings.Trim(cell, ":")
		if len(dashes) < 2 || strings.Trim(dashes, "-") != "" {
			return false
		}
	}
	return true
}

// Package testdata carries the real data set that the tests and the demo of
// kvctl load, so that an installed kvctl can run its demo from anywhere.
package testdata

import _ "embed"

// Unicode holds one line for each of the 34,924 records of the Unicode character
// database: the key (U+ and the code point), a tab, the value (name, category
// and so on, separated by semicolons), a newline. Keys are unique, and in the
// order of code points, which is not the order of bytes. README.md names the
// source and the licence.
//
//go:embed unicode.tsv
var Unicode string

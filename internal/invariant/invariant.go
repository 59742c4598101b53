// Package invariant states what must hold if sharekv itself has no error. Bad
// data from outside is never its business: that is a typed error.
//
// The checks are compiled in with the build tag invariants (or race) and cost
// nothing without it, provided that the caller asks Enabled first where
// computing the condition costs anything.
package invariant

import "github.com/cockroachdb/errors"

// Assert panics if Enabled and cond is false. The format names the invariant,
// for example "I6: meta for slot %d".
func Assert(cond bool, format string, args ...any) {
	if Enabled && !cond {
		panic(errors.AssertionFailedf(format, args...))
	}
}

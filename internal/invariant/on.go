//go:build invariants || race

package invariant

// Enabled reports whether this build checks its own promises.
const Enabled = true

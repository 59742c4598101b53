//go:build mutants

package mutants

import "os"

// Variable is the environment variable that names the mutant that is on.
const Variable = "SHAREKV_MUTANT"

var active = os.Getenv(Variable)

// On reports whether the mutant of that name is the one that is on.
func On(name string) bool { return name == active }

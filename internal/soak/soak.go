// Package soak says for how long tests are to go on that could go on for ever.
package soak

import (
	"os"
	"testing"
	"time"
)

// Duration returns what SHAREKV_SOAK says, such as 30m, if SHAREKV_TEST is soak, and 0
// otherwise.
func Duration(t testing.TB) time.Duration {
	t.Helper()
	if os.Getenv("SHAREKV_TEST") != "soak" {
		return 0
	}
	d, err := time.ParseDuration(os.Getenv("SHAREKV_SOAK"))
	if err != nil {
		t.Fatalf("SHAREKV_SOAK: %v", err)
	}
	return d
}

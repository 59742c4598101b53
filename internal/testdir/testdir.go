// Package testdir gives tests a directory of their own. It stands in for
// testing.T.TempDir, whose clean-up fails under Wine 8 (os.RemoveAll asks for a
// way of deleting that Wine 8 does not know, and os.Remove does not).
package testdir

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// New returns a fresh directory that is removed, with all it holds, when the
// test ends. A failed test keeps it and prints where it is.
func New(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sharekv-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("kept %s", dir)
			return
		}
		if err := Remove(dir); err != nil {
			t.Errorf("remove test directory: %v", err)
		}
	})
	return dir
}

// Remove deletes dir and everything in it.
func Remove(dir string) error {
	var paths []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	})
	for _, path := range slices.Backward(paths) {
		if e := os.Remove(path); err == nil {
			err = e
		}
	}
	return err
}

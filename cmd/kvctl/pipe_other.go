//go:build !windows

package main

import (
	"syscall"

	"github.com/cockroachdb/errors"
)

// isClosedPipe reports whether err says that the reader of our output has gone,
// as head does when it has seen enough.
func isClosedPipe(err error) bool { return errors.Is(err, syscall.EPIPE) }

package main

import (
	"fmt"
	"io"
	"os/exec"
	"slices"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/store"
)

// The exit codes, which scripts rely on. They are listed in the help of kvctl.
const (
	exitOK       = 0
	exitError    = 1
	exitUsage    = 2
	exitNotFound = 3
	exitCorrupt  = 4
	exitBusy     = 5
	exitConflict = 6
)

// usageError is a mistake in the command line itself: nothing was done.
type usageError struct{ cause error }

func (e *usageError) Error() string { return e.cause.Error() }
func (e *usageError) Unwrap() error { return e.cause }

func usageErrorf(format string, args ...any) error {
	return &usageError{errors.Newf(format, args...)}
}

// plainError is an error of the store in words of kvctl's own.
type plainError struct {
	text  string
	cause error
}

func (e *plainError) Error() string { return e.text }
func (e *plainError) Unwrap() error { return e.cause }

func plainErrorf(cause error, format string, args ...any) error {
	return &plainError{fmt.Sprintf(format, args...), cause}
}

func exitCode(err error) int {
	var usage *usageError
	var command *exec.ExitError // of mutex
	switch {
	case err == nil, isClosedPipe(err):
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &command):
		return max(command.ExitCode(), exitError)
	case errors.IsAny(err, store.ErrNotFound, store.ErrBucketNotFound):
		return exitNotFound
	case errors.Is(err, store.ErrConflict):
		return exitConflict
	case errors.IsAny(err, store.ErrCorrupt, store.ErrNotStore, store.ErrTruncated, store.ErrFault):
		return exitCorrupt
	case errors.Is(err, store.ErrBusy):
		return exitBusy
	}
	return exitError
}

// report prints err, if it is one for people to see, with its hints last, and
// returns the exit code.
func report(w io.Writer, err error) int {
	code := exitCode(err)
	if code == exitOK {
		return code
	}
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.Exited() {
		return code // it has said why itself
	}
	fmt.Fprintf(w, "kvctl: %v\n", err)
	hints := errors.GetAllHints(err)
	for i, hint := range hints {
		if !slices.Contains(hints[:i], hint) {
			fmt.Fprintf(w, "hint: %s\n", hint)
		}
	}
	return code
}

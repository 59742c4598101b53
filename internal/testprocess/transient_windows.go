package testprocess

import (
	"github.com/cockroachdb/errors"
	"golang.org/x/sys/windows"
)

// transient reports whether err may go away. Where processes are killed all the time,
// Wine fails to start one now and then.
func transient(err error) bool { return errors.Is(err, windows.ERROR_INTERNAL_ERROR) }

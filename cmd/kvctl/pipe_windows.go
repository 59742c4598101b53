package main

import (
	"github.com/cockroachdb/errors"
	"golang.org/x/sys/windows"
)

func isClosedPipe(err error) bool {
	return errors.IsAny(err, windows.ERROR_BROKEN_PIPE, windows.ERROR_NO_DATA)
}

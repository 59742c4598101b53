// Package main is kvctl, the command line of sharekv. It works on live stores:
// any number of kvctl and other processes may read and write one store at once.
//
// Each verb has a file of its own, with a newXCommand function that is given to
// newRootCommand. Data goes to stdout, messages to stderr, and the exit code
// tells the main failures apart (exit.go).
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run(os.Args[1:])) }

// run executes one command line and returns the exit code of the process.
func run(args []string) int {
	// A pipe whose reader has gone must be an error of the write, and not the
	// death of the process, so that the store is closed in good order.
	signal.Ignore(syscall.SIGPIPE)
	root := newRootCommand()
	root.SetArgs(args)
	return report(os.Stderr, root.Execute())
}

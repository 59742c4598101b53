// Package main is kvbench, which measures sharekv beside other engines: C LMDB,
// bbolt and Pebble. It is a module of its own, so that none of them is a dependency
// of sharekv.
//
//	durable.go     a benchmark: its flags, its cases and rounds
//	engine.go      the engines, and how the driver of LMDB is compiled
//	round.go       one round: processes are started, told to go, heard and checked
//	player.go      what such a process does, and the lines that it speaks
//	storage.go     the engines in Go, as a player uses them
//	operation.go   what one transaction puts
//	histogram.go   latencies
//	figures.go     what is told of a round, and medians of rounds
//	report.go      the output
//	lmdb/driver.c  the player of LMDB
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run executes one command line and returns the exit code of the process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "kvbench: %v\n", err)
	hints := errors.GetAllHints(err)
	for i, hint := range hints {
		if !slices.Contains(hints[:i], hint) {
			fmt.Fprintf(stderr, "hint: %s\n", hint)
		}
	}
	return 1
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "kvbench COMMAND",
		Short:         "kvbench measures sharekv beside other engines.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newDurableCommand(), newPlayerCommand())
	return root
}

// newPlayerCommand is the player of an engine in Go.
func newPlayerCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "player ENGINE VERB DIR ...",
		Hidden: true,
		Args:   cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			i := slices.IndexFunc(engines, func(e engine) bool { return e.name == args[0] && e.open != nil })
			if i < 0 {
				return errors.Newf("%s has no player in Go", args[0])
			}
			return play(engines[i].open, args[1:], cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

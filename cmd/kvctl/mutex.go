package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/sharekv/sharekv/mmapfile"
	"github.com/sharekv/sharekv/store"
)

func newMutexCommand(s *storeFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mutex NAME -- COMMAND [ARG...]",
		Short: "Run a command while no other holds the mutex of this name.",
		Example: `  kvctl mutex deploy -- ./deploy.sh
  kvctl --timeout 0 mutex global/backup -- tar cf backup.tar data`,
		Long: `The mutex is one of the named objects of package mmapfile: other programs can use it,
too. It needs no file, and is there as long as somebody uses it. The command inherits
stdin, stdout and stderr, and kvctl ends with its exit code; 5 also says that the mutex
was not to be had before --timeout, and who has it.

If the last holder died, a message says so, and the command runs. If kvctl itself is
killed, the mutex is free, and the command goes on without it.`,
		Args: func(cmd *cobra.Command, args []string) error {
			return wants("NAME", "COMMAND...")(cmd, withoutDashes(args))
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			args = withoutDashes(args)
			m, _, err := mmapfile.CreateMutex(objectName(args[0]), nil)
			if err != nil {
				return err
			}
			defer func() { err = errors.CombineErrors(err, m.Close()) }()
			ctx := cmd.Context()
			if s.timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeoutCause(ctx, s.timeout, store.ErrBusy)
				defer cancel()
			}
			err = m.Lock(ctx)
			switch {
			case errors.Is(err, mmapfile.ErrAbandoned):
				fmt.Fprintf(cmd.ErrOrStderr(), "the last one to hold %s died\n", args[0])
			case err != nil:
				return advise(err)
			}
			defer m.Unlock()
			return runCommand(cmd, args[1:])
		},
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// withoutDashes removes the -- between the name and the command, which is there for
// those who read it: flags end with the name.
func withoutDashes(args []string) []string {
	if len(args) > 1 && args[1] == "--" {
		return append([]string{args[0]}, args[2:]...)
	}
	return args
}

// runCommand runs a command to its end: what interrupts both is for the command to obey.
func runCommand(cmd *cobra.Command, args []string) error {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	c := exec.Command(args[0], args[1:]...)
	c.Stdin, c.Stdout, c.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	return c.Run()
}

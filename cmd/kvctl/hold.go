package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/sharekv/sharekv/store"
)

func newHoldCommand(s *storeFlags) *cobra.Command {
	var (
		file string
		many bool
		most int64
	)
	cmd := &cobra.Command{
		Use:   "hold [shm:NAME]",
		Short: "Keep a store in shared memory until interrupted.",
		Example: `  kvctl hold shm:config --load config.tsv &
  kvctl -s shm:config get timeout
  KVCTL_STORE=shm:config kvctl put timeout 30s`,
		Long: `A store in shared memory has no file. It lives as long as somebody has it open, and
is gone when the last one ends, however it ends. hold makes it, or joins those who have
it, says so on stdout, and keeps it until it is interrupted or terminated.

shm:NAME is one that the processes of this user and session find; shm:global/NAME one
that those of all of the user's sessions do. On Linux both reach all of these, but they
are two stores.

With --load the records of a file, or of stdin for -, are stored before it says so; they
have the form that load wants.`,
		Args: wantsAtMostOne("shm:NAME"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if len(args) == 1 {
				s.path = args[0]
			}
			at, err := s.resolve()
			if err != nil {
				return err
			}
			if !at.shared() {
				return errors.WithHint(usageErrorf("%v is a file: nobody needs to hold it", at),
					"shm:NAME is a store in shared memory")
			}
			db, err := at.open(&store.Options{LockTimeout: s.timeout, MaxSize: most})
			if err != nil {
				return err
			}
			defer func() { err = errors.CombineErrors(err, db.Close()) }()
			if file != "" {
				if err := loadFile(cmd.InOrStdin(), file, many, db); err != nil {
					return err
				}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "holding %v\n", at)
			return untilDone(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&file, "load", "", "store the records of `FILE` first")
	cmd.Flags().BoolVarP(&many, "recursive", "r", false, "these name the bucket they are of, as scan -r prints them")
	cmd.Flags().Int64Var(&most, "max-bytes", 0, "how large it may become; 0 is as large as there is memory")
	return cmd
}

func loadFile(stdin io.Reader, name string, many bool, db *store.DB) error {
	in, name, err := openInput(stdin, name)
	if err != nil {
		return err
	}
	defer in.Close()
	l := loader{in: newRecordReader(name, in, formAuto)}
	l.in.many = many
	l.read()
	return l.load(db)
}

// untilDone returns when the context ends, or the process is asked to end.
func untilDone(ctx context.Context) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	return nil
}

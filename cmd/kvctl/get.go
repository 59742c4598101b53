package main

import (
	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/sharekv/sharekv/store"
)

func newGetCommand(s *storeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "get KEY",
		Short: "Print the value of a key.",
		Example: `  kvctl -s app.kv get greeting
  kvctl -s app.kv get logo > logo.png
  kvctl -s app.kv get greeting || echo "exit code 3 means: not there"`,
		Long: `The value is printed as it is, with nothing added; only a terminal gets a
newline after it.`,
		Args: wants("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.with(reading, func(db *store.DB) error {
				value, err := db.Get([]byte(args[0]))
				if errors.Is(err, store.ErrNotFound) {
					return &absentError{args[0]}
				}
				if err != nil {
					return errors.Wrapf(err, "get %.64q", args[0])
				}
				out := cmd.OutOrStdout()
				if isTerminal(out) {
					value = append(value, '\n')
				}
				_, err = out.Write(value)
				return err
			})
		},
	}
}

package main

import (
	"io"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/sharekv/sharekv/store"
)

func newPutCommand(s *storeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "put KEY VALUE",
		Short: "Store a value under a key.",
		Example: `  kvctl -s app.kv put greeting hello
  kvctl -s app.kv put logo - < logo.png
  kvctl -s app.kv put -- offset -5          # -- where something begins with -`,
		Long: `The value - is read from stdin, every byte as it is. A value that was there is
replaced. The store is created if it does not exist. When put returns, the value
is on disk.`,
		Args: wants("KEY", "VALUE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			value := []byte(args[1])
			if args[1] == "-" {
				var err error
				if value, err = io.ReadAll(cmd.InOrStdin()); err != nil {
					return errors.Wrap(err, "read the value from stdin")
				}
			}
			return s.with(creating, func(db *store.DB) error {
				return errors.Wrapf(db.Put([]byte(args[0]), value), "put %.64q", args[0])
			})
		},
	}
}

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sharekv/sharekv/store"
)

func newCheckCommand(s *storeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Verify every page of the store.",
		Example: `  kvctl -s app.kv check
  kvctl -s app.kv check > /dev/null || echo damaged`,
		Long: `Reads the whole store and verifies checksums, the order of keys and the account
of pages, while other processes go on. Exit code 4 and a message tell of damage.`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.with(reading, func(db *store.DB) error {
				r, err := db.Check(cmd.Context())
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "pages    %d\nentries  %d\nno damage found\n",
					r.Pages, r.Entries)
				return err
			})
		},
	}
}

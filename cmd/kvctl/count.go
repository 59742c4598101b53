package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sharekv/sharekv/store"
)

func newCountCommand(s *storeFlags) *cobra.Command {
	var keys keyRange
	cmd := &cobra.Command{
		Use:   "count",
		Short: "Print how many records there are.",
		Example: `  kvctl -s app.kv count
  kvctl -s app.kv count --prefix user/
  kvctl -s app.kv count --from 2026-01 --to 2026-02`,
		Long: `Counts what scan would print with the same flags, in one snapshot.

` + rangeHelp,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.with(reading, func(db *store.DB) error {
				n := 0
				err := db.View(func(tx *store.Tx) error {
					for range keys.in(tx) {
						n++
					}
					return nil
				})
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), n)
				return err
			})
		},
	}
	keys.register(cmd.Flags())
	return cmd
}

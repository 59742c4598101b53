package main

import (
	"fmt"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/sharekv/sharekv/store"
)

func newDelCommand(s *storeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "del KEY...",
		Short: "Delete keys, and print how many there were.",
		Example: `  kvctl -s app.kv del greeting
  kvctl -s app.kv del user/1 user/2 user/3  # all of them at once, or none
  test $(kvctl -s app.kv del lock) = 1      # was it there?`,
		Long: `Prints how many of the keys were there. One that is not there is no error, so
deleting again does no harm. All keys are deleted in one transaction: nobody sees
some of them gone and others not. When del returns, that is on disk.`,
		Args: wants("KEY..."),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.with(changing, func(db *store.DB) error {
				n := 0
				err := db.Update(func(tx *store.Tx) (err error) {
					n, err = deleteKeys(tx, args)
					return err
				})
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), n)
				return err
			})
		},
	}
}

// deleteKeys returns how many of the keys were there.
func deleteKeys(tx *store.Tx, keys []string) (n int, err error) {
	for _, key := range keys {
		_, err := tx.Get([]byte(key))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err == nil {
			err = tx.Delete([]byte(key))
		}
		if err != nil {
			return n, errors.Wrapf(err, "del %.64q", key)
		}
		n++
	}
	return n, nil
}

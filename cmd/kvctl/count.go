package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sharekv/sharekv/store"
)

func newCountCommand(s *storeFlags) *cobra.Command {
	var o selection
	cmd := &cobra.Command{
		Use:   "count",
		Short: "Print how many records there are.",
		Example: `  kvctl -s app.kv count
  kvctl -s app.kv count --prefix user/
  kvctl -s app.kv count --bucket services/web
  kvctl -s app.kv count -r                  # with all buckets
  kvctl -s app.kv count --from 2026-01 --to 2026-02`,
		Long: `Counts what scan would print with the same flags, in one snapshot. No values are
read.

` + rangeHelp + `

` + bucketHelp,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			keys, err := o.keys()
			if err != nil {
				return err
			}
			n := 0
			err = s.view(func(tx *store.Tx) error {
				top, err := o.find(tx)
				if err != nil {
					return err
				}
				if n, _, err = o.count(top, keys); err == nil && n == 0 {
					o.mentionBuckets(cmd.ErrOrStderr(), top, keys)
				}
				return err
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), n)
			return err
		},
	}
	o.registerRange(cmd.Flags())
	o.registerRecursive(cmd.Flags())
	return cmd
}

// count returns how many entries are selected below top, in how many buckets.
func (s *selection) count(top *store.Bucket, keys keyRange) (entries, buckets int, err error) {
	for p, err := range s.places(top) {
		if err != nil {
			return entries, buckets, err
		}
		buckets++
		for range keys.in(p.bucket, false) {
			entries++
		}
	}
	return entries, buckets, nil
}

package main

import (
	"fmt"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/sharekv/sharekv/store"
)

// delOptions says what to delete: keys, or all that are selected.
type delOptions struct {
	selection
	all bool
}

func newDelCommand(s *storeFlags) *cobra.Command {
	var o delOptions
	cmd := &cobra.Command{
		Use:        "del [KEY...]",
		SuggestFor: []string{"delete", "rm", "remove", "unset"},
		Short:      "Delete keys, and print how many there were.",
		Example: `  kvctl -s app.kv del greeting
  kvctl -s app.kv del user/1 user/2 user/3  # all of them at once, or none
  kvctl -s app.kv del --bucket services/web port
  kvctl -s app.kv del --prefix user/        # count --prefix user/ says how many
  kvctl -s app.kv del --bucket cache --all
  test $(kvctl -s app.kv del lock) = 1      # was it there?`,
		Long: `With KEYs it prints how many of them were there. One that is not there is no error,
so deleting again does no harm. With --prefix, --from and --to it deletes the keys in
that range, and with --all those of the whole bucket, and says on stderr how many that
were. Buckets in the bucket stay: kvctl buckets --delete deletes them.

All keys are deleted in one transaction: nobody sees some of them gone and others not.
When del returns, that is on disk.

` + rangeHelp + `

` + bucketHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			ranged, err := o.validate(cmd, args)
			if err != nil {
				return err
			}
			if ranged {
				return o.deleteRange(s, cmd)
			}
			return o.deleteKeys(s, cmd, args)
		},
	}
	o.registerRange(cmd.Flags())
	cmd.Flags().BoolVar(&o.all, "all", false, "all keys of the bucket, but not the buckets in it")
	return cmd
}

// validate reports whether a range is to be deleted. An empty bound is refused: it
// is that of a script whose variable is not set.
func (o *delOptions) validate(cmd *cobra.Command, args []string) (ranged bool, err error) {
	for _, name := range []string{"prefix", "from", "to"} {
		bound := cmd.Flags().Lookup(name)
		if !bound.Changed {
			continue
		}
		ranged = true
		switch {
		case bound.Value.String() == "":
			err := usageErrorf("--%s is empty", name)
			return true, errors.WithHint(err, "--all deletes all keys of the bucket")
		case o.all:
			return true, usageErrorf("--all and --%s exclude each other", name)
		}
	}
	ranged = ranged || o.all
	switch {
	case ranged && len(args) > 0:
		return true, usageErrorf("del: want either keys or a range, got both, with keys %q", args)
	case !ranged && len(args) == 0:
		err := usageErrorf("del: want KEY..., or --prefix, --from, --to or --all")
		return false, errors.WithHint(err, "kvctl del --help shows examples")
	}
	return ranged, nil
}

func (o *delOptions) deleteRange(s *storeFlags, cmd *cobra.Command) error {
	keys, err := o.keys()
	if err != nil {
		return err
	}
	n := 0
	err = s.change(func(tx *store.Tx) error {
		b, err := o.find(tx)
		if err != nil {
			return err
		}
		n, err = b.DeleteRange(keys.lo, keys.hi)
		return err
	})
	if err == nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "deleted %s\n", counted(n, "record"))
	}
	return err
}

func (o *delOptions) deleteKeys(s *storeFlags, cmd *cobra.Command, args []string) error {
	keys := make([][]byte, len(args))
	for i, arg := range args {
		var err error
		if keys[i], err = o.key(arg); err != nil {
			return err
		}
	}
	n := 0
	err := s.change(func(tx *store.Tx) error {
		b, err := o.find(tx)
		if err != nil {
			return err
		}
		n, err = deleteKeys(b, keys)
		return err
	})
	if err == nil {
		_, err = fmt.Fprintln(cmd.OutOrStdout(), n)
	}
	return err
}

// deleteKeys returns how many of the keys were there.
func deleteKeys(b *store.Bucket, keys [][]byte) (n int, err error) {
	for _, key := range keys {
		_, err := b.Get(key)
		found := err == nil
		if found || errors.Is(err, store.ErrNotFound) {
			err = b.Delete(key) // which knows the names of buckets
		}
		if err != nil {
			return n, explainKey(errors.Wrapf(err, "del %.64q", key), key)
		}
		if found {
			n++
		}
	}
	return n, nil
}

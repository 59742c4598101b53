package main

import (
	"io"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/sharekv/sharekv/store"
)

// putOptions says in which bucket to store a value, and on what condition.
type putOptions struct {
	selection
	ifAbsent bool
	ifEqual  bool // to old
	old      string
}

func newPutCommand(s *storeFlags) *cobra.Command {
	var o putOptions
	cmd := &cobra.Command{
		Use:        "put KEY VALUE",
		SuggestFor: []string{"set", "add", "insert", "write"},
		Short:      "Store a value under a key.",
		Example: `  kvctl -s app.kv put greeting hello
  kvctl -s app.kv put --bucket services/web port 8080
  kvctl -s app.kv put logo - < logo.png
  kvctl -s app.kv put --if-absent leader me || echo "exit code 6: there is one"
  kvctl -s app.kv put --if 8080 port 8081
  kvctl -s app.kv put -- offset -5          # -- where something begins with -`,
		Long: `The value - is read from stdin, every byte as it is. A value that was there is
replaced. With --if-absent there must have been none, and with --if OLD it must have
been OLD; otherwise nothing changes and the exit code is 6.

The store and the bucket are created if they do not exist; --if needs a store. When
put returns, the value is on disk.

` + bucketHelp,
		Args: wants("KEY", "VALUE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := exclusive(cmd, "if-absent", "if"); err != nil {
				return err
			}
			key, err := o.key(args[0])
			if err != nil {
				return err
			}
			value := []byte(args[1])
			if args[1] == "-" {
				if value, err = io.ReadAll(cmd.InOrStdin()); err != nil {
					return errors.Wrap(err, "read the value from stdin")
				}
			}
			how := creating
			if o.ifEqual = cmd.Flags().Changed("if"); o.ifEqual {
				how = changing
			}
			return s.with(how, func(db *store.DB) error {
				return db.Update(func(tx *store.Tx) error { return o.put(tx, key, value) })
			})
		},
	}
	flags := cmd.Flags()
	o.registerKey(flags)
	flags.BoolVar(&o.ifAbsent, "if-absent", false, "only if the key has no value")
	flags.StringVar(&o.old, "if", "", "only if the key has the value `OLD`")
	return cmd
}

func (o *putOptions) put(tx *store.Tx, key, value []byte) error {
	b, err := o.ensure(tx)
	if err != nil {
		return err
	}
	switch {
	case o.ifAbsent:
		err = b.PutIf(key, nil, value)
	case o.ifEqual:
		err = b.PutIf(key, []byte(o.old), value)
	default:
		err = b.Put(key, value)
	}
	if !errors.Is(err, store.ErrConflict) {
		return explainKey(errors.Wrapf(err, "put %.64q", key), key)
	}
	_, absent := b.Get(key)
	switch {
	case o.ifAbsent:
		return plainErrorf(err, "the key %.64q has a value already", key)
	case errors.Is(absent, store.ErrNotFound):
		return plainErrorf(err, "the key %.64q has no value", key)
	}
	return plainErrorf(err, "the key %.64q has another value", key)
}

package main

import (
	"fmt"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/sharekv/sharekv/store"
)

func newGetCommand(s *storeFlags) *cobra.Command {
	var o selection
	var p printing
	cmd := &cobra.Command{
		Use:        "get KEY",
		SuggestFor: []string{"read", "cat", "show"},
		Short:      "Print the value of a key.",
		Example: `  kvctl -s app.kv get greeting
  kvctl -s app.kv get --bucket services/web port
  kvctl -s app.kv get logo > logo.png
  kvctl -s app.kv get --format hex logo
  kvctl -s app.kv get greeting || echo "exit code 3 means: not there"`,
		Long: `The value is printed as it is, with nothing added; only a terminal gets a
newline after it. Another --format is that of scan --values-only, a line that ends in
a newline. --json prints the whole record.

` + bucketHelp,
		Args: wants("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := exclusive(cmd, "json", "format"); err != nil {
				return err
			}
			key, err := o.key(args[0])
			if err != nil {
				return err
			}
			p.valuesOnly = !p.isJSON()
			out := cmd.OutOrStdout()
			return s.view(func(tx *store.Tx) error {
				value, err := o.get(tx, key)
				if err != nil {
					return err
				}
				line, err := p.appendLine(nil, record{key: key, value: value})
				if err != nil {
					return err
				}
				if p.form == formRaw && !p.isJSON() && isTerminal(out) {
					line = append(line, '\n')
				}
				_, err = out.Write(line)
				return err
			})
		},
	}
	o.registerKey(cmd.Flags())
	p.register(cmd.Flags(), formRaw, formAuto, formASCII, formHex, formJSON)
	return cmd
}

// get returns the value of key, which must be there.
func (s *selection) get(tx *store.Tx, key []byte) ([]byte, error) {
	b, err := s.find(tx)
	if err != nil {
		return nil, err
	}
	value, err := b.Get(key)
	if !errors.Is(err, store.ErrNotFound) {
		return value, errors.Wrapf(err, "get %.64q", key)
	}
	return nil, s.absent(tx, key)
}

// absent is the error for a key that is not there.
func (s *selection) absent(tx *store.Tx, key []byte) error {
	what := fmt.Sprintf("key %.64q", key)
	if len(s.bucket) > 0 {
		what += fmt.Sprintf(" in bucket %v", s.bucket)
	}
	err := plainErrorf(store.ErrNotFound, "there is no %s", what)
	path, bad := parsePath(string(key))
	if bad != nil {
		return err
	}
	// Who thinks of files writes the path and the key as one.
	path = s.bucket.join(path...)
	if _, e := tx.Bucket(path...); e == nil {
		return errors.WithHintf(err, "there is a bucket of this name: kvctl scan --bucket %v", path)
	}
	last := len(path) - 1
	if b, e := tx.Bucket(path[:last]...); e == nil && last > len(s.bucket) {
		if _, e := b.Get([]byte(path[last])); e == nil {
			return errors.WithHintf(err, "there is a bucket with such a key: kvctl get --bucket %v %v",
				path[:last], path[last:])
		}
	}
	return err
}

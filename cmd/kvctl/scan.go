package main

import (
	"bufio"
	"fmt"
	"io"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/sharekv/sharekv/store"
)

// scanOptions says which records to print, and how.
type scanOptions struct {
	selection
	printing
	reverse bool
	limit   int
}

func newScanCommand(s *storeFlags) *cobra.Command {
	var o scanOptions
	cmd := &cobra.Command{
		Use:        "scan",
		SuggestFor: []string{"ls", "list", "dump", "export", "keys"},
		Short:      "Print records in the order of their keys.",
		Example: `  kvctl -s app.kv scan
  kvctl -s app.kv scan --prefix user/ --keys-only
  kvctl -s app.kv scan --bucket services/web --json
  kvctl -s app.kv scan --from 2026-01 --to 2026-02 --reverse --limit 10
  kvctl -s app.kv scan -r > all.tsv && kvctl -s new.kv load -r all.tsv`,
		Long: `All records come from one snapshot: writers go on and do not disturb it. -r prints
the records of the bucket, and then those of the buckets in it, each in its order.

` + formatHelp + `

Without --format, text is printed as it is, and what is not UTF-8 or would do something
to a terminal has escapes. --format ascii has them for all that is not ASCII. --format
hex prints keys and values in hexadecimal; load --format hex reads that.

` + rangeHelp + `

` + bucketHelp,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(cmd); err != nil {
				return err
			}
			keys, err := o.keys()
			if err != nil {
				return err
			}
			out := bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10)
			err = s.view(func(tx *store.Tx) error {
				top, err := o.find(tx)
				if err != nil {
					return err
				}
				n, err := o.write(out, tx, top, keys)
				if err == nil && n == 0 {
					o.mentionBuckets(cmd.ErrOrStderr(), top, keys)
				}
				return err
			})
			return errors.CombineErrors(err, out.Flush())
		},
	}
	flags := cmd.Flags()
	o.registerRange(flags)
	o.registerRecursive(flags)
	flags.BoolVar(&o.reverse, "reverse", false, "the greatest key first")
	flags.IntVar(&o.limit, "limit", 0, "at most `N` records; 0 is all")
	flags.BoolVar(&o.keysOnly, "keys-only", false, "print keys only, and read no values")
	flags.BoolVar(&o.valuesOnly, "values-only", false, "print values only")
	o.register(flags, formAuto, formASCII, formHex, formJSON)
	return cmd
}

func (o *scanOptions) validate(cmd *cobra.Command) error {
	if o.limit < 0 {
		return usageErrorf("--limit %d is negative", o.limit)
	}
	o.buckets = o.recursive
	if err := exclusive(cmd, "json", "format"); err != nil {
		return err
	}
	return exclusive(cmd, "keys-only", "values-only")
}

// write prints the entries below top, and returns how many.
func (o *scanOptions) write(out io.Writer, tx *store.Tx, top *store.Bucket, keys keyRange) (n int, err error) {
	for p, err := range o.places(top) {
		if err != nil {
			return n, err
		}
		more, err := o.writePlace(out, tx, p, keys, o.limit-n)
		n += more
		if err != nil || n > 0 && n == o.limit {
			return n, err
		}
	}
	return n, nil
}

// writePlace prints the entries of one bucket, at most so many if most is positive.
func (o *scanOptions) writePlace(out io.Writer, tx *store.Tx, p place, keys keyRange, most int) (n int, err error) {
	var line []byte
	for c := range keys.in(p.bucket, o.reverse) {
		r := record{bucket: p.path, key: c.Key()}
		if !o.keysOnly {
			r.value = c.Value()
		}
		if err := tx.Err(); err != nil { // the value could not be read
			return n, err
		}
		if line, err = o.appendLine(line[:0], r); err != nil {
			return n, err
		}
		if _, err := out.Write(line); err != nil {
			return n, err
		}
		if n++; n == most {
			return n, nil
		}
	}
	if n == 0 && o.printsEmpty(p, keys) {
		if line, err = o.appendLine(line, record{bucket: p.path}); err == nil {
			_, err = out.Write(line)
		}
	}
	return n, err
}

// printsEmpty reports whether p, which has no records, must be mentioned so that
// load can make it again: it does not come with the buckets in it.
func (o *scanOptions) printsEmpty(p place, keys keyRange) bool {
	return len(p.path) > 0 && keys.all() && !o.valuesOnly && !hasBuckets(p.bucket)
}

// mentionBuckets helps who finds nothing because all records lie in buckets.
func (s *selection) mentionBuckets(messages io.Writer, top *store.Bucket, keys keyRange) {
	if !s.recursive && keys.all() && hasBuckets(top) {
		fmt.Fprintln(messages, "no records here, but there are buckets: kvctl buckets lists them, -r looks into them")
	}
}

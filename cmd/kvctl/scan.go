package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/sharekv/sharekv/store"
)

// scanOptions says which records to print, and how.
type scanOptions struct {
	keyRange
	limit                int
	keysOnly, valuesOnly bool
	json                 bool
}

func newScanCommand(s *storeFlags) *cobra.Command {
	var o scanOptions
	cmd := &cobra.Command{
		Use:   "scan",
		Short: "Print records in the order of their keys.",
		Example: `  kvctl -s app.kv scan
  kvctl -s app.kv scan --prefix user/ --keys-only
  kvctl -s app.kv scan --from 2026-01 --to 2026-02 --json
  kvctl -s app.kv scan > all.tsv && kvctl -s new.kv load all.tsv`,
		Long: `All records come from one snapshot: writers go on and do not disturb it.

` + formatHelp + `

` + rangeHelp,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			out := bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10)
			return s.with(reading, func(db *store.DB) error {
				err := db.View(func(tx *store.Tx) error { return o.write(out, tx) })
				return errors.CombineErrors(err, out.Flush())
			})
		},
	}
	flags := cmd.Flags()
	o.keyRange.register(flags)
	flags.IntVar(&o.limit, "limit", 0, "at most `N` records; 0 is all")
	flags.BoolVar(&o.keysOnly, "keys-only", false, "print keys only")
	flags.BoolVar(&o.valuesOnly, "values-only", false, "print values only")
	flags.BoolVar(&o.json, "json", false, "print one JSON object a line")
	return cmd
}

func (o *scanOptions) validate() error {
	if o.limit < 0 {
		return usageErrorf("--limit %d is negative", o.limit)
	}
	if o.keysOnly && o.valuesOnly {
		return usageErrorf("--keys-only and --values-only exclude each other")
	}
	return nil
}

func (o *scanOptions) write(out io.Writer, tx *store.Tx) error {
	encode := o.text
	if o.json {
		encode = o.jsonLine
	}
	var line []byte
	n := 0
	for key, value := range o.in(tx) {
		var err error
		if line, err = encode(line[:0], record{key, value}); err != nil {
			return err
		}
		if _, err = out.Write(line); err != nil {
			return err
		}
		if n++; n == o.limit {
			break
		}
	}
	return nil
}

func (o *scanOptions) text(dst []byte, r record) ([]byte, error) {
	if !o.valuesOnly {
		dst = appendEscaped(dst, r.key)
	}
	if !o.keysOnly && !o.valuesOnly {
		dst = append(dst, '\t')
	}
	if !o.keysOnly {
		dst = appendEscaped(dst, r.value)
	}
	return append(dst, '\n'), nil
}

func (o *scanOptions) jsonLine(dst []byte, r record) ([]byte, error) {
	var j jsonRecord
	if !o.valuesOnly {
		j.Key, j.KeyBase64 = textOrBase64(r.key)
	}
	if !o.keysOnly {
		j.Value, j.ValueBase64 = textOrBase64(r.value)
	}
	buf := bytes.NewBuffer(dst)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(j)
	return buf.Bytes(), err
}

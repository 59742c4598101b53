package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/sharekv/sharekv/store"
)

// A transaction of load ends with whichever comes first. The bound in bytes
// keeps the memory for large values in check.
const (
	batchRecords = 1000
	batchBytes   = 16 << 20
)

func newLoadCommand(s *storeFlags) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "load FILE",
		Short: "Store the records of a file.",
		Example: `  kvctl -s new.kv load all.tsv
  kvctl -s app.kv scan --prefix user/ | kvctl -s users.kv load -
  jq -c '{key: .id, value: .name}' users.json | kvctl -s users.kv load -`,
		Long: `FILE holds lines of text or of JSON, as scan prints them; - is stdin.

` + formatHelp + `

The first line tells the form: JSON if it begins with { and has no tab. A line ends
in \n; a carriage return right before it belongs to the line end. A line is at most
64 MiB long.

The store is created if it does not exist. Records are stored in transactions of
1,000 (fewer if they are large). An error says how many records are stored; they
are the first ones of the file, and loading the whole file again does no harm.`,
		Args: wants("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, name, err := openInput(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			defer in.Close()
			bar := newByteBar(cmd.ErrOrStderr(), in)
			defer bar.end()
			records, err := newRecordReader(name, bar.proxy(in), format)
			if err != nil {
				return err
			}
			return s.with(creating, func(db *store.DB) error {
				start := time.Now()
				n, err := load(db, records)
				if err != nil {
					return errors.WithHintf(err,
						"records stored: %d; loading the whole file again does no harm", n)
				}
				bar.end()
				took := time.Since(start).Round(time.Millisecond)
				fmt.Fprintf(cmd.ErrOrStderr(), "%d records in %v\n", n, took)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&format, "format", "auto", "the `FORM` of the lines: auto, tsv or json")
	return cmd
}

// openInput opens the file called name, or takes stdin for -. The second result
// is the name for people.
func openInput(stdin io.Reader, name string) (io.ReadCloser, string, error) {
	if name == "-" {
		f, ok := stdin.(*os.File)
		if ok {
			return f, "stdin", nil
		}
		return io.NopCloser(stdin), "stdin", nil
	}
	f, err := os.Open(name)
	return f, name, err
}

// load stores all records and returns how many are stored, also with an error:
// the first ones of the input.
func load(db *store.DB, in *recordReader) (int64, error) {
	var stored int64
	for {
		first := in.line + 1
		batch, readErr := readBatch(in)
		if len(batch) > 0 {
			if err := storeBatch(db, in, first, batch); err != nil {
				return stored, err
			}
			stored += int64(len(batch))
		}
		if errors.Is(readErr, io.EOF) {
			return stored, nil
		}
		if readErr != nil {
			return stored, readErr
		}
	}
}

// storeBatch stores the records that begin at line first of in, all or none.
func storeBatch(db *store.DB, in *recordReader, first int, batch []record) error {
	return db.Update(func(tx *store.Tx) error {
		for i, r := range batch {
			if err := tx.Put(r.key, r.value); err != nil {
				return in.at(first+i, err)
			}
		}
		return nil
	})
}

// readBatch reads the records of one transaction before the write lock is asked
// for, so that slow input keeps no writer waiting. With an error come the
// records before it.
func readBatch(in *recordReader) ([]record, error) {
	var batch []record
	for bytes := 0; len(batch) < batchRecords && bytes < batchBytes; {
		r, err := in.next()
		if err != nil {
			return batch, err
		}
		batch = append(batch, r)
		bytes += len(r.key) + len(r.value)
	}
	return batch, nil
}

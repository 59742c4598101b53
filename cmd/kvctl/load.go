package main

import (
	"fmt"
	"io"
	"os"
	"slices"
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
	var (
		o     selection
		lines form
		many  bool
	)
	cmd := &cobra.Command{
		Use:        "load FILE",
		SuggestFor: []string{"import", "restore"},
		Short:      "Store the records of a file.",
		Example: `  kvctl -s new.kv load all.tsv
  kvctl -s new.kv load -r all-buckets.tsv
  kvctl -s app.kv scan --prefix user/ | kvctl -s users.kv load -
  kvctl -s app.kv scan -r --bucket services/web | kvctl -s new.kv load -r --bucket web -
  jq -c '{key: .id, value: .name}' users.json | kvctl -s users.kv load -`,
		Long: `FILE holds lines of text or of JSON, as scan prints them; - is stdin.

` + formatHelp + `

The first line tells the form: JSON if it begins with { and has no tab. What scan
printed with --format hex needs that flag here, too; --format text is for text of
which the first line looks like JSON. A line ends in \n; a carriage return right
before it belongs to the line end. A line is at most 256 MiB long.

The store and the buckets are created if they do not exist. Records are stored in
transactions of 1,000 (fewer if they are large). An error says how many records are
stored; they are the first ones of the file, and loading the whole file again does no
harm.

` + bucketHelp,
		Args: wants("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, name, err := openInput(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			defer in.Close()
			bar := newByteBar(cmd.ErrOrStderr(), in)
			defer bar.end()
			start := time.Now()
			l := loader{in: newRecordReader(name, bar.proxy(in), lines), top: o.bucket}
			l.in.many = many
			if l.read(); len(l.batch) == 0 && !errors.Is(l.err, io.EOF) {
				return l.err // before a store is created
			}
			return s.with(creating, func(db *store.DB) error {
				if err := l.load(db); err != nil {
					return errors.WithHintf(err,
						"records stored: %d; loading the whole file again does no harm", l.stored)
				}
				bar.end()
				took := time.Since(start).Round(time.Millisecond)
				fmt.Fprintf(cmd.ErrOrStderr(), "%s in %v\n", counted(l.stored, "record"), took)
				return nil
			})
		},
	}
	o.registerBucket(cmd.Flags())
	cmd.Flags().BoolVarP(&many, "recursive", "r", false, "records name the bucket they are of, as scan -r prints them")
	registerForm(cmd.Flags(), &lines, "form of the lines", formAuto, formText, formHex, formJSON)
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

// A loader stores the records of an input.
type loader struct {
	in     *recordReader
	top    bucketPath // where the paths of records begin
	first  int        // line of the batch
	batch  []record
	err    error // of reading after the batch
	stored int   // records, the first ones of the input
}

// read reads the records of one transaction before the write lock is asked for, so
// that slow input keeps no writer waiting.
func (l *loader) read() {
	l.first, l.batch = l.in.line+1, nil
	for bytes := 0; len(l.batch) < batchRecords && bytes < batchBytes; {
		var r record
		if r, l.err = l.in.next(); l.err != nil {
			return
		}
		l.batch = append(l.batch, r)
		bytes += len(r.key) + len(r.value)
	}
}

// load stores what was read, and then the rest of the input.
func (l *loader) load(db *store.DB) error {
	for ; ; l.read() {
		if err := l.store(db); err != nil {
			return err
		}
		if errors.Is(l.err, io.EOF) {
			return nil
		}
		if l.err != nil {
			return l.err
		}
	}
}

// store stores the batch, all of it or nothing.
func (l *loader) store(db *store.DB) error {
	if len(l.batch) == 0 {
		return nil
	}
	n := 0
	err := db.Update(func(tx *store.Tx) error {
		var s selection
		var b *store.Bucket
		for i, r := range l.batch {
			path := l.top.join(r.bucket...)
			if b == nil || !slices.Equal(path, s.bucket) {
				s.bucket = path
				var err error
				if b, err = s.ensure(tx); err != nil {
					return l.in.at(l.first+i, err)
				}
			}
			if r.isBucket() {
				continue
			}
			if err := b.Put(r.key, r.value); err != nil {
				return l.in.at(l.first+i, explainKey(err, r.key))
			}
			n++
		}
		return nil
	})
	if err == nil {
		l.stored += n
	}
	return err
}

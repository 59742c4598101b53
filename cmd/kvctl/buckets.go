package main

import (
	"bufio"
	"fmt"
	"io"
	"iter"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/sharekv/sharekv/store"
)

// bucketsOptions says which buckets to list, or what else to do with them.
type bucketsOptions struct {
	recursive, json bool
	create, delete  bool
}

// bucketLine is what buckets --json prints.
type bucketLine struct {
	Path       string  `json:"path"`
	Name       *string `json:"name,omitempty"`
	NameBase64 *string `json:"name_base64,omitempty"`
}

func newBucketsCommand(s *storeFlags) *cobra.Command {
	var o bucketsOptions
	cmd := &cobra.Command{
		Use:        "buckets [PATH...]",
		SuggestFor: []string{"tables", "tree", "mkdir", "rmdir"},
		Short:      "List, create and delete buckets.",
		Example: `  kvctl -s app.kv buckets                        # those in the root bucket
  kvctl -s app.kv buckets services
  kvctl -s app.kv buckets -r                     # all of them
  kvctl -s app.kv buckets --delete services/web  # with all that is in it
  kvctl -s app.kv buckets -r | while IFS= read -r b; do
    echo "$b: $(kvctl -s app.kv count --bucket "$b")"
  done`,
		Long: `Prints the paths of the buckets in the one at PATH, or in the root bucket. They can be
given to --bucket as they are.

` + pathHelp + `

With --json a line is an object with the path, and the name without escapes, which is
"name_base64" if it is not UTF-8.

--create creates the buckets, and those on the way to them; put and load do that by
themselves. --delete deletes the buckets with all records and buckets in them, and says
on stderr how many that were. Either does all of it, or nothing.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			paths, err := o.validate(cmd, args)
			if err != nil {
				return err
			}
			switch {
			case o.create:
				return s.change(func(tx *store.Tx) error { return createBuckets(tx, paths) })
			case o.delete:
				return o.deleteAll(s, cmd.ErrOrStderr(), paths)
			}
			return o.list(s, cmd, paths)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.recursive, "recursive", "r", false, "also the buckets in these, and so on")
	flags.BoolVar(&o.json, "json", false, "print one JSON object a line")
	flags.BoolVar(&o.create, "create", false, "create the buckets")
	flags.BoolVar(&o.delete, "delete", false, "delete the buckets with all that is in them")
	return cmd
}

// validate returns the paths.
func (o *bucketsOptions) validate(cmd *cobra.Command, args []string) ([]bucketPath, error) {
	for _, listing := range []string{"recursive", "json"} {
		for _, verb := range []string{"create", "delete"} {
			if err := exclusive(cmd, verb, listing); err != nil {
				return nil, err
			}
		}
	}
	if err := exclusive(cmd, "create", "delete"); err != nil {
		return nil, err
	}
	var paths []bucketPath
	for _, arg := range args {
		path, err := parsePath(arg)
		if err != nil {
			return nil, &usageError{err}
		}
		paths = append(paths, path)
	}
	switch {
	case len(paths) > 0:
		return paths, nil
	case o.create || o.delete:
		return nil, usageErrorf("buckets: which? Name them by their paths")
	}
	return []bucketPath{nil}, nil
}

func createBuckets(tx *store.Tx, paths []bucketPath) error {
	for _, path := range paths {
		s := selection{bucket: path}
		if _, err := s.ensure(tx); err != nil {
			return err
		}
	}
	return nil
}

// deleteAll deletes the buckets, and says what was in them.
func (o *bucketsOptions) deleteAll(s *storeFlags, messages io.Writer, paths []bucketPath) error {
	var deleted []string
	err := s.change(func(tx *store.Tx) error {
		for _, path := range paths {
			what := selection{bucket: path, recursive: true}
			b, err := what.find(tx)
			if err != nil {
				return err
			}
			entries, buckets, err := what.count(b, keyRange{})
			if err != nil {
				return err
			}
			if err := tx.DeleteBucket(path...); err != nil {
				return errors.Wrapf(err, "delete bucket %v", path)
			}
			deleted = append(deleted, fmt.Sprintf("deleted %v, with %s and %s in it",
				path, counted(entries, "record"), counted(buckets-1, "bucket")))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, line := range deleted {
		fmt.Fprintln(messages, line)
	}
	return nil
}

// counted is a number of things.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// list prints the buckets in those at the paths.
func (o *bucketsOptions) list(s *storeFlags, cmd *cobra.Command, paths []bucketPath) error {
	out := bufio.NewWriter(cmd.OutOrStdout())
	n := 0
	err := s.view(func(tx *store.Tx) error {
		for _, path := range paths {
			top, err := (&selection{bucket: path}).find(tx)
			if err != nil {
				return err
			}
			for inner, err := range bucketsIn(top, o.recursive) {
				if err == nil {
					n++
					err = o.write(out, path.join(inner...))
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err == nil && n == 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "there are no buckets")
	}
	return errors.CombineErrors(err, out.Flush())
}

// bucketsIn yields the paths from top of the buckets in it, and of those in them.
func bucketsIn(top *store.Bucket, recursive bool) iter.Seq2[bucketPath, error] {
	return func(yield func(bucketPath, error) bool) {
		if !recursive {
			for name := range top.Buckets() {
				if !yield(bucketPath{name}, nil) {
					return
				}
			}
			return
		}
		descend(place{nil, top}, func(p place, err error) bool { return yield(p.path, err) })
	}
}

// write prints one bucket.
func (o *bucketsOptions) write(out io.Writer, path bucketPath) error {
	if !o.json {
		_, err := fmt.Fprintln(out, path)
		return err
	}
	line := bucketLine{Path: path.String()}
	line.Name, line.NameBase64 = textOrBase64([]byte(path[len(path)-1]))
	return writeJSONLines(out, []bucketLine{line})
}

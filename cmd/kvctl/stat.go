package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/sharekv/sharekv/store"
)

// figures are what stat prints. The names in JSON are relied on by scripts.
type figures struct {
	Revision       revision      `json:"revision"`
	Entries        int64         `json:"entries"`
	PageBytes      int           `json:"page_bytes"`
	Pages          int64         `json:"pages"`
	FreePages      int64         `json:"free_pages"`
	RetiredPages   int64         `json:"retired_pages"`
	AllocatedBytes int64         `json:"allocated_bytes"`
	FileBytes      int64         `json:"file_bytes"`
	FlushFailed    bool          `json:"flush_failed"`
	Commits        int64         `json:"commits"`
	Flushes        int64         `json:"flushes"`
	Durable        revision      `json:"durable"`
	AsyncMS        int64         `json:"async_ms"`
	Handles        int           `json:"handles"`
	Readers        int           `json:"readers"`
	OldestReader   *oldestReader `json:"oldest_reader"` // null if there is none
}

type oldestReader struct {
	Revision revision `json:"revision"`
	Behind   uint64   `json:"behind"`
	PID      int      `json:"pid"`
	Program  string   `json:"program"`
}

func newStatCommand(s *storeFlags) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:        "stat",
		SuggestFor: []string{"info", "status"},
		Short:      "Print how large the store is, and how its space is used.",
		Example: `  kvctl -s app.kv stat
  kvctl -s app.kv stat --json | jq .free_pages`,
		Long: `The figures are those of the last commit.

  revision   of the commit: epoch.counter. The counter grows with every commit, the
             epoch when the store is opened after it was not closed
  entries    in the root bucket: its records, and the buckets directly in it; count -r
             counts the records of all buckets
  pages      that the store has. Free ones are ready to be used again. Retired ones
             belong to older revisions, and become free when no reader needs them
  allocated  how much of the file is ready for pages
  handles    how often others have the store open, this kvctl not counted
  readers    their read transactions under way; kvctl readers says whose they are
  commits    since the first of them opened the store. Those that come at the same time
             share a flush
  async      only if the store is open so: commits return before they are on disk

With --json it is one object: revision (a string), entries, page_bytes, pages,
free_pages, retired_pages, allocated_bytes, file_bytes, flush_failed, commits, flushes,
durable (a revision, the last on disk), async_ms (0 if commits return when they are on
disk), handles, readers, oldest_reader (null, or revision, behind, pid and program).`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.with(reading, func(db *store.DB) error {
				f, err := s.measure(db)
				if err != nil {
					return err
				}
				out := bufio.NewWriter(cmd.OutOrStdout())
				if asJSON {
					err = writeJSONLines(out, []figures{f})
				} else {
					err = f.write(out)
				}
				return errors.CombineErrors(err, out.Flush())
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

func (s *storeFlags) measure(db *store.DB) (figures, error) {
	users, stats, err := look(db)
	if err != nil {
		return figures{}, err
	}
	f := figuresOf(stats, users)
	at, err := s.resolve()
	if err != nil || at.shared() {
		return f, err
	}
	file, err := os.Stat(at.path)
	if err == nil {
		f.FileBytes = file.Size()
	}
	return f, err
}

func figuresOf(stats store.Stats, users []user) figures {
	f := figures{
		Revision:       revision(stats.Rev),
		Entries:        stats.Entries,
		PageBytes:      stats.PageSize,
		Pages:          stats.Pages,
		FreePages:      stats.Free,
		RetiredPages:   stats.Retired,
		AllocatedBytes: stats.FileSize,
		FlushFailed:    stats.Failed,
		Commits:        stats.Commits,
		Flushes:        stats.Flushes,
		Durable:        revision(stats.Durable),
		AsyncMS:        stats.Async.Milliseconds(),
		Handles:        len(users),
	}
	for _, u := range users {
		f.Readers += u.readers()
	}
	if f.Readers > 0 {
		u := users[0]
		f.OldestReader = &oldestReader{u.oldest(), u.Reading[0].Behind, u.PID, u.Program}
	}
	return f
}

func (f *figures) write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "revision\t%v\n", f.Revision)
	fmt.Fprintf(t, "entries\t%d in the root bucket\n", f.Entries)
	fmt.Fprintf(t, "page size\t%s\n", size(int64(f.PageBytes)))
	fmt.Fprintf(t, "pages\t%d\n", f.Pages)
	fmt.Fprintf(t, "  free\t%s\n", share(f.FreePages, f.Pages))
	fmt.Fprintf(t, "  retired\t%s\n", share(f.RetiredPages, f.Pages))
	fmt.Fprintf(t, "allocated\t%s\n", size(f.AllocatedBytes))
	if f.FileBytes > 0 {
		fmt.Fprintf(t, "file size\t%s\n", size(f.FileBytes))
	}
	fmt.Fprintf(t, "handles\t%d\n", f.Handles)
	fmt.Fprintf(t, "readers\t%d\n", f.Readers)
	if r := f.OldestReader; r != nil {
		fmt.Fprintf(t, "  oldest\t%v, %d behind: pid %d (%s)\n", r.Revision, r.Behind, r.PID, r.Program)
	}
	flush := "works"
	if f.FlushFailed {
		flush = "FAILED: nobody can commit until all have closed the store and opened it again"
	}
	fmt.Fprintf(t, "flush\t%s\n", flush)
	if f.Commits > 0 {
		fmt.Fprintf(t, "commits\t%d, in %d flushes\n", f.Commits, f.Flushes)
	}
	if f.AsyncMS > 0 {
		fmt.Fprintf(t, "async\tflushed after %v at most; on disk is %v\n", time.Duration(f.AsyncMS)*time.Millisecond, f.Durable)
	}
	return t.Flush()
}

// share is n with the percentage that it is of all.
func share(n, all int64) string {
	return fmt.Sprintf("%d (%.1f%%)", n, 100*float64(n)/float64(max(all, 1)))
}

// size is a number of bytes, short and exact.
func size(n int64) string {
	return fmt.Sprintf("% .1f (%d bytes)", decor.SizeB1024(n), n)
}

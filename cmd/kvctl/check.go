package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/sharekv/sharekv/store"
)

// checkFigures are what check --json prints. Scripts rely on the names.
type checkFigures struct {
	Revision       revision `json:"revision"`
	Entries        int64    `json:"entries"`
	PageBytes      int      `json:"page_bytes"`
	Pages          int64    `json:"pages"`
	ReachablePages int64    `json:"reachable_pages"`
	FreePages      int64    `json:"free_pages"`
	RetiredPages   int64    `json:"retired_pages"`
}

func newCheckCommand(s *storeFlags) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:        "check",
		SuggestFor: []string{"verify", "fsck"},
		Short:      "Verify every page of the store.",
		Example: `  kvctl -s app.kv check
  kvctl -s app.kv check > /dev/null || echo damaged
  kvctl -s app.kv check --json | jq .entries`,
		Long: `Reads the whole store and verifies checksums, the order of keys and the account
of pages, while other processes go on: each page is either reachable (it holds data
of the last commit), or free, or retired (of older revisions, which a reader may
still need). Entries are the values in all buckets. Exit code 4 and a message tell of
damage.

With --json it is one object: revision (a string), entries, page_bytes, pages,
reachable_pages, free_pages, retired_pages.`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.with(reading, func(db *store.DB) error {
				r, err := checkWithProgress(cmd.Context(), db, cmd.ErrOrStderr())
				if err != nil {
					return err
				}
				if asJSON {
					f := checkFigures{revision(r.Rev), r.Entries, r.PageSize, r.Pages, r.Reachable, r.Free, r.Retired}
					return writeJSONLines(cmd.OutOrStdout(), []checkFigures{f})
				}
				return writeReport(cmd.OutOrStdout(), r)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

// checkWithProgress shows a bar on w, if w is a terminal.
func checkWithProgress(ctx context.Context, db *store.DB, w io.Writer) (*store.Report, error) {
	if !isTerminal(w) {
		return db.Check(ctx)
	}
	var bar *progressBar
	defer func() { bar.end() }()
	report, err := db.CheckProgress(ctx, func(done, pages int64) {
		if bar == nil {
			bar = newProgressBar(w, pages, decor.CountersNoUnit("%d of %d pages"))
		}
		if done%max(pages/1000, 1) == 0 {
			bar.set(done)
		}
	})
	if err == nil {
		bar.set(report.Pages)
	}
	return report, err
}

func writeReport(w io.Writer, r *store.Report) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "revision\t%v\n", revision(r.Rev))
	fmt.Fprintf(t, "pages\t%d\n", r.Pages)
	fmt.Fprintf(t, "  reachable\t%s\n", share(r.Reachable, r.Pages))
	fmt.Fprintf(t, "  free\t%s\n", share(r.Free, r.Pages))
	fmt.Fprintf(t, "  retired\t%s\n", share(r.Retired, r.Pages))
	fmt.Fprintf(t, "entries\t%d\n", r.Entries)
	fmt.Fprintln(t, "no damage found")
	return t.Flush()
}

package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sharekv/sharekv/store"
)

func newCheckCommand(s *storeFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Verify every page of the store.",
		Example: `  kvctl -s app.kv check
  kvctl -s app.kv check > /dev/null || echo damaged`,
		Long: `Reads the whole store and verifies checksums, the order of keys and the account
of pages, while other processes go on: each page is either reachable (it holds data
of the last commit), or free, or retired (of older revisions, which a reader may
still need). Exit code 4 and a message tell of damage.`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.with(reading, func(db *store.DB) error {
				r, err := db.Check(cmd.Context())
				if err != nil {
					return err
				}
				return writeReport(cmd.OutOrStdout(), r)
			})
		},
	}
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

package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/sharekv/sharekv/store"
)

// A user is somebody who has the store open, as readers prints it.
type user struct {
	PID     int       `json:"pid"`
	Program string    `json:"program"`
	Since   time.Time `json:"since"`
	Writing bool      `json:"writing"`
	Reading []seen    `json:"reading"` // oldest first
}

// seen is a revision that read transactions of one user see.
type seen struct {
	Revision revision `json:"revision"`
	Behind   uint64   `json:"behind"`
	Readers  int      `json:"readers"`
}

func newReadersCommand(s *storeFlags) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "readers",
		Short: "Print who has the store open, and what they read.",
		Example: `  kvctl -s app.kv readers
  kvctl -s app.kv readers --json | jq 'select(.writing).pid'`,
		Long: `A line says who has the store open, since how long, whether they have the write
lock, how many readers (read transactions under way) see a revision, and how many
revisions that is behind the last commit. Who reads several revisions has several
lines; the oldest revision comes first. An old reader keeps space from being
reused: end it, or the process, if the store grows.

This kvctl itself is not shown. A pid of another container says little.

With --json each line is an object with pid, program, since, writing and reading,
a list of objects with revision, behind and readers.`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.with(reading, func(db *store.DB) error {
				users, _, err := look(db)
				if err != nil {
					return err
				}
				if len(users) == 0 {
					_, err := fmt.Fprintln(cmd.ErrOrStderr(), "nobody else has the store open")
					return err
				}
				out := bufio.NewWriter(cmd.OutOrStdout())
				if asJSON {
					err = writeJSONLines(out, users)
				} else {
					err = writeUsers(out, users, time.Now())
				}
				return errors.CombineErrors(err, out.Flush())
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

// look returns who else has the store open, with the oldest reader first, and the
// figures of a commit that is at least as new as what they read.
func look(db *store.DB) ([]user, store.Stats, error) {
	handles, err := db.Handles()
	if err != nil {
		return nil, store.Stats{}, err
	}
	stats, err := db.Stats()
	return usersOf(handles, revision(stats.Rev)), stats, err
}

// usersOf leaves out the handle that was asked.
func usersOf(handles []store.Handle, now revision) []user {
	var users []user
	for _, h := range handles {
		if h.Self {
			continue
		}
		u := user{
			PID:     h.PID,
			Program: h.Program,
			Since:   h.Since.UTC(),
			Writing: h.Writing,
			Reading: []seen{},
		}
		for _, rev := range h.Reading {
			r := revision(rev)
			if last := len(u.Reading) - 1; last >= 0 && u.Reading[last].Revision == r {
				u.Reading[last].Readers++
				continue
			}
			u.Reading = append(u.Reading, seen{r, r.behind(now), 1})
		}
		users = append(users, u)
	}
	slices.SortStableFunc(users, func(a, b user) int {
		return cmp.Or(cmp.Compare(a.oldest(), b.oldest()), a.Since.Compare(b.Since))
	})
	return users
}

// oldest returns the oldest revision that u reads, or one that is newer than all
// if it reads none.
func (u *user) oldest() revision {
	if len(u.Reading) == 0 {
		return math.MaxUint64
	}
	return u.Reading[0].Revision
}

// readers returns how many read transactions u has.
func (u *user) readers() (n int) {
	for _, r := range u.Reading {
		n += r.Readers
	}
	return n
}

func writeUsers(w io.Writer, users []user, now time.Time) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PID\tPROGRAM\tOPEN FOR\tWRITING\tREADERS\tREVISION\tBEHIND")
	for _, u := range users {
		writing := "no"
		if u.Writing {
			writing = "yes"
		}
		who := fmt.Sprintf("%d\t%s\t%s\t%s", u.PID, cmp.Or(u.Program, "?"), age(now.Sub(u.Since)), writing)
		if len(u.Reading) == 0 {
			fmt.Fprintf(table, "%s\t0\t-\t-\n", who)
		}
		for _, r := range u.Reading {
			fmt.Fprintf(table, "%s\t%d\t%v\t%d\n", who, r.Readers, r.Revision, r.Behind)
		}
	}
	return table.Flush()
}

func writeJSONLines[T any](w io.Writer, lines []T) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, line := range lines {
		if err := enc.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

// age is d in its two greatest units. Clocks that were set back make nothing
// negative.
func age(d time.Duration) string {
	s := int64(max(d, 0) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 60*60:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 24*60*60:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%dd%02dh", s/86400, s/3600%24)
}

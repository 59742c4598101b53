package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/sharekv/sharekv/mmapfile"
)

// namedObject is what objects prints. The names in JSON are relied on by scripts.
type namedObject struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"` // empty if it is not known
	State string `json:"state"`
	Path  string `json:"path"`
}

func newObjectsCommand() *cobra.Command {
	var asJSON, prune bool
	cmd := &cobra.Command{
		Use:   "objects",
		Short: "List the named objects of this user: shared stores, mutexes and others.",
		Example: `  kvctl objects
  kvctl objects --prune`,
		Long: `An object is there as long as a process holds it. One that is not held was left by a
process that was killed: it is in nobody's way, the next one to use the name makes it
anew, and --prune removes it.

With --json it is one object a line: name, kind (mapping, mapping of memory, mutex,
semaphore or event; empty where it is not known), state (held, left, or removed), path.
On Windows the kinds are not known, and mapped files are not in the list.`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := mmapfile.Objects(prune)
			if err != nil {
				return err
			}
			all := make([]namedObject, len(found))
			for i, f := range found {
				o := &all[i]
				*o = namedObject{Name: strings.Replace(f.Name, `\`, "/", 1), Kind: f.Kind, State: "held", Path: f.Path}
				switch {
				case f.Held:
				case prune:
					o.State = "removed"
				default:
					o.State = "left"
				}
			}
			out := bufio.NewWriter(cmd.OutOrStdout())
			if asJSON {
				err = writeJSONLines(out, all)
			} else {
				err = writeObjects(out, all)
			}
			return errors.CombineErrors(err, out.Flush())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, an object a line")
	cmd.Flags().BoolVar(&prune, "prune", false, "remove what killed processes have left")
	return cmd
}

func writeObjects(w io.Writer, all []namedObject) error {
	if len(all) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "state\tkind\tname\n")
	for _, o := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\n", o.State, cmp.Or(o.Kind, "?"), o.Name)
	}
	return t.Flush()
}

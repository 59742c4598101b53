package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/sharekv/sharekv/store"
)

const (
	demoWriters = 2
	demoReaders = 2
	demoBatch   = 16              // small, so that readers see many revisions
	demoMax     = 5 * time.Minute // it takes seconds

	demoKillAfter = 3 // a writer is killed after one of so many parts of the work
)

var errDemoHangs = errors.Newf("kvctl: the demo has not ended within %v", demoMax)

// A demo is one run of the command.
type demo struct {
	out, messages io.Writer
	path          string // of the store
	db            *store.DB
	records       []demoRecord
	crew          crew
	writers       []*worker // the one that is killed, too
	readers       []*worker
	kill          kill
	checked       *store.Report
	fileSize      int64 // at the end
}

func newDemoCommand() *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch processes share one store, and one of them die, with proof.",
		Example: `  kvctl demo
  kvctl demo --keep      # keep the store, to look into it afterwards`,
		Long: `Two processes write the Unicode character database into a store of their own in
the directory for temporary files, and two others read all of it all the time. One
writer is killed in the middle of a transaction, and another goes on in its place. At
the end stands what each did, and the proof that every snapshot was consistent and
that nothing is missing that a writer was told is stored. If the proof fails, the exit
code is 1 and the store is kept.`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := os.MkdirTemp("", "kvctl-demo-")
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), demoMax, errDemoHangs)
			defer cancel()
			ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
			defer stop()
			d := &demo{
				out:      cmd.OutOrStdout(),
				messages: cmd.ErrOrStderr(),
				path:     filepath.Join(dir, "demo.kv"),
				records:  demoRecords(demoWriters),
			}
			err = d.run(ctx)
			if err != nil && ctx.Err() != nil {
				err = errors.CombineErrors(context.Cause(ctx), err)
			} else if err != nil {
				keep = true
				err = errors.WithHintf(err, "the store is kept: %s", d.path)
			}
			if !keep {
				err = errors.CombineErrors(err, removeFlat(dir))
			}
			if err == nil {
				d.printNext(keep)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "do not remove the store at the end")
	return cmd
}

// run does everything between making and removing the directory.
func (d *demo) run(ctx context.Context) (err error) {
	d.printIntroduction()
	if d.db, err = store.Open(d.path, &store.Options{}); err != nil {
		return err
	}
	defer func() { err = errors.CombineErrors(err, d.db.Close()) }()
	if err := d.work(ctx); err != nil {
		return err
	}
	if err := d.prove(ctx); err != nil {
		return err
	}
	d.printResult()
	return nil
}

// work runs the processes. The readers read before the first record and after the
// last one. On return all processes have ended.
func (d *demo) work(ctx context.Context) (err error) {
	ctx, stopAll := context.WithCancel(ctx)
	d.crew = crew{path: d.path, writers: demoWriters, batch: demoBatch}
	defer func() {
		stopAll()
		for _, w := range d.crew.members {
			w.wait()
		}
	}()
	if err := d.gather(ctx); err != nil {
		return err
	}
	for _, r := range d.readers {
		r.begin()
		r.until(func(r workReport) bool { return r.Transactions > 0 })
	}
	for _, w := range d.writers {
		w.begin()
	}
	if err := d.write(ctx); err != nil {
		return err
	}
	for _, r := range d.readers {
		r.stop()
	}
	for _, w := range d.crew.members {
		err = errors.CombineErrors(err, w.wait())
	}
	return err
}

// gather starts the processes and returns when all are ready.
func (d *demo) gather(ctx context.Context) error {
	start := func(role string, id int) (*worker, error) {
		return d.crew.start(ctx, fmt.Sprintf("%s %d", role, id+1), role, id)
	}
	for id := range demoWriters {
		w, err := start("writer", id)
		if err != nil {
			return err
		}
		d.writers = append(d.writers, w)
	}
	for id := range demoReaders {
		r, err := start("reader", id)
		if err != nil {
			return err
		}
		d.readers = append(d.readers, r)
	}
	for _, w := range d.crew.members {
		w.until(func(workReport) bool { return true })
	}
	return nil
}

// write returns when the writers have ended, one of them killed and replaced on
// the way.
func (d *demo) write(ctx context.Context) error {
	p := d.showProgress()
	defer p.end()
	p.until(func() bool {
		return d.written() >= len(d.records)/demoKillAfter || slices.ContainsFunc(d.writers, (*worker).hasEnded)
	})
	if err := d.killWriter(ctx); err != nil {
		return err
	}
	p.say("killed %s (pid %d) in the middle of a transaction; %s goes on",
		d.kill.victim.name, d.kill.victim.pid(), d.kill.heir.name)
	p.until(func() bool {
		return !slices.ContainsFunc(d.writers, func(w *worker) bool { return !w.hasEnded() })
	})
	return nil
}

// prove proves what is to be proved when all processes have ended.
func (d *demo) prove(ctx context.Context) (err error) {
	if err := proveWatched(d.readers); err != nil {
		return err
	}
	if err := proveComplete(d.db, d.records, demoWriters); err != nil {
		return err
	}
	if d.written() != len(d.records) {
		return errors.Newf("%d records were acknowledged, but there are %d", d.written(), len(d.records))
	}
	if d.checked, err = d.db.Check(ctx); err != nil {
		return err
	}
	file, err := os.Stat(d.path)
	if err != nil {
		return err
	}
	d.fileSize = file.Size()
	return nil
}

// written returns how many records the writers were told are stored.
func (d *demo) written() (n int) {
	for _, w := range d.writers {
		n += w.report().Records
	}
	return n
}

// snapshots returns how many the readers have taken.
func (d *demo) snapshots() (n int) {
	for _, r := range d.readers {
		n += r.report().Transactions
	}
	return n
}

// removeFlat removes dir and the files in it.
func removeFlat(dir string) error {
	files, err := os.ReadDir(dir)
	for _, f := range files {
		err = errors.CombineErrors(err, os.Remove(filepath.Join(dir, f.Name())))
	}
	return errors.CombineErrors(err, os.Remove(dir))
}

// invocation returns how the user called this program.
func invocation() string {
	if exe, err := os.Executable(); err == nil && strings.Contains(exe, "go-build") {
		return "go run ./cmd/kvctl"
	}
	return os.Args[0]
}

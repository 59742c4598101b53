package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/sharekv/sharekv/store"
)

const (
	demoWriters = 2
	demoReaders = 2
	demoBatch   = 16              // small, so that readers see many revisions
	demoMax     = 5 * time.Minute // it takes seconds
)

var errDemoHangs = errors.Newf("kvctl: the demo has not ended within %v", demoMax)

// A demo is one run of the command.
type demo struct {
	out, messages io.Writer
	path          string // of the store
	records       []demoRecord
	crew          crew
	writers       []*worker
	readers       []*worker
	checked       *store.Report
}

func newDemoCommand() *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch four processes share one store, with proof.",
		Example: `  kvctl demo
  kvctl demo --keep      # keep the store, to look into it afterwards`,
		Long: `Two processes write the Unicode character database into a store of their own in
the directory for temporary files, and two others read all of it all the time. At the
end stands what each did, and the proof that every snapshot was consistent. If one
was not, the exit code is 1 and the store is kept.`,
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
	db, err := store.Open(d.path, &store.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.CombineErrors(err, db.Close()) }()
	if err := d.work(ctx); err != nil {
		return err
	}
	if err := proveComplete(db, d.records, demoWriters); err != nil {
		return err
	}
	if d.checked, err = db.Check(ctx); err != nil {
		return err
	}
	d.printResult()
	return nil
}

// work runs the processes. The readers read before the first record and after the
// last one. On return all processes have ended.
func (d *demo) work(ctx context.Context) (err error) {
	ctx, kill := context.WithCancel(ctx)
	d.crew = crew{path: d.path, writers: demoWriters, batch: demoBatch}
	defer func() {
		kill()
		for _, w := range d.crew.members {
			w.wait()
		}
	}()
	if d.writers, err = d.startAll(ctx, "writer", demoWriters); err != nil {
		return err
	}
	if d.readers, err = d.startAll(ctx, "reader", demoReaders); err != nil {
		return err
	}
	for _, w := range d.crew.members {
		<-w.ready
	}
	for _, r := range d.readers {
		r.begin()
		<-r.started
	}
	for _, w := range d.writers {
		w.begin()
	}
	d.showProgress()
	for _, r := range d.readers {
		r.stop()
	}
	for _, w := range d.crew.members {
		err = errors.CombineErrors(err, w.wait())
	}
	return errors.CombineErrors(err, proveWatched(d.readers))
}

func (d *demo) startAll(ctx context.Context, role string, n int) (all []*worker, err error) {
	for id := range n {
		w, err := d.crew.start(ctx, role, id)
		if err != nil {
			return all, err
		}
		all = append(all, w)
	}
	return all, nil
}

// showProgress returns when the last writer has ended. A terminal gets a bar,
// everything else a few lines.
func (d *demo) showProgress() {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, w := range d.writers {
			w.wait()
		}
	}()
	bar := newProgressBar(d.messages, int64(len(d.records)), decor.CountersNoUnit("%d of %d records"),
		decor.Any(func(decor.Statistics) string { return fmt.Sprintf(", %d snapshots", d.snapshots()) }))
	defer bar.end()
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	quarter := 0
	for {
		select {
		case <-ended:
			bar.set(int64(d.written()))
			return
		case <-tick.C:
			bar.set(int64(d.written()))
			if q := 4 * d.written() / len(d.records); bar == nil && q > quarter {
				quarter = q
				fmt.Fprintf(d.messages, "%3d%%  %d records, %d snapshots\n", 25*q, d.written(), d.snapshots())
			}
		}
	}
}

// written returns how many records the writers have added.
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

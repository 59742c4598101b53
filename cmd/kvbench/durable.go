package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/sharekv/sharekv/mmapfile"
)

// durable is the benchmark of durable commits.
type durable struct {
	keys          uint64
	time          time.Duration
	rounds        int
	seed          uint64
	dir, json     string
	anyFileSystem bool
	engineNames   []string
	shapeNames    []string

	engines  []*engine
	shapes   []*shape
	commands map[string][]string // how to start the player of an engine
	report   *report
	progress io.Writer
}

func newDurableCommand() *cobra.Command {
	var d durable
	cmd := &cobra.Command{
		Use:   "durable",
		Short: "Measure durable commits of one put each.",
		Example: `  kvbench durable
  kvbench durable --engines sharekv,lmdb --cases 8p --rounds 9 --json durable.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d.progress = cmd.ErrOrStderr()
			return d.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	var allEngines, allShapes []string
	for _, e := range engines {
		allEngines = append(allEngines, e.name)
	}
	for _, s := range shapes {
		allShapes = append(allShapes, s.name)
	}
	flags := cmd.Flags()
	flags.Uint64Var(&d.keys, "keys", 100_000, "keys that each store holds")
	flags.DurationVar(&d.time, "time", 3*time.Second, "measured time of a round")
	flags.IntVar(&d.rounds, "rounds", 5, "rounds of each engine in each case")
	flags.Uint64Var(&d.seed, "seed", 1, "where the random keys and values come from")
	flags.StringVar(&d.dir, "dir", ".", "directory in which a fresh one is made for the stores, and removed")
	flags.BoolVar(&d.anyFileSystem, "any-filesystem", false, "measure also where nothing is durable")
	flags.StringSliceVar(&d.engineNames, "engines", allEngines, "engines to measure")
	flags.StringSliceVar(&d.shapeNames, "cases", allShapes, "cases to measure")
	flags.StringVar(&d.json, "json", "", "file for everything, each round included")
	return cmd
}

func (d *durable) run(ctx context.Context, out io.Writer) (err error) {
	if err := d.validate(); err != nil {
		return err
	}
	if err := checkFileSystem(d.dir, d.anyFileSystem); err != nil {
		return err
	}
	var results io.WriteCloser
	if d.json != "" {
		if results, err = os.Create(d.json); err != nil { // before all the work
			return err
		}
		defer func() { err = errors.CombineErrors(err, results.Close()) }()
	}
	dir, err := filepath.Abs(d.dir)
	if err == nil {
		dir, err = os.MkdirTemp(dir, "kvbench-")
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.CombineErrors(err, os.RemoveAll(dir)) }()
	if d.report, err = newReport(dir); err != nil {
		return err
	}
	d.report.Benchmark, d.report.Keys, d.report.Seed = "durable commits", d.keys, d.seed
	d.report.Rounds, d.report.Time = d.rounds, d.time
	if err := d.findPlayers(ctx, dir); err != nil {
		return err
	}
	d.report.writeHeader(out, d.engines)
	for _, s := range d.shapes {
		if err := d.measure(ctx, s, dir, out); err != nil {
			return errors.Wrapf(err, "%s", s.title)
		}
	}
	if results != nil {
		err = d.report.writeJSON(results)
	}
	return err
}

func (d *durable) validate() error {
	for _, name := range d.engineNames {
		i := slices.IndexFunc(engines, func(e engine) bool { return e.name == name })
		if i < 0 {
			return unknown("engine", name)
		}
		d.engines = append(d.engines, &engines[i])
	}
	for _, name := range d.shapeNames {
		i := slices.IndexFunc(shapes, func(s shape) bool { return s.name == name })
		if i < 0 {
			return unknown("case", name)
		}
		d.shapes = append(d.shapes, &shapes[i])
	}
	if d.keys < 8 || d.rounds < 1 || d.time <= 0 {
		return errors.New("at least 8 keys, 1 round, and more than no time are needed")
	}
	return nil
}

func unknown(kind, name string) error {
	return errors.WithHint(errors.Newf("%q is no %s", name, kind), "kvbench durable --help lists them")
}

// checkFileSystem refuses what cannot make anything durable, or only elsewhere.
func checkFileSystem(dir string, anyOne bool) error {
	name, local, err := mmapfile.FileSystem(dir)
	if err != nil || anyOne || local && name != "tmpfs" && name != "ramfs" {
		return err
	}
	return errors.WithHint(errors.Newf("%s is on %s, which is no local disk", dir, name),
		"name a directory on a disk with --dir, or measure it all the same with --any-filesystem")
}

// findPlayers finds out how to start the player of each engine, and what it says
// of itself.
func (d *durable) findPlayers(ctx context.Context, dir string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	d.commands = map[string][]string{}
	for _, e := range d.engines {
		d.commands[e.name] = []string{exe, "player", e.name}
		if e.open == nil {
			driver, err := compileDriver(ctx, dir)
			if err != nil {
				return err
			}
			d.commands[e.name] = []string{driver}
		}
		// An empty store is enough to tell the settings.
		about, err := d.prepare(ctx, e, filepath.Join(dir, "empty"), 0)
		if err != nil {
			return err
		}
		d.report.Engines[e.name] = about
	}
	return nil
}

// prepare makes a store of the engine below dir.
func (d *durable) prepare(ctx context.Context, e *engine, dir string, keys uint64) (about string, err error) {
	dir = filepath.Join(dir, e.name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	about, err = prepare(ctx, d.commands[e.name], dir, keys)
	return about, errors.Wrapf(err, "%s", e.name)
}

// measure measures the engines in one case, each with a store of its own that it
// keeps over the rounds.
func (d *durable) measure(ctx context.Context, s *shape, top string, out io.Writer) error {
	c := &caseReport{Name: s.name, Title: s.title}
	d.report.Cases = append(d.report.Cases, c)
	var able []*engineReport
	for _, e := range d.engines {
		r := &engineReport{Engine: e.name, Cannot: e.cannot(s)}
		c.Engines = append(c.Engines, r)
		if r.Cannot != "" {
			continue
		}
		able = append(able, r)
		if _, err := d.prepare(ctx, e, filepath.Join(top, s.name), d.keys); err != nil {
			return err
		}
	}
	for round := range d.rounds {
		for i := range able {
			// Each engine is the first, and follows each other, now and then.
			e := able[(i+round)%len(able)]
			j := job{keys: d.keys, seed: d.seed + uint64(round), duration: d.time}
			r, err := playRound(ctx, d.commands[e.Engine], filepath.Join(top, s.name, e.Engine), s, j)
			if err != nil {
				return errors.Wrapf(err, "%s, round %d", e.Engine, round+1)
			}
			e.Rounds = append(e.Rounds, newRoundReport(r, d.time))
			fmt.Fprintf(d.progress, "%s, round %d of %d: %s %.0f/s\n", s.title, round+1, d.rounds,
				e.Engine, e.Rounds[round].Rate)
		}
	}
	c.summarize()
	c.write(out, d.time)
	return os.RemoveAll(filepath.Join(top, s.name))
}

// summarize compares the engines in each round, and then sums up the rounds.
func (c *caseReport) summarize() {
	reference := slices.IndexFunc(c.Engines, func(e *engineReport) bool { return e.Engine == lmdb })
	for _, e := range c.Engines {
		var rounds []figures
		for i := range e.Rounds {
			if reference >= 0 {
				e.Rounds[i].compareWith(&c.Engines[reference].Rounds[i].figures)
			}
			rounds = append(rounds, e.Rounds[i].figures)
		}
		if len(rounds) > 0 {
			s := summarize(rounds)
			e.Summary = &s
		}
	}
}

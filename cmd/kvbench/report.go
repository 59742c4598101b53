package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/sharekv/sharekv/mmapfile"
)

// A report is everything that a run found out, as --json writes it.
type report struct {
	Benchmark  string            `json:"benchmark"`
	When       time.Time         `json:"when"`
	System     string            `json:"system"`
	CPUs       int               `json:"cpus"`
	Go         string            `json:"go"`
	Directory  string            `json:"directory"`
	FileSystem string            `json:"file_system"`
	Keys       uint64            `json:"keys"`
	KeySize    int               `json:"key_size"`
	ValueSize  int               `json:"value_size"`
	Seed       uint64            `json:"seed"`
	Rounds     int               `json:"rounds"`
	Time       time.Duration     `json:"time_ns"` // of a round
	Engines    map[string]string `json:"engines"` // versions and settings
	Cases      []*caseReport     `json:"cases"`
}

type caseReport struct {
	Name    string          `json:"name"`
	Title   string          `json:"title"`
	Engines []*engineReport `json:"engines"`
}

type engineReport struct {
	Engine  string        `json:"engine"`
	Cannot  string        `json:"not_applicable,omitempty"`
	Summary *summary      `json:"summary,omitempty"`
	Rounds  []roundReport `json:"rounds,omitempty"`
}

type roundReport struct {
	figures
	Workers   []workerResult `json:"workers"`
	Latencies [][2]uint64    `json:"latencies"` // nanoseconds, rounded up to their bucket's end; count
}

func newReport(dir string) (*report, error) {
	system := runtime.GOOS + "/" + runtime.GOARCH
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		system += " " + strings.TrimSpace(string(release))
	}
	fileSystem, _, err := mmapfile.FileSystem(dir)
	return &report{
		When:       time.Now().UTC(),
		System:     system,
		CPUs:       runtime.NumCPU(),
		Go:         runtime.Version() + ", CGO_ENABLED=" + setting("CGO_ENABLED"),
		Directory:  dir,
		FileSystem: fileSystem,
		KeySize:    keySize,
		ValueSize:  valueSize,
		Engines:    map[string]string{},
	}, err
}

// writeHeader writes what must be known to judge the figures.
func (r *report) writeHeader(w io.Writer, engines []*engine) {
	fmt.Fprintf(w, "%s: %d keys of %d bytes, values of %d bytes; %d rounds of %v, seed %d\n",
		r.Benchmark, r.Keys, r.KeySize, r.ValueSize, r.Rounds, r.Time, r.Seed)
	fmt.Fprintf(w, "%s, %d CPUs, %s\n%s on %s\n", r.System, r.CPUs, r.Go, r.Directory, r.FileSystem)
	for _, e := range engines {
		fmt.Fprintf(w, "%-12s %s\n", e.name, r.Engines[e.name])
	}
}

// write writes the case's table.
func (c *caseReport) write(w io.Writer, duration time.Duration) {
	fmt.Fprintf(w, "\n%s\n%-12s %10s %17s %7s %9s %9s %9s %9s %9s\n", c.Title,
		"engine", "commits/s", "min - max", "x LMDB", "p50 us", "p99 us", "max us", "fairness", "per flush")
	for _, e := range c.Engines {
		if e.Summary == nil {
			fmt.Fprintf(w, "%-12s %10s  %s\n", e.Engine, "n/a", e.Cannot)
			continue
		}
		s, ratio, fairness, perFlush := e.Summary, "-", "-", "-"
		if s.Ratio != nil {
			ratio = fmt.Sprintf("%.2f", *s.Ratio)
		}
		if len(e.Rounds[0].Workers) > 1 {
			fairness = fmt.Sprintf("%.2f", s.Fairness)
		}
		if s.PerFlush > 0 {
			perFlush = fmt.Sprintf("%.2f", s.PerFlush)
		}
		fmt.Fprintf(w, "%-12s %10.0f %17s %7s %9d %9d %9d %9s %9s\n", e.Engine, s.Rate,
			fmt.Sprintf("%.0f - %.0f", s.RateMin, s.RateMax), ratio,
			s.P50.Microseconds(), s.P99.Microseconds(), s.Max.Microseconds(), fairness, perFlush)
		if s.Late > duration/100 {
			fmt.Fprintf(w, "%-12s a worker began %v late: the machine is too busy\n", "", s.Late.Round(time.Millisecond))
		}
	}
}

func (r *report) writeJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", " ")
	return encoder.Encode(r)
}

func newRoundReport(r *result, duration time.Duration) roundReport {
	report := roundReport{figures: r.figures(duration), Workers: r.workers}
	for b, n := range r.latencies.counts {
		if n != 0 {
			report.Latencies = append(report.Latencies, [2]uint64{uint64(upper(b)), n})
		}
	}
	return report
}

// setting is how this program was built, or empty.
func setting(key string) string {
	info, _ := debug.ReadBuildInfo()
	if info != nil {
		for _, s := range info.Settings {
			if s.Key == key {
				return s.Value
			}
		}
	}
	return ""
}

// revision is the commit that this program was built from, where the build knows it.
func revision() string {
	commit := setting("vcs.revision")
	switch {
	case commit == "":
		return "unknown (go run -buildvcs=true tells it)"
	case setting("vcs.modified") == "true":
		return commit[:12] + " with changes"
	}
	return commit[:12]
}

// version is that of a module that this program was built with.
func version(module string) string {
	info, _ := debug.ReadBuildInfo()
	if info != nil {
		for _, m := range info.Deps {
			if m.Path == module {
				return m.Version
			}
		}
	}
	return "of unknown version"
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
)

// The test binary plays the players of its tests.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "player" {
		main()
	}
	os.Exit(m.Run())
}

func TestBucketsFollowEachOther(t *testing.T) {
	for b := range bucket(1<<63 - 1) {
		if last, next := bucket(upper(b)), bucket(upper(b)+1); last != b || next != b+1 {
			t.Fatalf("bucket %d ends at %d, which is in bucket %d, and the next in %d", b, upper(b), last, next)
		}
	}
}

func TestQuantilesAreThoseOfTheLatencies(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var h histogram
	if got := h.quantile(0.5); got != 0 {
		t.Errorf("without latencies the median is %v", got)
	}
	latencies := make([]time.Duration, 1+rng.IntN(2000))
	for i := range latencies {
		latencies[i] = time.Duration(rng.Uint64() >> (1 + rng.IntN(63)))
		h.add(latencies[i])
	}
	slices.Sort(latencies)
	for rank := 1; rank <= len(latencies); rank++ {
		// Half a rank below, so that rounding does not matter.
		got := h.quantile((float64(rank) - 0.5) / float64(len(latencies)))
		want := latencies[rank-1]
		if got < want || got-want > want/subBuckets {
			t.Fatalf("%d of %d is %d, want %d", rank, len(latencies), got, want)
		}
	}
	if got, want := h.quantile(1), latencies[len(latencies)-1]; got != want {
		t.Errorf("the greatest is %d, want %d", got, want)
	}
}

func TestMedianIsTheMiddle(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{7}, 7},
		{[]float64{9, 1}, 5},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 100, 1, 2}, 3},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.values, got, c.want)
		}
	}
}

func TestFiguresOfARound(t *testing.T) {
	r := result{workers: []workerResult{{Within: 300, Late: 2}, {Within: 100, Late: 5}, {Within: 400}}}
	for d := range time.Duration(100) {
		r.latencies.add(d + 1)
	}
	want := figures{Rate: 400, P50: 50, P99: 99, Max: 100, Fairness: 0.25, Late: 5}
	if got := r.figures(2 * time.Second); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	starved := result{workers: []workerResult{{}, {}}}
	if got := starved.figures(time.Second); got.Rate != 0 || got.Fairness != 0 {
		t.Errorf("without commits: %+v", got)
	}
}

// TestRatiosAreOfTheSameRound has a machine that becomes slower for both engines:
// the median of the ratios is 2, while the ratio of the medians would be 1.
func TestRatiosAreOfTheSameRound(t *testing.T) {
	rounds := func(rates ...float64) (r []roundReport) {
		for i, rate := range rates {
			r = append(r, roundReport{figures: figures{
				Rate: rate, P50: time.Duration(rate), Max: time.Duration(i), Late: time.Duration(i)}})
		}
		return r
	}
	ours := &engineReport{Engine: "sharekv", Rounds: rounds(200, 20, 100)}
	theirs := &engineReport{Engine: lmdb, Rounds: rounds(100, 10, 1000)}
	absent := &engineReport{Engine: "bbolt", Cannot: "because"}
	c := &caseReport{Engines: []*engineReport{ours, theirs, absent}}
	c.summarize()
	s := ours.Summary
	if s.Rate != 100 || s.RateMin != 20 || s.RateMax != 200 || *s.Ratio != 2 || s.P50 != 100 || s.Max != 2 || s.Late != 2 {
		t.Errorf("got %+v, ratio %v", s, *s.Ratio)
	}
	if *theirs.Summary.Ratio != 1 || absent.Summary != nil {
		t.Errorf("LMDB has ratio %v to itself, an absent engine %+v", *theirs.Summary.Ratio, absent.Summary)
	}

	c = &caseReport{Engines: []*engineReport{{Engine: "sharekv", Rounds: rounds(1)}}}
	if c.summarize(); c.Engines[0].Summary.Ratio != nil {
		t.Error("there is a ratio to LMDB without LMDB")
	}
	c = &caseReport{Engines: []*engineReport{{Engine: "sharekv", Rounds: rounds(1)}, {Engine: lmdb, Rounds: rounds(0)}}}
	if c.summarize(); c.Engines[0].Summary.Ratio != nil {
		t.Error("there is a ratio to nothing")
	}
}

// driver compiles the player of LMDB, and skips the test where that cannot be done.
func driver(t *testing.T) string {
	t.Helper()
	path, err := compileDriver(t.Context(), testdir.New(t))
	if errors.IsAny(err, errNoCompiler, errNoLMDB) && os.Getenv("SHAREKV_TEST") != "ci" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, errors.FlattenHints(err))
	}
	return path
}

func goPlayer(t *testing.T, engine string) []string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{exe, "player", engine}
}

func TestPlayersInGoKeepTheProtocol(t *testing.T) {
	for _, e := range engines {
		if e.open != nil {
			t.Run(e.name, func(t *testing.T) { testPlayer(t, goPlayer(t, e.name)) })
		}
	}
}

func TestDriverOfLMDBKeepsTheProtocol(t *testing.T) {
	testPlayer(t, []string{driver(t)})
}

func testPlayer(t *testing.T, command []string) {
	const keys = 20_011 // more than two chunks
	ctx, dir := t.Context(), testdir.New(t)
	about, err := prepare(ctx, command, dir, keys)
	if err != nil || about == "" {
		t.Fatalf("%q, %v", about, err)
	}
	var op operation
	var entries []string
	for n := range uint64(keys) {
		op.preload(n)
		entries = append(entries, fmt.Sprintf("%x %x", op.key, op.value))
	}
	check := func(lines ...string) (string, error) {
		p, err := start(ctx, command, "check", dir)
		if err != nil {
			t.Fatal(err)
		}
		defer p.kill()
		fmt.Fprintln(p.in, strings.Join(lines, "\n"))
		p.in.Close()
		return p.answer("count")
	}
	if count, err := check(entries...); err != nil || count != fmt.Sprint(keys) {
		t.Fatalf("the store does not hold what was loaded: %q, %v", count, err)
	}
	op.preload(keys)
	if _, err := check(fmt.Sprintf("%x %x", op.key, op.value)); err == nil {
		t.Error("a key that was never put is there")
	}
	if _, err := check(entries[0][:2*keySize] + entries[1][2*keySize:]); err == nil {
		t.Error("a key has the value of another")
	}
	for _, args := range [][]string{{"work", dir}, {"nothing", dir}} {
		if p, err := start(ctx, command, args...); err != nil {
			t.Fatal(err)
		} else if err := p.answers(new(result).take); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}

	// On a busy machine a round may be over before anybody began.
	j := job{keys: keys, duration: 50 * time.Millisecond}
	var r *result
	for counted := uint64(0); counted == 0; {
		j.seed++
		if r, err = playRound(ctx, command, dir, &shape{processes: 1, threads: 3}, j); err != nil {
			t.Fatal(err)
		}
		var committed uint64
		for b, n := range r.latencies.counts {
			if counted += n; n > 0 && b > bucket(r.latencies.max) {
				t.Errorf("a latency above the greatest, %v, is in bucket %d", r.latencies.max, b)
			}
		}
		for id, w := range r.workers {
			committed += w.Commits - 1 // but the one before the measured time
			if w.ID != uint64(id) || w.Within > w.Commits-1 || w.Within+1 < w.Commits-1 {
				t.Errorf("worker %d: %+v", id, w)
			}
		}
		if counts := command[len(command)-1] == "sharekv"; counts != (r.flushes > 0) || counts && r.commits < committed {
			t.Errorf("%d commits with %d flushes; %d workers have made %d", r.commits, r.flushes, len(r.workers), committed)
		}
		if counted != committed {
			t.Errorf("%d latencies of %d commits", counted, committed)
		}
	}
	if r.latencies.counts[bucket(r.latencies.max)] == 0 {
		t.Errorf("the greatest latency, %v, is not in its bucket", r.latencies.max)
	}
	r.workers[1].Commits++
	if err := verify(ctx, command, dir, j, r); err == nil {
		t.Error("a commit that never was is found")
	}
}

func TestPlayersThatFailAreReported(t *testing.T) {
	for script, want := range map[string]string{
		`echo "no disk" >&2; exit 3`: "no disk: exit status 3",
		`exit 0`:                     "ended too early",
		`echo hello`:                 "ready is wanted",
		`echo ready; read go; echo worker 0 1; echo done`:               "5 numbers wanted",
		`echo ready; read go; echo latency 99999 1; echo done`:          "no such bucket",
		`echo ready; read go; echo done`:                                "0 workers answered",
		`echo ready; read go; echo worker 0 1 1 0 9; exit 1`:            "exit status 1",
		`echo ready; read go; echo worker 0 1 1 0 9; echo done; exit 1`: "exit status 1",
	} {
		command := []string{"/bin/sh", "-c", script}
		_, err := compete(t.Context(), command, "", &shape{processes: 1, threads: 1}, job{keys: 8})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", script, err, want)
		}
	}
}

func TestMissingCompilerAndHeaderAreExplained(t *testing.T) {
	bin := testdir.New(t)
	t.Setenv("PATH", bin)
	_, err := compileDriver(t.Context(), bin)
	if !errors.Is(err, errNoCompiler) || !strings.Contains(errors.FlattenHints(err), "gcc") {
		t.Errorf("without a compiler: %v, hint %q", err, errors.FlattenHints(err))
	}
	if err := os.WriteFile(filepath.Join(bin, "cc"), []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = compileDriver(t.Context(), bin)
	if !errors.Is(err, errNoLMDB) || !strings.Contains(errors.FlattenHints(err), "liblmdb-dev") {
		t.Errorf("without lmdb.h: %v, hint %q", err, errors.FlattenHints(err))
	}
}

func TestMemoryIsNoDisk(t *testing.T) {
	const memory = "/dev/shm"
	if _, err := os.Stat(memory); err != nil {
		t.Skip(err)
	}
	if err := checkFileSystem(memory, false); err == nil || !strings.Contains(errors.FlattenHints(err), "--dir") {
		t.Errorf("%v, hint %q", err, errors.FlattenHints(err))
	}
	if err := checkFileSystem(memory, true); err != nil {
		t.Error(err)
	}
}

func TestWrongArgumentsAreRefused(t *testing.T) {
	for _, args := range []string{"--engines x", "--cases 9t", "--rounds 0", "--keys 7", "--time 0", "surplus"} {
		var stderr bytes.Buffer
		args := append([]string{"durable"}, strings.Fields(args)...)
		if code := run(t.Context(), args, &stderr, &stderr); code != 1 || !strings.HasPrefix(stderr.String(), "kvbench: ") {
			t.Errorf("%q: exit code %d, %s", args, code, stderr.String())
		}
	}
}

// TestDurableRuns measures all engines, too briefly for the figures to mean anything.
func TestDurableRuns(t *testing.T) {
	dir := testdir.New(t)
	names := []string{"sharekv", "bbolt", "bbolt-batch", "pebble"}
	_, noDriver := compileDriver(t.Context(), dir)
	if noDriver == nil {
		names = append(names, lmdb)
	}
	file := filepath.Join(dir, "all.json")
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"durable", "--time", "200ms", "--rounds", "1", "--keys", "1000",
		"--any-filesystem", "--dir", dir, "--json", file, "--engines", strings.Join(names, ",")},
		&stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr.String())
	}
	t.Logf("\n%s", stdout.String())
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got report
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Cases) != len(shapes) || len(got.Engines) != len(names) {
		t.Fatalf("%d cases, settings %v", len(got.Cases), got.Engines)
	}
	for i, c := range got.Cases {
		for _, e := range c.Engines {
			switch {
			case e.Cannot != "":
			case e.Summary == nil || e.Summary.Max < e.Summary.P50 || len(e.Rounds) != 1:
				t.Errorf("%s, %s: %+v", c.Title, e.Engine, e)
			case len(e.Rounds[0].Workers) != shapes[i].processes*shapes[i].threads:
				t.Errorf("%s, %s: %d workers", c.Title, e.Engine, len(e.Rounds[0].Workers))
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "kvbench-*")); len(left) > 0 {
		t.Errorf("left behind: %s", left)
	}
	if noDriver != nil {
		driver(t)
	}
}

func TestInterruptedRunLeavesNothing(t *testing.T) {
	dir := testdir.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	stop := writerFunc(func() { cancel() }) // at the first line of progress
	code := run(ctx, []string{"durable", "--time", "50ms", "--keys", "1000", "--any-filesystem",
		"--dir", dir, "--engines", "sharekv"}, &bytes.Buffer{}, stop)
	if left, err := os.ReadDir(dir); code != 1 || err != nil || len(left) > 0 {
		t.Errorf("exit code %d, left behind %v, %v", code, left, err)
	}
}

type writerFunc func()

func (f writerFunc) Write(p []byte) (int, error) { f(); return len(p), nil }

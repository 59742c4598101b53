package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/cockroachdb/errors"
)

// A player is a process that has an engine's store open: this program again, or
// lmdb/driver.c. It is told what to do by its arguments, and answers in lines. Any
// failure is a message on stderr and an exit code that is not zero.
//
//	load DIR KEYS   makes a store in DIR and fills it; prints
//	                  about TEXT            the engine's version and durability settings, verified
//	work DIR KEYS SEED WORKERS FIRST THREADS NANOSECONDS
//	                has THREADS workers, numbered from FIRST, commit once each; prints
//	                  ready
//	                reads "go TIME" from stdin: nanoseconds since 1970 at which all
//	                workers of all players begin; prints for each worker
//	                  worker ID COMMITS WITHIN LATE MAX
//	                  latency BUCKET COUNT  for each bucket that is not empty
//	check DIR       reads lines with a key and its value from stdin, in hexadecimal,
//	                and fails unless the store holds them; prints
//	                  count ENTRIES
//
// The last line is always "done". COMMITS counts all commits of the worker, the one
// before "ready" included, and so tells which was the last. WITHIN counts those that
// returned in the measured time, while the latencies are of all that began in it.
// LATE is how long after TIME the worker began. Durations are in nanoseconds.

// A job is the work of one player in one round.
type job struct {
	keys, seed     uint64
	workers        uint64 // in all players
	first, threads uint64
	duration       time.Duration
}

func (j *job) args() (args []string) {
	for _, n := range []uint64{j.keys, j.seed, j.workers, j.first, j.threads, uint64(j.duration)} {
		args = append(args, strconv.FormatUint(n, 10))
	}
	return args
}

func parseJob(args []string) (*job, error) {
	n, err := parseNumbers(args, 6)
	if err != nil {
		return nil, err
	}
	return &job{n[0], n[1], n[2], n[3], n[4], time.Duration(n[5])}, nil
}

func parseNumbers(args []string, want int) (numbers []uint64, err error) {
	if len(args) != want {
		return nil, errors.Newf("%d numbers wanted, got %q", want, args)
	}
	for _, arg := range args {
		n, err := strconv.ParseUint(arg, 10, 64)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// play is the player of an engine in Go.
func play(open opener, args []string, in io.Reader, out io.Writer) error {
	if len(args) < 2 {
		return errors.New("a player needs a verb and a directory")
	}
	verb, dir, args := args[0], args[1], args[2:]
	s, about, err := open(dir)
	if err != nil {
		return err
	}
	buffer := bufio.NewWriter(out)
	switch verb {
	case "load":
		err = load(s, args)
		fmt.Fprintf(buffer, "about %s\n", about)
	case "work":
		err = work(s, args, in, buffer)
	case "check":
		err = check(s, in, buffer)
	default:
		err = errors.Newf("unknown verb %q", verb)
	}
	if err := errors.CombineErrors(err, s.close()); err != nil {
		return err
	}
	fmt.Fprintln(buffer, "done")
	return buffer.Flush()
}

const loadChunk = 10_000 // keys in one transaction

func load(s storage, args []string) error {
	n, err := parseNumbers(args, 1)
	if err != nil {
		return err
	}
	for first := uint64(0); first < n[0]; first += loadChunk {
		ops := make([]operation, min(loadChunk, n[0]-first))
		for i := range ops {
			ops[i].preload(first + uint64(i))
		}
		if err := s.load(ops); err != nil {
			return err
		}
	}
	return nil
}

func work(s storage, args []string, in io.Reader, out *bufio.Writer) error {
	j, err := parseJob(args)
	if err != nil {
		return err
	}
	crew := make([]*worker, j.threads)
	for i := range crew {
		crew[i] = &worker{job: j, id: j.first + uint64(i), storage: s}
	}
	if err := each(crew, (*worker).commit); err != nil {
		return err
	}
	fmt.Fprintln(out, "ready")
	if err := out.Flush(); err != nil {
		return err
	}
	var wall int64
	if _, err := fmt.Fscanf(in, "go %d\n", &wall); err != nil {
		return errors.Wrapf(err, "no word to go")
	}
	now := time.Now()
	start := now.Add(time.Unix(0, wall).Sub(now)) // with a monotonic reading
	if err := each(crew, func(w *worker) error { return w.measure(start) }); err != nil {
		return err
	}
	for _, w := range crew {
		fmt.Fprintf(out, "worker %d %d %d %d %d\n", w.id, w.seq, w.within, w.late, w.latencies.max)
		for b, n := range w.latencies.counts {
			if n != 0 {
				fmt.Fprintf(out, "latency %d %d\n", b, n)
			}
		}
	}
	if s, ok := s.(counter); ok {
		commits, flushes, err := s.commitsAndFlushes()
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "flushes %d %d\n", commits, flushes)
	}
	return nil
}

// each has all of the crew do something at once, and returns the first error.
func each(crew []*worker, do func(*worker) error) error {
	failures := make([]error, len(crew))
	var all sync.WaitGroup
	for i, w := range crew {
		all.Go(func() { failures[i] = do(w) })
	}
	all.Wait()
	for _, err := range failures {
		if err != nil {
			return err
		}
	}
	return nil
}

type worker struct {
	*job
	id      uint64
	storage storage

	op          operation
	seq, within uint64
	late        time.Duration
	latencies   histogram
}

func (w *worker) commit() error {
	w.seq++
	w.op.change(w.job, w.id, w.seq)
	return w.storage.put(&w.op)
}

func (w *worker) measure(start time.Time) error {
	end := start.Add(w.duration)
	time.Sleep(time.Until(start))
	last := time.Now()
	w.late = last.Sub(start)
	for last.Before(end) {
		if err := w.commit(); err != nil {
			return err
		}
		done := time.Now()
		w.latencies.add(done.Sub(last))
		if !done.After(end) {
			w.within++
		}
		last = done
	}
	return nil
}

func check(s storage, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var key, want []byte
		if _, err := fmt.Sscanf(lines.Text(), "%x %x", &key, &want); err != nil {
			return errors.Wrapf(err, "check")
		}
		got, err := s.get(key)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return errors.Newf("the last value of key %x is not there", key)
		}
	}
	n, err := s.count()
	fmt.Fprintf(out, "count %d\n", n)
	return errors.CombineErrors(err, lines.Err())
}

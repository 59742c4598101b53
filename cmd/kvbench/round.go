package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
)

const (
	// headStart is how long before the measured time all players are told when it
	// begins, so that each is on its mark by then.
	headStart = 200 * time.Millisecond
	// patience is how long after the measured time a player may be silent.
	patience = 2 * time.Minute
)

var errSilent = errors.New("a player does not answer")

// process is a player at work.
type process struct {
	*exec.Cmd
	in     io.WriteCloser
	out    *bufio.Scanner
	stderr bytes.Buffer
}

func start(ctx context.Context, command []string, args ...string) (*process, error) {
	args = append(command[1:len(command):len(command)], args...)
	p := &process{Cmd: exec.CommandContext(ctx, command[0], args...)}
	p.Stderr = &p.stderr
	p.WaitDelay = time.Second
	var err error
	if p.in, err = p.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewScanner(out)
	return p, p.Start()
}

// line returns the next line, split after its first word.
func (p *process) line() (word, rest string, err error) {
	if !p.out.Scan() {
		return "", "", p.failure(errors.CombineErrors(p.out.Err(), p.Wait()))
	}
	word, rest, _ = strings.Cut(p.out.Text(), " ")
	return word, rest, nil
}

func (p *process) failure(err error) error {
	if err == nil {
		err = errors.New("a player ended too early")
	}
	if said := bytes.TrimSpace(p.stderr.Bytes()); len(said) > 0 {
		err = errors.Wrapf(err, "%s", said)
	}
	return errors.Wrapf(err, "%s", strings.Join(p.Args, " "))
}

// end waits for the process after its last line.
func (p *process) end() error {
	if err := p.Wait(); err != nil {
		return p.failure(err)
	}
	return nil
}

// kill ends the process if it is still there, and forgets it.
func (p *process) kill() {
	_ = p.Process.Kill()
	_ = p.Wait()
}

// answers hands the lines of the process to got until the last.
func (p *process) answers(got func(word, rest string) error) error {
	for {
		word, rest, err := p.line()
		if err != nil {
			return err
		}
		if word == "done" {
			return p.end()
		}
		if err := got(word, rest); err != nil {
			return errors.Wrapf(err, "answer %q", p.out.Text())
		}
	}
}

// answer returns what follows want in the one line that the process answers.
func (p *process) answer(want string) (rest string, err error) {
	word, rest, err := p.line()
	if err == nil && word != want {
		err = errors.Newf("answer %q: %s is wanted", p.out.Text(), want)
	}
	if err != nil {
		return "", err
	}
	return rest, p.answers(func(word, _ string) error {
		return errors.Newf("done is wanted")
	})
}

// prepare makes the store of a player in dir, and returns what it says of itself.
func prepare(ctx context.Context, command []string, dir string, keys uint64) (about string, err error) {
	p, err := start(ctx, command, "load", dir, strconv.FormatUint(keys, 10))
	if err != nil {
		return "", err
	}
	defer p.kill()
	return p.answer("about")
}

// A result is what came out of a round.
type result struct {
	workers   []workerResult
	latencies histogram // of all workers

	// Of all workers, if the engine counts them: those before the measured time included.
	commits, flushes uint64
}

type workerResult struct {
	ID      uint64        `json:"id"`
	Commits uint64        `json:"commits"`        // the one before the measured time included
	Within  uint64        `json:"commits_within"` // that returned in the measured time
	Late    time.Duration `json:"late_ns"`
	Max     time.Duration `json:"max_ns"`
}

// take takes in a line of a player.
func (r *result) take(word, rest string) error {
	fields := strings.Fields(rest)
	switch word {
	case "worker":
		n, err := parseNumbers(fields, 5)
		if err != nil {
			return err
		}
		r.workers = append(r.workers, workerResult{n[0], n[1], n[2], time.Duration(n[3]), time.Duration(n[4])})
		r.latencies.max = max(r.latencies.max, time.Duration(n[4]))
	case "latency":
		n, err := parseNumbers(fields, 2)
		if err != nil {
			return err
		}
		if n[0] >= buckets {
			return errors.New("there is no such bucket")
		}
		r.latencies.counts[n[0]] += n[1]
	case "flushes":
		n, err := parseNumbers(fields, 2)
		if err != nil {
			return err
		}
		if n[0] > r.commits { // the last player to count has counted most
			r.commits, r.flushes = n[0], n[1]
		}
	default:
		return errors.New("worker, latency or flushes is wanted")
	}
	return nil
}

// playRound plays one round with the store in dir, and checks the store.
func playRound(ctx context.Context, command []string, dir string, s *shape, j job) (*result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, headStart+j.duration+patience, errSilent)
	defer cancel()
	r, err := compete(ctx, command, dir, s, j)
	if err == nil {
		err = verify(ctx, command, dir, j, r)
	}
	if err != nil && ctx.Err() != nil {
		err = errors.CombineErrors(context.Cause(ctx), err)
	}
	return r, err
}

func compete(ctx context.Context, command []string, dir string, s *shape, j job) (*result, error) {
	j.workers, j.threads = uint64(s.processes*s.threads), uint64(s.threads)
	var players []*process
	for i := range s.processes {
		j.first = uint64(i * s.threads)
		p, err := start(ctx, command, append([]string{"work", dir}, j.args()...)...)
		if err != nil {
			return nil, err
		}
		defer p.kill()
		players = append(players, p)
	}
	for _, p := range players {
		word, _, err := p.line()
		if err != nil {
			return nil, err
		}
		if word != "ready" {
			return nil, errors.Newf("answer %q: ready is wanted", p.out.Text())
		}
	}
	begin := time.Now().Add(headStart).UnixNano()
	for _, p := range players {
		// A player that has ended tells why with its next line.
		_, _ = fmt.Fprintf(p.in, "go %d\n", begin)
	}
	r := new(result)
	for _, p := range players {
		if err := p.answers(r.take); err != nil {
			return nil, err
		}
	}
	if len(r.workers) != int(j.workers) {
		return nil, errors.Newf("%d workers answered, not %d", len(r.workers), j.workers)
	}
	return r, nil
}

// verify has a new process look whether the store holds what each worker put last,
// and as many keys as before.
func verify(ctx context.Context, command []string, dir string, j job, r *result) error {
	p, err := start(ctx, command, "check", dir)
	if err != nil {
		return err
	}
	defer p.kill()
	j.workers = uint64(len(r.workers))
	// Here, too, a player that has ended tells why later.
	for _, w := range r.workers {
		var last operation
		last.change(&j, w.ID, w.Commits)
		_, _ = fmt.Fprintf(p.in, "%x %x\n", last.key, last.value)
	}
	_ = p.in.Close()
	count, err := p.answer("count")
	if want := strconv.FormatUint(j.keys, 10); err == nil && count != want {
		err = errors.Newf("the store holds %s keys after the round, not %s", count, want)
	}
	return err
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/errors"
)

// A crew is the processes of one demo.
type crew struct {
	path    string // of the store
	writers int
	batch   int
	members []*worker
}

// A worker is one process of the crew.
type worker struct {
	name   string
	id     int // of its work, from 0, among those of its role
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	noise  bytes.Buffer // its stderr; read after exited
	killed atomic.Bool  // on purpose

	news   chan struct{} // has an element after a report that until has not seen
	exited chan struct{} // closed at the exit
	err    error         // why it failed; read after exited

	mu   sync.Mutex
	last *workReport // nil before the first
}

// start adds a process to the crew: this executable again. It waits for begin, and
// is killed when ctx ends.
func (c *crew) start(ctx context.Context, name, role string, id int) (*worker, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &worker{
		name:   name,
		id:     id,
		news:   make(chan struct{}, 1),
		exited: make(chan struct{}),
	}
	w.cmd = exec.CommandContext(ctx, exe, "demo-worker", "--store", c.path, "--role", role,
		"--id", strconv.Itoa(id), "--writers", strconv.Itoa(c.writers), "--batch", strconv.Itoa(c.batch))
	w.cmd.Stderr = &w.noise
	w.cmd.WaitDelay = 5 * time.Second
	if w.stdin, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, errors.Wrapf(err, "start %s", w.name)
	}
	c.members = append(c.members, w)
	go w.follow(stdout)
	return w, nil
}

// follow takes the reports until the process ends.
func (w *worker) follow(stdout io.Reader) {
	defer close(w.exited)
	reports := json.NewDecoder(stdout)
	for {
		var r workReport
		if err := reports.Decode(&r); err != nil {
			w.err = w.ending(err)
			return
		}
		w.mu.Lock()
		w.last = &r
		w.mu.Unlock()
		select {
		case w.news <- struct{}{}:
		default:
		}
	}
}

// ending waits for the process, whose reports ended with readErr, and returns why
// it failed, if it did.
func (w *worker) ending(readErr error) error {
	err := w.cmd.Wait()
	switch {
	case w.killed.Load():
		return nil
	case err != nil:
		noise := strings.TrimPrefix(strings.TrimSpace(w.noise.String()), "kvctl: ")
		return errors.Newf("%s (pid %d): %w: %s", w.name, w.pid(), err, noise)
	case !errors.Is(readErr, io.EOF):
		return errors.Wrapf(readErr, "report of %s (pid %d)", w.name, w.pid())
	case !w.report().Done:
		return errors.Newf("%s (pid %d) ended without its last report", w.name, w.pid())
	}
	return nil
}

func (w *worker) pid() int { return w.cmd.Process.Pid }

// report returns the newest report.
func (w *worker) report() workReport {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil {
		return workReport{}
	}
	return *w.last
}

// until waits for a report that satisfies ok. It returns false when the process has
// ended without one. Only one goroutine may wait at a time.
func (w *worker) until(ok func(workReport) bool) bool {
	for {
		w.mu.Lock()
		last := w.last
		w.mu.Unlock()
		if last != nil && ok(*last) {
			return true
		}
		select {
		case <-w.news:
		case <-w.exited:
			return false
		}
	}
}

// begin lets the process begin. That it has died already is for wait to tell.
func (w *worker) begin() { w.stdin.Write([]byte{orderBegin}) }

// halt asks a writer to stand still in the middle of its next transaction. A report
// says that it does.
func (w *worker) halt() { w.stdin.Write([]byte{orderHalt}) }

// kill kills the process as kill -9 does.
func (w *worker) kill() error {
	w.killed.Store(true)
	return errors.Wrapf(w.cmd.Process.Kill(), "kill %s", w.name)
}

// stop asks the process to end after one more transaction. It does not wait.
func (w *worker) stop() { w.stdin.Close() }

// wait returns when the process has ended, and why it failed if it did.
func (w *worker) wait() error {
	<-w.exited
	return w.err
}

func (w *worker) hasEnded() bool {
	select {
	case <-w.exited:
		return true
	default:
		return false
	}
}

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
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	noise bytes.Buffer // its stderr; read after exited

	ready   chan struct{} // closed after the first report, or at the exit
	started chan struct{} // closed after the first transaction, or at the exit
	exited  chan struct{} // closed at the exit
	err     error         // why it failed; read after exited

	mu   sync.Mutex
	last workReport
}

// start adds a process to the crew: this executable again. It waits for begin, and
// is killed when ctx ends.
func (c *crew) start(ctx context.Context, role string, id int) (*worker, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &worker{
		name:    role + " " + strconv.Itoa(id+1),
		ready:   make(chan struct{}),
		started: make(chan struct{}),
		exited:  make(chan struct{}),
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
	ready := sync.OnceFunc(func() { close(w.ready) })
	started := sync.OnceFunc(func() { close(w.started) })
	defer ready()
	defer started()
	reports := json.NewDecoder(stdout)
	for {
		var r workReport
		if err := reports.Decode(&r); err != nil {
			w.err = w.ending(err)
			return
		}
		w.mu.Lock()
		w.last = r
		w.mu.Unlock()
		ready()
		if r.Transactions > 0 {
			started()
		}
	}
}

// ending waits for the process, whose reports ended with readErr, and returns why
// it failed, if it did.
func (w *worker) ending(readErr error) error {
	err := w.cmd.Wait()
	pid := w.cmd.Process.Pid
	switch {
	case err != nil:
		noise := strings.TrimPrefix(strings.TrimSpace(w.noise.String()), "kvctl: ")
		return errors.Newf("%s (pid %d): %w: %s", w.name, pid, err, noise)
	case !errors.Is(readErr, io.EOF):
		return errors.Wrapf(readErr, "report of %s (pid %d)", w.name, pid)
	case !w.report().Done:
		return errors.Newf("%s (pid %d) ended without its last report", w.name, pid)
	}
	return nil
}

// report returns the newest report.
func (w *worker) report() workReport {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// begin lets the process begin. That it has died already is for wait to tell.
func (w *worker) begin() { w.stdin.Write([]byte{'\n'}) }

// stop asks the process to end after one more transaction. It does not wait.
func (w *worker) stop() { w.stdin.Close() }

// wait returns when the process has ended, and why it failed if it did.
func (w *worker) wait() error {
	<-w.exited
	return w.err
}

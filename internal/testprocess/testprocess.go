// Package testprocess starts the test binary again, as another process that plays a
// role in a test.
package testprocess

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"time"
)

// Player is a test binary that plays a role.
type Player struct {
	*exec.Cmd
	In  io.WriteCloser
	Out *bufio.Scanner // lines
}

// Start starts the test binary with these arguments, and with env added to the
// environment. Its messages go where ours go. Whoever calls waits for its end.
func Start(env []string, args ...string) (*Player, error) {
	return StartWith(func(*exec.Cmd) error { return nil }, env, args...)
}

// StartWith calls prepare right before the start.
func StartWith(prepare func(*exec.Cmd) error, env []string, args ...string) (p *Player, err error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	for range 5 {
		if p, err = start(exe, prepare, env, args); !transient(err) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return p, err
}

func start(exe string, prepare func(*exec.Cmd) error, env, args []string) (*Player, error) {
	p := &Player{Cmd: exec.Command(exe, args...)}
	p.Env = append(os.Environ(), env...)
	p.Stderr = os.Stderr
	in, err := p.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.In, p.Out = in, bufio.NewScanner(out)
	if err := prepare(p.Cmd); err != nil {
		return nil, err
	}
	return p, p.Cmd.Start()
}

//go:build killpoints

package store_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testprocess"
	"github.com/sharekv/sharekv/store"
)

func init() { programs["bystander"] = bystander }

// bystander is a process that uses one store after the other as it is told:
//
//	open PATH readers|writers MODE   opens the store and begins to read or to write
//	check                            does so once more from the beginning
//	close                            closes the store
//
// It answers each with a line, the last one with its last acknowledged count.
func bystander() error {
	commands := make(chan string)
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			commands <- in.Text()
		}
		close(commands)
	}()
	for c := range commands {
		var path, company string
		var mode time.Duration
		if _, err := fmt.Sscanf(c, "open %s %s %d", &path, &company, &mode); err != nil {
			return errors.Wrapf(err, "%s", c)
		}
		if err := attend(path, company, mode, commands); err != nil {
			return err
		}
	}
	return nil
}

func attend(path, company string, mode time.Duration, commands <-chan string) error {
	db, err := open(path, &store.Options{LockTimeout: patience, Async: mode})
	if err != nil {
		return err
	}
	fmt.Println("opened")
	rng := rand.New(rand.NewPCG(rand.Uint64(), 0))
	var acked uint64
	act := func() (err error) {
		if company == "readers" {
			return db.View(consistent)
		}
		acked, err = record(db, os.Getenv(companionVariable), rng)
		return err
	}
	for {
		select {
		case c := <-commands:
			if c != "check" {
				err := db.Close()
				fmt.Println("closed", acked)
				return err
			}
			if err := act(); err != nil {
				return err
			}
			fmt.Println("went on")
		case <-time.After(time.Duration(rng.IntN(3000)) * time.Microsecond):
			if err := act(); err != nil {
				return err
			}
		}
	}
}

// A companion is a bystander as the test sees it.
type companion struct {
	*testprocess.Player
	who   string
	lines chan string
}

const companionVariable = "SHAREKV_COMPANION"

func startCompanion(t testing.TB, who string) *companion {
	t.Helper()
	p, err := testprocess.Start([]string{"SHAREKV_ROLE=bystander", companionVariable + "=" + who})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill(); p.Wait() })
	lines := make(chan string)
	go func() {
		defer close(lines)
		for p.Out.Scan() {
			lines <- p.Out.Text()
		}
	}()
	return &companion{p, who, lines}
}

// answer waits for the line that answers a command, and returns what follows want.
func (c *companion) answer(want string) (string, error) {
	select {
	case line, ok := <-c.lines:
		rest, right := strings.CutPrefix(line, want)
		if !ok || !right {
			return "", errors.Newf("%s: %q instead of %q", c.who, line, want)
		}
		return strings.TrimSpace(rest), nil
	case <-time.After(2 * patience):
		return "", errors.Newf("%s: no answer (%s) in %v", c.who, want, 2*patience)
	}
}

// A party is the company of one victim: nobody, readers or writers.
type party struct {
	cast            []*companion
	open            string // what they are told first
	called, settled bool
}

func (s *stage) party(company, path string, mode time.Duration) *party {
	p := &party{open: fmt.Sprintf("open %s %s %d", path, company, mode)}
	if company != "alone" {
		p.cast = s.cast
	}
	return p
}

func (p *party) tell(command string) {
	for _, c := range p.cast {
		fmt.Fprintln(c.In, command)
	}
}

func (p *party) answers(want string) error {
	for _, c := range p.cast {
		if _, err := c.answer(want); err != nil {
			return err
		}
	}
	return nil
}

// call makes them come to the store, unless they have been called.
func (p *party) call() {
	if !p.called {
		p.called = true
		p.tell(p.open)
	}
}

// settle returns when they have the store open, if they were called.
func (p *party) settle() error {
	if !p.called || p.settled {
		return nil
	}
	p.settled = true
	return p.answers("opened")
}

// goOn returns when each has read or written once more.
func (p *party) goOn() error {
	if err := p.settle(); err != nil || !p.called {
		return err
	}
	p.tell("check")
	return p.answers("went on")
}

// leave makes them close the store, and notes what they had acknowledged.
func (p *party) leave(acked map[string]uint64) error {
	if !p.called {
		return nil
	}
	p.tell("close")
	for _, c := range p.cast {
		count, err := c.answer("closed")
		if err != nil {
			return err
		}
		acked[c.who], _ = strconv.ParseUint(count, 10, 64)
	}
	return nil
}

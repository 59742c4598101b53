package mmapfile_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testprocess"
	"github.com/sharekv/sharekv/mmapfile"
)

// roleVariable makes the test binary play a part in a test instead of running the
// tests: one of roles, with the rest of the command line as its arguments. It
// answers each line of its standard input with a line.
const roleVariable = "MMAPFILE_TEST_ROLE"

var roles = map[string]func(args []string, commands *bufio.Scanner) error{
	"binder":   binderRole,
	"rebinder": rebinderRole,
	"mapper":   mapperRole,
	"member":   memberRole,
	"counter":  counterRole,
	"storm":    stormRole,
	"opener":   openerRole,
	"namer":    namerRole,
	"ponger":   pongerRole,
	"listener": listenerRole,
	"waker":    wakerRole,
	"object":   objectRole,
	"heir":     heirRole,
}

func TestMain(m *testing.M) {
	name := os.Getenv(roleVariable)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := roles[name](os.Args[1:], bufio.NewScanner(os.Stdin)); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

// A process is a test binary that plays a role.
type process struct {
	*testprocess.Player
	t *testing.T
}

// start runs a role. The process is killed when the test ends, at the latest.
func start(t *testing.T, role string, args ...string) *process {
	t.Helper()
	return startWith(t, role, func(*exec.Cmd) error { return nil }, args...)
}

// startWith calls prepare right before the start.
func startWith(t *testing.T, role string, prepare func(*exec.Cmd) error, args ...string) *process {
	t.Helper()
	started, err := testprocess.StartWith(prepare, []string{roleVariable + "=" + role}, args...)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{started, t}
	t.Cleanup(func() { p.kill() })
	return p
}

// ask sends a command and returns the answer.
func (p *process) ask(command string, args ...any) string {
	p.t.Helper()
	p.tell(command, args...)
	return p.hear()
}

func (p *process) tell(command string, args ...any) {
	p.t.Helper()
	if _, err := fmt.Fprintf(p.In, command+"\n", args...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) hear() string {
	p.t.Helper()
	if !p.Out.Scan() {
		p.t.Fatalf("process %v ended without an answer: %v", p.Args[1:], p.Out.Err())
	}
	return strings.TrimRight(p.Out.Text(), "\r")
}

// mustHear fails the test if the next answer is another one.
func (p *process) mustHear(want string) {
	p.t.Helper()
	if got := p.hear(); got != want {
		p.t.Fatalf("process %v answered %q, not %q", p.Args[1:], got, want)
	}
}

// kill ends the process without any chance to clean up, waits for its end, and
// returns what it had answered unheard.
func (p *process) kill() (rest string) {
	if p.ProcessState == nil {
		_ = p.Process.Kill()
		rest = p.drain()
		_ = p.Wait()
	}
	return rest
}

// finish closes its input, which ends a role, and waits for it.
func (p *process) finish() {
	p.t.Helper()
	_ = p.In.Close()
	rest := p.drain()
	if err := p.Wait(); err != nil {
		p.t.Errorf("process %v: %v: %s", p.Args[1:], err, rest)
	}
}

func (p *process) drain() string {
	var rest []string
	for p.Out.Scan() {
		rest = append(rest, p.Out.Text())
	}
	return strings.Join(rest, "; ")
}

// The area of all tests here, and where things are in it.
var testArea = mmapfile.AreaOptions{Size: 1024, Members: 16}

const (
	mutexAt   = 0
	ownerAt   = 64 // in a storm: who thinks it holds the mutex
	counterAt = 128
	secondAt  = 192 // the other half of the counter in a storm
	passedAt  = 256 // how often the mutex was got in a storm
	stopAt    = 320
	insideAt  = 384 // in a storm of objects: who is where nobody else may be
)

var background = context.Background()

// mapperRole maps a file and stores in it.
func mapperRole(args []string, commands *bufio.Scanner) error {
	m, err := mmapfile.Create(args[0], 0, &mmapfile.Options{MustExist: true})
	if err != nil {
		return err
	}
	for commands.Scan() {
		words := strings.Fields(commands.Text())
		at, err := strconv.ParseInt(words[1], 10, 64)
		if err != nil {
			return err
		}
		switch words[0] {
		case "grow":
			err = m.Grow(at)
		case "store":
			err = m.Store(at, [][]byte{[]byte(words[2])})
		case "view":
			var view []byte
			if view, err = m.View(at + 1); err == nil {
				fmt.Println(string(view[at]))
				continue
			}
		}
		if err != nil {
			return err
		}
		fmt.Println("ok")
	}
	return m.Close()
}

// namerRole gives a mapping a name.
func namerRole(args []string, commands *bufio.Scanner) error {
	m, err := mmapfile.Create(args[0], 4096, &mmapfile.Options{Name: args[1]})
	if err != nil {
		return err
	}
	fmt.Println("ok")
	commands.Scan()
	return m.Close()
}

// openerRole opens a mapping by name and shows how it begins.
func openerRole(args []string, _ *bufio.Scanner) error {
	m, err := mmapfile.Open(args[0], nil)
	if err != nil {
		return err
	}
	view, err := m.View(5)
	if err != nil {
		return err
	}
	fmt.Println(string(view))
	return m.Close()
}

// memberRole joins an area and does with its mutex what it is told.
func memberRole(args []string, commands *bufio.Scanner) error {
	isFirst := false
	a, err := mmapfile.OpenArea(background, args[0], &testArea, func(_ *mmapfile.Area, first bool) error {
		isFirst = first
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Println(a.Self(), isFirst)
	m := a.Mutex(mutexAt)
	for commands.Scan() {
		switch commands.Text() {
		case "lock":
			err := m.Lock(background)
			if errors.Is(err, mmapfile.ErrAbandoned) {
				fmt.Println("abandoned")
				continue
			}
			if err != nil {
				return err
			}
			fmt.Println("locked")
		case "unlock":
			m.Unlock()
			fmt.Println("unlocked")
		}
	}
	return a.Close(nil)
}

// counterRole adds to a counter that only the mutex protects.
func counterRole(args []string, _ *bufio.Scanner) error {
	a, err := mmapfile.OpenArea(background, args[0], &testArea, nil)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	if err := count(a, n); err != nil {
		return err
	}
	return a.Close(nil)
}

func count(a *mmapfile.Area, n int) error {
	m, counter := a.Mutex(mutexAt), a.Uint64(counterAt)
	for range n {
		if err := m.Lock(background); err != nil {
			return err
		}
		counter.Store(counter.Load() + 1)
		m.Unlock()
	}
	return nil
}

// thorough says that there is time: every test does what it can.
func thorough() bool { return os.Getenv("SHAREKV_TEST") == "ci" }

// openArea opens an area for the length of a test.
func openArea(t *testing.T, path string) *mmapfile.Area {
	t.Helper()
	a, err := mmapfile.OpenArea(background, path, &testArea, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(nil); err != nil && !errors.Is(err, mmapfile.ErrClosed) {
			t.Error(err)
		}
	})
	return a
}

// soon returns a context for what should take no time at all.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(background, 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

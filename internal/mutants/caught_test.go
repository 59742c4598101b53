//go:build mutants && linux

package mutants_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sharekv/sharekv/internal/mutants"
	"github.com/sharekv/sharekv/internal/testdir"
)

func TestEveryMutantIsCaught(t *testing.T) {
	all := readMutants(t)
	b := build(t, all)
	var (
		mu    sync.Mutex
		table [][4]string
		found int
	)
	t.Run("mutants", func(t *testing.T) {
		for _, m := range all {
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				usual := b.passes(t, m)
				r := b.run(m, m.name, 1_000_000, m.limit)
				mu.Lock()
				defer mu.Unlock()
				by := r.failed(max(3*usual, m.limit/2))
				if by == "" {
					t.Errorf("%s\nsurvives %s of %s for %v\n%s", m.wrong, m.test, m.in, m.limit, r.tail(60))
					by = "SURVIVES"
				} else {
					found++
				}
				table = append(table, [4]string{m.name, fmt.Sprintf("%4.1f", r.took.Seconds()), m.in, by})
			})
		}
	})
	slices.SortFunc(table, func(a, b [4]string) int { return cmp.Or(cmp.Compare(a[2], b[2]), cmp.Compare(a[0], b[0])) })
	var text strings.Builder
	for _, row := range table {
		fmt.Fprintf(&text, "%-28s %s s  %-9s %s\n", row[0], row[1], row[2], row[3])
	}
	t.Logf("\n%-28s %6s  %-9s %s\n%s", "MUTANT", "AFTER", "PACKAGE", "CAUGHT BY", text.String())
	t.Logf("%d of %d mutants were caught", found, len(table))
}

// binaries are the tests of the packages, with all mutants in them.
type binaries struct {
	dir string

	mu   sync.Mutex
	fine map[string]*fine // by package, test, environment and arguments
}

// fine is what a test takes with no mutant on.
type fine struct {
	once sync.Once
	ok   bool
	took time.Duration
}

func build(t *testing.T, all []mutant) *binaries {
	t.Helper()
	b := &binaries{dir: testdir.New(t), fine: map[string]*fine{}}
	text, err := json.Marshal(map[string]any{"Replace": overlay(t, b.dir, all)})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(b.dir, "overlay.json")
	if err := os.WriteFile(list, text, 0o600); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for _, m := range all {
		if _, err := os.Stat(b.binary(m)); err == nil {
			continue
		}
		cmd := exec.Command("go", "test", "-c", "-vet=off", "-tags", "mutants", "-overlay", list, "-o", b.binary(m), "./"+m.in)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd, err, out)
		}
	}
	t.Logf("built in %.1f s", time.Since(begin).Seconds())
	return b
}

func (b *binaries) binary(m mutant) string {
	return filepath.Join(b.dir, strings.ReplaceAll(m.in, "/", "_")+".test")
}

// passes checks that the test of the mutant passes without it, and returns how long it
// takes.
func (b *binaries) passes(t *testing.T, m mutant) time.Duration {
	t.Helper()
	key := fmt.Sprint(m.in, " ", m.test, m.env, m.args)
	b.mu.Lock()
	f := b.fine[key]
	if f == nil {
		f = &fine{}
		b.fine[key] = f
	}
	b.mu.Unlock()
	f.once.Do(func() {
		r := b.run(m, "", 1, time.Minute)
		f.ok, f.took = r.ok && strings.Contains(r.out, "--- PASS: "), r.took
		if !f.ok {
			t.Errorf("%s fails with no mutant on, or does not run\n%s", key, r.tail(60))
		}
	})
	if !f.ok {
		t.Fatalf("%s proves nothing", key)
	}
	return f.took
}

// result is what became of a test.
type result struct {
	ok   bool
	out  string
	took time.Duration
}

// run runs the test of m that many times, or as often as there is time for, until it
// fails.
func (b *binaries) run(m mutant, on string, times int, limit time.Duration) result {
	args := append([]string{"-test.v", "-test.failfast", "-test.run", "^(" + m.test + ")$",
		"-test.count", fmt.Sprint(times), "-test.timeout", limit.String()}, m.args...)
	cmd := exec.Command(b.binary(m), args...)
	cmd.Dir = filepath.Join(root, m.in)
	cmd.Env = append(append(os.Environ(), m.env...), mutants.Variable+"="+on, "TMPDIR="+b.dir)
	// What the test has started goes with it, and what it keeps when it fails.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	begin := time.Now()
	out, err := cmd.CombinedOutput()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	return result{err == nil, string(out), time.Since(begin)}
}

var (
	failure = regexp.MustCompile(`(?m)^--- FAIL: (\S+)`)
	begun   = regexp.MustCompile(`(?m)^=== RUN +(\S+)`)
	crash   = regexp.MustCompile(`(?m)^(panic: .*|fatal error: .*)`)
	timeout = regexp.MustCompile(`(?m)^panic: test timed out after .*\n\trunning tests:\n\t\t(\S+) \((\S+)\)`)
)

// failed returns which test has failed, or "" if none did. One that was running for that
// long when the time was over has failed, too.
func (r result) failed(long time.Duration) string {
	if r.ok {
		return ""
	}
	if found := timeout.FindStringSubmatch(r.out); found != nil {
		if running, err := time.ParseDuration(found[2]); err == nil && running >= long {
			return found[1] + " does not end"
		}
		return ""
	}
	if found := failure.FindStringSubmatch(r.out); found != nil {
		return found[1]
	}
	runs, how := begun.FindAllStringSubmatch(r.out, -1), crash.FindString(r.out)
	if len(runs) == 0 || how == "" {
		return ""
	}
	return runs[len(runs)-1][1] + " (" + how + ")"
}

// tail returns the last lines of what the test said.
func (r result) tail(lines int) string {
	all := strings.Split(strings.TrimSpace(r.out), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

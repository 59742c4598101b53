package store_test

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/unix"

	"github.com/sharekv/sharekv/internal/invariant"
	"github.com/sharekv/sharekv/store"
)

func init() {
	roles["endure reading"] = func(db *store.DB) error { return endure(db, readRound) }
	roles["endure writing"] = func(db *store.DB) error { return endure(db, writeRound) }
}

// endure does the work again and again, whatever errors that gives, and answers
// each line it gets with how the next time went: "right" or what kind of error it
// was. After "close" and "open" it has done that.
func endure(db *store.DB, work func(*store.DB) error) error {
	commands := make(chan string)
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			commands <- in.Text()
		}
		close(commands)
	}()
	open, wrong := true, 0
	for {
		var command string
		asked, ok := true, true
		if open {
			select {
			case command, ok = <-commands:
			default:
				asked = false
			}
		} else {
			command, ok = <-commands
		}
		var err error
		switch {
		case !ok:
			os.Exit(0) // db is not the one that main closes
		case command == "close":
			open, err = false, db.Close()
		case command == "open":
			db, err = store.Open(os.Getenv("SHAREKV_STORE"), nil)
			open = err == nil
		default:
			err = protected(func() error { return work(db) })
			// A page may be damaged while it is being read. The next time that is
			// noticed.
			if wrong++; !errors.Is(err, errWrong) {
				wrong = 0
			} else if wrong == 1 {
				err = protected(func() error { return work(db) })
			}
		}
		if asked {
			fmt.Println(kindOf(err))
		}
	}
}

// protected calls fn. Under invariants what is damaged while it is being read ends in
// a panic, and in an error otherwise.
func protected(fn func() error) (err error) {
	defer func() {
		if !invariant.Enabled {
			return
		}
		switch r := recover().(type) {
		case nil:
		case runtime.Error:
			err = errors.Wrapf(store.ErrCorrupt, "%v", r)
		default:
			panic(r)
		}
	}()
	return fn()
}

// kindOf names the error in a line.
func kindOf(err error) string {
	switch {
	case err == nil:
		return "right"
	case errors.Is(err, store.ErrFault):
		return "fault"
	case errors.Is(err, store.ErrCorrupt):
		return "corrupt"
	case errors.Is(err, store.ErrTruncated):
		return "truncated"
	case errors.Is(err, store.ErrFlushFailed):
		return "flush failed"
	}
	return strconv.Quote(fmt.Sprintf("%+v", err))
}

const roundKeys = 500

// writeRound makes all values those of the next round, and lets a run move.
func writeRound(db *store.DB) error {
	return db.Update(func(tx *store.Tx) error {
		v, err := tx.Get([]byte("round"))
		if err != nil && err != store.ErrNotFound {
			return err
		}
		n, _ := strconv.Atoi(string(v))
		round := fmt.Appendf(nil, "%0100d", n+1)
		for i := range roundKeys {
			if err := tx.Put(fmt.Appendf(nil, "key %d", i), round); err != nil {
				return err
			}
		}
		if err := tx.Put([]byte("run"), make([]byte, 5000+n%10*1000)); err != nil {
			return err
		}
		return tx.Put([]byte("round"), round)
	})
}

// readRound reads all values, which must be of one round.
func readRound(db *store.DB) error {
	return db.View(func(tx *store.Tx) error {
		v, err := tx.Get([]byte("round"))
		if err != nil {
			if err == store.ErrNotFound {
				return errors.Wrapf(errWrong, "no round")
			}
			return err
		}
		round, err := copied(v)
		if err != nil {
			return err
		}
		n := 0
		for _, v := range tx.Prefix([]byte("key ")) {
			value, err := copied(v)
			if err != nil {
				return err
			}
			if value != round {
				return errors.Wrapf(errWrong, "key %d = %s in round %s", n, value, round)
			}
			n++
		}
		if tx.Err() != nil {
			return tx.Err()
		}
		if n != roundKeys {
			return errors.Wrapf(errWrong, "%d keys in round %s", n, round)
		}
		// The bytes of a run that was verified are not looked at again.
		_, err = tx.Get([]byte("run"))
		return err
	})
}

// copied returns what is in a slice of the store. To read that is up to the
// application: the store does not catch the fault.
func copied(b []byte) (s string, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch r := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }:
			err = errors.Wrapf(store.ErrFault, "%#x", r.Addr())
		default:
			panic(r)
		}
	}()
	return string(b), nil
}

// ask sends a line to a process that endures and returns the answer. One that
// hangs is killed.
func (p *process) ask(t testing.TB, command string) string {
	t.Helper()
	hang := time.AfterFunc(time.Minute, func() {
		fmt.Fprintf(os.Stderr, "no answer to %q from %q\n", command, p.Args)
		p.Process.Kill()
	})
	defer hang.Stop()
	if _, err := fmt.Fprintln(p.In, command); err != nil {
		t.Fatalf("%+v", err)
	}
	return p.line(t)
}

// until asks p until it gives an answer that is wanted.
func (p *process) until(t testing.TB, wanted func(answer string) bool) (answer string) {
	t.Helper()
	for range 1000 {
		if answer = p.ask(t, ""); wanted(answer) {
			return answer
		}
	}
	t.Fatalf("a process says %s again and again", answer)
	return ""
}

func right(answer string) bool { return answer == "right" }

func noticed(answer string) bool {
	return slices.Contains([]string{"fault", "corrupt", "truncated", "flush failed"}, answer)
}

// punch makes holes of the pages that damage names.
func punch(f *os.File, damage func(page int64) bool) error {
	info, err := f.Stat()
	for page := int64(0); err == nil && page < info.Size()/4096; page++ {
		if damage(page) {
			err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, page*4096, 4096)
		}
	}
	return err
}

// Each damage is done to the file while processes have it open and use it.
func TestProcessesSurviveDamageUnderTheirHands(t *testing.T) {
	rng := seeded(t)
	kinds := map[string]func(f *os.File) error{
		"cut to nothing":        func(f *os.File) error { return f.Truncate(0) },
		"cut to the meta pages": func(f *os.File) error { return f.Truncate(8192) },
		"cut within a page":     func(f *os.File) error { return f.Truncate(3*4096 + 100) },
		"hole":                  func(f *os.File) error { return punch(f, func(int64) bool { return true }) },
		"hole behind the metas": func(f *os.File) error { return punch(f, func(page int64) bool { return page > 1 }) },
		"holes": func(f *os.File) error {
			// Each second page, or more: what is in use has none that is not hurt.
			return punch(f, func(page int64) bool { return page > 1 && (page%2 == 0 || rng.IntN(2) == 0) })
		},
	}
	for i, name := range slices.Sorted(maps.Keys(kinds)) {
		if testing.Short() && i%2 > 0 {
			continue
		}
		damage := kinds[name]
		t.Run(name, func(t *testing.T) { survive(t, damage) })
	}
}

func survive(t *testing.T, damage func(f *os.File) error) {
	path := filepath.Join(memoryDir(t), "a.kv")
	db, err := store.Open(path, nil)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer func() { db.Close() }() // if a step ends the test
	if err := writeRound(db); err != nil {
		t.Fatalf("%+v", err)
	}
	writer := start(t, "endure writing", path)
	all := []*process{writer}
	for range 4 {
		all = append(all, start(t, "endure reading", path))
	}
	each := func(processes []*process, wanted func(string) bool) (answers []string) {
		for _, p := range processes {
			answers = append(answers, p.until(t, wanted))
		}
		return answers
	}
	each(all, right)

	// While nobody writes, the file is damaged and made right again.
	tx, err := db.Begin(t.Context(), true)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	// Nor is anything being flushed that was written before.
	for rev := store.Rev(0); rev != tx.Rev(); {
		if err := db.View(func(tx *store.Tx) error { rev = tx.Rev(); return nil }); err != nil {
			t.Fatalf("%+v", err)
		}
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := damage(f); err != nil {
		t.Fatal(err)
	}
	t.Logf("readers say %q", each(all[1:], noticed))
	if _, err := f.WriteAt(good, 0); err != nil {
		t.Fatal(err)
	}
	each(all[1:], right)
	if err := tx.Rollback(); err != nil {
		t.Fatalf("%+v", err)
	}
	each(all, right)

	// While somebody writes, it is damaged and stays so.
	if err := damage(f); err != nil {
		t.Fatal(err)
	}
	said := map[string]int{}
	for range 10 {
		for i, p := range all {
			answer := p.ask(t, "")
			if !right(answer) && !noticed(answer) {
				t.Errorf("process %d, of which 0 is the writer, says %s", i, answer)
			}
			said[answer]++
		}
	}
	t.Logf("with the writer all say %v", said)
	for i, p := range all {
		if answer := p.ask(t, "close"); !right(answer) && !noticed(answer) {
			t.Errorf("process %d closes the store: %s", i, answer)
		}
	}
	if err := db.Close(); err != nil && !noticed(kindOf(err)) {
		t.Errorf("%+v", err)
	}

	// What was kept is a store again.
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, p := range all {
		if answer := p.ask(t, "open"); !right(answer) {
			t.Fatalf("process %d opens the store again: %s", i, answer)
		}
	}
	for _, p := range slices.Backward(all) {
		if answer := p.ask(t, ""); !right(answer) {
			t.Errorf("a process says %s after opening the store again", answer)
		}
		if answer := p.ask(t, "close"); !right(answer) {
			t.Errorf("a process closes the store again: %s", answer)
		}
		p.In.Close()
		if err := p.Wait(); err != nil {
			t.Error(err)
		}
	}
}

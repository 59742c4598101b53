package mmapfile_test

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/mmapfile"
)

// A kind is one of the things that a name can stand for.
type kind struct {
	name   string
	create func(name string, o *mmapfile.ObjectOptions) (closer, bool, error)
}

type closer interface{ Close() error }

var kinds = []kind{
	{"mutex", func(name string, o *mmapfile.ObjectOptions) (closer, bool, error) {
		return mmapfile.CreateMutex(name, o)
	}},
	{"semaphore", func(name string, o *mmapfile.ObjectOptions) (closer, bool, error) {
		return mmapfile.CreateSemaphore(name, 1, 3, o)
	}},
	{"event", func(name string, o *mmapfile.ObjectOptions) (closer, bool, error) {
		return mmapfile.CreateEvent(name, false, false, o)
	}},
	{"mapping of memory", func(name string, o *mmapfile.ObjectOptions) (closer, bool, error) {
		options := &mmapfile.Options{Name: name, MustExist: o != nil && o.MustExist}
		m, err := mmapfile.Create("", 4096, options)
		return m, false, err
	}},
}

// objectRole holds an object and does with it what it is told.
func objectRole(args []string, commands *bufio.Scanner) error {
	var obj closer
	var err error
	for _, k := range kinds {
		if k.name == args[0] {
			obj, _, err = k.create(args[1], nil)
		}
	}
	if err != nil {
		return err
	}
	fmt.Println("open")
	for commands.Scan() {
		if err := objectDoes(obj, commands.Text()); err != nil {
			return err
		}
	}
	return obj.Close()
}

func objectDoes(obj closer, command string) error {
	ctx, cancel := context.WithTimeout(background, time.Minute)
	defer cancel()
	var err error
	switch o := obj.(type) {
	case *mmapfile.NamedMutex:
		switch command {
		case "enter":
			if err = o.Lock(ctx); errors.Is(err, mmapfile.ErrAbandoned) {
				fmt.Println("abandoned")
				return nil
			}
		case "leave":
			o.Unlock()
		}
	case *mmapfile.Semaphore:
		switch command {
		case "enter":
			err = o.Acquire(ctx)
		case "leave":
			err = o.Release(1)
		}
	case *mmapfile.Event:
		switch command {
		case "enter":
			err = o.Wait(ctx)
		case "leave":
			err = o.Set()
		}
	case *mmapfile.Mapping:
		if command == "leave" {
			err = o.Store(0, [][]byte{[]byte("left")})
		}
	}
	if err == nil {
		fmt.Println("ok")
	}
	return err
}

func TestNameStandsForOneKindOfObject(t *testing.T) {
	for i, held := range kinds {
		name := fmt.Sprint(testName(t), i)
		p := start(t, "object", held.name, name)
		p.mustHear("open")
		for _, other := range kinds {
			for _, o := range []*mmapfile.ObjectOptions{nil, {MustExist: true}} {
				obj, existed, err := other.create(name, o)
				if other.name != held.name {
					if !errors.Is(err, mmapfile.ErrWrongKind) || !strings.Contains(err.Error(), "it is a "+held.name) {
						t.Errorf("%s by the name of a %s: %v", other.name, held.name, err)
					}
					continue
				}
				if err != nil || !existed && other.name != "mapping of memory" {
					t.Fatalf("%s: existed %v, %v", held.name, existed, err)
				}
				if err := obj.Close(); err != nil {
					t.Error(err)
				}
			}
		}
		m, err := mmapfile.Open(name, nil)
		switch {
		case err == nil && held.name == "mapping of memory":
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		case !errors.Is(err, mmapfile.ErrWrongKind):
			t.Errorf("Open by the name of a %s: %v", held.name, err)
		}
		p.finish()
	}
}

func TestObjectGoesWithTheLastWhoHoldsIt(t *testing.T) {
	for i, k := range kinds {
		name := fmt.Sprint(testName(t), i)
		gone := func(when string) {
			t.Helper()
			_, _, err := k.create(name, &mmapfile.ObjectOptions{MustExist: true})
			if !errors.Is(err, mmapfile.ErrNotExist) || !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s %s: %v", k.name, when, err)
			}
		}
		gone("before there is one")
		for _, killed := range []bool{false, true} {
			p := start(t, "object", k.name, name)
			p.mustHear("open")
			obj, _, err := k.create(name, &mmapfile.ObjectOptions{MustExist: true})
			if err != nil {
				t.Fatalf("%s: %v", k.name, err)
			}
			if killed {
				p.kill()
			} else {
				p.finish()
			}
			again, _, err := k.create(name, &mmapfile.ObjectOptions{MustExist: true})
			if err != nil {
				t.Fatalf("%s: %v", k.name, err)
			}
			for _, o := range []closer{obj, again} {
				if err := o.Close(); err != nil {
					t.Errorf("%s: %v", k.name, err)
				}
				if err := o.Close(); !errors.Is(err, mmapfile.ErrClosed) {
					t.Errorf("%s, closed twice: %v", k.name, err)
				}
			}
			gone("after the last has closed it")
		}
		p := start(t, "object", k.name, name)
		p.mustHear("open")
		p.kill()
		gone("after the last was killed")
	}
}

func TestMutexOfADeadProcessIsAbandoned(t *testing.T) {
	m, existed, err := mmapfile.CreateMutex(testName(t), nil)
	if err != nil || existed {
		t.Fatal(existed, err)
	}
	defer m.Close()
	p := start(t, "object", "mutex", testName(t))
	p.mustHear("open")
	p.tell("enter")
	p.mustHear("ok")
	if ok, err := m.TryLock(); ok || err != nil {
		t.Errorf("locked twice: %v, %v", ok, err)
	}
	p.kill()
	if err := m.Lock(soon(t)); !errors.Is(err, mmapfile.ErrAbandoned) {
		t.Errorf("after the death of its owner: %v", err)
	}
	m.Unlock()
	if err := m.Lock(soon(t)); err != nil {
		t.Error(err)
	}
	m.Unlock()
}

func TestSemaphoreLetsAsManyPassAsItHas(t *testing.T) {
	s, _, err := mmapfile.CreateSemaphore(testName(t), 2, 3, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, c := range []struct{ initial, most uint32 }{{0, 0}, {4, 3}} {
		if _, _, err := mmapfile.CreateSemaphore(testName(t)+"?", c.initial, c.most, nil); err == nil {
			t.Errorf("%d of at most %d is accepted", c.initial, c.most)
		}
	}
	p := start(t, "object", "semaphore", testName(t))
	p.mustHear("open")
	p.tell("enter")
	p.mustHear("ok")
	if ok, err := s.TryAcquire(); !ok || err != nil {
		t.Errorf("the second of two: %v, %v", ok, err)
	}
	if ok, err := s.TryAcquire(); ok || err != nil {
		t.Errorf("the third of two: %v, %v", ok, err)
	}
	ctx, cancel := context.WithTimeout(background, 10*time.Millisecond)
	defer cancel()
	if err := s.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for the third of two: %v", err)
	}
	p.tell("enter")
	if err := s.Release(1); err != nil {
		t.Error(err)
	}
	p.mustHear("ok")
	if err := s.Release(4); !errors.Is(err, mmapfile.ErrTooMany) {
		t.Errorf("4 of at most 3: %v", err)
	}
	if err := s.Release(3); err != nil {
		t.Error(err)
	}
	if err := s.Release(1); !errors.Is(err, mmapfile.ErrTooMany) {
		t.Errorf("one more than the most: %v", err)
	}
	p.finish()
}

func TestEventLetsOneOrAllPass(t *testing.T) {
	for _, manual := range []bool{false, true} {
		name := fmt.Sprint(testName(t), manual)
		e, _, err := mmapfile.CreateEvent(name, manual, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		crew := []*process{start(t, "object", "event", name), start(t, "object", "event", name)}
		for _, p := range crew {
			p.mustHear("open")
			p.tell("enter")
		}
		if ok, err := e.TryWait(); ok || err != nil {
			t.Errorf("an event that was never set: %v, %v", ok, err)
		}
		if err := e.Set(); err != nil {
			t.Error(err)
		}
		heard := make(chan string, 2)
		for _, p := range crew {
			go func() { heard <- p.hear() }()
		}
		<-heard
		if !manual { // the other one still waits
			if err := e.Set(); err != nil {
				t.Error(err)
			}
		}
		<-heard
		if ok, err := e.TryWait(); ok != manual || err != nil {
			t.Errorf("manual reset %v, set after all have passed: %v, %v", manual, ok, err)
		}
		if err := e.Reset(); err != nil {
			t.Error(err)
		}
		if ok, err := e.TryWait(); ok || err != nil {
			t.Errorf("an event that was reset: %v, %v", ok, err)
		}
		for _, p := range crew {
			p.finish()
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestClosedObjectIsAnError(t *testing.T) {
	s, _, err := mmapfile.CreateSemaphore(testName(t)+"s", 0, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	e, _, err := mmapfile.CreateEvent(testName(t)+"e", true, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	waits := make(chan error, 2)
	go func() { waits <- s.Acquire(background) }()
	go func() { waits <- e.Wait(background) }()
	time.Sleep(time.Millisecond) // waiting or not, both get the same
	for _, o := range []closer{s, e} {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}
	calls := map[string]func() error{
		"Acquire":           func() error { return s.Acquire(background) },
		"Release":           func() error { return s.Release(1) },
		"try":               func() error { _, err := s.TryAcquire(); return err },
		"Wait":              func() error { return e.Wait(background) },
		"Set":               e.Set,
		"Reset":             e.Reset,
		"waiting":           func() error { return <-waits },
		"the other waiting": func() error { return <-waits },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, mmapfile.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMemoryIsSharedByName(t *testing.T) {
	name := testName(t)
	for _, size := range []int64{0, -1} {
		if _, err := mmapfile.Create("", size, &mmapfile.Options{Name: name}); !errors.Is(err, mmapfile.ErrEmpty) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	m := create(t, "", 4096, &mmapfile.Options{Name: name})
	p := start(t, "object", "mapping of memory", name)
	p.mustHear("open")
	p.tell("leave")
	p.mustHear("ok")
	if got := mustView(t, m, 4096)[:4]; string(got) != "left" {
		t.Errorf("%q", got)
	}
	larger := create(t, "", 1<<20, &mmapfile.Options{Name: name})
	if err := larger.Store(1<<20-1, [][]byte{{1}}); err != nil {
		t.Error(err)
	}
	if mustView(t, m, 1<<20)[1<<20-1] != 1 {
		t.Error("what is behind the first size is not shared")
	}
	for _, err := range []error{m.Push(), m.Flush(), m.Grow(2 << 20)} {
		if err != nil {
			t.Error(err)
		}
	}
	p.finish()
}

// heirRole does what it is told with a semaphore and memory that it has inherited.
func heirRole(_ []string, commands *bufio.Scanner) error {
	commands.Scan()
	var s *mmapfile.Semaphore
	err := mmapfile.Inherited("count", func(name string) (err error) {
		s, _, err = mmapfile.CreateSemaphore(name, 0, 1, &mmapfile.ObjectOptions{MustExist: true})
		return err
	})
	if err != nil {
		return err
	}
	var m *mmapfile.Mapping
	err = mmapfile.Inherited("memory", func(name string) (err error) {
		m, err = mmapfile.Open(name, nil)
		return err
	})
	if err != nil {
		return err
	}
	view, err := m.View(5)
	if err != nil {
		return err
	}
	fmt.Println(string(view), s.Name())
	commands.Scan()
	return errors.CombineErrors(s.Close(), m.Close())
}

// The objects have no name that anybody could guess, and the child holds them before it
// knows, whatever becomes of its parent.
func TestChildInheritsWhatHasNoName(t *testing.T) {
	s, existed, err := mmapfile.CreateSemaphore("", 0, 1, nil)
	if err != nil || existed {
		t.Fatal(existed, err)
	}
	m := create(t, "", 4096, nil)
	if err := m.Store(0, [][]byte{[]byte("hello")}); err != nil {
		t.Fatal(err)
	}
	var releases []func() error
	p := startWith(t, "heir", func(cmd *exec.Cmd) error {
		for label, obj := range map[string]mmapfile.Object{"count": s, "memory": m} {
			if _, err := mmapfile.Inherit(cmd, "no/label", obj); !errors.Is(err, mmapfile.ErrName) {
				t.Error(err)
			}
			release, err := mmapfile.Inherit(cmd, label, obj)
			if err != nil {
				return err
			}
			releases = append(releases, release)
		}
		return nil
	})
	for _, release := range append(releases, s.Close, m.Close) {
		if err := release(); err != nil {
			t.Errorf("%+v", err)
		}
	}
	p.tell("look")
	p.mustHear("hello " + s.Name())
	again, err := mmapfile.Open(m.Name(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	p.finish()
	if _, err := mmapfile.Open(m.Name(), nil); !errors.Is(err, mmapfile.ErrNotExist) {
		t.Errorf("the last one has ended, but %v", err)
	}
	if err := mmapfile.Inherited("count", func(string) error { return nil }); !errors.Is(err, mmapfile.ErrNotExist) {
		t.Errorf("inherited from nobody: %v", err)
	}
}

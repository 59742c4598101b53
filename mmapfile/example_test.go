package mmapfile_test

import (
	"context"
	"fmt"
	"os/exec"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/mmapfile"
)

// Two processes share memory that has no file. Here both are one.
func ExampleCreate_memory() {
	m, err := mmapfile.Create("", 4096, &mmapfile.Options{Name: "example of memory"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	if err := m.Store(0, [][]byte{[]byte("hello")}); err != nil {
		fmt.Println(err)
		return
	}

	other, err := mmapfile.Open("example of memory", &mmapfile.Options{ReadOnly: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer other.Close()
	view, err := other.View(4096)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n", view[:5])
	// Output: hello
}

func ExampleCreateMutex() {
	m, _, err := mmapfile.CreateMutex("Global/example of a mutex", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	err = m.Lock(context.Background())
	if errors.Is(err, mmapfile.ErrAbandoned) {
		fmt.Println("its last owner died: put right what it was about to do")
	} else if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Unlock()
	fmt.Println("nobody else is here")
	// Output: nobody else is here
}

func ExampleCreateSemaphore() {
	s, _, err := mmapfile.CreateSemaphore("example of a semaphore", 2, 2, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	for range 3 {
		ok, err := s.TryAcquire()
		fmt.Println(ok, err)
	}
	// Output:
	// true <nil>
	// true <nil>
	// false <nil>
}

func ExampleCreateEvent() {
	ready, _, err := mmapfile.CreateEvent("example of an event", true, false, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ready.Close()
	go ready.Set() // as another process may
	if err := ready.Wait(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("ready")
	// Output: ready
}

// A child finds what its parent holds for it, although it has no name.
func ExampleInherit() {
	m, err := mmapfile.Create("", 4096, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	child := exec.Command("child")
	release, err := mmapfile.Inherit(child, "buffer", m)
	if err != nil {
		fmt.Println(err)
		return
	}
	err = child.Start()
	if err := errors.CombineErrors(err, release()); err != nil {
		fmt.Println(err)
		return
	}
}

// What a child does that has inherited an object by the label "buffer".
func ExampleInherited() {
	var m *mmapfile.Mapping
	err := mmapfile.Inherited("buffer", func(name string) (err error) {
		m, err = mmapfile.Open(name, nil)
		return err
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
}

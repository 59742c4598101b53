package mmapfile_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/mmapfile"
)

func BenchmarkMutexAlone(b *testing.B) {
	a, err := mmapfile.OpenArea(background, filepath.Join(testdir.New(b), "area"), &testArea, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close(nil)
	m := a.Mutex(mutexAt)
	for b.Loop() {
		if err := m.Lock(background); err != nil {
			b.Fatal(err)
		}
		m.Unlock()
	}
}

func BenchmarkMutexOfManyGoroutines(b *testing.B) {
	a, err := mmapfile.OpenArea(background, filepath.Join(testdir.New(b), "area"), &testArea, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close(nil)
	m := a.Mutex(mutexAt)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := m.Lock(background); err != nil {
				b.Error(err)
			}
			m.Unlock()
		}
	})
}

func BenchmarkWakeOfNobody(b *testing.B) {
	a, err := mmapfile.OpenArea(background, filepath.Join(testdir.New(b), "area"), &testArea, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close(nil)
	w := a.Waiter(waiterAt)
	for b.Loop() {
		w.Wake()
	}
}

// There and back between two members.
func BenchmarkWakeAndWait(b *testing.B) {
	path := filepath.Join(testdir.New(b), "area")
	var areas [2]*mmapfile.Area
	for i := range areas {
		a, err := mmapfile.OpenArea(background, path, &testArea, nil)
		if err != nil {
			b.Fatal(err)
		}
		defer a.Close(nil)
		areas[i] = a
	}
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(background)
	go func() {
		defer close(ended)
		ping, pong := areas[1].Waiter(waiterAt), areas[1].Waiter(answerAt)
		for seen, err := ping.Wait(ctx, 0); err == nil; seen, err = ping.Wait(ctx, seen) {
			pong.Wake()
		}
	}()
	ping, pong := areas[0].Waiter(waiterAt), areas[0].Waiter(answerAt)
	for seen := uint32(0); b.Loop(); {
		ping.Wake()
		var err error
		if seen, err = pong.Wait(background, seen); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	<-ended
}

func BenchmarkView(b *testing.B) {
	m, err := mmapfile.Create(filepath.Join(testdir.New(b), "file"), 1<<20, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	for b.Loop() {
		if _, err := m.View(1 << 20); err != nil {
			b.Fatal(err)
		}
	}
}

// An area as large as that of a store, whose first member comes and goes.
func BenchmarkOpenAndCloseArea(b *testing.B) {
	path := filepath.Join(testdir.New(b), "area")
	o := mmapfile.AreaOptions{Size: 256 << 10, Members: 256}
	for b.Loop() {
		a, err := mmapfile.OpenArea(background, path, &o, nil)
		if err != nil {
			b.Fatal(err)
		}
		if err := a.Close(nil); err != nil {
			b.Fatal(err)
		}
	}
}

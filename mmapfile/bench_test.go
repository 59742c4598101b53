package mmapfile_test

import (
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

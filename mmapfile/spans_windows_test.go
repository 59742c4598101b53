package mmapfile_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/mmapfile"
)

// Random spans are added. What was added must be in the list, and, as long as they
// are few, nothing else.
func TestSpansHoldWhatWasStored(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		const size = 2000
		var list mmapfile.Spans
		var stored [size]bool
		count := 1 + r.IntN(3*mmapfile.SpansMost)
		for range count {
			begin := r.Int64N(size)
			end := min(size, begin+1+r.Int64N(10))
			list = list.Add(begin, end)
			for i := begin; i < end; i++ {
				stored[i] = true
			}
		}
		if len(list) > mmapfile.SpansMost {
			t.Fatalf("%d spans", len(list))
		}
		var listed [size]bool
		last := int64(-1)
		for _, s := range list {
			begin, end := s.Bounds()
			if begin <= last || end <= begin {
				t.Fatalf("spans out of order: %v", list)
			}
			last = end
			for i := begin; i < end; i++ {
				listed[i] = true
			}
		}
		for i := range stored {
			if stored[i] && !listed[i] || listed[i] && !stored[i] && count <= mmapfile.SpansMost {
				t.Fatalf("byte %d: stored %v, listed %v in %v", i, stored[i], listed[i], list)
			}
		}
	}
}

func TestFlushHandsOverWhatWasStored(t *testing.T) {
	const window = 64 << 20
	m := create(t, filepath.Join(testdir.New(t), "data"), window+64*kib, nil)
	mustStore := func(off int64, text string) {
		t.Helper()
		if err := m.Store(off, [][]byte{[]byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	mustBeUnpushed := func(want string) {
		t.Helper()
		if got := fmt.Sprint(m.Unpushed()); got != want {
			t.Fatalf("unpushed: %s, not %s", got, want)
		}
	}
	mustBeUnpushed("[]")
	mustStore(100, "abc")
	mustStore(103, "def")
	mustStore(window-2, "across")
	mustStore(500, "")
	mustBeUnpushed("[{100 106} {67108862 67108868}]")
	if err := m.Flush(); err != nil {
		t.Fatal(err)
	}
	mustBeUnpushed("[]")
	mustStore(window, "end")
	if err := m.Grow(window + 256*kib); err != nil {
		t.Fatal(err)
	}
	// The window has to be mapped anew: what was stored in it must not be forgotten.
	mustStore(window+128*kib, "more")
	mustBeUnpushed("[{67239936 67239940}]")
	if err := m.Flush(); err != nil {
		t.Fatal(err)
	}
	if view := mustView(t, m, window+256*kib); string(view[100:106]) != "abcdef" ||
		string(view[window-2:window+4]) != "acends" || string(view[window+128*kib:][:4]) != "more" {
		t.Errorf("%q %q", view[100:106], view[window-2:window+4])
	}
}

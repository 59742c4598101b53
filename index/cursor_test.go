package index_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/sharekv/sharekv/index"
)

// walk is a cursor and what it should do over the sorted keys of its tree.
type walk struct {
	*index.Cursor
	keys []string
	at   string // the key it is at
	on   bool   // whether it is at one
}

// expect compares the result of a move with the i-th key, or with none if i is
// no position.
func (w *walk) expect(t *rapid.T, move string, ok bool, i int) {
	w.on = i >= 0 && i < len(w.keys)
	if w.Err() != nil {
		t.Fatalf("%s: %+v", move, w.Err())
	}
	if ok != w.on {
		t.Fatalf("%s from %q: %v", move, w.at, ok)
	}
	if !ok {
		return
	}
	if got := string(w.Key()); got != w.keys[i] {
		t.Fatalf("%s from %q is at %q instead of %q", move, w.at, got, w.keys[i])
	}
	if v, _, err := w.Value(); err != nil || len(v) == 0 || v[0] != w.keys[i][0] {
		t.Fatalf("value of %q is %.10q, %v", w.keys[i], v, err)
	}
	w.at = w.keys[i]
}

func (w *walk) move(t *rapid.T, key *rapid.Generator[[]byte]) {
	i, found := slices.BinarySearch(w.keys, w.at)
	after, before := i, i-1
	if found {
		after++
	}
	if !w.on {
		after, before = -1, -1 // there is no way from nowhere
	}
	k := key.Draw(t, "seek")
	first, equal := slices.BinarySearch(w.keys, string(k))
	last := first
	if !equal {
		last--
	}
	switch rapid.SampledFrom([]string{"Next", "Next", "Next", "Prev", "Prev", "Prev",
		"Seek", "SeekLast", "First", "Last"}).Draw(t, "move") {
	case "Next":
		w.expect(t, "Next", w.Next(), after)
	case "Prev":
		w.expect(t, "Prev", w.Prev(), before)
	case "Seek":
		w.expect(t, "Seek", w.Seek(k), first)
	case "SeekLast":
		w.expect(t, "SeekLast", w.SeekLast(k), last)
	case "First":
		w.expect(t, "First", w.First(), 0)
	case "Last":
		w.expect(t, "Last", w.Last(), len(w.keys)-1)
	}
}

func (w *walk) put(t *rapid.T, tree *index.Tree, key []byte, size int) {
	if err := tree.Put(key, append(key[:1:1], make([]byte, size)...)); err != nil {
		t.Fatalf("Put: %+v", err)
	}
	if i, found := slices.BinarySearch(w.keys, string(key)); !found {
		w.keys = slices.Insert(w.keys, i, string(key))
	}
}

// delete deletes the i-th key, and looks whether the cursor knows if it was its
// own.
func (w *walk) delete(t *rapid.T, tree *index.Tree, i int) {
	key := w.keys[i]
	mustDelete(t, tree, []byte(key), true)
	w.keys = slices.Delete(w.keys, i, i+1)
	if !w.on {
		return
	}
	if got := string(w.Key()); got != w.at {
		t.Fatalf("after Delete the cursor is at %q instead of %q", got, w.at)
	}
	_, exists := slices.BinarySearch(w.keys, w.at)
	if _, _, err := w.Value(); exists && err != nil || !exists && err != index.ErrNotFound {
		t.Fatalf("after Delete of %q the value of %q: %v", key, w.at, err)
	}
}

func TestCursorMovesOverASnapshot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMemory(12)
		key := keys(4096)
		tree := m.begin()
		w := &walk{}
		for range rapid.IntRange(0, 200).Draw(t, "puts") {
			w.put(t, tree, key.Draw(t, "key"), rapid.IntRange(0, 900).Draw(t, "size"))
		}
		m.commit(tree)
		w.Cursor = m.reader().Cursor(m.root.Ref)
		for range 50 {
			w.move(t, key)
		}
	})
}

// Next and Prev go on from the key that the cursor was at, wherever that is in
// the changed tree, and even if it is there no more.
func TestCursorGoesOnWhileTheTreeChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMemory(12)
		key := keys(4096)
		tree := m.begin()
		w := &walk{Cursor: tree.Cursor()}
		for range rapid.IntRange(0, 150).Draw(t, "puts") {
			w.put(t, tree, key.Draw(t, "key"), rapid.IntRange(0, 900).Draw(t, "size"))
		}
		if rapid.Bool().Draw(t, "commit") {
			m.commit(tree)
			tree = m.begin()
			w.Cursor = tree.Cursor()
		}
		for range 150 {
			w.move(t, key)
			switch rapid.IntRange(0, 5).Draw(t, "change") {
			case 0:
				w.put(t, tree, key.Draw(t, "key"), rapid.IntRange(0, 5000).Draw(t, "size"))
			case 1, 2:
				if len(w.keys) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(w.keys)-1).Draw(t, "which")
				if here, found := slices.BinarySearch(w.keys, w.at); found && rapid.Bool().Draw(t, "here") {
					i = here
				}
				w.delete(t, tree, i)
			}
		}
	})
}

func TestDeletingWhatTheCursorIsAtEmptiesTheTree(t *testing.T) {
	for name, way := range map[string][2]func(*index.Cursor) bool{
		"forward":  {(*index.Cursor).First, (*index.Cursor).Next},
		"backward": {(*index.Cursor).Last, (*index.Cursor).Prev},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory(12)
			model := fill(t, m, newRand(t), 3000, 100)
			tree := m.begin()
			c := tree.Cursor()
			n := 0
			for ok := way[0](c); ok; ok = way[1](c) {
				mustDelete(t, tree, c.Key(), true)
				n++
			}
			if c.Err() != nil || n != len(model) || !tree.Root.IsZero() {
				t.Errorf("%d of %d entries deleted, %v", n, len(model), c.Err())
			}
		})
	}
}

package index_test

import (
	"fmt"
	"maps"
	"testing"

	"github.com/sharekv/sharekv/index"
)

// Changed finds what Check reaches and a younger transaction wrote: in the tree itself, in
// the buckets in it, and in those further in, pages and runs.
func TestChangedFindsWhatWasWrittenSince(t *testing.T) {
	m := newMemory(12)
	tree := m.begin()
	for i := range 500 {
		must(t, tree.Put(fmt.Appendf(nil, "key%04d", i), make([]byte, 100)))
	}
	must(t, tree.PutRoot([]byte("old"), m.bucket(t)))
	outer := index.NewTree(&m.snap, m, index.Root{})
	must(t, outer.PutRoot([]byte("new"), m.bucket(t)))
	must(t, tree.PutRoot([]byte("outer"), outer.Root))
	m.commit(tree)

	for round := range 5 {
		tree = m.begin()
		must(t, tree.Put(fmt.Appendf(nil, "key%04d", round*77), make([]byte, 50)))
		if round > 0 {
			outer = index.NewTree(&m.snap, m, outer.Root)
			must(t, outer.PutRoot([]byte("new"), m.bucket(t)))
			must(t, tree.PutRoot([]byte("outer"), outer.Root))
		}
		if round > 1 {
			must(t, tree.Put([]byte("run"), make([]byte, 10_000)))
		}
		m.commit(tree)
		for since := range m.snap.TxID + 1 {
			m.finds(t, since)
		}
	}
}

// finds checks what Changed finds.
func (m *memory) finds(t *testing.T, since index.TxID) {
	t.Helper()
	s := m.reader()
	want, found := map[index.Ref]int{}, map[index.Ref]int{}
	_, err := s.Check(m.root, func(r index.Ref, n int) error {
		if r.TxID > since {
			want[r] = n
		}
		return nil
	})
	must(t, err)
	must(t, s.Changed(m.root, since, func(w index.Written) error {
		if found[w.Ref] != 0 {
			t.Errorf("since %v: %v comes twice", since, w.Ref)
		}
		found[w.Ref] = w.Pages
		return nil
	}))
	if !maps.Equal(found, want) {
		t.Errorf("since %v: found %v, want %v", since, found, want)
	}
}

package index_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/sharekv/sharekv/index"
)

// A page may be whole, have the right number, and be of another transaction than its
// parent names: the flush of what it should be was lost, or it was reused. It is not read.
func TestPageOfAnotherTransactionIsCorrupt(t *testing.T) {
	m := newMemory(12)
	for round := range 2 {
		tree := m.begin()
		for i := range 300 {
			must(t, tree.Put(fmt.Appendf(nil, "key%03d", i), fmt.Appendf(nil, "%0100d", round)))
		}
		must(t, tree.Put([]byte("run"), bytes.Repeat([]byte{byte(round)}, 9000)))
		m.commit(tree)
	}
	found := map[index.Type]int{}
	_, err := m.reader().Check(m.root, func(r index.Ref, n int) error {
		off := int(r.Page) << m.snap.PageShift
		memory := bytes.Clone(m.snap.Memory)
		_, kind := index.Header(memory[off:])
		end := off + m.snap.PageSize()
		if kind == index.TypeOverflow {
			end = off + index.HeaderSize + 9000
		}
		index.PutHeader(memory[off:], index.Ref{Page: r.Page, TxID: r.TxID - 1}, kind)
		index.Seal(memory[off:end])
		found[kind]++
		s := m.reader()
		s.Memory = memory
		if err := readsAll(s, m.root.Ref); !errors.Is(err, index.ErrCorrupt) {
			t.Errorf("%v page %d is of another transaction: %v", kind, r.Page, err)
		}
		return nil
	})
	must(t, err)
	if found[index.TypeLeaf] < 2 || found[index.TypeBranch] == 0 || found[index.TypeOverflow] == 0 {
		t.Errorf("pages: %v", found)
	}
}

// readsAll reads every key and value.
func readsAll(s *index.Snapshot, root index.Ref) error {
	c := s.Cursor(root)
	for ok := c.First(); ok; ok = c.Next() {
		if _, _, err := c.Value(); err != nil {
			return err
		}
	}
	return c.Err()
}

package index_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/sharekv/sharekv/index"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%+v", err)
	}
}

// bucket returns the root of a tree with a value in a leaf and one in a run.
func (m *memory) bucket(t *testing.T) index.Root {
	t.Helper()
	tree := index.NewTree(&m.snap, m, index.Root{Sequence: 3})
	must(t, tree.Put([]byte("inner"), []byte("v")))
	must(t, tree.Put([]byte("large"), make([]byte, 9000)))
	return tree.Root
}

func TestBucketIsPutReplacedAndDeleted(t *testing.T) {
	m := newMemory(12)
	outer := m.begin()
	root := m.bucket(t)
	key := []byte("bucket")
	must(t, outer.PutRoot(key, index.Root{}))
	must(t, outer.PutRoot(key, root))
	got, kind, err := outer.Get(key)
	if err != nil || kind != index.KindBucket || index.DecodeRoot(got) != root {
		t.Fatalf("Get of a bucket: %x, %v, %v", got, kind, err)
	}
	if err := outer.PutRoot(nil, root); err != index.ErrKeyEmpty {
		t.Errorf("PutRoot of no key: %v", err)
	}
	m.commit(outer)
	values, err := m.reader().Check(m.root, func(r index.Ref, n int) error {
		m.retired[r.Page] += n
		return nil
	})
	if err != nil || values != 2 {
		t.Fatalf("Check: %d values, %v", values, err)
	}

	outer = m.begin()
	if found, err := outer.DeleteRoot(key); err != nil || !found {
		t.Fatalf("DeleteRoot: %v, %v", found, err)
	}
	if found, err := outer.DeleteRoot(key); err != nil || found {
		t.Errorf("DeleteRoot once more: %v, %v", found, err)
	}
	if !outer.Root.IsZero() || outer.Root.Entries != 0 {
		t.Errorf("root is %+v", outer.Root)
	}
	if _, _, err := m.snap.Get(root.Ref, []byte("inner")); err != nil {
		t.Errorf("the bucket's tree is gone: %v", err)
	}
}

func TestBucketsAndValuesDoNotReplaceEachOther(t *testing.T) {
	m := newMemory(12)
	tree := m.begin()
	root := m.bucket(t)
	must(t, tree.PutRoot([]byte("bucket"), root))
	must(t, tree.Put([]byte("value"), []byte("v")))
	must(t, tree.Put([]byte("large"), make([]byte, 9000)))
	before, pages := tree.Root, m.pages()
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"Put", tree.Put([]byte("bucket"), nil), index.ErrIsBucket},
		{"Put of a run", tree.Put([]byte("bucket"), make([]byte, 9000)), index.ErrIsBucket},
		{"Delete", second(tree.Delete([]byte("bucket"))), index.ErrIsBucket},
		{"PutRoot", tree.PutRoot([]byte("value"), root), index.ErrNotBucket},
		{"PutRoot over a run", tree.PutRoot([]byte("large"), root), index.ErrNotBucket},
		{"DeleteRoot", second(tree.DeleteRoot([]byte("value"))), index.ErrNotBucket},
	} {
		if c.err != c.want {
			t.Errorf("%s: %v instead of %v", c.name, c.err, c.want)
		}
	}
	if tree.Root != before || m.pages() != pages {
		t.Errorf("something was changed: root %+v, %d pages", tree.Root, m.pages())
	}
}

func second[T any](_ T, err error) error { return err }

func TestDropRetiresEveryPageAndRunOfNestedBuckets(t *testing.T) {
	for _, committed := range []bool{false, true} {
		t.Run(fmt.Sprintf("committed %v", committed), func(t *testing.T) {
			m := newMemory(12)
			tree := m.begin()
			for i := range 40 {
				inner := index.NewTree(&m.snap, m, index.Root{})
				must(t, inner.PutRoot([]byte("innermost"), m.bucket(t)))
				must(t, inner.PutRoot([]byte("empty"), index.Root{}))
				must(t, tree.PutRoot(fmt.Appendf(nil, "%0200d", i), inner.Root))
				must(t, tree.Put(fmt.Appendf(nil, "value %d", i), make([]byte, i*100)))
			}
			tree.Root.Sequence = 7
			if committed {
				m.commit(tree)
				tree = m.begin()
			}
			m.spill()
			must(t, tree.Drop())
			if want := (index.Root{Sequence: 7}); tree.Root != want {
				t.Errorf("root is %+v", tree.Root)
			}
			m.commit(tree)
			m.check(t, nil)
		})
	}
}

func TestDropOfABucketThatIsInItselfIsCorrupt(t *testing.T) {
	m := newMemory(12)
	m.begin()
	first, _ := m.AllocRun(1)
	r := index.Ref{Page: first, TxID: m.snap.TxID}
	index.NewBucketLeaf(m.snap.Memory[int(first)<<12:][:4096], r, "self", index.Root{Ref: r, Entries: 1})
	m.snap.Made, m.root = nil, index.Root{Ref: r, Entries: 1}
	tree := m.begin()
	if err := tree.Drop(); !errors.Is(err, index.ErrCorrupt) {
		t.Errorf("Drop: %v", err)
	}
}

func TestPageWithTheWritersOwnNumberThatItDidNotMakeIsCorrupt(t *testing.T) {
	m := newMemory(12)
	m.begin()
	root := m.bucket(t)
	m.spill()
	// The next transaction has the number that these pages bear.
	m.snap.TxID--
	tree := m.begin()
	tree.Root = root
	for name, err := range map[string]error{
		"Get":    third(tree.Get([]byte("inner"))),
		"Put":    tree.Put([]byte("inner"), nil),
		"Delete": second(tree.Delete([]byte("inner"))),
		"Drop":   tree.Drop(),
	} {
		if !errors.Is(err, index.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func third[T, U any](_ T, _ U, err error) error { return err }

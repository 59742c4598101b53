package index_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/sharekv/sharekv/index"
)

var update = flag.Bool("update", false, "write the golden files in testdata instead of comparing with them")

// The dumps are also the record of how pages are built: the same puts and deletes
// make the same bytes.
func TestDumpShowsPages(t *testing.T) {
	m := newMemory(12)
	tree := m.begin()
	inner := index.NewTree(&m.snap, m, index.Root{})
	put := func(tree *index.Tree, key string, size int) {
		if err := tree.Put([]byte(key), bytes.Repeat([]byte("v"), size)); err != nil {
			t.Fatal(err)
		}
	}
	put(inner, "inner", 1)
	for i := range 40 {
		put(tree, fmt.Sprintf("/config/name-%02d", i*i%41), 300+i)
	}
	put(tree, "/config/name-21", 5000)
	put(tree, "/config/name-22\x00", 0)
	put(tree, "/config/name-23", 10)
	if err := tree.PutRoot([]byte("/config/name-24/"), inner.Root); err != nil {
		t.Fatal(err)
	}
	mustDelete(t, tree, []byte("/config/name-25"), true)
	m.commit(tree)

	s := m.reader()
	var pages []index.Ref // the root and its children
	if _, err := s.Check(m.root, func(r index.Ref, n int) error {
		if n == 1 { // no run
			pages = append(pages, r)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]index.Ref{"branch": m.root.Ref, "leaf": pages[2]} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := s.Dump(&b, r); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".golden", b.Bytes())
		})
	}
	if err := s.Dump(new(bytes.Buffer), index.Ref{Page: 2, TxID: 99}); !errors.Is(err, index.ErrCorrupt) {
		t.Errorf("Dump of no page: %v", err)
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if want = bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n")); !bytes.Equal(got, want) {
		t.Errorf("%s differs (-update writes it anew); got\n%s", name, got)
	}
}

package index_test

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/sharekv/sharekv/index"
)

func mustDelete(t interface{ Fatalf(string, ...any) }, tree *index.Tree, key []byte, want bool) {
	if got, err := tree.Delete(key); err != nil || got != want {
		t.Fatalf("Delete(%.40q) = %v, %v instead of %v", key, got, err, want)
	}
}

// A tree does what a map does, whatever is put, replaced and deleted, and each
// transaction leaves a tree in which all holds that must hold.
func TestTreeAgreesWithAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shift := rapid.SampledFrom([]uint8{12, 12, 12, 16}).Draw(t, "page shift")
		m := newMemory(shift)
		model := map[string]string{}
		key := keys(m.snap.PageSize())
		size := rapid.OneOf(
			rapid.IntRange(0, 40),
			rapid.IntRange(0, m.snap.PageSize()/2),
			rapid.IntRange(m.snap.PageSize()/2-40, m.snap.PageSize()*3),
		)
		for range rapid.IntRange(1, 6).Draw(t, "transactions") {
			tree := m.begin()
			// Of ten changes, so many are deletes: trees grow, stay and shrink.
			deletes := rapid.SampledFrom([]int{0, 3, 5, 9}).Draw(t, "deletes")
			for range rapid.IntRange(0, 200).Draw(t, "changes") {
				k := key.Draw(t, "key")
				if rapid.IntRange(0, 9).Draw(t, "change") >= deletes {
					v := bytes.Repeat([]byte{byte(len(model))}, size.Draw(t, "size"))
					if err := tree.Put(k, v); err != nil {
						t.Fatalf("Put(%d bytes, %d bytes): %+v", len(k), len(v), err)
					}
					model[string(k)] = string(v)
					continue
				}
				present := slices.Sorted(maps.Keys(model))
				if len(present) > 0 && rapid.IntRange(0, 9).Draw(t, "present") > 0 {
					k = []byte(rapid.SampledFrom(present).Draw(t, "which"))
				}
				_, want := model[string(k)]
				mustDelete(t, tree, k, want)
				delete(model, string(k))
				if _, _, err := tree.Get(k); err != index.ErrNotFound {
					t.Fatalf("Get after Delete: %v", err)
				}
			}
			compare(t, tree.Cursor(), model)
			m.commit(tree)
			m.check(t, model)
		}
	})
}

// Long separators in few pages: every delete is near a merge, and the prefix of a
// page is often nearly all of its keys.
func TestTreeOfLongKeysShrinks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMemory(12)
		long := index.MaxKey(4096)
		model := map[string]string{}
		tree := m.begin()
		key := rapid.Custom(func(t *rapid.T) []byte {
			k := bytes.Repeat([]byte("p"), long)
			// Differ at some places, mostly in the last bytes or near the first.
			for range rapid.IntRange(0, 3).Draw(t, "differences") {
				at := rapid.SampledFrom([]int{0, 1, 2, 300, long - 2, long - 1}).Draw(t, "at")
				k[at] = byte(rapid.IntRange('a', 'z').Draw(t, "byte"))
			}
			return k[:rapid.SampledFrom([]int{long, long, long, long - 1, 301}).Draw(t, "length")]
		})
		for range 3 {
			for range rapid.IntRange(0, 150).Draw(t, "puts") {
				k := key.Draw(t, "key")
				if err := tree.Put(k, k[:1]); err != nil {
					t.Fatalf("Put: %+v", err)
				}
				model[string(k)] = string(k[:1])
			}
			m.commit(tree)
			m.check(t, model)
			tree = m.begin()
			present := slices.Sorted(maps.Keys(model))
			present = rapid.Permutation(present).Draw(t, "order")
			for _, k := range present[:len(present)*rapid.IntRange(0, 10).Draw(t, "tenths")/10] {
				mustDelete(t, tree, []byte(k), true)
				delete(model, k)
			}
			m.commit(tree)
			m.check(t, model)
			tree = m.begin()
		}
	})
}

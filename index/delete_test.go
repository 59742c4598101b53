package index_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sharekv/sharekv/index"
)

var seedFlag = flag.Uint64("seed", 0, "of the random tests that are not rapid's; 0 takes a new one")

func newRand(t *testing.T) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func mustDelete(t interface{ Fatalf(string, ...any) }, tree *index.Tree, key []byte, want bool) {
	if got, err := tree.Delete(key); err != nil || got != want {
		t.Fatalf("Delete(%.40q) = %v, %v instead of %v", key, got, err, want)
	}
}

// fill puts n entries with keys that have much in common, and values of up to
// size bytes.
func fill(t *testing.T, m *memory, r *rand.Rand, n, size int) map[string]string {
	t.Helper()
	model := map[string]string{}
	tree := m.begin()
	for range n {
		k := fmt.Sprintf("/svc/%03d/%x", r.IntN(50), r.Uint32())
		v := string(bytes.Repeat([]byte{'v'}, r.IntN(size+1)))
		if err := tree.Put([]byte(k), []byte(v)); err != nil {
			t.Fatal(err)
		}
		model[k] = v
	}
	m.commit(tree)
	m.check(t, model)
	return model
}

func shuffled(r *rand.Rand, keys []string) []string {
	r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	return keys
}

// orders in which sorted keys are deleted.
var orders = map[string]func(*rand.Rand, []string) []string{
	"ascending":  func(_ *rand.Rand, keys []string) []string { return keys },
	"descending": func(_ *rand.Rand, keys []string) []string { slices.Reverse(keys); return keys },
	"random":     shuffled,
}

func TestDeletingAllLeavesNothing(t *testing.T) {
	for _, shift := range []uint8{12, 16} {
		for name, order := range orders {
			t.Run(fmt.Sprintf("%d/%s", 1<<shift, name), func(t *testing.T) {
				r := newRand(t)
				m := newMemory(shift)
				m.root.Sequence = 7
				for range 2 { // what was emptied can be filled again
					model := fill(t, m, r, 1500, 1<<shift/20)
					present := order(r, slices.Sorted(maps.Keys(model)))
					for len(present) > 0 {
						tree := m.begin()
						n := min(len(present), 1+r.IntN(1000))
						for _, k := range present[:n] {
							mustDelete(t, tree, []byte(k), true)
							delete(model, k)
						}
						present = present[n:]
						compare(t, tree.Cursor(), model)
						m.commit(tree)
						m.check(t, model)
					}
					if m.root != (index.Root{Sequence: 7}) {
						t.Fatalf("root of the empty tree is %+v", m.root)
					}
				}
			})
		}
	}
}

func TestPagesAreNotLeftNearlyEmpty(t *testing.T) {
	for _, shift := range []uint8{12, 16} {
		for _, size := range []int{0, 200, 1500} {
			t.Run(fmt.Sprintf("%d/%d", 1<<shift, size), func(t *testing.T) {
				r := newRand(t)
				m := newMemory(shift)
				model := fill(t, m, r, 20000<<((shift-12)/2)/(1+size/100), size)
				present := shuffled(r, slices.Sorted(maps.Keys(model)))
				tree := m.begin()
				for _, k := range present[:len(present)/10*9] {
					mustDelete(t, tree, []byte(k), true)
					delete(model, k)
				}
				m.commit(tree)
				m.check(t, model)

				pages, bytes := 0, 0
				count := func(_ index.Ref, n int) error { pages += n; return nil }
				if _, err := m.reader().Check(m.root, count); err != nil {
					t.Fatal(err)
				}
				for k, v := range model {
					bytes += len(k) + len(v) + 12
				}
				least := bytes/(m.snap.PageSize()-index.HeaderSize) + 1
				t.Logf("%d entries in %d pages, at least %d", len(model), pages, least)
				if pages > 3*least {
					t.Errorf("%d pages, but %d are enough", pages, least)
				}
			})
		}
	}
}

func TestDeletingAMissingKeyChangesNothing(t *testing.T) {
	m := newMemory(12)
	model := fill(t, m, newRand(t), 500, 50)
	root, tree := m.root, m.begin()
	for _, k := range []string{"", "\x00", "/svc", "/svc/007/", "zzz", string(make([]byte, 5000))} {
		mustDelete(t, tree, []byte(k), false)
	}
	if len(m.snap.Made) > 0 || tree.Root != root {
		t.Errorf("%d pages were copied", len(m.snap.Made))
	}
	m.commit(tree)
	m.check(t, model)
	mustDelete(t, index.NewTree(&m.snap, m, index.Root{}), []byte("k"), false)
}

func TestKeyToDeleteMayLieInThePageThatChanges(t *testing.T) {
	r := newRand(t)
	m := newMemory(12)
	model := map[string]string{}
	tree := m.begin()
	for i := range 4000 { // three levels, with prefixes
		k := fmt.Sprintf("%0300d", i)
		if err := tree.Put([]byte(k), []byte("v")); err != nil {
			t.Fatal(err)
		}
		model[k] = "v"
	}
	c := tree.Cursor()
	for _, k := range shuffled(r, slices.Sorted(maps.Keys(model)))[:3900] {
		if !c.Seek([]byte(k)) {
			t.Fatalf("Seek: %v", c.Err())
		}
		mustDelete(t, tree, c.Key(), true)
		delete(model, k)
	}
	m.commit(tree)
	m.check(t, model)
}

func TestRootsOfOneChildGo(t *testing.T) {
	m := newMemory(12)
	model := fill(t, m, newRand(t), 100, 50)
	tree := m.begin()
	for range 3 {
		if err := tree.Heighten(); err != nil {
			t.Fatal(err)
		}
	}
	for k := range model {
		mustDelete(t, tree, []byte(k), true)
	}
	m.commit(tree)
	m.check(t, map[string]string{})
	if !m.root.IsZero() {
		t.Errorf("root of the empty tree is %+v", m.root)
	}
}

func TestDeleteDoesNotAllocate(t *testing.T) {
	m := newMemory(12)
	fill(t, m, newRand(t), 3000, 20)
	tree := m.begin()
	key, value := []byte("/svc/010/"), []byte("value")
	if n := testing.AllocsPerRun(100, func() {
		tree.Put(key, value)
		tree.Delete(key)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
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

// Of separators as long as can be a branch has five children, the last one of a
// level perhaps one, and next to others with a long prefix no place for a sixth.
func TestLongKeysPutInOrderAreDeletedInAnyOrder(t *testing.T) {
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			r := newRand(t)
			for n := 1; n <= 150; n += 1 + n/10 {
				m := newMemory(12)
				model := map[string]string{}
				tree := m.begin()
				for i := range n {
					k := fmt.Sprintf("%0*d", index.MaxKey(4096), i)
					if err := tree.Put([]byte(k), nil); err != nil {
						t.Fatal(err)
					}
					model[k] = ""
				}
				m.commit(tree)
				for _, k := range order(r, slices.Sorted(maps.Keys(model))) {
					tree := m.begin()
					mustDelete(t, tree, []byte(k), true)
					delete(model, k)
					m.commit(tree)
					m.check(t, model)
				}
			}
		})
	}
}

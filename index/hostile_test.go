package index_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
)

// hostile is a store with pages whose checksums are right and that lie. It has a
// tree of height two at least, with runs.
type hostile struct {
	*memory
	model map[string]string
}

func newHostile(t *testing.T, r *rand.Rand) hostile {
	t.Helper()
	h := hostile{newMemory(12), map[string]string{}}
	tree := h.begin()
	for i := range 150 {
		size := 10 + r.IntN(60)
		if i%10 == 0 {
			size = 2500 + r.IntN(9000)
		}
		k, v := fmt.Sprintf("/key/%03d", i), string(bytes.Repeat([]byte{byte(i)}, size))
		if err := tree.Put([]byte(k), []byte(v)); err != nil {
			t.Fatalf("%+v", err)
		}
		h.model[k] = v
	}
	h.commit(tree)
	h.memory.check(t, h.model)
	return h
}

// Retire implements index.Pager. What the store does not have nobody may give back.
func (h hostile) Retire(r index.Ref, n int) error {
	if r.Page < index.FirstPage || n < 1 || uint64(n) > uint64(h.pages()) || r.Page+index.PageID(n) > h.pages() {
		return errors.AssertionFailedf("%d pages from %v retired, of %d", n, r, h.pages())
	}
	return nil
}

func (h hostile) bytes(id index.PageID) []byte {
	return h.snap.Memory[int(id)<<12 : int(id+1)<<12]
}

func (h hostile) page(r index.Ref) index.Page { return h.bytes(r.Page) }

// leaf returns the first leaf, and its parent, whose entry 0 it is.
func (h hostile) leaf() (leaf, parent index.Page) {
	leaf = h.page(h.root.Ref)
	for !leaf.IsLeaf() {
		leaf, parent = h.page(leaf.Child(0)), leaf
	}
	return leaf, parent
}

// change makes changes that are then forgotten.
func (h hostile) change(fn func(*index.Tree) error) error {
	defer func() { h.snap.Made = nil }()
	h.begin()
	return fn(index.NewTree(&h.snap, h, h.root))
}

func (h hostile) get(key string) error {
	v, _, err := h.reader().Get(h.root.Ref, []byte(key))
	if err == nil && h.model[key] != string(v) {
		return errors.Newf("Get(%s) = %.20q instead of %.20q", key, v, h.model[key])
	}
	return err
}

func (h hostile) put(key string) error {
	return h.change(func(t *index.Tree) error { return t.Put([]byte(key), bytes.Repeat([]byte{'n'}, 300)) })
}

func (h hostile) delete(key string) error {
	return h.change(func(t *index.Tree) error { _, err := t.Delete([]byte(key)); return err })
}

func (h hostile) check() error {
	_, err := h.reader().Check(h.root, func(index.Ref, int) error { return nil })
	return err
}

func (h hostile) scan() error {
	c := h.reader().Cursor(h.root.Ref)
	_, err := walkAll(c, c.First(), c.Next)
	return err
}

func (h hostile) scanBackward() error {
	c := h.reader().Cursor(h.root.Ref)
	_, err := walkAll(c, c.Last(), c.Prev)
	return err
}

// tooMany is more entries than the trees of these tests have: a walk of so many
// would not end for a long time.
const tooMany = 100_000

func walkAll(c *index.Cursor, ok bool, step func() bool) (n int, err error) {
	for ; ok; ok = step() {
		if _, _, err := c.Value(); err != nil {
			return n, err
		}
		if n++; n == tooMany {
			return n, errors.AssertionFailedf("the walk does not end")
		}
	}
	return n, c.Err()
}

func wantCorrupt(t *testing.T, calls map[string]error) {
	t.Helper()
	for name, err := range calls {
		if !errors.Is(err, index.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRunNamedAsLeafIsCorrupt(t *testing.T) {
	h := newHostile(t, newRand(t))
	leaf, parent := h.leaf()
	run, length, ok := leaf.Overflow(0)
	if !ok {
		t.Fatal("the first value has no run")
	}
	if err := h.get("/key/000"); err != nil { // verifies the run as such
		t.Fatal(err)
	}
	// A run is verified as a whole, and what follows its header may be anything.
	b := h.bytes(run.Page)
	copy(b[index.HeaderSize:], bytes.Repeat([]byte{0xff}, 1000))
	index.Seal(h.snap.Memory[int(run.Page)<<12:][:index.HeaderSize+int(length)])
	s := h.reader()
	if _, _, err := s.Get(h.root.Ref, []byte("/key/000")); err != nil {
		t.Fatal(err)
	}
	parent.SetChild(1, run)
	index.Seal(parent)
	key := h.keyBehind(parent)
	_, _, err := s.Get(h.root.Ref, []byte(key))
	wantCorrupt(t, map[string]error{
		"Get after the run was read": err,
		"Get":                        h.get(key),
		"Put":                        h.put(key),
		"Delete":                     h.delete(key),
		"Check":                      h.check(),
		"scan":                       h.scan(),
		"backward scan":              h.scanBackward(),
	})
}

// keyBehind returns a key that is routed to the second child of the root.
func (h hostile) keyBehind(root index.Page) string {
	keys := slices.Sorted(maps.Keys(h.model))
	i, _ := slices.BinarySearch(keys, string(root.Key(1)))
	return keys[i]
}

func TestReferenceToAnotherLengthThanTheRunHasIsCorrupt(t *testing.T) {
	for _, c := range []struct {
		name   string
		length func(uint64) uint64
	}{
		{"one less", func(n uint64) uint64 { return n - 1 }},
		{"one more", func(n uint64) uint64 { return n + 1 }},
		{"a page less", func(n uint64) uint64 { return n - 2000 }},
		{"the rest of the store", func(n uint64) uint64 { return n + 40_000 }},
		{"nothing", func(uint64) uint64 { return 0 }},
		{"2^31", func(uint64) uint64 { return 1 << 31 }},
		{"2^40", func(uint64) uint64 { return 1 << 40 }},
		{"2^64 - 1", func(uint64) uint64 { return 1<<64 - 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHostile(t, newRand(t))
			s := h.reader()
			if _, _, err := s.Get(h.root.Ref, []byte("/key/000")); err != nil {
				t.Fatal(err)
			}
			leaf, _ := h.leaf()
			run, length, _ := leaf.Overflow(0)
			leaf.SetOverflow(0, run, c.length(length))
			index.Seal(leaf)
			_, _, err := s.Get(h.root.Ref, []byte("/key/000"))
			wantCorrupt(t, map[string]error{
				"Get after the run was read": err,
				"Get":                        h.get("/key/000"),
				"Check":                      h.check(),
				"scan":                       h.scan(),
			})
			// Changes need not look at the run, but give back no pages that it cannot have.
			for name, err := range map[string]error{"Delete": h.delete("/key/000"), "Put": h.put("/key/000")} {
				impossible := c.length(length) > uint64(len(h.snap.Memory))
				if !errors.Is(err, index.ErrCorrupt) && (err != nil || impossible) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

func TestCellInsideAnotherIsCorrupt(t *testing.T) {
	h := hostile{newMemory(12), map[string]string{}}
	inner := "\x01\x00\x00\x00k1x" // looks like the cell of k1 = x
	tree := h.begin()
	for k, v := range map[string]string{"k0": inner, "k1": "x", "k2": "y"} {
		if err := tree.Put([]byte(k), []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	h.commit(tree)
	leaf, _ := h.leaf()
	leaf.SetCellOffset(1, leaf.CellOffset(0)+4+2)
	index.Seal(leaf)
	wantCorrupt(t, map[string]error{
		"Get":    h.get("k1"),
		"Put":    h.put("k0"),
		"Delete": h.delete("k0"),
		"Check":  h.check(),
		"scan":   h.scan(),
	})
}

// shared is a tree of branches with one child each, named twice, above one leaf:
// 2^30 ways lead down.
func shared(keys ...string) hostile {
	const levels = 30
	h := hostile{newMemory(12), map[string]string{}}
	h.begin()
	h.snap.Made = nil
	first, _ := h.AllocRun(1 + levels)
	r := index.Ref{Page: first, TxID: h.snap.TxID}
	index.NewLeaf(h.bytes(r.Page), r, keys...)
	for level := 1; level <= levels; level++ {
		child := r
		r.Page++
		index.NewBranch(h.bytes(r.Page), r, level, child, "k", child)
	}
	h.root = index.Root{Ref: r, Entries: uint64(len(keys))}
	return h
}

func TestWalkOverSharedChildrenEndsAtOnce(t *testing.T) {
	for _, keys := range [][]string{{"k"}, {"a", "z"}, {"z", "a"}, {"k", "k"}} {
		t.Run(fmt.Sprint(keys), func(t *testing.T) {
			h := shared(keys...)
			c := h.reader().Cursor(h.root.Ref)
			n, err := walkAll(c, c.First(), c.Next)
			if !errors.Is(err, index.ErrCorrupt) || n > len(keys) {
				t.Errorf("All: %v after %d entries", err, n)
			}
			c = h.reader().Cursor(h.root.Ref)
			n, err = walkAll(c, c.Last(), c.Prev)
			if !errors.Is(err, index.ErrCorrupt) || n > len(keys) {
				t.Errorf("backward: %v after %d entries", err, n)
			}
			wantCorrupt(t, map[string]error{"Check": h.check()})
		})
	}
}

func TestChildAtAWrongLevelIsCorrupt(t *testing.T) {
	h := newHostile(t, newRand(t))
	_, parent := h.leaf()
	// The parent in place of its own child, under a root that may have any level.
	first, _ := h.AllocRun(1)
	r := index.Ref{Page: first, TxID: h.snap.TxID}
	index.NewBranch(h.bytes(first), r, 1, parent.Ref(), "/key/1", parent.Ref())
	h.root.Ref = r
	wantCorrupt(t, map[string]error{
		"Get":           h.get("/key/000"),
		"Put":           h.put("/key/000"),
		"Delete":        h.delete("/key/000"),
		"Check":         h.check(),
		"scan":          h.scan(),
		"backward scan": h.scanBackward(),
	})
}

func TestKeysOutOfOrderAcrossLeavesAreCorrupt(t *testing.T) {
	h := newHostile(t, newRand(t))
	_, parent := h.leaf()
	a, b := parent.Child(0), parent.Child(1)
	parent.SetChild(0, b)
	parent.SetChild(1, a)
	index.Seal(parent)
	wantCorrupt(t, map[string]error{
		"scan":          h.scan(),
		"backward scan": h.scanBackward(),
		"Check":         h.check(),
	})
}

func TestKeysOutOfOrderInALeafAreCorrupt(t *testing.T) {
	h := newHostile(t, newRand(t))
	leaf, _ := h.leaf()
	leaf.SwapSlots(3, 5)
	index.Seal(leaf)
	wantCorrupt(t, map[string]error{"Check": h.check()})
}

// Random bytes of random pages are changed and the pages sealed again. Whatever is
// then done ends, and goes well or is ErrCorrupt.
func TestRandomLiesGiveNoPanicAndNoHang(t *testing.T) {
	r := newRand(t)
	rounds := 400
	if testing.Short() {
		rounds = 100
	}
	base := newHostile(t, r)
	failed := 0
	for range rounds {
		h := base
		h.memory = &memory{snap: base.snap, root: base.root, retired: map[index.PageID]int{}}
		h.snap.Memory = bytes.Clone(base.snap.Memory)
		for range 1 + r.IntN(3) {
			h.lie(r)
		}
		if err := h.ordeal(r); err != nil {
			failed++
			if !errors.Is(err, index.ErrCorrupt) {
				t.Fatalf("%+v", err)
			}
		}
	}
	if failed < rounds/4 {
		t.Errorf("only %d of %d lies were noticed", failed, rounds)
	}
}

// lie changes one to four bytes of a page, most often where its structure is.
func (h hostile) lie(r *rand.Rand) {
	id := index.FirstPage + index.PageID(r.IntN(int(h.pages()-index.FirstPage)))
	b := h.bytes(id)
	for range 1 + r.IntN(4) {
		at := 24 + r.IntN(len(b)-24)
		if r.IntN(2) == 0 {
			at = 24 + r.IntN(200)
		}
		switch r.IntN(3) {
		case 0:
			b[at] = byte(r.Uint32())
		case 1:
			b[at] ^= 1 << r.IntN(8)
		default:
			b[at] += byte(r.IntN(5)) - 2
		}
	}
	if _, kind := index.Header(b); kind == index.TypeLeaf || kind == index.TypeBranch {
		index.Seal(b)
	}
}

// ordeal does everything with the store. It returns the first error that is not
// ErrCorrupt, or else one that is, if there is any.
func (h hostile) ordeal(r *rand.Rand) (worst error) {
	note := func(what string, err error) {
		if err != nil && (worst == nil || errors.Is(worst, index.ErrCorrupt)) {
			worst = errors.Wrapf(err, "%s", what)
		}
	}
	keys := slices.Sorted(maps.Keys(h.model))
	s := h.reader()
	for _, k := range keys[:40] {
		_, _, err := s.Get(h.root.Ref, []byte(k))
		if err != index.ErrNotFound {
			note("Get", err)
		}
	}
	note("scan", h.scan())
	note("backward scan", h.scanBackward())
	note("Check", h.check())
	note("changes", h.change(func(t *index.Tree) error {
		for range 60 {
			k := []byte(keys[r.IntN(len(keys))])
			if r.IntN(2) == 0 {
				if _, err := t.Delete(k); err != nil {
					return err
				}
				continue
			}
			if err := t.Put(append(k, byte(r.Uint32())), make([]byte, r.IntN(900))); err != nil {
				return err
			}
		}
		return nil
	}))
	return worst
}

package index_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/sharekv/sharekv/index"
)

// memory is a store without files: a Pager over a Go slice, whose commits put
// the dirty pages where a reader's Snapshot finds them.
type memory struct {
	snap    index.Snapshot
	root    index.Root
	retired map[index.PageID]int
}

func newMemory(pageShift uint8) *memory {
	m := &memory{retired: map[index.PageID]int{}}
	m.snap = index.Snapshot{
		Memory:    make([]byte, 2<<pageShift),
		PageShift: pageShift,
	}
	return m
}

func (m *memory) pages() index.PageID { return index.PageID(len(m.snap.Memory) >> m.snap.PageShift) }

func (m *memory) begin() *index.Tree {
	m.snap.TxID++
	m.snap.Made = map[index.PageID][]byte{}
	return index.NewTree(&m.snap, m, m.root)
}

func (m *memory) commit(t *index.Tree) {
	m.spill()
	m.snap.Made = nil
	m.root = t.Root
}

// spill stores all pages; whoever still uses their buffers shall notice.
func (m *memory) spill() {
	for id, buf := range m.snap.Made {
		if buf == nil {
			continue
		}
		index.Seal(buf)
		copy(m.snap.Memory[int(id)<<m.snap.PageShift:], buf)
		m.snap.Made[id] = nil
		spoil(buf)
	}
	m.snap.Spilled++
}

func spoil(buf []byte) {
	for i := range buf {
		buf[i] = 0xdb
	}
}

func (m *memory) AllocRun(n int) (index.PageID, error) {
	id := m.pages()
	m.snap.Memory = append(m.snap.Memory, make([]byte, n<<m.snap.PageShift)...)
	if m.snap.Made != nil { // else a page that a test makes by hand
		m.snap.Made[id] = nil
	}
	return id, nil
}

func (m *memory) Again(id index.PageID) ([]byte, error) {
	if buf, ok := m.snap.Made[id]; !ok || buf != nil {
		return nil, errors.New("page was not stored")
	}
	m.snap.Made[id] = make([]byte, m.snap.PageSize())
	return m.snap.Made[id], nil
}

func (m *memory) Alloc() (index.PageID, []byte, error) {
	id, err := m.AllocRun(1)
	m.snap.Made[id] = make([]byte, m.snap.PageSize())
	return id, m.snap.Made[id], err
}

func (m *memory) Store(id index.PageID, bufs [][]byte) error {
	copy(m.snap.Memory[int(id)<<m.snap.PageShift:], slices.Concat(bufs...))
	return nil
}

// Retire counts. A page that this very transaction made was never visible: it is
// gone at once, and whoever still uses its bytes shall notice.
func (m *memory) Retire(r index.Ref, n int) error {
	for i := range index.PageID(n) {
		m.retired[r.Page+i]++
	}
	if buf, ok := m.snap.Made[r.Page]; ok {
		if r.TxID != m.snap.TxID || n != 1 && buf != nil {
			return errors.New(fmt.Sprintf("%d pages from %v retired, but that is a page not stored yet", n, r))
		}
		spoil(buf)
		delete(m.snap.Made, r.Page)
	}
	return nil
}

// reader returns a snapshot as a process that has just opened the store sees it.
func (m *memory) reader() *index.Snapshot {
	s := m.snap
	s.Verified = index.NewVerified(m.pages())
	return &s
}

// check verifies the tree, compares it with the model, and accounts for pages:
// each is reachable or retired, never both.
func (m *memory) check(t interface{ Fatalf(string, ...any) }, model map[string]string) {
	pages := maps.Clone(m.retired)
	s := m.reader()
	values, err := s.Check(m.root, func(r index.Ref, n int) error {
		for i := range index.PageID(n) {
			pages[r.Page+i]++
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Check: %+v", err)
	}
	if values != uint64(len(model)) {
		t.Fatalf("Check counts %d values, the model has %d", values, len(model))
	}
	for id := index.FirstPage; id < m.pages(); id++ {
		if pages[id] != 1 {
			t.Fatalf("page %d is reachable or retired %d times", id, pages[id])
		}
	}
	compare(t, s.Cursor(m.root.Ref), model)
	for k, v := range model {
		got, _, err := s.Get(m.root.Ref, []byte(k))
		if err != nil || string(got) != v {
			t.Fatalf("Get(%q) = %.20q, %v", k, got, err)
		}
	}
}

// compare scans the tree both ways.
func compare(t interface{ Fatalf(string, ...any) }, c *index.Cursor, model map[string]string) {
	keys := slices.Sorted(maps.Keys(model))
	scan := func(ok bool, step func() bool) {
		left := keys
		for ; ok; ok = step() {
			v, _, err := c.Value()
			if err != nil {
				t.Fatalf("Value: %+v", err)
			}
			if len(left) == 0 || string(c.Key()) != left[0] || string(v) != model[left[0]] {
				t.Fatalf("scan is at %q, %d keys are left in the model", c.Key(), len(left))
			}
			left = left[1:]
		}
		if c.Err() != nil || len(left) > 0 {
			t.Fatalf("scan ended with %v before %d keys", c.Err(), len(left))
		}
	}
	scan(c.First(), c.Next)
	slices.Reverse(keys)
	scan(c.Last(), c.Prev)
}

// keys draws keys that stress prefixes, hints and separators: few byte values,
// common beginnings, lengths to the limit, keys that are prefixes of others.
func keys(pageSize int) *rapid.Generator[[]byte] {
	long := index.MaxKey(pageSize)
	tail := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 'b', 0xff}), 0, 12)
	return rapid.Custom(func(t *rapid.T) []byte {
		prefix := rapid.SampledFrom([]string{"", "k", "/svc/", "/svc/000001/config/", "\x00\x00\x00\x00\x00", "\xff\xff"}).Draw(t, "prefix")
		key := append([]byte(prefix), tail.Draw(t, "tail")...)
		switch rapid.IntRange(0, 20).Draw(t, "form") {
		case 0:
			key = append(key, bytes.Repeat([]byte("x"), long-len(key))...)
		case 1:
			key = fmt.Appendf(key, "%06d", rapid.IntRange(0, 99999).Draw(t, "number"))
		}
		if len(key) == 0 {
			key = []byte{0}
		}
		return key
	})
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
				if rapid.IntRange(0, 20).Draw(t, "spill") == 0 {
					m.spill()
				}
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

func TestKeysInOrderFillTheirPages(t *testing.T) {
	m := newMemory(12)
	model := map[string]string{}
	tree := m.begin()
	const n = 20000
	for i := range n {
		k, v := fmt.Sprintf("%08d", i), "value"
		if err := tree.Put([]byte(k), []byte(v)); err != nil {
			t.Fatal(err)
		}
		model[k] = v
	}
	m.commit(tree)
	m.check(t, model)
	perLeaf := (4096 - index.HeaderSize) / (8 + 4 + 8 + 5)
	if pages, least := int(m.pages()), n/perLeaf; pages > least*102/100+4 {
		t.Errorf("%d pages, but the leaves alone need %d", pages, least)
	}
}

func TestValueMayLieInThePageThatChanges(t *testing.T) {
	m := newMemory(12)
	tree := m.begin()
	put := func(k string, v []byte) {
		if err := tree.Put([]byte(k), v); err != nil {
			t.Fatal(err)
		}
	}
	put("a", bytes.Repeat([]byte("1"), 900))
	for i := range 20 {
		v, _, err := tree.Get([]byte("a"))
		if err != nil {
			t.Fatal(err)
		}
		put("a", v[:len(v)-1])
		v, _, _ = tree.Get([]byte("a"))
		put(fmt.Sprint("b", i), v)
	}
	m.commit(tree)
	s := m.reader()
	for i := range 20 {
		v, _, err := s.Get(m.root.Ref, fmt.Append(nil, "b", i))
		if err != nil || len(v) != 899-i || len(bytes.Trim(v, "1")) > 0 {
			t.Errorf("b%d has %d bytes %q, %v", i, len(v), bytes.Trim(v, "1"), err)
		}
	}
}

func TestKeysAndValuesHaveLimits(t *testing.T) {
	m := newMemory(12)
	tree := m.begin()
	for _, c := range []struct {
		key  []byte
		want error
	}{
		{nil, index.ErrKeyEmpty},
		{make([]byte, index.MaxKey(4096)+1), index.ErrKeyTooLarge},
		{make([]byte, index.MaxKey(4096)), nil},
	} {
		if err := tree.Put(c.key, []byte("v")); !errors.Is(err, c.want) {
			t.Errorf("Put of a key of %d bytes: %v", len(c.key), err)
		}
	}
	if _, _, err := tree.Get([]byte("x")); err != index.ErrNotFound {
		t.Errorf("Get of a missing key: %v", err)
	}
}

// Any one byte of any page changed is noticed by Check, and never by a panic.
func TestCheckNoticesEveryFlippedByte(t *testing.T) {
	m := newMemory(12)
	tree := m.begin()
	for i := range 300 {
		if err := tree.Put(fmt.Appendf(nil, "/svc/%d/name", i), make([]byte, i%5*10)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tree.Put([]byte("large"), make([]byte, 5000)); err != nil {
		t.Fatal(err)
	}
	m.commit(tree)
	s := m.reader()
	visit := func(index.Ref, int) error { return nil }
	undetected := 0
	for i := int(index.FirstPage) << 12; i < len(s.Memory); i++ {
		s.Memory[i] ^= 0x10
		if _, err := s.Check(m.root, visit); err == nil {
			undetected++
		} else if !errors.Is(err, index.ErrCorrupt) {
			t.Fatalf("byte %d: %v", i, err)
		}
		s.Memory[i] ^= 0x10
	}
	// What no checksum covers is the padding of the run, which nobody reads.
	if padding := 2*4096 - index.HeaderSize - 5000; undetected != padding {
		t.Errorf("%d flipped bytes were not noticed, %d are padding", undetected, padding)
	}
}

func TestGetDoesNotAllocate(t *testing.T) {
	m := newMemory(12)
	tree := m.begin()
	for i := range 3000 {
		if err := tree.Put(fmt.Appendf(nil, "%d", i), []byte("v")); err != nil {
			t.Fatal(err)
		}
	}
	m.commit(tree)
	s, key := m.reader(), []byte("1234")
	if n := testing.AllocsPerRun(100, func() { s.Get(m.root.Ref, key) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkGet(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := newMemory(12)
			m.snap.Memory = slices.Grow(m.snap.Memory, n*300)
			tree := m.begin()
			key := make([]byte, 16)
			state := uint64(1)
			next := func() []byte {
				for i := range key {
					state = state*6364136223846793005 + 1442695040888963407
					key[i] = byte(state >> 56)
				}
				return key
			}
			value := make([]byte, 100)
			for range n {
				tree.Put(next(), value)
			}
			m.commit(tree)
			s := m.reader()
			state = 1
			i := 0
			for b.Loop() {
				if i++; i == n {
					state, i = 1, 0
				}
				if _, _, err := s.Get(m.root.Ref, next()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package index_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
)

// script is the input of a fuzz target as a list of choices. Behind its end all
// choices are zero.
type script []byte

func (s *script) next() int {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return int(b)
}

// key chooses a key that stresses prefixes, hints and separators.
func (s *script) key(pageSize int) []byte {
	prefixes := [...]string{"", "k", "/svc/", "/svc/000001/config/", "\x00\x00\x00\x00\x00", "\xff\xff", "/svc/1", "kk"}
	form := s.next()
	key := []byte(prefixes[form&7])
	for range form >> 3 & 3 {
		key = append(key, byte(s.next()))
	}
	switch form >> 5 {
	case 6:
		key = fmt.Appendf(key, "%03d", s.next())
	case 7:
		key = append(key, bytes.Repeat([]byte("x"), index.MaxKey(pageSize)-1-len(key))...)
		key = append(key, byte(s.next()))
	}
	if len(key) == 0 {
		key = []byte{0}
	}
	return key
}

// value chooses a value. Most lengths lie where something changes: at nothing, at
// what still fits a leaf beside the key, at full pages.
func (s *script) value(key []byte, pageSize int) []byte {
	inline := (pageSize-index.HeaderSize)/2 - 12 - len(key)
	sizes := [...]int{
		0, 1, 32, 100, 300, pageSize / 8, pageSize / 4, inline - 1,
		inline, inline + 1, 16, 8, 24, pageSize - index.HeaderSize, pageSize - index.HeaderSize + 1, 2 * pageSize,
	}
	b := s.next()
	return bytes.Repeat([]byte{byte('a' + b>>4)}, sizes[b&15])
}

// content is what a tree should have. A bucket is there with its root record as its
// value, and with what it holds.
type content struct {
	keys    []string // ascending
	values  map[string]string
	buckets map[string]content
}

func newContent() content {
	return content{values: map[string]string{}, buckets: map[string]content{}}
}

func (c *content) clone() content {
	return content{slices.Clone(c.keys), maps.Clone(c.values), maps.Clone(c.buckets)}
}

func (c *content) put(k, v string) {
	if i, found := slices.BinarySearch(c.keys, k); !found {
		c.keys = slices.Insert(c.keys, i, k)
	}
	c.values[k] = v
}

func (c *content) delete(k string) {
	if i, found := slices.BinarySearch(c.keys, k); found {
		c.keys = slices.Delete(c.keys, i, i+1)
	}
	delete(c.values, k)
	delete(c.buckets, k)
}

// values returns how many values there are, those in buckets included.
func (c *content) count() uint64 {
	n := len(c.values) - len(c.buckets)
	for _, b := range c.buckets {
		n += len(b.values)
	}
	return uint64(n)
}

// agrees checks the store: the tree and its buckets hold what they should, and each
// page is reachable or retired, never both.
func (m *memory) agrees(t *testing.T, want *content) {
	t.Helper()
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
	if values != want.count() {
		t.Fatalf("Check counts %d values instead of %d", values, want.count())
	}
	for id := index.FirstPage; id < m.pages(); id++ {
		if pages[id] != 1 {
			t.Fatalf("page %d is reachable or retired %d times", id, pages[id])
		}
	}
	m.holds(t, m.root.Ref, want)
}

// holds checks that the tree at root has this content, entry by entry.
func (m *memory) holds(t *testing.T, root index.Ref, want *content) {
	t.Helper()
	s := m.reader()
	compare(t, s.Cursor(root), want.values)
	for _, k := range want.keys {
		v, kind, err := s.Get(root, []byte(k))
		if err != nil || string(v) != want.values[k] {
			t.Fatalf("Get(%q) = %.20q, %v", k, v, err)
		}
		b, isBucket := want.buckets[k]
		if isBucket != (kind == index.KindBucket) {
			t.Fatalf("%q is of kind %d", k, kind)
		}
		if isBucket {
			m.holds(t, index.DecodeRoot(v).Ref, &b)
		}
	}
}

// session is a store under the operations of a script.
type session struct {
	*testing.T
	*memory
	script script
	tree   *index.Tree
	want   content
	work   int // how much more may be done

	// As the last commit left them.
	saved   content
	pages   index.PageID
	retired map[index.PageID]int
}

func (s *session) begin() {
	s.tree = s.memory.begin()
	s.saved, s.pages, s.retired = s.want.clone(), s.memory.pages(), maps.Clone(s.memory.retired)
}

func (s *session) must(err error) {
	if err != nil {
		s.Helper()
		s.Fatalf("%+v", err)
	}
}

// present chooses one of the keys that are there. There may be none.
func (s *session) present() (string, bool) {
	i := s.script.next()
	if len(s.want.keys) == 0 {
		return "", false
	}
	return s.want.keys[i*len(s.want.keys)/256], true
}

func (s *session) key() []byte { return s.script.key(s.snap.PageSize()) }

func (s *session) put(key, value []byte) {
	s.work -= 1 + len(value)/1000
	if _, ok := s.want.buckets[string(key)]; ok {
		if err := s.tree.Put(key, value); err != index.ErrIsBucket {
			s.Fatalf("Put in the place of a bucket: %v", err)
		}
		s.dropBucket(string(key))
	}
	s.want.put(string(key), string(value)) // what value refers to may change
	s.must(s.tree.Put(key, value))
}

func (s *session) delete(key string) {
	s.work--
	if _, ok := s.want.buckets[key]; ok {
		if _, err := s.tree.Delete([]byte(key)); err != index.ErrIsBucket {
			s.Fatalf("Delete of a bucket: %v", err)
		}
		s.dropBucket(key)
		return
	}
	_, there := s.want.values[key]
	mustDelete(s, s.tree, []byte(key), there)
	s.want.delete(key)
	if _, _, err := s.tree.Get([]byte(key)); err != index.ErrNotFound {
		s.Fatalf("Get after Delete: %v", err)
	}
}

// dropBucket removes the bucket at key with all that is in it.
func (s *session) dropBucket(key string) {
	tree := index.NewTree(&s.snap, s.memory, index.DecodeRoot([]byte(s.want.values[key])))
	s.must(tree.Drop())
	if ok, err := s.tree.DeleteRoot([]byte(key)); !ok || err != nil {
		s.Fatalf("DeleteRoot: %v, %v", ok, err)
	}
	s.want.delete(key)
}

func encoded(r index.Root) string {
	var b [index.RootSize]byte
	r.Encode(b[:])
	return string(b[:])
}

func (s *session) putRoot(key string, r index.Root, b content) {
	s.must(s.tree.PutRoot([]byte(key), r))
	s.want.put(key, encoded(r))
	s.want.buckets[key] = b
}

// changeBucket puts entries into the bucket at key, or takes some out. Where there is
// a value, nothing happens.
func (s *session) changeBucket(key string) {
	b, there := s.want.buckets[key]
	root := index.Root{}
	if _, ok := s.want.values[key]; ok && !there {
		if err := s.tree.PutRoot([]byte(key), root); err != index.ErrNotBucket {
			s.Fatalf("PutRoot in the place of a value: %v", err)
		}
		return
	} else if there {
		root = index.DecodeRoot([]byte(s.want.values[key]))
		b = b.clone()
	} else {
		b = newContent()
	}
	root.Sequence += uint64(s.script.next())
	tree := index.NewTree(&s.snap, s.memory, root)
	for range s.script.next() % 8 {
		s.work--
		k := s.key()
		if s.script.next()%3 == 0 {
			_, want := b.values[string(k)]
			mustDelete(s, tree, k, want)
			b.delete(string(k))
			continue
		}
		v := s.script.value(k, s.snap.PageSize())
		s.must(tree.Put(k, v))
		b.put(string(k), string(v))
	}
	s.putRoot(key, tree.Root, b)
}

// at checks where a cursor has gone: to entry i, or nowhere if there is none.
func (s *session) at(c *index.Cursor, ok bool, i int) {
	s.Helper()
	if want := i >= 0 && i < len(s.want.keys); ok != want || c.Err() != nil {
		s.Fatalf("cursor at an entry: %v instead of %v; %v", ok, want, c.Err())
	}
	if !ok {
		return
	}
	k := s.want.keys[i]
	v, _, err := c.Value()
	if err != nil || string(c.Key()) != k || string(v) != s.want.values[k] {
		s.Fatalf("cursor at %q = %.20q, %v, instead of %q", c.Key(), v, err, k)
	}
}

// seek looks for a key from both sides and takes a few steps.
func (s *session) seek(key string) {
	i, found := slices.BinarySearch(s.want.keys, key)
	c := s.tree.Cursor()
	s.at(c, c.Seek([]byte(key)), i)
	for step := range min(3, len(s.want.keys)-i) {
		s.at(c, c.Next(), i+step+1)
	}
	if !found {
		i--
	}
	s.at(c, c.SeekLast([]byte(key)), i)
	for step := range min(3, i+1) {
		s.at(c, c.Prev(), i-step-1)
	}
}

// walk changes the tree between the steps of a cursor, which goes on at the next key
// that is there, whichever way.
func (s *session) walk(steps int) {
	c := s.tree.Cursor()
	ok := c.Seek(s.key())
	for ; ok && steps > 0 && s.work > 0; steps-- {
		key := string(c.Key())
		choice := s.script.next()
		switch choice % 5 {
		case 0:
			s.delete(key)
		case 1:
			k := s.key()
			s.put(k, s.script.value(k, s.snap.PageSize()))
		case 2:
			s.put([]byte(key), s.script.value([]byte(key), s.snap.PageSize()))
		case 3:
			if k, ok := s.present(); ok {
				s.delete(k)
			}
		case 4:
			s.spill()
		}
		if got := string(c.Key()); got != key {
			s.Fatalf("cursor is at %q instead of %q after a change", got, key)
		}
		i, found := slices.BinarySearch(s.want.keys, key)
		if v, _, err := c.Value(); found != (err == nil) || string(v) != s.want.values[key] {
			s.Fatalf("value under the cursor is %.20q, %v", v, err)
		}
		if choice >= 128 {
			i--
			ok = c.Prev()
		} else {
			if found {
				i++
			}
			ok = c.Next()
		}
		s.at(c, ok, i)
	}
}

// commit ends the transaction, looks whether all is as it should be, and begins the
// next one.
func (s *session) commit() {
	s.memory.commit(s.tree)
	s.agrees(s.T, &s.want)
	s.work -= 10
	s.begin()
}

func (s *session) rollback() {
	s.snap.Made = nil
	s.snap.Memory = s.snap.Memory[:int(s.pages)<<s.snap.PageShift]
	s.want, s.memory.retired = s.saved, s.retired
	s.begin()
}

// operation does what comes next in the script.
func (s *session) operation() {
	pageSize := s.snap.PageSize()
	switch s.script.next() % 14 {
	case 0:
		k := s.key()
		s.put(k, s.script.value(k, pageSize))
	case 1:
		s.delete(string(s.key()))
	case 2:
		if k, ok := s.present(); ok {
			s.delete(k)
		}
	case 3: // many in order
		k, format := s.key(), "%s%03d"
		if len(k)+3 > index.MaxKey(pageSize) {
			k = k[:len(k)-3]
		}
		first := s.script.next()
		v := s.script.value(k, pageSize)
		for i := range s.script.next() {
			if s.work <= 0 {
				break
			}
			s.put(fmt.Appendf(nil, format, k, first+i), v)
		}
	case 4: // many neighbours
		if k, ok := s.present(); ok {
			i, _ := slices.BinarySearch(s.want.keys, k)
			n := min(s.script.next(), len(s.want.keys)-i)
			for _, k := range slices.Clone(s.want.keys[i : i+n]) {
				s.delete(k)
			}
		}
	case 5:
		s.seek(string(s.key()))
	case 6:
		if k, ok := s.present(); ok {
			s.seek(k)
		}
	case 7:
		s.walk(s.script.next() % 16)
	case 8: // a value that lies in the pages which change
		k := s.key()
		_, isBucket := s.want.buckets[string(k)]
		if from, ok := s.present(); ok && !isBucket && s.want.buckets[from].values == nil {
			v, _, err := s.tree.Get([]byte(from))
			s.must(err)
			s.put(k, v)
		}
	case 9:
		s.changeBucket(string(s.key()))
	case 10:
		s.commit()
	case 11:
		s.rollback()
	case 12:
		if h, err := s.tree.Height(); err == nil && h > 0 && h < 8 {
			s.must(s.tree.Heighten())
		}
	case 13:
		s.spill()
	}
}

// A tree does what a map does, whatever the operations.
func FuzzOperations(f *testing.F) {
	f.Add([]byte{0, 3, 2, 0, 4, 200, 10, 4, 0, 100, 10})
	f.Fuzz(func(t *testing.T, input []byte) {
		s := &session{T: t, script: input, want: newContent(), work: 500}
		s.memory = newMemory([]uint8{12, 12, 12, 13}[s.script.next()%4])
		s.begin()
		for len(s.script) > 0 && s.work > 0 {
			s.operation()
		}
		compare(t, s.tree.Cursor(), s.want.values)
		s.commit()
	})
}

// lies is a small tree of height three with runs, of which one page is not what it
// was.
type lies struct {
	hostile
	keys []string
}

func newLies(t testing.TB) lies {
	l := lies{hostile: hostile{newMemory(12), map[string]string{}}}
	tree := l.begin()
	for i := range 40 {
		// Keys that differ late have long separators.
		k := fmt.Sprintf("%c%0*d", 'a'+i/8, 900, i)
		v := bytes.Repeat([]byte{byte('A' + i)}, 10+i%7*20)
		if i%13 == 5 {
			v = bytes.Repeat([]byte{byte(i)}, 5000)
		}
		if err := tree.Put([]byte(k), v); err != nil {
			t.Fatalf("%+v", err)
		}
		l.keys = append(l.keys, k)
	}
	// A bucket with a run, and the same again in it.
	var root index.Root
	for range 2 {
		bucket := index.NewTree(&l.snap, l.memory, index.Root{Sequence: 7})
		err := bucket.Put([]byte("k"), make([]byte, 3000))
		if err == nil && !root.IsZero() {
			err = bucket.PutRoot([]byte("in"), root)
		}
		if err != nil {
			t.Fatalf("%+v", err)
		}
		root = bucket.Root
	}
	if err := tree.PutRoot([]byte("b"), root); err != nil {
		t.Fatalf("%+v", err)
	}
	if h, err := tree.Height(); err != nil || h != 3 {
		t.Fatalf("height %d, %v", h, err)
	}
	l.commit(tree)
	return l
}

// clone returns a store that can be changed.
func (l lies) clone() lies {
	l.memory = &memory{snap: l.snap, root: l.root, retired: map[index.PageID]int{}}
	l.snap.Memory = bytes.Clone(l.snap.Memory)
	return l
}

// The first byte of a page that may lie: what comes before is what every visit
// compares, and the checksum.
const lieFrom = 24

// replace gives the page that has the given number other content: front follows the
// txid, back ends the page, and between them is nothing. Number, txid and checksum
// are right.
func (l lies) replace(id index.PageID, front, back []byte) {
	b := l.bytes(id)
	clear(b[lieFrom:])
	n := copy(b[lieFrom:], front)
	back = back[max(0, len(back)-(len(b)-lieFrom-n)):]
	copy(b[len(b)-len(back):], back)
	if _, kind := index.Header(b); kind != index.TypeOverflow {
		index.Seal(b)
		return
	}
	run := l.snap.Memory[int(id)<<12:]
	if end := index.HeaderSize + int(binary.LittleEndian.Uint32(b[28:])); end <= len(run) {
		index.Seal(run[:end])
	}
}

// check verifies the store, and that no page is there twice: that is the caller's
// part of Snapshot.Check. It returns how often each page is reachable.
func (l lies) check() (pages map[index.PageID]int, values uint64, err error) {
	pages = map[index.PageID]int{}
	values, err = l.reader().Check(l.root, func(r index.Ref, n int) error {
		for i := range index.PageID(n) {
			if pages[r.Page+i]++; pages[r.Page+i] > 1 {
				return errors.Wrapf(index.ErrCorrupt, "page %d is reachable twice", r.Page+i)
			}
		}
		return nil
	})
	return pages, values, err
}

// only fails the test if err is anything but the error of damaged data, or bare
// ErrNotFound.
func only(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil && err != index.ErrNotFound && !errors.Is(err, index.ErrCorrupt) {
		t.Fatalf("%s: %+v", what, err)
	}
}

// scans walks the tree both ways. The error is that of one of them. It returns what
// there is, if there is no error: then both saw the same.
func (l lies) scans(t *testing.T) (c content, err error) {
	t.Helper()
	c = newContent()
	s := l.reader()
	walk := func(ok bool, cursor *index.Cursor, step func() bool) (keys []string, err error) {
		for ; ok; ok = step() {
			if len(keys) == tooMany {
				t.Fatal("the walk does not end")
			}
			v, kind, err := cursor.Value()
			if err != nil {
				return keys, err
			}
			k := string(cursor.Key())
			keys = append(keys, k)
			c.values[k] = string(v)
			if kind == index.KindBucket {
				c.buckets[k] = newContent()
			}
		}
		return keys, cursor.Err()
	}
	cursor := s.Cursor(l.root.Ref)
	backwards, err1 := walk(cursor.Last(), cursor, cursor.Prev)
	only(t, "backward scan", err1)
	cursor = s.Cursor(l.root.Ref)
	c.keys, err = walk(cursor.First(), cursor, cursor.Next)
	only(t, "scan", err)
	if err != nil || err1 != nil {
		return c, errors.CombineErrors(err, err1)
	}
	slices.Reverse(backwards)
	if _, _, err := l.check(); err == nil {
		if !slices.Equal(c.keys, backwards) || !slices.IsSorted(c.keys) || len(c.keys) != len(c.values) {
			t.Fatalf("Check finds nothing, and the scans have\n%.20q\n%.20q", c.keys, backwards)
		}
	}
	return c, nil
}

// anything changes the store as the script says. It stops at the first error.
func (l lies) anything(tree *index.Tree, s script, done func(k string, v []byte)) error {
	for n := 0; len(s) > 0 && n < 60; n++ {
		var k []byte
		choice := s.next()
		if choice&1 == 0 {
			k = s.key(4096)
		} else {
			k = []byte(l.keys[s.next()%len(l.keys)])
		}
		var v []byte
		var err error
		if choice&2 == 0 {
			_, err = tree.Delete(k)
		} else {
			v = s.value(k, 4096)
			err = tree.Put(k, v)
		}
		if err == nil {
			done(string(k), v)
		} else if err != index.ErrIsBucket {
			return err
		}
		if choice&0xf0 == 0xf0 {
			l.spill()
		}
	}
	return nil
}

// A tree of which one page has any content, with the right checksum, gives ErrCorrupt
// or what is in it. If Check finds nothing wrong, the tree is one like any other.
func FuzzPage(f *testing.F) {
	base := newLies(f)
	for id := index.FirstPage; id < base.pages(); id++ {
		b := base.bytes(id)
		if r, kind := index.Header(b); r.Page == id && (kind == index.TypeLeaf || kind == index.TypeBranch) {
			p := index.Page(b)
			slots := index.HeaderSize + 8*p.Count()
			f.Add(byte(id-index.FirstPage), b[lieFrom:slots], b[slots+len(b[slots:])-len(bytes.TrimLeft(b[slots:], "\x00")):], []byte{1, 1, 3, 2, 4, 0, 1, 3, 7})
		} else if r.Page == id && kind == index.TypeOverflow {
			f.Add(byte(id-index.FirstPage), b[lieFrom:index.HeaderSize], []byte{}, []byte{1, 5, 3, 18, 4})
		}
	}
	f.Fuzz(func(t *testing.T, place byte, front, back, changes []byte) {
		l := base.clone()
		l.replace(index.FirstPage+index.PageID(place)%(l.pages()-index.FirstPage), front, back)
		want, err := l.scans(t)
		// A leaf of another number of entries need not be a lie.
		l.root.Entries = uint64(len(want.keys))
		pages, values, damage := l.check()
		only(t, "Check", damage)
		if damage == nil && err != nil {
			t.Fatalf("Check finds nothing, and a scan %+v", err)
		}
		s := l.reader()
		for _, k := range slices.Concat(l.keys, want.keys) {
			v, _, err := s.Get(l.root.Ref, []byte(k))
			only(t, "Get", err)
			if w, there := want.values[k]; damage == nil && (there != (err == nil) || string(v) != w) {
				t.Fatalf("Check finds nothing, and Get(%q) = %.20q, %v", k, v, err)
			}
		}
		if damage != nil {
			only(t, "changes", l.change(func(tree *index.Tree) error {
				return l.anything(tree, changes, func(string, []byte) {})
			}))
			only(t, "Drop", l.change((*index.Tree).Drop))
			return
		}
		l.goesOn(t, changes, want, pages, values)
	})
}

// goesOn changes a store that Check found good: all goes well, and what should be
// there is there.
func (l lies) goesOn(t *testing.T, changes script, want content, pages map[index.PageID]int, values uint64) {
	t.Helper()
	for id := index.FirstPage; id < l.pages(); id++ {
		if pages[id] == 0 {
			l.retired[id] = 1 // the page that lies refers to it no more
		}
	}
	inBuckets := values - want.count()
	tree := l.begin()
	err := l.anything(tree, changes, func(k string, v []byte) {
		if v == nil {
			want.delete(k)
		} else {
			want.put(k, string(v))
		}
	})
	if err != nil {
		t.Fatalf("Check finds nothing, and a change %+v", err)
	}
	l.commit(tree)
	pages, values, err = l.check()
	if err != nil || values != want.count()+inBuckets {
		t.Fatalf("Check after changes: %d values instead of %d, %+v", values, want.count()+inBuckets, err)
	}
	for id := index.FirstPage; id < l.pages(); id++ {
		if n := pages[id] + l.retired[id]; n != 1 {
			t.Fatalf("page %d is reachable or retired %d times", id, n)
		}
	}
	compare(t, l.reader().Cursor(l.root.Ref), want.values)
	tree = l.begin()
	if err := tree.Drop(); err != nil {
		t.Fatalf("Drop: %+v", err)
	}
	for id := index.FirstPage; id < l.pages(); id++ {
		if l.retired[id] != 1 {
			t.Fatalf("page %d is retired %d times after Drop", id, l.retired[id])
		}
	}
}

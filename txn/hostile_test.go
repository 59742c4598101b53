package txn_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
	"github.com/sharekv/sharekv/internal/crashsim"
	"github.com/sharekv/sharekv/txn"
)

// Where things are in a meta page: index/FORMAT.md, "Meta page".
const (
	metaTxID     = 16
	metaSequence = 72
	metaEpoch    = 96
	metaNext     = 112
	metaPages    = 120
	metaMain     = 136
	metaFree     = 168
	metaSize     = 512
	pageSize     = 4096
)

// image is a closed store with entries, free extents and retired pages.
type image struct {
	bytes []byte
	model map[string]string
}

func newImage(t testing.TB) *image {
	t.Helper()
	im := &image{model: map[string]string{}}
	disk := newDisk(t)
	p, err := open(newArea(), disk)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	for round := range 8 {
		err := inTransaction(p, func(w *txn.Writer) error {
			for i := range 60 {
				k, v := fmt.Sprintf("key %02d", i), fmt.Sprintf("%0*d", 10+(i*i*97)%3000, round)
				if i%3 == 0 && round == 5 {
					if _, err := w.Main.Delete([]byte(k)); err != nil {
						return err
					}
					delete(im.model, k)
				} else if i%5 == round%5 || round == 0 {
					if err := w.Main.Put([]byte(k), []byte(v)); err != nil {
						return err
					}
					im.model[k] = v
				}
			}
			return nil
		})
		if err != nil {
			t.Fatalf("%+v", err)
		}
	}
	s, err := p.store.Stats()
	if err != nil || s.Free < 10 {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := p.close(disk); err != nil {
		t.Fatalf("%+v", err)
	}
	view, err := disk.View(int64(s.Pages) * pageSize)
	if err != nil {
		t.Fatal(err)
	}
	im.bytes = bytes.Clone(view)
	return im
}

func inTransaction(p process, change func(w *txn.Writer) error) error {
	w, err := p.store.Write(context.Background())
	if err != nil {
		return err
	}
	defer w.Rollback()
	if err := w.Start(true); err != nil {
		return err
	}
	if err := change(w); err != nil {
		return w.Fail(err)
	}
	return w.Commit()
}

// metas calls change with both meta pages, the newer one first, and seals them.
func (im *image) metas(change func(m []byte)) {
	m := [][]byte{im.bytes[:metaSize], im.bytes[pageSize : pageSize+metaSize]}
	slices.SortFunc(m, func(a, b []byte) int { return bytes.Compare(b[metaSequence:][:1], a[metaSequence:][:1]) })
	for _, m := range m {
		change(m)
		index.Seal(m)
	}
}

func number(b []byte, at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }

// lie changes the free-space tree. The pages that takes lie behind all others.
func (im *image) lie(t *testing.T, change func(free *index.Tree) error) {
	t.Helper()
	var root index.Root
	snap := index.Snapshot{PageShift: 12, Made: map[index.PageID][]byte{}}
	im.metas(func(m []byte) {
		if snap.TxID == 0 {
			snap.TxID, root = index.TxID(number(m, metaTxID)), index.DecodeRoot(m[metaFree:])
		}
	})
	// Pages of the last transaction are changed where they are.
	for at := 0; at < len(im.bytes); at += pageSize {
		r, kind := index.Header(im.bytes[at:])
		if r.TxID == snap.TxID && at == int(r.Page)*pageSize && (kind == index.TypeLeaf || kind == index.TypeBranch) {
			snap.Made[r.Page] = im.bytes[at : at+pageSize : at+pageSize]
		}
	}
	snap.Memory = im.bytes
	tree := index.NewTree(&snap, &liar{&snap, index.PageID(len(im.bytes) / pageSize)}, root)
	if err := change(tree); err != nil {
		t.Fatalf("%+v", err)
	}
	for _, id := range slices.Sorted(maps.Keys(snap.Made)) {
		b := snap.Made[id]
		index.Seal(b)
		im.bytes = append(im.bytes, make([]byte, max(0, int(id+1)*pageSize-len(im.bytes)))...)
		copy(im.bytes[int(id)*pageSize:], b)
	}
	im.metas(func(m []byte) {
		tree.Root.Encode(m[metaFree:])
		binary.LittleEndian.PutUint64(m[metaPages:], uint64(len(im.bytes)/pageSize))
	})
}

// liar is the index.Pager of a free-space tree that is to lie.
type liar struct {
	snap *index.Snapshot
	next index.PageID
}

func (l *liar) Alloc() (index.PageID, []byte, error) {
	id := l.next
	l.next++
	l.snap.Made[id] = make([]byte, pageSize)
	return id, l.snap.Made[id], nil
}
func (l *liar) Again(index.PageID) ([]byte, error) {
	return nil, errors.New("nothing is stored before the end")
}
func (l *liar) AllocRun(int) (index.PageID, error) { return 0, errors.New("no runs") }
func (l *liar) Store(index.PageID, [][]byte) error { return errors.New("no runs") }
func (l *liar) Retire(r index.Ref, _ int) error    { return nil }

func freeKey(start index.PageID) []byte {
	return binary.BigEndian.AppendUint64([]byte{'f'}, uint64(start))
}

func sizeKey(start index.PageID, pages uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte{'s'}, pages), uint64(start))
}

func retiredKey(death index.TxID) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{'r'}, uint64(death)), 0, 0, 0, 99)
}

// putFree says that the extent is free, in both orders.
func putFree(tree *index.Tree, start index.PageID, pages uint64) error {
	err := tree.Put(freeKey(start), binary.LittleEndian.AppendUint64(nil, pages))
	if err == nil && pages > 1 {
		err = tree.Put(sizeKey(start, pages), nil)
	}
	return err
}

// entries returns the keys of the given kind.
func entries(tree *index.Tree, kind byte) (keys [][]byte) {
	c := tree.Cursor()
	for ok := c.Seek([]byte{kind}); ok && c.Key()[0] == kind; ok = c.Next() {
		keys = append(keys, bytes.Clone(c.Key()))
	}
	return keys
}

// deleteAll deletes the entries with these keys.
func deleteAll(tree *index.Tree, keys [][]byte) error {
	for _, k := range keys {
		if _, err := tree.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// ordeal writes to the store for a while, and returns how many transactions were
// refused. After each of them, the store has what it should, or is damaged and known
// to be.
func (im *image) ordeal(t *testing.T) (refused int) {
	t.Helper()
	disk := crashsim.New(im.bytes, capacity)
	p, err := open(newArea(), disk)
	if err != nil {
		t.Fatalf("open: %+v", err)
	}
	defer p.die()
	history := []map[string]string{im.model}
	for i := range 12 {
		next, err := trial(p, history[len(history)-1], i)
		if err == nil {
			history = append(history, next)
		} else if refused++; !errors.Is(err, index.ErrCorrupt) {
			t.Errorf("transaction %d: %+v", i, err)
		}
		compare(t, p, disk, history)
	}
	return refused
}

// trial makes transaction i of an ordeal, and returns what the store should have
// after it.
func trial(p process, model map[string]string, i int) (map[string]string, error) {
	model = maps.Clone(model)
	err := inTransaction(p, func(w *txn.Writer) error {
		for j := range 40 {
			k := fmt.Sprintf("key %02d", (i*7+j*11)%100)
			if j%4 == 3 {
				delete(model, k)
				if _, err := w.Main.Delete([]byte(k)); err != nil {
					return err
				}
				continue
			}
			model[k] = fmt.Sprintf("%0*d", 1+(i*j*331)%14_000, i)
			if err := w.Main.Put([]byte(k), []byte(model[k])); err != nil {
				return err
			}
		}
		return nil
	})
	return model, err
}

// compare checks that the store has what the last commit of its history left, or that
// Check finds the damage. A value that was stored over after this process had verified
// it is found by the next process to read it, which may also go back in history.
func compare(t *testing.T, p process, disk *crashsim.Disk, history []map[string]string) {
	t.Helper()
	r, err := p.store.Read()
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer r.End()
	_, damage := r.Check(func(int) error { return nil })
	if damage != nil && !errors.Is(damage, index.ErrCorrupt) {
		t.Errorf("Check: %+v", damage)
	}
	var wrong []string
	for k, want := range history[len(history)-1] {
		v, _, err := r.Snapshot.Get(r.Main.Ref, []byte(k))
		if err == nil && string(v) == want {
			continue
		}
		if damage == nil || err != nil && !errors.Is(err, index.ErrCorrupt) {
			t.Fatalf("%s = %.10q (%d bytes), %v instead of %.10q (%d); Check: %v", k, v, len(v), err, want, len(want), damage)
		}
		wrong = append(wrong, k)
	}
	if len(wrong) > 0 {
		notice(t, disk.Clone(), wrong, history)
	}
}

// notice checks that the next process notices that the values of these keys are wrong,
// or has those of an earlier commit.
func notice(t *testing.T, disk *crashsim.Disk, keys []string, history []map[string]string) {
	t.Helper()
	p, err := open(newArea(), disk)
	if errors.Is(err, index.ErrCorrupt) {
		return
	}
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer p.die()
	r, err := p.store.Read()
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer r.End()
	for _, k := range keys {
		v, _, err := r.Snapshot.Get(r.Main.Ref, []byte(k))
		once := slices.ContainsFunc(history, func(m map[string]string) bool {
			was, there := m[k]
			return there == (err == nil) && was == string(v)
		})
		if !errors.Is(err, index.ErrCorrupt) && !once {
			t.Fatalf("%s = %.10q (%d bytes), %v in the next process", k, v, len(v), err)
		}
	}
}

func TestStoreWhoseFreeSpaceDoesNotLieGoesThroughTheOrdeal(t *testing.T) {
	im := newImage(t)
	if n := im.ordeal(t); n > 0 {
		t.Errorf("%d transactions refused", n)
	}
}

// check returns what Check finds wrong.
func (im *image) check(t *testing.T) error {
	t.Helper()
	p, err := open(newArea(), crashsim.New(im.bytes, capacity))
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer p.die()
	r, err := p.store.Read()
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer r.End()
	_, err = r.Check(func(int) error { return nil })
	return err
}

func TestFreeSpaceThatLiesGivesNoWrongData(t *testing.T) {
	good := newImage(t)
	// Nothing that is in use is called free.
	harmless := []string{"no sizes", "sizes of nothing", "another kind"}
	for name, lie := range map[string]func(im *image, tree *index.Tree) error{
		"extents overlap": func(im *image, tree *index.Tree) error {
			e := entries(tree, 's')
			pages, start := binary.BigEndian.Uint64(e[0][1:]), binary.BigEndian.Uint64(e[0][9:])
			return putFree(tree, index.PageID(start)+1, pages)
		},
		"runs behind the end of the others overlap": func(im *image, tree *index.Tree) error {
			x := index.PageID(len(im.bytes) / pageSize)
			im.bytes = append(im.bytes, make([]byte, 40*pageSize)...)
			for i := range index.PageID(8) {
				if err := putFree(tree, x+i, uint64(20-i%3)); err != nil {
					return err
				}
			}
			return nil
		},
		"everything is free": func(im *image, tree *index.Tree) error {
			if err := deleteAll(tree, slices.Concat(entries(tree, 'f'), entries(tree, 's'))); err != nil {
				return err
			}
			return putFree(tree, index.FirstPage, uint64(len(im.bytes)/pageSize)-2)
		},
		"every page is free": func(im *image, tree *index.Tree) error {
			for id := index.FirstPage; id < index.PageID(len(im.bytes)/pageSize); id++ {
				if err := putFree(tree, id, 1); err != nil {
					return err
				}
			}
			return nil
		},
		"free and retired": func(im *image, tree *index.Tree) error {
			for _, k := range entries(tree, 'f') {
				start := index.PageID(binary.BigEndian.Uint64(k[1:]))
				v, _, err := tree.Get(k)
				if err != nil {
					return err
				}
				list := binary.LittleEndian.AppendUint64(nil, uint64(start))
				list = append(append(list, v...), 1, 0, 0, 0, 0, 1, 0, 0)
				return tree.Put(retiredKey(index.MakeTxID(1, 2)), list)
			}
			return nil
		},
		"no sizes": func(im *image, tree *index.Tree) error { return deleteAll(tree, entries(tree, 's')) },
		"sizes of nothing": func(im *image, tree *index.Tree) error {
			return deleteAll(tree, entries(tree, 'f'))
		},
		"sizes are larger": func(im *image, tree *index.Tree) error {
			for _, k := range entries(tree, 's') {
				pages, start := binary.BigEndian.Uint64(k[1:]), binary.BigEndian.Uint64(k[9:])
				if err := tree.Put(sizeKey(index.PageID(start), pages+3), nil); err != nil {
					return err
				}
			}
			return nil
		},
		"extents are larger": func(im *image, tree *index.Tree) error {
			for _, k := range entries(tree, 'f') {
				v, _, err := tree.Get(k)
				if err != nil {
					return err
				}
				v = binary.LittleEndian.AppendUint64(nil, binary.LittleEndian.Uint64(v)+2)
				if err := tree.Put(k, v); err != nil {
					return err
				}
			}
			return nil
		},
		"extent of no pages": func(im *image, tree *index.Tree) error { return putFree(tree, 5, 0) },
		"meta pages":         func(im *image, tree *index.Tree) error { return putFree(tree, 0, 2) },
		"behind the end":     func(im *image, tree *index.Tree) error { return putFree(tree, 1<<40, 2) },
		"without end": func(im *image, tree *index.Tree) error {
			return putFree(tree, index.PageID(len(im.bytes)/pageSize)-2, math.MaxUint64)
		},
		"another kind": func(im *image, tree *index.Tree) error { return tree.Put([]byte("a"), []byte("b")) },
	} {
		t.Run(name, func(t *testing.T) {
			im := &image{bytes.Clone(good.bytes), good.model}
			im.lie(t, func(tree *index.Tree) error { return lie(im, tree) })
			if err := im.check(t); !errors.Is(err, index.ErrCorrupt) {
				t.Errorf("Check: %v", err)
			}
			if n := im.ordeal(t); (n == 0) != slices.Contains(harmless, name) {
				t.Errorf("%d transactions refused", n)
			}
		})
	}
}

func TestMetaPageWithAbsurdNumbersIsCorrupt(t *testing.T) {
	good := newImage(t)
	for _, c := range []struct {
		name   string
		at     int
		values []uint64
	}{
		{"epoch", metaEpoch, []uint64{0, 1 << 24, 1 << 31, 1 << 32, 1<<32 + 1, math.MaxUint64}},
		{"txid", metaTxID, []uint64{0, 2 << 40, math.MaxUint64}},
		{"sequence", metaSequence, []uint64{0, math.MaxUint64}},
		{"pages", metaPages, []uint64{0, 1, 1 << 50, 1 << 63, math.MaxUint64}},
	} {
		for _, v := range c.values {
			im := &image{bytes: bytes.Clone(good.bytes)}
			im.metas(func(m []byte) { binary.LittleEndian.PutUint64(m[c.at:], v) })
			if _, err := open(newArea(), crashsim.New(im.bytes, capacity)); !errors.Is(err, index.ErrCorrupt) {
				t.Errorf("%s = %#x: %v", c.name, v, err)
			}
		}
	}
}

func TestMarkOfACleanEndWithAnAbsurdCounterIsNotBelieved(t *testing.T) {
	good := newImage(t)
	for _, next := range []uint64{0, 1, 1 << 41, math.MaxUint64} {
		im := &image{bytes: bytes.Clone(good.bytes), model: good.model}
		im.metas(func(m []byte) { binary.LittleEndian.PutUint64(m[metaNext:], next) })
		p, err := open(newArea(), crashsim.New(im.bytes, capacity))
		if err != nil {
			t.Fatalf("next = %#x: %+v", next, err)
		}
		w, err := p.store.Write(context.Background())
		if err != nil {
			t.Fatalf("%+v", err)
		}
		// As after an unclean end.
		if err := w.Start(true); err != nil || w.Snapshot.TxID.Epoch() != 2 {
			t.Errorf("next = %#x: txid %v, %v", next, w.Snapshot.TxID, err)
		}
		w.Rollback()
		if n := im.ordeal(t); n > 0 {
			t.Errorf("next = %#x: %d transactions refused", next, n)
		}
		p.die()
	}
}

// references returns what the trees of the store refer to.
func (im *image) references(t *testing.T) (refs []index.Ref) {
	t.Helper()
	s := index.Snapshot{Memory: im.bytes, PageShift: 12}
	im.metas(func(m []byte) {
		if s.TxID != 0 {
			return
		}
		s.TxID = index.TxID(number(m, metaTxID))
		for _, root := range []int{metaMain, metaFree} {
			_, err := s.Check(index.DecodeRoot(m[root:]), func(r index.Ref, n int) error {
				refs = append(refs, r)
				return nil
			})
			if err != nil {
				t.Fatalf("%+v", err)
			}
		}
	})
	return refs
}

// raise makes r a page of another txid, wherever it is named.
func (im *image) raise(r index.Ref, txid index.TxID) *image {
	name := func(txid index.TxID) []byte {
		return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(r.Page)), uint64(txid))
	}
	raised := &image{bytes.ReplaceAll(im.bytes, name(r.TxID), name(txid)), im.model}
	raised.metas(func([]byte) {})
	for at := 2 * pageSize; at < len(raised.bytes); at += pageSize {
		b := raised.bytes[at:]
		if bytes.Equal(b[:pageSize], im.bytes[at:at+pageSize]) {
			continue
		}
		if _, kind := index.Header(b); kind == index.TypeOverflow {
			index.Seal(b[:index.HeaderSize+int(binary.LittleEndian.Uint32(b[28:]))])
		} else {
			index.Seal(b[:pageSize])
		}
	}
	return raised
}

// A damaged file may have a page with the txid that the next writer gets. It is not
// the writer's own: it is never changed where it lies, nor given out.
func TestPageThatClaimsToBeTheWritersOwnIsCorrupt(t *testing.T) {
	im := newImage(t)
	p, err := open(newArea(), crashsim.New(im.bytes, capacity))
	if err != nil {
		t.Fatalf("%+v", err)
	}
	w, err := p.store.Write(context.Background())
	if err == nil {
		err = w.Start(true)
	}
	if err != nil {
		t.Fatalf("%+v", err)
	}
	txid := w.Snapshot.TxID
	w.Rollback()
	p.die()
	for _, r := range im.references(t) {
		raised := im.raise(r, txid)
		disk := crashsim.New(raised.bytes, capacity)
		p, err := open(newArea(), disk)
		if err != nil {
			t.Fatalf("%v: open: %+v", r, err)
		}
		err = inTransaction(p, func(w *txn.Writer) error {
			if w.Snapshot.TxID != txid {
				t.Fatalf("txid %v instead of %v", w.Snapshot.TxID, txid)
			}
			for k := range im.model {
				if err := w.Main.Put([]byte(k), []byte("other")); err != nil {
					return err
				}
			}
			return nil
		})
		if !errors.Is(err, index.ErrCorrupt) {
			t.Errorf("%v: %v", r, err)
		}
		view, err := disk.View(int64(len(raised.bytes)))
		if err != nil {
			t.Fatal(err)
		}
		at := int(r.Page) * pageSize
		if !bytes.Equal(view[at:at+pageSize], raised.bytes[at:at+pageSize]) {
			t.Errorf("%v was changed where it lies", r)
		}
		p.die()
	}
}

func TestOtherLayoutOfTheAreaIsToldWithWhoHasIt(t *testing.T) {
	disk, area := newDisk(t), newArea()
	p, err := open(area, disk)
	if err != nil {
		t.Fatal(err)
	}
	defer p.die()
	p.area.Uint64(txn.AreaVersionAt).Add(1)
	_, err = open(area, disk)
	if !errors.Is(err, txn.ErrVersion) || !strings.Contains(err.Error(), fmt.Sprint("pid ", os.Getpid())) || len(errors.GetAllHints(err)) == 0 {
		t.Errorf("%v", err)
	}
}

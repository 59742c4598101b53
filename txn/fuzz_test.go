package txn_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
	"github.com/sharekv/sharekv/internal/crashsim"
	"github.com/sharekv/sharekv/mmapfile"
	"github.com/sharekv/sharekv/txn"
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

// fuzzCapacity is how many bytes a store may grow to: no fuzzed transactions need
// as many.
const fuzzCapacity = 2 << 20

// startingImages are stores that the fuzzer changes bytes of: an empty one; one that
// was closed; the same after all its processes died; and one whose last writers had
// to keep pages for readers.
func startingImages(f *testing.F) [][]byte {
	empty, err := txn.Format(pageSize, [16]byte{1})
	if err != nil {
		f.Fatal(err)
	}
	closed := newImage(f).bytes
	return [][]byte{empty, closed, worked(f, closed, false), worked(f, closed, true)}
}

// worked returns what a few more transactions make of a store, each while one more
// reader begins if there are to be readers, and then the death of the process.
func worked(f *testing.F, content []byte, readers bool) []byte {
	disk := crashsim.New(content, fuzzCapacity)
	p, err := open(newArea(), disk)
	if err != nil {
		f.Fatalf("%+v", err)
	}
	defer p.die()
	for i := range 4 {
		if readers {
			r, err := p.store.Read()
			if err != nil {
				f.Fatalf("%+v", err)
			}
			defer r.End()
		}
		err := inTransaction(p, func(w *txn.Writer) error {
			for j := range 12 {
				k := fmt.Appendf(nil, "key %02d", (i*13+j*7)%60)
				if err := w.Main.Put(k, make([]byte, 20+i*j*90)); err != nil {
					return err
				}
			}
			bucket := index.NewTree(&w.Snapshot, w, index.Root{Sequence: uint64(i)})
			if err := bucket.Put([]byte("in"), []byte("it")); err != nil {
				return err
			}
			return w.Main.PutRoot(fmt.Appendf(nil, "bucket %d", i), bucket.Root)
		})
		if err != nil {
			f.Fatalf("%+v", err)
		}
	}
	s, err := p.store.Stats()
	if err != nil {
		f.Fatalf("%+v", err)
	}
	view, err := disk.View(int64(s.Pages) * pageSize)
	if err != nil {
		f.Fatal(err)
	}
	return bytes.Clone(view)
}

// What the first byte of the input says besides the image to begin with.
const (
	sealPages = 1 << 7 // checksums of changed pages are made right
	sealMetas = 1 << 6
	smallest  = 1 << 5 // as little memory as possible for large transactions
)

// patch makes changes to image: each is a page, an offset in it, and how many bytes
// follow. No bytes end the image there.
func patch(image []byte, flags int, changes script) []byte {
	image = bytes.Clone(image)
	changed := map[int]bool{}
	for len(changes) > 0 {
		page := changes.next() % max(1, len(image)/pageSize)
		at := page*pageSize + (changes.next()|changes.next()<<8)%pageSize
		n := changes.next() % 64
		if n == 0 {
			image = image[:min(at, len(image))]
			continue
		}
		n = min(n, len(changes))
		if at < len(image) {
			copy(image[at:], changes[:n])
			changed[page] = true
		}
		changes = changes[n:]
	}
	for page := range changed {
		b := image[min(page*pageSize, len(image)):]
		if len(b) < pageSize {
			continue
		}
		switch _, kind := index.Header(b); {
		case page < 2 && flags&sealMetas != 0:
			index.Seal(b[:metaSize])
		case page >= 2 && flags&sealPages != 0 && kind == index.TypeOverflow:
			if n := index.HeaderSize + int(binary.LittleEndian.Uint32(b[28:])); n <= len(b) {
				index.Seal(b[:n])
			}
		case page >= 2 && flags&sealPages != 0:
			index.Seal(b[:pageSize])
		}
	}
	return image
}

// fuzzed is a store whose file may hold anything.
type fuzzed struct {
	*testing.T
	process
	disk   *crashsim.Disk
	budget int
}

// open opens the store, and returns whether it is one.
func (f *fuzzed) open() (ok bool) {
	f.Helper()
	var err error
	f.area, err = newArea().Open(func(a *mmapfile.Area, first bool) error {
		f.store, err = txn.Open(a, first, f.disk, txn.Options{Budget: f.budget})
		return err
	})
	f.allow("open", err, txn.ErrNotStore, txn.ErrVersion, mmapfile.ErrTruncated)
	return err == nil
}

func (f *fuzzed) close() {
	f.Helper()
	if err := f.process.close(f.disk); err != nil {
		f.Fatalf("close: %+v", err)
	}
}

// allow fails the test if err is another than that of damaged data or those given.
func (f *fuzzed) allow(what string, err error, allowed ...error) {
	f.Helper()
	for _, ok := range append(allowed, nil, index.ErrCorrupt) {
		if errors.Is(err, ok) {
			return
		}
	}
	f.Fatalf("%s: %+v", what, err)
}

// read returns what a new reader finds, and what Check finds wrong.
func (f *fuzzed) read() (content map[string]string, damage error) {
	f.Helper()
	r, err := f.store.Read()
	f.allow("Read", err)
	if err != nil {
		return map[string]string{}, err
	}
	defer r.End()
	_, damage = r.Check(func(int) error { return nil })
	f.allow("Check", damage)
	content, err = f.scan(&r)
	if damage == nil && err != nil {
		f.Fatalf("Check finds nothing, and a scan %+v", err)
	}
	_, err = f.store.Stats()
	f.allow("Stats", err)
	return content, damage
}

// scan reads everything both ways and by key. Where all goes well, it is the same.
func (f *fuzzed) scan(r *txn.Reader) (content map[string]string, err error) {
	f.Helper()
	content = map[string]string{}
	c := r.Snapshot.Cursor(r.Main.Ref)
	for ok := c.First(); ok; ok = c.Next() {
		v, _, err := c.Value()
		f.allow("Value", err)
		if err != nil {
			return content, err
		}
		content[string(c.Key())] = string(v)
		if len(content) > fuzzCapacity/8 {
			f.Fatal("the walk does not end")
		}
	}
	f.allow("scan", c.Err())
	if c.Err() != nil {
		return content, c.Err()
	}
	n := 0
	for ok := c.Last(); ok; ok = c.Prev() {
		if n++; n > fuzzCapacity/8 {
			f.Fatal("the walk back does not end")
		}
	}
	f.allow("backward scan", c.Err())
	for k := range content {
		_, _, err := r.Snapshot.Get(r.Main.Ref, []byte(k))
		if err != index.ErrNotFound { // where the order is wrong
			f.allow("Get", err)
		}
	}
	return content, c.Err()
}

// change makes one transaction, and returns what the store should have after it.
func (f *fuzzed) change(s *script, content map[string]string) (map[string]string, error) {
	content = maps.Clone(content)
	keys := slices.Sorted(maps.Keys(content))
	w, err := f.store.Write(context.Background())
	if err != nil {
		return content, err
	}
	defer w.Rollback()
	for range s.next() % 20 {
		if err := w.Start(true); err != nil {
			return content, err
		}
		choice := s.next()
		k := fmt.Sprintf("key %02d", s.next()%70)
		if choice&1 != 0 && len(keys) > 0 {
			k = keys[s.next()%len(keys)]
		}
		v := fmt.Sprintf("%0*d", 1+s.next()*s.next()%12_000, choice)
		if choice&6 == 0 {
			_, err = w.Main.Delete([]byte(k))
			v = ""
		} else {
			err = w.Main.Put([]byte(k), []byte(v))
		}
		switch {
		case err == index.ErrIsBucket:
			continue
		case err != nil:
			return content, w.Fail(err)
		}
		if err := w.Spill(); err != nil {
			return content, err
		}
		if content[k] = v; v == "" {
			delete(content, k)
		}
	}
	if s.next()%8 == 7 {
		return nil, nil // rolled back
	}
	return content, w.Commit()
}

// A file of any content is refused as damaged, or opens and reads; then transactions
// fail because of damage, or do what they should. If Check finds nothing wrong at
// first, it never does, and nothing is lost.
func FuzzImage(f *testing.F) {
	images := startingImages(f)
	for i := range images {
		for _, flags := range []int{0, sealPages, sealMetas | smallest} {
			f.Add(byte(flags|i), []byte{}, []byte{9, 0, 1, 200, 50, 2, 7, 90, 90, 1, 2, 3, 4, 5})
		}
		f.Add(byte(sealPages|i), []byte{3, 32, 0, 2, 1, 1, 5, 0, 15, 0}, []byte{})
	}
	f.Fuzz(func(t *testing.T, from byte, changes, transactions []byte) {
		image := patch(images[int(from)%len(images)], int(from), changes)
		z := &fuzzed{T: t, disk: crashsim.New(image, fuzzCapacity)}
		if from&smallest != 0 {
			z.budget = 1
		}
		if !z.open() {
			return
		}
		content, damage := z.read()
		if damage != nil {
			z.goesOnDamaged(transactions, content)
			return
		}
		z.goesOn(transactions, content)
	})
}

func (f *fuzzed) goesOnDamaged(s script, content map[string]string) {
	f.Helper()
	for range 6 {
		_, err := f.change(&s, content)
		f.allow("transaction", err, mmapfile.ErrNoSpace)
		f.read()
	}
	f.close()
	if f.open() {
		f.read()
		f.die()
	}
}

func (f *fuzzed) goesOn(s script, content map[string]string) {
	f.Helper()
	before, err := f.store.Read()
	if err != nil {
		f.Fatalf("%+v", err)
	}
	was := content
	for i := range 6 {
		next, err := f.change(&s, content)
		if err != nil {
			f.Fatalf("Check finds nothing, and transaction %d %+v", i, err)
		}
		if next != nil {
			content = next
		}
		f.has(&before, was)
		f.agrees(content)
	}
	before.End()
	if s.next()%2 == 0 {
		f.close()
	} else {
		f.die()
	}
	if !f.open() {
		f.Fatal("the store does not open again")
	}
	f.agrees(content)
	next, err := f.change(&s, content)
	if err != nil {
		f.Fatalf("a transaction after reopening: %+v", err)
	}
	if next != nil {
		content = next
	}
	f.agrees(content)
	f.close()
}

func (f *fuzzed) has(r *txn.Reader, content map[string]string) {
	f.Helper()
	got, err := f.scan(r)
	if err != nil || !maps.Equal(got, content) {
		f.Fatalf("%d entries instead of %d, %v", len(got), len(content), err)
	}
}

func (f *fuzzed) agrees(content map[string]string) {
	f.Helper()
	got, damage := f.read()
	if damage != nil {
		f.Fatalf("Check found nothing, and now %+v", damage)
	}
	if !maps.Equal(got, content) {
		f.Fatalf("%d entries instead of %d, or others", len(got), len(content))
	}
}

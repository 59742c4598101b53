package txn_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/mmapfile"
	"github.com/sharekv/sharekv/txn"
)

// memory is a storage that flushes nothing. It lies on the heap, where the race
// detector sees a page that is stored over while somebody reads it.
type memory struct {
	bytes []byte
	size  atomic.Int64
}

func newMemory(t testing.TB, capacity int) *memory {
	t.Helper()
	content, err := txn.Format(4096, [16]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	m := &memory{bytes: make([]byte, capacity)}
	m.size.Store(int64(copy(m.bytes, content)))
	return m
}

func (m *memory) View(size int64) ([]byte, error) {
	if size > m.size.Load() {
		return nil, errors.Wrapf(mmapfile.ErrTruncated, "%d bytes", m.size.Load())
	}
	return m.bytes[:size:size], nil
}

func (m *memory) Store(off int64, bufs [][]byte) error {
	for _, b := range bufs {
		off += int64(copy(m.bytes[off:], b))
	}
	return nil
}

func (m *memory) Push() error { return nil }

func (m *memory) Flush() error { return nil }

func (m *memory) Grow(size int64) error {
	if size > int64(len(m.bytes)) {
		return mmapfile.ErrNoSpace
	}
	m.size.Store(max(m.size.Load(), size))
	return nil
}

func openMemory(area *mmapfile.HeapArea, m *memory) (p process, err error) {
	p.area, err = area.Open(func(a *mmapfile.Area, first bool) error {
		p.store, err = txn.Open(a, first, m, txn.Options{})
		return err
	})
	return p, err
}

const cells = 500

// addUp changes some cells so that their sum stays zero.
func (p process) addUp(rng *rand.Rand) error {
	w, err := p.store.Write(context.Background())
	if err != nil && w == nil {
		return err
	}
	defer w.Rollback()
	if err := w.Start(true); err != nil {
		return err
	}
	add := func(cell int, n uint64) error {
		key := binary.BigEndian.AppendUint64(nil, uint64(cell))
		if v, _, err := w.Main.Get(key); err == nil {
			n += binary.BigEndian.Uint64(v)
		}
		return w.Main.Put(key, binary.BigEndian.AppendUint64(make([]byte, 0, 100), n)[:8+rng.IntN(90)])
	}
	for range 1 + rng.IntN(10) {
		n := rng.Uint64()
		if err := errors.CombineErrors(add(rng.IntN(cells), n), add(rng.IntN(cells), -n)); err != nil {
			return w.Fail(err)
		}
	}
	return w.Commit()
}

// sum reads a whole snapshot.
func (p process) sum() (sum uint64, err error) {
	r, err := p.store.Read()
	if err != nil {
		return 0, err
	}
	defer r.End()
	c := r.Snapshot.Cursor(r.Main.Ref)
	for ok := c.First(); ok; ok = c.Next() {
		v, _, err := c.Value()
		if err != nil {
			return 0, err
		}
		sum += binary.BigEndian.Uint64(v)
	}
	return sum, c.Err()
}

// Several handles of one process, whose shared area and pages are on the heap:
// with the race detector, this shows what mapped memory would hide.
func TestHandlesOfOneProcessDoNotRace(t *testing.T) {
	m := newMemory(t, 64<<20)
	area := newArea()
	stop := time.Now().Add(time.Second)
	var wg sync.WaitGroup
	var commits, snapshots, deaths atomic.Int64
	for i := range 3 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for time.Now().Before(stop) {
				p, err := openMemory(area, m)
				if err != nil {
					t.Errorf("%+v", err)
					return
				}
				var readers sync.WaitGroup
				end := time.Now().Add(time.Duration(rng.IntN(100)) * time.Millisecond)
				for range 2 {
					readers.Go(func() {
						for time.Now().Before(end) {
							if sum, err := p.sum(); err != nil || sum != 0 {
								t.Errorf("the cells add up to %d, %v", sum, err)
								return
							}
							snapshots.Add(1)
						}
					})
				}
				for time.Now().Before(end) {
					if err := p.addUp(rng); err != nil {
						t.Errorf("%+v", err)
						break
					}
					commits.Add(1)
				}
				readers.Wait()
				p.die() // its slots are for others to find
				deaths.Add(1)
			}
		})
	}
	wg.Wait()
	t.Logf("%d commits, %d snapshots, %d handles died", commits.Load(), snapshots.Load(), deaths.Load())
	p, err := openMemory(area, m)
	if err != nil {
		t.Fatal(err)
	}
	defer p.die()
	r, err := p.store.Read()
	if err != nil {
		t.Fatal(err)
	}
	defer r.End()
	if _, err := r.Check(func(int) error { return nil }); err != nil {
		t.Errorf("%+v", err)
	}
}

func TestMoreReadersThanSlotsStillReadTheirSnapshots(t *testing.T) {
	m := newMemory(t, 64<<20)
	area := newArea()
	p, err := openMemory(area, m)
	if err != nil {
		t.Fatal(err)
	}
	defer p.die()
	rng := rand.New(rand.NewPCG(1, 1))
	var readers []txn.Reader
	for i := range txn.MaxReaders + 100 {
		if i%100 == 0 {
			if err := p.addUp(rng); err != nil {
				t.Fatalf("%+v", err)
			}
		}
		r, err := p.store.Read()
		if err != nil {
			t.Fatalf("reader %d: %+v", i, err)
		}
		readers = append(readers, r)
	}
	for range 100 {
		if err := p.addUp(rng); err != nil {
			t.Fatalf("%+v", err)
		}
	}
	for i := range readers {
		r := &readers[i]
		if i%50 == 0 || i > txn.MaxReaders {
			if _, err := r.Check(func(int) error { return nil }); err != nil {
				t.Fatalf("reader %d: %+v", i, err)
			}
		}
		r.End()
	}
	before, err := p.store.Stats()
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		if err := p.addUp(rng); err != nil {
			t.Fatalf("%+v", err)
		}
	}
	after, err := p.store.Stats()
	if err != nil || after.Pages > before.Pages || after.Retired > 100 {
		t.Errorf("after all readers have gone: %+v, %v; before: %+v", after, err, before)
	}
}

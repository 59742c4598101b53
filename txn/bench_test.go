package txn_test

import (
	"context"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/mmapfile"
	"github.com/sharekv/sharekv/txn"
)

// memory is a storage that flushes nothing.
type memory struct {
	bytes []byte
	size  int64
}

func (m *memory) View(size int64) ([]byte, error) {
	if size > m.size {
		return nil, errors.Wrapf(mmapfile.ErrTruncated, "%d bytes", m.size)
	}
	return m.bytes[:size:size], nil
}

func (m *memory) Store(off int64, bufs [][]byte) error {
	for _, b := range bufs {
		off += int64(copy(m.bytes[off:], b))
	}
	return nil
}

func (m *memory) Flush() error { return nil }

func (m *memory) Grow(size int64) error {
	if size > int64(len(m.bytes)) {
		return mmapfile.ErrNoSpace
	}
	m.size = max(m.size, size)
	return nil
}

// twoProcesses opens a new store in memory twice.
func twoProcesses(b *testing.B, capacity int) [2]process {
	b.Helper()
	content, err := txn.Format(4096, [16]byte{1})
	if err != nil {
		b.Fatal(err)
	}
	m := &memory{bytes: make([]byte, capacity), size: int64(len(content))}
	copy(m.bytes, content)
	area := newArea()
	var p [2]process
	for i := range p {
		p[i].area, err = area.Open(func(a *mmapfile.Area, first bool) error {
			p[i].store, err = txn.Open(a, first, m, txn.Options{})
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(p[i].die)
	}
	return p
}

func (p process) do(b *testing.B, fn func(*txn.Writer) error) {
	w, err := p.store.Write(context.Background())
	if err == nil {
		err = w.Start()
	}
	if err == nil {
		err = fn(w)
	}
	if err == nil {
		err = w.Commit()
	}
	if err != nil {
		b.Fatalf("%+v", err)
	}
}

// The cost of a commit of one key, nothing flushed, must not depend on how many
// free extents there are, nor on who wrote last. Compare p50-ns.
func BenchmarkOneKeyCommit(b *testing.B) {
	for _, c := range []struct {
		name    string
		extents int
		writers int
	}{
		{"no free extents", 0, 1},
		{"no free extents, taking turns", 0, 2},
		{"100000 free extents", 100_000, 1},
		{"100000 free extents, taking turns", 100_000, 2},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := twoProcesses(b, 2<<30)
			key := func(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)*0x9e3779b97f4a7c15) }
			value := make([]byte, 100)
			for from := 0; from < 100_000; from += 1000 {
				p[0].do(b, func(w *txn.Writer) (err error) {
					for i := from; i < from+1000 && err == nil; i++ {
						err = w.Main.Put(key(i), value)
					}
					return err
				})
			}
			scatter(b, p[0], c.extents)
			stats, err := p[0].store.Stats()
			if err != nil {
				b.Fatal(err)
			}
			var times []time.Duration
			i := 0
			for b.Loop() {
				begin := time.Now()
				p[i%c.writers].do(b, func(w *txn.Writer) error { return w.Main.Put(key(i%100_000), value) })
				times = append(times, time.Since(begin))
				i++
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Nanoseconds()), "p50-ns")
			b.ReportMetric(float64(stats.Extents), "extents")
		})
	}
}

// scatter makes n free extents of one page: runs side by side, every other of
// which is deleted.
func scatter(b *testing.B, p process, n int) {
	run := make([]byte, 3000)
	name := func(i int) []byte { return binary.BigEndian.AppendUint32([]byte("run"), uint32(i)) }
	for from := 0; from < 2*n; from += 1000 {
		p.do(b, func(w *txn.Writer) (err error) {
			for i := from; i < from+1000 && err == nil; i++ {
				err = w.Main.Put(name(i), run)
			}
			return err
		})
	}
	for from := 0; from < 2*n; from += 1000 {
		p.do(b, func(w *txn.Writer) (err error) {
			for i := from; i < from+1000 && err == nil; i += 2 {
				_, err = w.Main.Delete(name(i))
			}
			return err
		})
	}
	for range min(n, 2000) { // until all that was retired has been looked at
		p.do(b, func(w *txn.Writer) error { return w.Main.Put([]byte("one"), nil) })
	}
}

func BenchmarkReadTransaction(b *testing.B) {
	p := twoProcesses(b, 1<<20)
	b.ReportAllocs()
	for b.Loop() {
		r, err := p[0].store.Read()
		if err != nil {
			b.Fatal(err)
		}
		r.End()
	}
}

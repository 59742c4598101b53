package txn_test

import (
	"context"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/sharekv/sharekv/txn"
)

// twoProcesses opens a new store in memory twice.
func twoProcesses(b *testing.B, capacity int) [2]process {
	b.Helper()
	m, area := newMemory(b, capacity), newArea()
	var p [2]process
	for i := range p {
		var err error
		if p[i], err = openMemory(area, m); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(p[i].die)
	}
	return p
}

func (p process) do(b *testing.B, fn func(*txn.Writer) error) {
	w, err := p.store.Write(context.Background())
	if err == nil {
		err = w.Start(true)
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
			p := twoProcesses(b, 1<<30)
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

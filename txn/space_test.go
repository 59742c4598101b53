package txn_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"pgregory.net/rapid"

	"github.com/sharekv/sharekv/internal/crashsim"
	"github.com/sharekv/sharekv/txn"
)

// held is a reader that goes on reading, and what it must see to its end.
type held struct {
	txn.Reader
	content map[string]string
}

func (h *held) verify() error {
	c := h.Snapshot.Cursor(h.Main.Ref)
	n := 0
	for ok := c.First(); ok; ok = c.Next() {
		v, _, err := c.Value()
		if err != nil {
			return err
		}
		if want, ok := h.content[string(c.Key())]; !ok || want != string(v) {
			return errors.Newf("reader of %v sees %q = %.20q", h.Snapshot.TxID, c.Key(), v)
		}
		n++
	}
	if c.Err() == nil && n != len(h.content) {
		return errors.Newf("reader of %v sees %d of %d keys", h.Snapshot.TxID, n, len(h.content))
	}
	return c.Err()
}

// Whatever writers do, in several processes that die and come back, each reader
// sees its snapshot to the end, and each page has exactly one use.
func TestReadersKeepTheirSnapshotWhilePagesAreReused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		content, err := txn.Format(4096, [16]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		disk := crashsim.New(content, capacity)
		area := newArea()
		var processes []process
		var options txn.Options
		if rapid.Bool().Draw(t, "async") {
			options.Async = time.Hour
		}
		join := func() {
			p, err := open(area, disk, options)
			if err != nil {
				t.Fatalf("%+v", err)
			}
			processes = append(processes, p)
		}
		join()
		join()
		type reading struct {
			held
			by int // process
		}
		var readers []*reading
		model := map[string]string{}
		key := rapid.Map(rapid.IntRange(0, 300), func(i int) string { return fmt.Sprintf("key %d", i*i) })
		for step := range rapid.IntRange(1, 60).Draw(t, "steps") {
			who := rapid.IntRange(0, len(processes)-1).Draw(t, "process")
			p := processes[who]
			switch rapid.IntRange(0, 9).Draw(t, "action") {
			case 0, 1: // a reader begins
				r, err := p.store.Read()
				if err != nil {
					t.Fatalf("%+v", err)
				}
				readers = append(readers, &reading{held{r, maps.Clone(model)}, who})
			case 2: // a reader ends
				if len(readers) > 0 {
					i := rapid.IntRange(0, len(readers)-1).Draw(t, "reader")
					if err := readers[i].verify(); err != nil {
						t.Fatal(err)
					}
					readers[i].End()
					readers = slices.Delete(readers, i, i+1)
				}
			case 4: // all that was committed becomes durable
				if err := p.store.Sync(context.Background()); err != nil {
					t.Fatalf("%+v", err)
				}
			case 3: // a process dies, with its readers, and another comes
				p.die()
				readers = slices.DeleteFunc(readers, func(r *reading) bool { return r.by == who })
				processes = slices.Delete(processes, who, who+1)
				for _, r := range readers {
					if r.by > who {
						r.by--
					}
				}
				join()
			default:
				w, err := p.store.Write(context.Background())
				if err != nil && w == nil {
					t.Fatalf("%+v", err)
				}
				if err := w.Start(true); err != nil {
					t.Fatalf("%+v", err)
				}
				next := maps.Clone(model)
				for range rapid.IntRange(1, 80).Draw(t, "changes") {
					k := key.Draw(t, "key")
					if rapid.IntRange(0, 2).Draw(t, "delete") == 0 {
						delete(next, k)
						_, err = w.Main.Delete([]byte(k))
					} else {
						next[k] = fmt.Sprintf("%0*d", rapid.SampledFrom([]int{1, 30, 700, 9000}).Draw(t, "size"), step)
						err = w.Main.Put([]byte(k), []byte(next[k]))
					}
					if err != nil {
						t.Fatalf("%+v", err)
					}
				}
				if rapid.IntRange(0, 5).Draw(t, "rollback") == 0 {
					w.Rollback()
					break
				}
				if err := w.Commit(); err != nil {
					t.Fatalf("%+v", err)
				}
				model = next
			}
			for _, r := range readers {
				if err := r.verify(); err != nil {
					t.Fatal(err)
				}
			}
			r, err := processes[0].store.Read()
			if err != nil {
				t.Fatalf("%+v", err)
			}
			if _, err := r.Check(func(int) error { return nil }); err != nil {
				t.Fatalf("%+v", err)
			}
			if err := (&held{r, model}).verify(); err != nil {
				t.Fatal(err)
			}
			r.End()
		}
	})
}

// overwrite puts each of n keys anew, in transactions of 100.
func overwrite(t testing.TB, p process, n, round int) {
	t.Helper()
	value := make([]byte, 100)
	for from := 0; from < n; from += 100 {
		w, err := p.store.Write(context.Background())
		if err != nil {
			t.Fatalf("%+v", err)
		}
		if err := w.Start(true); err != nil {
			t.Fatalf("%+v", err)
		}
		for i := from; i < from+100; i++ {
			// Keys in an order that has nothing to do with theirs.
			k := binary.BigEndian.AppendUint64(nil, uint64(i*7919%n)*0x9e3779b97f4a7c15)
			binary.BigEndian.PutUint64(value, uint64(round))
			if err := w.Main.Put(k, value); err != nil {
				t.Fatalf("%+v", err)
			}
		}
		if err := w.Commit(); err != nil {
			t.Fatalf("%+v", err)
		}
	}
}

func TestLongReaderCostsItsOwnSnapshotAndNoMore(t *testing.T) {
	n := 20_000
	if os.Getenv("SHAREKV_TEST") == "ci" {
		n = 100_000
	}
	content, err := txn.Format(4096, [16]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	p, err := open(newArea(), crashsim.New(content, 4096*n/8))
	if err != nil {
		t.Fatal(err)
	}
	defer p.die()
	overwrite(t, p, n, 0)
	stats := func() txn.Stats {
		s, err := p.store.Stats()
		if err != nil {
			t.Fatalf("%+v", err)
		}
		return s
	}
	before := stats()
	r, err := p.store.Read()
	if err != nil {
		t.Fatal(err)
	}
	for round := range 20 {
		overwrite(t, p, n, round+1)
	}
	after := stats()
	ratio := float64(after.Pages) / float64(before.Pages)
	t.Logf("%d keys: %d pages before, %d after 20 rounds with a reader: %.2f times", n, before.Pages, after.Pages, ratio)
	if ratio > 2.3 {
		t.Errorf("the store has %.2f times the pages", ratio)
	}
	if _, err := r.Check(func(int) error { return nil }); err != nil {
		t.Errorf("%+v", err)
	}
	r.End()

	// With the reader gone, what it kept is used before the store grows.
	overwrite(t, p, n, 21)
	overwrite(t, p, n, 22)
	last := stats()
	if last.Pages > after.Pages {
		t.Errorf("%d pages after the reader has gone, %d before", last.Pages, after.Pages)
	}
	if last.Retired > 2*before.Retired {
		t.Errorf("%d pages are still retired after the reader has gone, %d were before it came", last.Retired, before.Retired)
	}
}

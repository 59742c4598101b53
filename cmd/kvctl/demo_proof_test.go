package main

import (
	"strings"
	"testing"

	"github.com/sharekv/sharekv/store"
)

func TestWitnessRefusesWhatIsInconsistent(t *testing.T) {
	snap := func(rev revision, records, counters [2]int) snapshot {
		return snapshot{rev, records[:], counters[:]}
	}
	good := snap(7, [2]int{32, 16}, [2]int{32, 16})
	for _, c := range []struct {
		name string
		then snapshot
		want string
	}{
		{"the same again", good, ""},
		{"a later one", snap(8, [2]int{32, 32}, [2]int{32, 32}), ""},
		{"a later one with nothing new", snap(9, [2]int{32, 16}, [2]int{32, 16}), ""},
		{"a record too few", snap(8, [2]int{47, 16}, [2]int{48, 16}), "revision 0.8 is inconsistent"},
		{"a record too many", snap(8, [2]int{32, 17}, [2]int{32, 16}), "revision 0.8 is inconsistent"},
		{"right only in total", snap(8, [2]int{33, 15}, [2]int{32, 16}), "revision 0.8 is inconsistent"},
		{"an older revision", snap(6, [2]int{32, 16}, [2]int{32, 16}), "revision 0.6 came after"},
		{"lost records", snap(8, [2]int{16, 32}, [2]int{16, 32}), "but revision 0.7 held 32"},
		{"one revision, two contents", snap(7, [2]int{48, 16}, [2]int{48, 16}), "revision 0.7 had"},
	} {
		var w witness
		if err := w.see(good); err != nil {
			t.Fatal(err)
		}
		err := w.see(c.then)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

func TestAcknowledgedRecordsMustBeThereAndNoOthers(t *testing.T) {
	for _, c := range []struct {
		name              string
		records, counters []int
		want              string
	}{
		{"what was acknowledged", []int{32, 48}, []int{32, 48}, ""},
		{"the living went on", []int{32, 64}, []int{32, 64}, ""},
		{"lost by the dead", []int{16, 48}, []int{16, 48}, "32 records of writer 1 were acknowledged"},
		{"lost by the living", []int{32, 32}, []int{32, 32}, "48 records of writer 2 were acknowledged"},
		{"half a transaction", []int{40, 48}, []int{32, 48}, "is inconsistent"},
		{"a transaction nobody committed", []int{48, 48}, []int{48, 48}, "writer 1 committed 32 records"},
	} {
		err := proveAcknowledged(snapshot{7, c.records, c.counters}, []int{32, 48}, 0)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

// TestSnapshotFindsWrongRecords spoils a store in each way that the demo is to
// notice.
func TestSnapshotFindsWrongRecords(t *testing.T) {
	const writers = 2
	records := demoRecords(writers)[:64]
	for _, c := range []struct {
		name  string
		spoil func(tx *store.Tx) error
		want  string
	}{
		{"nothing", func(*store.Tx) error { return nil }, ""},
		{"a wrong byte", func(tx *store.Tx) error {
			return tx.Put([]byte(records[5].key), []byte(records[5].value+"!"))
		}, "but \"" + records[5].value},
		{"a stranger", func(tx *store.Tx) error {
			return tx.Put([]byte("U+0000 "), nil)
		}, `holds the key "U+0000 ", which nobody wrote`},
		{"a counter that lies", func(tx *store.Tx) error {
			return tx.Put(counterKey(0), []byte("31"))
		}, "is inconsistent: 32 records of writer 1, whose counter says 31"},
		{"no number", func(tx *store.Tx) error {
			return tx.Put(counterKey(0), []byte("many"))
		}, "counter of writer 1"},
	} {
		db, err := store.Open(tempStore(t), &store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *store.Tx) error {
			for w := range writers {
				b := batches{writer: w, own: recordsOf(w, records), size: len(records)}
				if _, err := b.add(tx); err != nil {
					return err
				}
			}
			return c.spoil(tx)
		})
		if err != nil {
			t.Fatal(err)
		}
		err = proveComplete(db, records, writers)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestDemoIsNotContentWithLess stops a writer before its last record.
func TestDemoIsNotContentWithLess(t *testing.T) {
	records := demoRecords(1)[:64]
	db, err := store.Open(tempStore(t), &store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *store.Tx) error {
		b := batches{own: records, size: 63}
		_, err := b.add(tx)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := proveComplete(db, records, 1); err == nil || err.Error() != "63 of 64 records arrived" {
		t.Errorf("error %v", err)
	}
}

// TestRestartedWriterGoesOn adds all records in batches of an odd size, as a
// writer does that was killed and started again.
func TestRestartedWriterGoesOn(t *testing.T) {
	records := demoRecords(2)[:64]
	b := batches{writer: 1, own: recordsOf(1, records), size: 7}
	db, err := store.Open(tempStore(t), &store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for added, n := 0, 1; n > 0; added += n {
		err := db.Update(func(tx *store.Tx) error {
			n, err = b.add(tx)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		err = db.View(func(tx *store.Tx) error {
			s, err := takeSnapshot(tx, records, 2)
			if err == nil && (s.records[1] != added+n || s.counters[1] != added+n) {
				t.Errorf("after %d records: %+v", added+n, s)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestDeadWorkerFailsTheDemo(t *testing.T) {
	t.Setenv(roleVariable, "kvctl")
	c := crew{path: tempStore(t), writers: 1, batch: 1} // no store there
	w, err := c.start(t.Context(), "writer 1", "writer", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.wait(); err == nil || !strings.Contains(err.Error(), "writer 1 (pid") {
		t.Errorf("error %v", err)
	}
}

package txn_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
	"github.com/sharekv/sharekv/internal/crashsim"
	"github.com/sharekv/sharekv/txn"
)

// tiny is a budget of three pages: nearly every change stores some.
var tiny = txn.Options{Budget: 3 * 4096}

// op is one change. An empty value stands for a key to be deleted.
type op struct{ key, value string }

func (o op) apply(w *txn.Writer) error {
	err := w.Start(true)
	if err != nil {
		return err
	}
	if o.value == "" {
		_, err = w.Main.Delete([]byte(o.key))
	} else {
		err = w.Main.Put([]byte(o.key), []byte(o.value))
	}
	if err != nil {
		return w.Fail(err)
	}
	return w.Spill()
}

// rewriting is the write transaction number n: it changes the same few pages again
// and again, with runs in between.
var rewriting = kept(func(n int) (ops []op) {
	rng := rand.New(rand.NewPCG(uint64(n), 2))
	ops = append(ops, op{"n", strconv.Itoa(n)})
	for i := range 30 + rng.IntN(60) {
		size := 1 + rng.IntN(500)
		switch rng.IntN(12) {
		case 0:
			size = 2000 + rng.IntN(8000)
		case 1, 2, 3:
			size = 0
		}
		value := ""
		if size > 0 {
			value = fmt.Sprintf("%0*d", size, n*1000+i)
		}
		ops = append(ops, op{fmt.Sprint("key", rng.IntN(60)), value})
	}
	return ops
})

func rewrite(p process, n int) error {
	w, err := p.store.Write(context.Background())
	if err != nil {
		return err
	}
	defer w.Rollback()
	for _, o := range rewriting(n) {
		if err := o.apply(w); err != nil {
			return err
		}
	}
	return w.Commit()
}

// afterRewriting returns what the store holds after n commits. It is not to be changed.
var afterRewriting = remembered(rewriting)

func newSpilling(t *testing.T) *simulation {
	s := newSimulation(t)
	s.options, s.update, s.after = tiny, rewrite, afterRewriting
	return s
}

// rounds returns how many large transactions a test makes.
func rounds() int {
	switch {
	case testing.Short():
		return 2
	case os.Getenv("SHAREKV_TEST") == "ci":
		return 8
	}
	return 3
}

func TestPowerCutWhileALargeTransactionStoresPagesTakesNothingBack(t *testing.T) {
	s := newSpilling(t)
	disk := newDisk(t)
	acked, stores := 0, 0
	disk.Done = func(name string) {
		if name == "store" {
			stores++
		}
		s.each(disk, func(image []byte) { s.recovers(image, acked, 0) })
	}
	p, err := open(newArea(), disk, tiny)
	if err != nil {
		t.Fatal(err)
	}
	defer p.die()
	for n := 1; n <= rounds(); n++ {
		if err := rewrite(p, n); err != nil {
			t.Fatalf("%+v", err)
		}
		acked = n
	}
	t.Logf("%d stores", stores)
	if stores < 20*rounds() {
		t.Errorf("only %d stores: pages were kept in memory", stores)
	}
}

// A writer dies at any point of a large transaction, another process goes on, and
// then power fails.
func TestDeathInALargeTransactionLeavesFreePagesOnly(t *testing.T) {
	s := newSpilling(t)
	step := 1
	if os.Getenv("SHAREKV_TEST") != "ci" {
		step = 7
	}
	for stop := 1 + s.rng.IntN(step); ; stop += step {
		disk := newDisk(t)
		area := newArea()
		var crew [2]process
		for i := range crew {
			var err error
			if crew[i], err = open(area, disk, tiny); err != nil {
				t.Fatal(err)
			}
		}
		first, second := crew[0], crew[1]
		if err := rewrite(first, 1); err != nil {
			t.Fatal(err)
		}
		r, err := second.store.Read()
		if err != nil {
			t.Fatal(err)
		}
		reader := held{r, afterRewriting(1)}
		if !dies(first, disk, stop) {
			break
		}
		disk.Done = nil
		first.die()
		content, err := second.content()
		if err != nil {
			t.Fatalf("%+v", err)
		}
		n, _ := strconv.Atoi(content["n"])
		if !maps.Equal(content, afterRewriting(n)) {
			t.Fatalf("content after the death at operation %d is not that of %d commits", stop, n)
		}
		for range 2 {
			s.each(disk, func(image []byte) { s.recovers(image, n, 0) })
			n++
			if err := rewrite(second, n); err != nil {
				t.Fatalf("writer after the death at operation %d: %+v", stop, err)
			}
			if err := reader.verify(); err != nil {
				t.Fatalf("after the death at operation %d: %+v", stop, err)
			}
		}
		reader.End()
		second.die()
	}
}

// dies makes transaction 2, in which p stops for ever behind the given operation: nothing
// is put right, nothing is unlocked. It reports whether there was one.
func dies(p process, disk *crashsim.Disk, stop int) (died bool) {
	end := make(chan error, 1)
	ended := errors.New("died here")
	ops := 0
	disk.Done = func(string) {
		if ops++; ops == stop {
			end <- ended
			select {}
		}
	}
	go func() { end <- rewrite(p, 2) }()
	err := <-end
	if err != nil && err != ended {
		panic(err)
	}
	return err == ended
}

func TestAbortedLargeTransactionsLeaveNoTraceAndUseNoSpace(t *testing.T) {
	s := newSpilling(t)
	p, err := open(newArea(), newDisk(t), tiny)
	if err != nil {
		t.Fatal(err)
	}
	defer p.die()
	if err := rewrite(p, 1); err != nil {
		t.Fatal(err)
	}
	before, err := p.store.Stats()
	if err != nil {
		t.Fatal(err)
	}
	ops := rewriting(2)
	for i := range 10 * rounds() {
		w, err := p.store.Write(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range ops[:s.rng.IntN(len(ops))] {
			if err := o.apply(w); err != nil {
				t.Fatalf("%+v", err)
			}
		}
		w.Rollback()
		if err := (op{"k", "v"}).apply(w); !errors.Is(err, txn.ErrTxDone) {
			t.Fatalf("a change after Rollback: %v", err)
		}
		content, err := p.content()
		if err != nil || !maps.Equal(content, afterRewriting(1)) {
			t.Fatalf("abort %d shows: %+v", i, err)
		}
	}
	after, err := p.store.Stats()
	if err != nil {
		t.Fatal(err)
	}
	before.Grown = after.Grown // the file keeps what it was given
	if after != before {
		t.Errorf("aborts changed %+v to %+v", before, after)
	}
	if err := rewrite(p, 2); err != nil {
		t.Fatalf("%+v", err)
	}
	if content, err := p.content(); err != nil || !maps.Equal(content, afterRewriting(2)) {
		t.Errorf("a commit after aborts: %+v", err)
	}
}

// Readers of several processes come and go while pages are stored, and the
// transaction reads back what it has stored itself.
func TestReadersAndTheWriterSeeTheirOwnWhilePagesAreStored(t *testing.T) {
	s := newSpilling(t)
	disk, area := newDisk(t), newArea()
	var crew []process
	for range 3 {
		p, err := open(area, disk, tiny)
		if err != nil {
			t.Fatal(err)
		}
		defer p.die()
		crew = append(crew, p)
	}
	var readers []held
	look := func() {
		for i := range readers {
			if err := readers[i].verify(); err != nil {
				t.Fatalf("%+v", err)
			}
		}
	}
	for n := 1; n <= 10*rounds(); {
		r, err := crew[s.rng.IntN(len(crew))].store.Read()
		if err != nil {
			t.Fatal(err)
		}
		readers = append(readers, held{r, afterRewriting(n - 1)})
		if len(readers) > 4 {
			i := s.rng.IntN(len(readers))
			readers[i].End()
			readers = append(readers[:i], readers[i+1:]...)
		}
		w, err := crew[s.rng.IntN(len(crew))].store.Write(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		own := maps.Clone(afterRewriting(n - 1))
		for _, o := range rewriting(n) {
			if err := o.apply(w); err != nil {
				t.Fatalf("%+v", err)
			}
			if own[o.key] = o.value; o.value == "" {
				delete(own, o.key)
			}
			if s.rng.IntN(10) == 0 {
				look()
				if err := sees(w, own); err != nil {
					t.Fatalf("transaction %d: %+v", n, err)
				}
			}
		}
		if s.rng.IntN(3) == 0 {
			w.Rollback()
			continue
		}
		if err := w.Commit(); err != nil {
			t.Fatalf("%+v", err)
		}
		look()
		if _, err := crew[0].content(); err != nil {
			t.Fatalf("%+v", err)
		}
		n++
	}
	for i := range readers {
		readers[i].End()
	}
}

// sees compares what the transaction sees with content.
func sees(w *txn.Writer, content map[string]string) error {
	n := 0
	c := w.Main.Cursor()
	for ok := c.First(); ok; ok = c.Next() {
		v, _, err := c.Value()
		if err != nil {
			return err
		}
		if want, ok := content[string(c.Key())]; !ok || want != string(v) {
			return errors.Newf("it sees %q = %.20q", c.Key(), v)
		}
		n++
	}
	if c.Err() == nil && n != len(content) {
		return errors.Newf("it sees %d of %d keys", n, len(content))
	}
	return c.Err()
}

// Whatever fails while pages are stored, the transaction cannot be committed then,
// and nothing else is harmed.
func TestFailureWhilePagesAreStoredEndsThatTransactionOnly(t *testing.T) {
	s := newSpilling(t)
	broken := errors.New("input/output error")
	seen := map[string]int{}
	for fail := 1; ; fail++ {
		disk, area := newDisk(t), newArea()
		p, err := open(area, disk, tiny)
		if err != nil {
			t.Fatal(err)
		}
		other, err := open(area, disk, tiny)
		if err != nil {
			t.Fatal(err)
		}
		if err := rewrite(p, 1); err != nil {
			t.Fatal(err)
		}
		ops, failed := 0, ""
		disk.Op = func(name string) error {
			if ops++; ops == fail {
				failed = name
				return broken
			}
			return nil
		}
		err = stubborn(t, p, 2)
		disk.Op = nil
		if failed == "" {
			break
		}
		n := 1
		switch {
		case err == nil:
			t.Fatalf("operation %d, %s, failed and nobody noticed", fail, failed)
		case errors.Is(err, txn.ErrFlushFailed):
			seen["flush failed"]++
			if err := rewrite(other, 2); !errors.Is(err, txn.ErrFlushFailed) {
				t.Fatalf("a commit after a failed flush: %v", err)
			}
		case !errors.Is(err, broken) || strings.HasPrefix(failed, "flush"):
			t.Fatalf("operation %d, %s: %+v", fail, failed, err)
		default:
			seen[failed]++
			if err := rewrite(other, 2); err != nil {
				t.Fatalf("operation %d, %s, and then: %+v", fail, failed, err)
			}
			n = 2
			s.each(disk, func(image []byte) { s.recovers(image, n, 0) })
		}
		for _, q := range []process{p, other} {
			if content, err := q.content(); err != nil || !maps.Equal(content, afterRewriting(n)) {
				t.Fatalf("operation %d, %s: content is not that of %d commits, %+v", fail, failed, n, err)
			}
			q.die()
		}
	}
	t.Logf("failures: %v", seen)
	if seen["store"] < 10 || seen["grow"] == 0 || seen["flush failed"] == 0 {
		t.Errorf("the failures are not those that were meant: %v", seen)
	}
}

// stubborn makes transaction n and returns its first error, after it has seen that
// nothing else is possible in it then.
func stubborn(t *testing.T, p process, n int) error {
	t.Helper()
	w, err := p.store.Write(context.Background())
	if err != nil {
		return err
	}
	defer w.Rollback()
	for _, o := range rewriting(n) {
		if err := o.apply(w); err != nil {
			if again := (op{"k", "v"}).apply(w); again != err {
				t.Errorf("a change after %v: %v", err, again)
			}
			if w.Err() != err {
				t.Errorf("Err after %v: %v", err, w.Err())
			}
			if e := w.Commit(); e != err {
				t.Errorf("Commit after %v: %v", err, e)
			}
			return err
		}
	}
	return w.Commit()
}

func TestDamageOfPagesThatWereStoredEarlyIsNoticed(t *testing.T) {
	disk := newDisk(t)
	p, err := open(newArea(), disk, tiny)
	if err != nil {
		t.Fatal(err)
	}
	defer p.die()
	w, err := p.store.Write(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Rollback()
	for i := range 200 {
		if err := (op{fmt.Sprint("key", i), strings.Repeat("v", 300)}).apply(w); err != nil {
			t.Fatalf("%+v", err)
		}
	}
	// Somebody else's bytes come to the pages that are not in memory.
	damage(t, disk)
	if err := sees(w, nil); !errors.Is(err, index.ErrCorrupt) {
		t.Errorf("reading them: %v", err)
	}
	for i := 0; i < 200 && err == nil; i++ {
		err = (op{fmt.Sprint("key", i), "new"}).apply(w)
	}
	if !errors.Is(err, index.ErrCorrupt) {
		t.Errorf("a transaction whose pages were damaged: %v", err)
	}
	if err := w.Commit(); err == nil {
		t.Error("it was committed")
	}
}

// damage makes zeros of all pages but the meta pages.
func damage(t *testing.T, disk *crashsim.Disk) {
	t.Helper()
	view, err := disk.View(0)
	for size := int64(2 * 4096); err == nil; size += 4096 {
		view, err = disk.View(size)
		if err == nil && size > 2*4096 {
			clear(view[size-4096:])
		}
	}
}

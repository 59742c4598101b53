package txn_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/crashsim"
	"github.com/sharekv/sharekv/mmapfile"
	"github.com/sharekv/sharekv/txn"
)

const capacity = 8 << 20

// process is one handle on a store on a simulated disk.
type process struct {
	area  *mmapfile.Area
	store *txn.Store
}

// newArea returns the shared memory of processes that are yet to come. It is on
// the heap, where the race detector sees it.
func newArea() *mmapfile.HeapArea {
	return mmapfile.NewHeapArea(&mmapfile.AreaOptions{Size: txn.AreaSize, Members: txn.MaxMembers})
}

// open opens the store on disk as one more process, with the last of the options.
func open(area *mmapfile.HeapArea, disk *crashsim.Disk, options ...txn.Options) (p process, err error) {
	var o txn.Options
	for _, o = range options {
	}
	p.area, err = area.Open(func(a *mmapfile.Area, first bool) error {
		p.store, err = txn.Open(a, first, disk, o)
		return err
	})
	return p, err
}

// die ends the process as a kill does.
func (p process) die() { p.area.Kill() }

// close ends the process as it should.
func (p process) close(disk *crashsim.Disk) error {
	p.store.Leave()
	return p.area.Close(func() error { return p.store.Finish(disk) })
}

func (p process) content() (map[string]string, error) {
	r, err := p.store.Read()
	if err != nil {
		return nil, err
	}
	defer r.End()
	content := map[string]string{}
	c := r.Snapshot.Cursor(r.Main.Ref)
	for ok := c.First(); ok; ok = c.Next() {
		v, _, err := c.Value()
		if err != nil {
			return nil, err
		}
		content[string(c.Key())] = string(v)
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	_, err = r.Check(func(int) error { return nil })
	return content, err
}

// change is the write transaction number n: what it puts follows from n. An empty
// value stands for a key to be deleted.
var change = kept(func(n int) map[string]string {
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	puts := map[string]string{"n": strconv.Itoa(n)}
	for range 1 + rng.IntN(20) {
		size := 1 + rng.IntN(50)
		switch rng.IntN(15) {
		case 0:
			size = rng.IntN(10_000)
		case 1, 2, 3:
			size = 0
		}
		value := ""
		if size > 0 {
			value = fmt.Sprintf("%0*d", size, n)
		}
		puts[fmt.Sprint("key", rng.IntN(100))] = value
	}
	return puts
})

// apply makes change n in a transaction that has started.
func apply(w *txn.Writer, n int) error {
	puts := change(n)
	for _, k := range slices.Sorted(maps.Keys(puts)) {
		var err error
		if puts[k] == "" {
			_, err = w.Main.Delete([]byte(k))
		} else {
			err = w.Main.Put([]byte(k), []byte(puts[k]))
		}
		if err != nil {
			return w.Fail(err)
		}
	}
	return nil
}

func (p process) update(n int) error {
	w, err := p.store.Write(context.Background())
	if err != nil {
		return err
	}
	defer w.Rollback()
	if err := w.Start(true); err != nil {
		return err
	}
	if err := apply(w, n); err != nil {
		return err
	}
	return w.Commit()
}

// after returns what the store holds after the first n transactions. It is not to be
// changed.
var after = remembered(func(n int) (ops []op) {
	for k, v := range change(n) {
		ops = append(ops, op{k, v})
	}
	return ops
})

func newDisk(t testing.TB) *crashsim.Disk {
	t.Helper()
	content, err := txn.Format(4096, [16]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	return crashsim.New(content, capacity)
}

// simulation opens what power cuts leave, and checks it.
type simulation struct {
	*testing.T
	rng     *rand.Rand
	area    *mmapfile.HeapArea // for images in which power is not cut again
	options txn.Options
	update  func(p process, n int) error  // makes the write transaction number n
	after   func(n int) map[string]string // returns what the store holds then
}

// images per crash point: one that keeps nothing, one that keeps all, and some.
func (s *simulation) each(disk *crashsim.Disk, check func(image []byte)) {
	cut := disk.Cut()
	for _, keep := range []crashsim.Keep{crashsim.None, crashsim.All, crashsim.Some, crashsim.Some} {
		images.Add(1)
		image := cut.Random(keep, s.rng)
		check(image)
		crashsim.Recycle(image)
	}
}

// recovers checks that a store opens from image with the content after acked
// transactions, or after the one that was under way as well, and goes on from
// there. Depth counts how many more power cuts happen meanwhile.
func (s *simulation) recovers(image []byte, acked, depth int) {
	disk, area := crashsim.New(image, capacity), s.area
	defer disk.Release()
	if depth > 0 {
		area = newArea()
		disk.Done = func(string) {
			s.each(disk, func(image []byte) { s.recovers(image, acked, depth-1) })
		}
	}
	p, err := open(area, disk, s.options)
	if err != nil {
		s.Fatalf("open after %d commits: %+v", acked, err)
	}
	defer p.die()
	content, err := p.content()
	if err != nil {
		s.Fatalf("read after %d commits: %+v", acked, err)
	}
	n, _ := strconv.Atoi(content["n"])
	if n != acked && n != acked+1 {
		s.Fatalf("%d commits were acknowledged, the store has %d", acked, n)
	}
	if !maps.Equal(content, s.after(n)) {
		s.Fatalf("content is not that of %d commits", n)
	}
	disk.Done = nil
	for range 2 {
		n++
		if err := s.update(p, n); err != nil {
			s.Fatalf("commit %d after recovery: %+v", n, err)
		}
	}
	if content, err := p.content(); err != nil || !maps.Equal(content, s.after(n)) {
		s.Fatalf("content after recovery and %d commits: %v", n, err)
	}
}

func newSimulation(t *testing.T) *simulation {
	seed := rand.Uint64()
	if s := os.Getenv("SHAREKV_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SHAREKV_SEED=%d", seed)
	counted(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	return &simulation{T: t, rng: rng, area: newArea(), update: process.update, after: after}
}

func commits() int { return max(4, times(12, 120)) }

func TestStoreOpensAtTheLastCommitAfterAPowerCutAnywhere(t *testing.T) {
	s := newSimulation(t)
	disk := newDisk(t)
	acked := 0
	disk.Done = func(string) {
		s.each(disk, func(image []byte) { s.recovers(image, acked, 1) })
	}
	p, err := open(newArea(), disk)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= commits(); n++ {
		if err := p.update(n); err != nil {
			t.Fatalf("%+v", err)
		}
		acked = n
		if n%5 == 0 { // close and open again, in power cuts too
			if err := p.close(disk); err != nil {
				t.Fatal(err)
			}
			if p, err = open(newArea(), disk); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.die()
}

// All processes may die at any point, while they close the store too, and the
// system goes on: nothing is lost then, and nothing that was seen is taken back by
// a power cut while the next process works.
func TestStoreOpensAfterAllProcessesDiedAndThenPowerFails(t *testing.T) {
	s := newSimulation(t)
	disk := newDisk(t)
	acked := 0
	disk.Done = func(string) {
		// The same disk, seen by the next process: nothing more is durable.
		next := disk.Clone()
		p, err := open(newArea(), next)
		if err != nil {
			t.Fatalf("%+v", err)
		}
		content, err := p.content()
		if err != nil {
			t.Fatalf("%+v", err)
		}
		seen, _ := strconv.Atoi(content["n"])
		if seen < acked {
			t.Fatalf("%d commits of %d after all died", seen, acked)
		}
		next.Done = func(string) {
			s.each(next, func(image []byte) { s.recovers(image, seen, 0) })
		}
		next.Done("")
		if err := p.update(seen + 1); err != nil {
			t.Fatalf("%+v", err)
		}
		p.die()
	}
	p, err := open(newArea(), disk)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= commits()/2; n++ {
		if err := p.update(n); err != nil {
			t.Fatalf("%+v", err)
		}
		acked = n
		if n%2 == 0 {
			if err := p.close(disk); err != nil {
				t.Fatal(err)
			}
			if p, err = open(newArea(), disk); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.die()
}

// A writer dies at any point, another process goes on with the store, and then
// power fails at any point.
func TestNextWriterOverwritesNothingThatADeadOneMayHaveMadeDurable(t *testing.T) {
	s := newSimulation(t)
	for stop := 1; ; stop++ {
		disk := newDisk(t)
		area := newArea()
		first, err := open(area, disk)
		if err != nil {
			t.Fatal(err)
		}
		second, err := open(area, disk)
		if err != nil {
			t.Fatal(err)
		}
		if err := first.update(1); err != nil {
			t.Fatal(err)
		}
		if !first.dieIn(disk, stop, 2) {
			break
		}
		acked := 1
		disk.Done = func(string) {
			s.each(disk, func(image []byte) { s.recovers(image, acked, 0) })
		}
		first.die()
		content, err := second.content()
		if err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.Atoi(content["n"])
		for range 3 {
			acked = n
			n++
			if err := second.update(n); err != nil {
				t.Fatalf("writer after the death at operation %d: %+v", stop, err)
			}
		}
		second.die()
	}
}

// The other meta page is there for the day on which the newer one turns out to be
// damaged: all pages of its snapshot are as they were.
func TestStoreOpensAtTheCommitBeforeIfTheNewestMetaPageIsDamaged(t *testing.T) {
	s := newSimulation(t)
	disk := newDisk(t)
	acked := 0
	fallbacks := 0
	disk.Done = func(string) {
		for _, keep := range []crashsim.Keep{crashsim.None, crashsim.All} {
			for slot := range 2 {
				image := disk.PowerCut(keep, s.rng)
				image[slot*4096+100] ^= 1
				images.Add(1)
				damaged := crashsim.New(image, capacity)
				p, err := open(s.area, damaged)
				if err != nil {
					t.Fatalf("meta page %d damaged after %d commits: %+v", slot, acked, err)
				}
				content, err := p.content()
				if err != nil {
					t.Fatalf("meta page %d damaged after %d commits: %+v", slot, acked, err)
				}
				n, _ := strconv.Atoi(content["n"])
				if n < acked-1 || n > acked+1 || !maps.Equal(content, after(n)) {
					t.Fatalf("meta page %d damaged after %d commits: content is not that of %d", slot, acked, n)
				}
				if n < acked {
					fallbacks++
				}
				p.die()
				damaged.Release()
				crashsim.Recycle(image)
			}
		}
	}
	p, err := open(newArea(), disk)
	if err != nil {
		t.Fatal(err)
	}
	defer p.die()
	for n := 1; n <= 3*commits(); n++ {
		if err := p.update(n); err != nil {
			t.Fatalf("%+v", err)
		}
		acked = n
	}
	if fallbacks == 0 {
		t.Error("no image fell back")
	}
}

// dieIn makes transaction n, in which the process dies behind the given operation. It
// reports whether there was one. As a killed process does, it stops in the middle:
// nothing is put right, nothing is unlocked.
func (p process) dieIn(disk *crashsim.Disk, stop, n int) (died bool) {
	end := make(chan bool)
	ops := 0
	disk.Done = func(string) {
		if ops++; ops == stop {
			end <- true
			select {}
		}
	}
	go func() {
		if err := p.update(n); err != nil {
			panic(err)
		}
		end <- false
	}()
	return <-end
}

func TestEveryFailingOperationIsAnErrorAndLosesNothing(t *testing.T) {
	s := newSimulation(t)
	broken := errors.New("input/output error")
	for fail := 1; ; fail++ {
		disk := newDisk(t)
		p, err := open(newArea(), disk)
		if err != nil {
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
		acked := 0
		for n := 1; n <= 4; n++ {
			before, err := p.content()
			if err != nil {
				t.Fatal(err)
			}
			err = p.update(acked + 1)
			switch {
			case err == nil:
				acked++
			case errors.Is(err, txn.ErrFlushFailed):
				if err := p.update(n); !errors.Is(err, txn.ErrFlushFailed) {
					t.Fatalf("a commit after a failed flush: %v", err)
				}
			case !errors.Is(err, broken):
				t.Fatalf("operation %d, %s: %+v", fail, failed, err)
			}
			if content, e := p.content(); e != nil || err != nil && !maps.Equal(content, before) {
				t.Fatalf("operation %d, %s: reading goes on with %d entries, %v", fail, failed, len(content), e)
			}
			s.each(disk, func(image []byte) { s.recovers(image, acked, 0) })
		}
		if strings.HasPrefix(failed, "flush") && acked == 4 {
			t.Errorf("%s %d failed and nobody noticed", failed, fail)
		}
		if failed == "" {
			break
		}
		p.die()
		// The next process sees what the system has in memory.
		p, err = open(newArea(), disk)
		if err != nil {
			t.Fatalf("open after operation %d, %s, had failed: %+v", fail, failed, err)
		}
		content, err := p.content()
		if err != nil {
			t.Fatalf("operation %d, %s: %+v", fail, failed, err)
		}
		n, _ := strconv.Atoi(content["n"])
		for range 2 {
			s.each(disk, func(image []byte) { s.recovers(image, n, 0) })
			n++
			if err := p.update(n); err != nil {
				t.Fatalf("operation %d, %s: commit after reopening: %+v", fail, failed, err)
			}
		}
		p.die()
	}
}

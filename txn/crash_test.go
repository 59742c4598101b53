package txn_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
	"github.com/sharekv/sharekv/internal/crashsim"
	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/mmapfile"
	"github.com/sharekv/sharekv/txn"
)

const capacity = 8 << 20

// process is one handle on a store on a simulated disk.
type process struct {
	area  *mmapfile.Area
	store *txn.Store
}

// open opens the store on disk in the area at path.
func open(t testing.TB, path string, disk *crashsim.Disk) (process, error) {
	t.Helper()
	var p process
	var err error
	o := mmapfile.AreaOptions{Size: txn.AreaSize, Members: 8}
	p.area, err = mmapfile.OpenArea(context.Background(), path, &o, func(a *mmapfile.Area, first bool) error {
		p.store, err = txn.Open(a, first, disk, txn.Options{})
		return err
	})
	return p, err
}

// leave ends the process as a kill does.
func (p process) leave() { p.area.Close(nil) }

func (p process) content() (map[string]string, error) {
	r, err := p.store.Read()
	if err != nil {
		return nil, err
	}
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
	_, err = r.Snapshot.Check(r.Main, func(index.Ref, int) error { return nil })
	return content, err
}

// change is the write transaction number n: what it puts follows from n.
func change(n int) map[string]string {
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	puts := map[string]string{"n": strconv.Itoa(n)}
	for range 1 + rng.IntN(20) {
		size := rng.IntN(50)
		if rng.IntN(15) == 0 {
			size = rng.IntN(10_000)
		}
		puts[fmt.Sprint("key", rng.IntN(100))] = fmt.Sprintf("%0*d", size, n)
	}
	return puts
}

func (p process) update(n int) error {
	w, err := p.store.Write(context.Background())
	if err != nil {
		return err
	}
	defer w.Rollback()
	if err := w.Start(); err != nil {
		return err
	}
	puts := change(n)
	for _, k := range slices.Sorted(maps.Keys(puts)) {
		if err := w.Main.Put([]byte(k), []byte(puts[k])); err != nil {
			return w.Fail(err)
		}
	}
	return w.Commit()
}

// after returns what the store holds after the first n transactions.
func after(n int) map[string]string {
	content := map[string]string{}
	for i := 1; i <= n; i++ {
		maps.Copy(content, change(i))
	}
	return content
}

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
	dir    string
	rng    *rand.Rand
	images int
	areas  int
}

// area returns the path of an area that nobody has used.
func (s *simulation) area() string {
	s.areas++
	return filepath.Join(s.dir, fmt.Sprint("area", s.areas))
}

// images per crash point: one that keeps nothing, one that keeps all, and some.
func (s *simulation) each(disk *crashsim.Disk, check func(image []byte)) {
	for _, keep := range []crashsim.Keep{crashsim.None, crashsim.All, crashsim.Some, crashsim.Some} {
		s.images++
		check(disk.PowerCut(keep, s.rng))
	}
}

// recovers checks that a store opens from image with the content after acked
// transactions, or after the one that was under way as well, and goes on from
// there. Depth counts how many more power cuts happen meanwhile.
func (s *simulation) recovers(image []byte, acked, depth int) {
	disk := crashsim.New(image, capacity)
	area := s.area()
	defer os.Remove(area)
	if depth > 0 {
		disk.Done = func(string) {
			s.each(disk, func(image []byte) { s.recovers(image, acked, depth-1) })
		}
	}
	p, err := open(s.T, area, disk)
	if err != nil {
		s.Fatalf("open after %d commits: %+v", acked, err)
	}
	defer p.leave()
	content, err := p.content()
	if err != nil {
		s.Fatalf("read after %d commits: %+v", acked, err)
	}
	n, _ := strconv.Atoi(content["n"])
	if n != acked && n != acked+1 {
		s.Fatalf("%d commits were acknowledged, the store has %d", acked, n)
	}
	if !maps.Equal(content, after(n)) {
		s.Fatalf("content is not that of %d commits", n)
	}
	disk.Done = nil
	for range 2 {
		n++
		if err := p.update(n); err != nil {
			s.Fatalf("commit %d after recovery: %+v", n, err)
		}
	}
	if content, err := p.content(); err != nil || !maps.Equal(content, after(n)) {
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
	return &simulation{T: t, dir: testdir.New(t), rng: rand.New(rand.NewPCG(seed, 0))}
}

func commits() int {
	if os.Getenv("SHAREKV_TEST") == "ci" {
		return 120
	}
	return 12
}

func TestStoreOpensAtTheLastCommitAfterAPowerCutAnywhere(t *testing.T) {
	s := newSimulation(t)
	disk := newDisk(t)
	acked := 0
	disk.Done = func(string) {
		s.each(disk, func(image []byte) { s.recovers(image, acked, 1) })
	}
	p, err := open(t, s.area(), disk)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= commits(); n++ {
		if err := p.update(n); err != nil {
			t.Fatalf("%+v", err)
		}
		acked = n
		if n%5 == 0 { // close and open again, in power cuts too
			if err := p.area.Close(p.store.Finish); err != nil {
				t.Fatal(err)
			}
			if p, err = open(t, s.area(), disk); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.leave()
	t.Logf("%d images", s.images)
}

// All processes may die at any point while the system goes on: nothing is lost
// then, and nothing was ever seen that a power cut right afterwards takes back.
func TestStoreOpensAfterAllProcessesDiedAndThenPowerFails(t *testing.T) {
	s := newSimulation(t)
	disk := newDisk(t)
	acked := 0
	disk.Done = func(string) {
		// The same disk, seen by the next process: nothing more is durable.
		next := disk.Clone()
		area := s.area()
		defer os.Remove(area)
		p, err := open(t, area, next)
		if err != nil {
			t.Fatalf("%+v", err)
		}
		content, err := p.content()
		if err != nil {
			t.Fatalf("%+v", err)
		}
		p.leave()
		seen, _ := strconv.Atoi(content["n"])
		if seen < acked {
			t.Fatalf("%d commits of %d after all died", seen, acked)
		}
		s.each(next, func(image []byte) { s.recovers(image, seen, 0) })
	}
	p, err := open(t, s.area(), disk)
	if err != nil {
		t.Fatal(err)
	}
	defer p.leave()
	for n := 1; n <= commits(); n++ {
		if err := p.update(n); err != nil {
			t.Fatalf("%+v", err)
		}
		acked = n
	}
}

// A writer dies at any point, another process goes on with the store, and then
// power fails at any point.
func TestNextWriterOverwritesNothingThatADeadOneMayHaveMadeDurable(t *testing.T) {
	s := newSimulation(t)
	died := errors.New("died here")
	for stop := 1; ; stop++ {
		disk := newDisk(t)
		area := s.area()
		first, err := open(t, area, disk)
		if err != nil {
			t.Fatal(err)
		}
		second, err := open(t, area, disk)
		if err != nil {
			t.Fatal(err)
		}
		if err := first.update(1); err != nil {
			t.Fatal(err)
		}
		ops := 0
		disk.Done = func(string) {
			if ops++; ops == stop {
				panic(died)
			}
		}
		reached := func() (reached bool) {
			defer func() { reached = recover() == died }()
			first.dieIn(2)
			return false
		}()
		if !reached {
			break
		}
		acked := 1
		disk.Done = func(string) {
			s.each(disk, func(image []byte) { s.recovers(image, acked, 0) })
		}
		first.leave()
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
		second.leave()
	}
	t.Logf("%d images", s.images)
}

// dieIn begins transaction n and does not end it when a panic says that the
// process has died.
func (p process) dieIn(n int) {
	w, err := p.store.Write(context.Background())
	if err != nil {
		panic(err)
	}
	if err := w.Start(); err != nil {
		panic(err)
	}
	puts := change(n)
	for _, k := range slices.Sorted(maps.Keys(puts)) {
		if err := w.Main.Put([]byte(k), []byte(puts[k])); err != nil {
			panic(err)
		}
	}
	w.Commit()
}

func TestEveryFailingOperationIsAnErrorAndLosesNothing(t *testing.T) {
	s := newSimulation(t)
	broken := errors.New("input/output error")
	for fail := 1; ; fail++ {
		disk := newDisk(t)
		p, err := open(t, s.area(), disk)
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
		if failed == "flush" && acked == 4 {
			t.Errorf("flush %d failed and nobody noticed", fail)
		}
		if failed == "" {
			break
		}
		p.leave()
	}
}

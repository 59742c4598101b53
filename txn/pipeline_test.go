package txn_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
	"github.com/sharekv/sharekv/internal/crashsim"
	"github.com/sharekv/sharekv/mmapfile"
	"github.com/sharekv/sharekv/txn"
)

// fleetCapacity is small, because each image that is checked takes as much memory.
const fleetCapacity = 768 << 10

// soon bounds how long anything may take, with all the images that are checked on the way.
const soon = 2 * time.Minute

// times returns how often to repeat something.
func times(plain, ci int) int {
	switch {
	case thorough():
		return ci
	case testing.Short():
		return 1
	}
	return plain
}

// oneIn returns the inverse of how often something is done.
func oneIn(plain, ci int) int {
	if thorough() {
		return ci
	}
	return plain
}

// part is the commit number n: some of a few pages change, and sometimes a run.
var part = kept(func(n int) (ops []op) {
	rng := rand.New(rand.NewPCG(uint64(n), 3))
	ops = append(ops, op{"n", strconv.Itoa(n)})
	for i := range 3 + rng.IntN(5) {
		value := fmt.Sprintf("%0*d", 1+rng.IntN(500), n*1000+i)
		if rng.IntN(5) == 0 {
			value = ""
		}
		ops = append(ops, op{fmt.Sprint("key", rng.IntN(25)), value})
	}
	// Each changes another of many pages, so that those of the one before are needed.
	const fillers = 40
	fill := func(i int) op { return op{fmt.Sprintf("fill%02d", i), fmt.Sprintf("%0400d", n)} }
	if n == 1 {
		for i := range fillers {
			ops = append(ops, fill(i))
		}
	}
	ops = append(ops, fill(n*13%fillers))
	if n%3 == 0 {
		// Twice, so that one page has several versions.
		ops = append(ops, op{"run", fmt.Sprintf("%0*d", 6000, n)}, op{"run", fmt.Sprintf("%0*d", 6000, -n)})
	}
	return ops
})

// afterParts returns what the store holds after n commits. It is not to be changed.
var afterParts = remembered(part)

// fleet is several processes on one disk. Its commits are numbered in their order,
// whoever makes them.
type fleet struct {
	*testing.T
	disk *crashsim.Disk
	area *mmapfile.HeapArea

	capacity int
	options  txn.Options
	ops      func(n int) []op              // of commit number n
	after    func(n int) map[string]string // what the store holds after n commits
	begun    atomic.Int64                  // commits, so that there are no more than these
	acked    atomic.Int64                  // the greatest one that was acknowledged as durable
	returned atomic.Int64                  // the greatest one whose Commit returned

	mu      sync.Mutex
	rng     *rand.Rand
	numbers map[int]bool // of commits that were acknowledged
	mine    *mmapfile.HeapArea
}

func newFleet(t *testing.T, rng *rand.Rand, capacity int, options ...txn.Options) *fleet {
	t.Helper()
	content, err := txn.Format(4096, [16]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	return fleetOn(t, rng, crashsim.New(content, capacity), capacity, options...)
}

func fleetOn(t *testing.T, rng *rand.Rand, disk *crashsim.Disk, capacity int, options ...txn.Options) *fleet {
	f := &fleet{
		T: t, disk: disk, area: newArea(), capacity: capacity, ops: part, after: afterParts,
		rng: rand.New(rand.NewPCG(rng.Uint64(), 0)), numbers: map[int]bool{}, mine: newArea(),
	}
	for _, f.options = range options {
	}
	return f
}

func seeded(t *testing.T) *rand.Rand { return newSimulation(t).rng }

// member is a process of a fleet.
type member struct {
	process
	fleet  *fleet
	handle *crashsim.Handle
}

// join opens the store as one more process.
func (f *fleet) join() *member {
	f.Helper()
	m := &member{fleet: f, handle: f.disk.Handle()}
	var err error
	m.area, err = f.area.Open(func(a *mmapfile.Area, first bool) error {
		m.store, err = txn.Open(a, first, m.handle, f.options)
		return err
	})
	if err != nil {
		f.Fatalf("%+v", err)
	}
	return m
}

// commit makes the next commit.
func (m *member) commit() error {
	n, err := m.begin(func(int) {})
	if err == nil {
		m.fleet.acknowledge(n)
	}
	return err
}

// begin makes the next commit and returns its number. It calls step before each change
// and, with -1, before Commit.
func (m *member) begin(step func(i int)) (n int, err error) {
	w, err := m.store.Write(context.Background())
	if err != nil {
		return 0, err
	}
	defer w.Rollback()
	n, err = commitsIn(w)
	if err != nil {
		return 0, err
	}
	n++
	for i, o := range m.fleet.ops(n) {
		step(i)
		if err := o.apply(w); err != nil {
			return n, err
		}
	}
	step(-1)
	for { // Nothing of it is there before its Commit begins.
		old := m.fleet.begun.Load()
		if old >= int64(n) || m.fleet.begun.CompareAndSwap(old, int64(n)) {
			break
		}
	}
	return n, w.Commit()
}

// commitsIn returns how many commits the transaction sees.
func commitsIn(w *txn.Writer) (int, error) {
	v, _, err := w.Main.Get([]byte("n"))
	if errors.Is(err, index.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(v))
}

func (f *fleet) acknowledge(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.numbers[n] {
		f.Errorf("commit %d was acknowledged twice: the first one is lost", n)
	}
	f.numbers[n] = true
	f.returned.Store(max(f.returned.Load(), int64(n)))
	if f.options.Async == 0 {
		f.acked.Store(max(f.acked.Load(), int64(n)))
	}
}

// sync makes durable what has been committed.
func (m *member) sync() error {
	f := m.fleet
	n := f.returned.Load()
	err := m.store.Sync(context.Background())
	if err == nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.acked.Store(max(f.acked.Load(), n))
	}
	return err
}

// commits makes n commits in a row.
func (m *member) commits(n int) {
	m.fleet.Helper()
	for range n {
		if err := m.commit(); err != nil {
			m.fleet.Fatalf("%+v", err)
		}
	}
}

// seen returns how many commits a reader sees.
func (p process) seen() (int, error) {
	r, err := p.store.Read()
	if err != nil {
		return 0, err
	}
	defer r.End()
	v, _, err := r.Snapshot.Get(r.Main.Ref, []byte("n"))
	if errors.Is(err, index.ErrNotFound) {
		return 0, nil
	}
	n, _ := strconv.Atoi(string(v))
	return n, err
}

// published waits until the head is that commit or a later one.
func (m *member) published(head index.TxID) {
	m.fleet.Helper()
	until(m.fleet.T, "a commit is published", func() bool {
		now, _ := m.store.Progress()
		return now >= head
	})
}

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(soon); !cond(); time.Sleep(50 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// inBackground runs the commit and returns where its error comes.
func (m *member) inBackground() chan error {
	done := make(chan error, 1)
	go func() { done <- m.commit() }()
	return done
}

func (f *fleet) wait(done chan error) error {
	f.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(soon):
		f.Fatal("a commit waits for ever")
		return nil
	}
}

func (f *fleet) succeeds(dones ...chan error) {
	f.Helper()
	for _, done := range dones {
		if err := f.wait(done); err != nil {
			f.Fatalf("%+v", err)
		}
	}
}

// cuts checks what a power cut now could leave.
// In the recovery of some images power is cut again, depth times one in the other.
func (f *fleet) cuts(reader *member, random, depth int) {
	low := int(f.acked.Load())
	if reader != nil {
		n, err := reader.seen()
		if err != nil {
			f.Errorf("%+v", err)
			return
		}
		low = max(low, n)
	}
	cut := f.disk.Cut()
	high := int(f.begun.Load())
	f.mu.Lock()
	defer f.mu.Unlock()
	cut.Each(4096, f.most(), f.rng, random, func(image []byte) {
		again := 0
		if f.rng.IntN(30) == 0 {
			again = min(depth, 1)
		}
		if again > 0 && f.rng.IntN(6) == 0 {
			again = depth
		}
		f.recovers(image, low, high, again)
	})
}

func (f *fleet) most() int {
	if f.capacity > fleetCapacity {
		return 5
	}
	return times(12, 100)
}

// recovers checks that a store opens from image with all of low commits, and perhaps up
// to high, and nothing else, and that three more can be made. On the way power is cut
// again, depth times. Requires mu.
func (f *fleet) recovers(image []byte, low, high, depth int) {
	if f.Failed() {
		return
	}
	images.Add(1)
	disk := crashsim.New(image, f.capacity)
	defer disk.Release()
	area := f.mine
	if depth > 0 {
		area = newArea()
		disk.Done = func(string) {
			if depth > 1 && f.rng.IntN(8) > 0 {
				return // each costs as much as a hundred of those that go less deep
			}
			cut := disk.Cut()
			again := func(keep crashsim.Keep) {
				image := cut.Random(keep, f.rng)
				f.recovers(image, low, high, depth-1)
				crashsim.Recycle(image)
			}
			if thorough() {
				again(crashsim.None)
				again(crashsim.All)
			}
			again(crashsim.Some)
		}
	}
	p, err := open(area, disk, f.options)
	if err != nil {
		f.Errorf("open with %d to %d commits: %+v", low, high, err)
		return
	}
	defer p.die()
	n, ok := f.holds(p, low, high)
	if !ok {
		return
	}
	next := &member{process: p, fleet: &fleet{T: f.T, ops: f.ops}}
	low = n
	for range 3 {
		high = n + 1
		if f.options.Async == 0 {
			low = n
		}
		if _, err := next.begin(func(int) {}); err != nil {
			f.Errorf("commit %d after recovery: %+v", n+1, err)
			return
		}
		n++
	}
	if err := p.store.Sync(context.Background()); err != nil {
		f.Errorf("sync after recovery: %+v", err)
	}
	f.holds(p, n, n)
}

// holds checks that the store has all of low commits, and perhaps up to high, and
// returns how many.
func (f *fleet) holds(p process, low, high int) (n int, ok bool) {
	f.Helper()
	content, err := p.content()
	if err != nil {
		f.Errorf("with %d to %d commits: %+v", low, high, err)
		return 0, false
	}
	n, _ = strconv.Atoi(content["n"])
	switch {
	case n < low || n > high:
		f.Errorf("the store has %d commits, not %d to %d", n, low, high)
	case !maps.Equal(content, f.after(n)):
		f.Errorf("content is not that of %d commits", n)
	default:
		return n, true
	}
	return n, false
}

// dead is where the processes are that died in an operation.
var dead = make(chan struct{})

// stopAt makes the process stop for ever at its operation number stop from now on, before
// or after it, and closes the channel then.
func (m *member) stopAt(stop int, before bool) (stopped chan crashsim.Operation) {
	stopped = make(chan crashsim.Operation, 1)
	ops := 0
	at := func(o crashsim.Operation) {
		if ops++; ops == stop {
			stopped <- o
			<-dead
		}
	}
	if before {
		m.handle.Before = func(o crashsim.Operation) error { at(o); return nil }
	} else {
		m.handle.After = at
	}
	return stopped
}

// hold makes the process wait before its next flush as a leader, or in opening a session,
// until release is called: before the flush behind a meta page.
func (m *member) hold() (reached chan struct{}, release func()) {
	reached, at, release := barrier()
	m.handle.Before = func(o crashsim.Operation) error { at(o); return nil }
	return reached, release
}

// holdAfter is hold, behind the flush.
func (m *member) holdAfter() (reached chan struct{}, release func()) {
	reached, m.handle.After, release = barrier()
	return reached, release
}

func barrier() (reached chan struct{}, at func(crashsim.Operation), release func()) {
	reached, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	meta := false
	at = func(o crashsim.Operation) {
		if o.Name == "flush" && meta {
			once.Do(func() {
				close(reached)
				<-gate
			})
		}
		meta = isMeta(o)
	}
	return reached, at, sync.OnceFunc(func() { close(gate) })
}

// isMeta reports whether a meta page is stored.
func isMeta(o crashsim.Operation) bool { return o.Name == "store" && o.Off < 2*page }

func await[T any](t *testing.T, c chan T) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(soon):
		t.Fatal("it does not come to that")
	}
}

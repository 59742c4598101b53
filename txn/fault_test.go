package txn_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/crashsim"
	"github.com/sharekv/sharekv/mmapfile"
	"github.com/sharekv/sharekv/txn"
)

// errBroken is what a faulty disk says.
var errBroken = errors.New("input/output error")

// fault is what becomes of the operations of a disk from a certain one on.
type fault struct {
	name  string
	err   error
	of    string // which operations can fail first
	lasts bool   // all like the first fail after it
	dead  bool   // all fail after it
	some  bool   // a store stores a part, and of a flush a part gets to the medium
}

// faultsOf returns the kinds of faults.
func faultsOf() []fault {
	noSpace := errors.Wrapf(mmapfile.ErrNoSpace, "%v", syscall.ENOSPC)
	return []fault{
		{name: "broken", err: errBroken, of: everything},
		{name: "broken for ever", err: errBroken, of: everything, lasts: true},
		{name: "dead", err: errBroken, of: everything, dead: true},
		{name: "interrupted", err: syscall.EINTR, of: everything},
		{name: "interrupted for ever", err: syscall.EINTR, of: everything, lasts: true},
		{name: "full", err: noSpace, of: everything},
		{name: "full for ever", err: noSpace, of: "store, grow", lasts: true},
		{name: "short", err: errBroken, of: "store, flush, flush of growth", some: true},
		{name: "short for ever", err: errBroken, of: "store, flush, flush of growth", some: true, lasts: true},
		{name: "short and full", err: noSpace, of: "store", some: true},
		{name: "short and full for ever", err: noSpace, of: "store", some: true, lasts: true},
	}
}

// everything is what a storage can do.
const everything = "view, store, push, flush, grow, flush of growth"

// faultyDisk is the fault and where it comes.
type faultyDisk struct {
	fault

	mu    sync.Mutex
	rng   *rand.Rand
	armed bool
	ops   map[string]int // of all handles, as long as it is armed
	first string         // what fails first
	at    int            // which one of those
	count int            // that have failed

	joining, opening bool // the store is being opened now, and was at the first failure
}

// next returns the error of the next operation, and whether part of it is done.
func (d *faultyDisk) next(name string) (some bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.armed {
		return false, nil
	}
	d.ops[name]++
	first := d.count == 0 && name == d.first && d.ops[name] == d.at
	if !first && (d.count == 0 || !d.dead && !(d.lasts && name == d.first)) {
		return false, nil
	}
	if first {
		d.opening = d.joining
	}
	d.count++
	return d.some, d.err
}

// works makes the disk work until restored.
func (d *faultyDisk) works() (restore func()) {
	set := func(armed bool) (before bool) {
		d.mu.Lock()
		defer d.mu.Unlock()
		before, d.armed = d.armed, armed
		return before
	}
	armed := set(false)
	return func() { set(armed) }
}

func (d *faultyDisk) join(joining bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.joining = joining
}

// failed returns how many operations have failed.
func (d *faultyDisk) failed() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count
}

// faultyHandle is a handle on such a disk.
type faultyHandle struct {
	*crashsim.Handle
	faulty *faultyDisk
	gate   gate
}

// gate keeps a process from flushing behind a meta page while it is shut.
type gate struct {
	mu      sync.Mutex
	reached chan struct{} // nil while it is open
	opened  chan struct{}
	meta    bool // was stored last
}

func (g *gate) shut() (reached chan struct{}, open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reached, g.opened, g.meta = make(chan struct{}), make(chan struct{}), false
	return g.reached, sync.OnceFunc(func() { close(g.opened) })
}

// leave opens the gate for those to come.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reached = nil
}

func (g *gate) pass(o crashsim.Operation) {
	g.mu.Lock()
	reached := g.reached
	if o.Name == "flush" && g.meta {
		g.reached = nil
	} else {
		reached = nil
	}
	g.meta = isMeta(o)
	g.mu.Unlock()
	if reached != nil {
		close(reached)
		<-g.opened
	}
}

// View implements txn.Storage.
func (h *faultyHandle) View(size int64) ([]byte, error) {
	if _, err := h.faulty.next("view"); err != nil {
		return nil, err
	}
	return h.Handle.View(size)
}

// Store implements txn.Storage.
func (h *faultyHandle) Store(off int64, bufs [][]byte) error {
	h.gate.pass(crashsim.Operation{Name: "store", Off: off})
	some, err := h.faulty.next("store")
	if err == nil {
		return h.Handle.Store(off, bufs)
	}
	if some {
		all := slices.Concat(bufs...)
		h.faulty.mu.Lock()
		n := h.faulty.rng.IntN(len(all)/512+1) * 512
		h.faulty.mu.Unlock()
		if e := h.Handle.Store(off, [][]byte{all[:n]}); e != nil {
			return e
		}
	}
	return err
}

// Push implements txn.Storage.
func (h *faultyHandle) Push() error {
	if _, err := h.faulty.next("push"); err != nil {
		return errors.Wrapf(mmapfile.ErrFlush, "%v", err)
	}
	return h.Handle.Push()
}

// Flush implements txn.Storage.
func (h *faultyHandle) Flush() error {
	h.gate.pass(crashsim.Operation{Name: "flush"})
	if err := h.lose("flush"); err != nil {
		return err
	}
	return h.Handle.Flush()
}

// Grow implements txn.Storage.
func (h *faultyHandle) Grow(size int64) error {
	if _, err := h.faulty.next("grow"); err != nil {
		return err
	}
	if err := h.lose("flush of growth"); err != nil {
		// The file is longer, and nothing else got to the medium.
		return errors.CombineErrors(h.Handle.Grow(size), err)
	}
	return h.Handle.Grow(size)
}

// lose loses what a flush that fails was to bring to the medium.
func (h *faultyHandle) lose(name string) error {
	some, err := h.faulty.next(name)
	if err == nil {
		return nil
	}
	if some {
		h.faulty.mu.Lock()
		defer h.faulty.mu.Unlock()
		h.DropSome(h.faulty.rng)
	} else {
		h.Drop()
	}
	return errors.Wrapf(mmapfile.ErrFlush, "%v", err)
}

// growing is the commit number n: sometimes the store must become longer.
func growing(n int) []op {
	ops := slices.Clip(part(n))
	if n%2 == 0 {
		ops = append(ops, op{fmt.Sprint("large", n%4), fmt.Sprintf("%0*d", 40_000+n*1000, n)})
	}
	return ops
}

// afterGrowing returns what the store holds after n commits. It is not to be changed.
var afterGrowing = remembered(growing)

// ordeal is a fixed piece of work of two processes on a faulty disk.
type ordeal struct {
	*fleet
	faulty   *faultyDisk
	crew     [2]*sufferer // nil who has not got the store open
	poisoned bool         // a flush has failed, and not all have closed the store since
	failures int          // steps in which something failed, unless it was because of that
}

// sufferer is a process on a faulty disk.
type sufferer struct {
	*member
	handle *faultyHandle
}

// ordealCapacity lets commits that make the store longer succeed.
const ordealCapacity = 1 << 20

// newOrdeal begins with a store of so many commits, whose last user has died.
func newOrdeal(t *testing.T, rng *rand.Rand, begin *crashsim.Disk, commits int, x fault, first string, at int) *ordeal {
	t.Helper()
	o := &ordeal{
		fleet: fleetOn(t, rng, begin.Clone(), ordealCapacity),
		faulty: &faultyDisk{
			fault: x, first: first, at: at, armed: true,
			ops: map[string]int{}, rng: rand.New(rand.NewPCG(rng.Uint64(), 0)),
		},
	}
	o.disk.TellAll = true
	o.ops, o.after = growing, afterGrowing
	o.acked.Store(int64(commits))
	o.begun.Store(int64(commits) + 1)
	return o
}

// work is what the processes do. Each goes on when something fails.
func (o *ordeal) work() {
	const a, b = 0, 1
	for _, i := range []int{a, b, a, b} {
		o.commit(i)
	}
	o.group()
	o.rollback(b)
	o.commit(a)
	o.leave(a)
	o.leave(b) // the last one, so that it marks a clean end
	o.commit(b)
	o.commit(a)
	o.dies(a)
	o.dies(b)
	o.commit(a)
	o.leave(a)
}

// joined returns the process, which opens the store if it has not.
func (o *ordeal) joined(i int) (*sufferer, error) {
	if m := o.crew[i]; m != nil {
		return m, nil
	}
	h := &faultyHandle{Handle: o.disk.Handle(), faulty: o.faulty}
	m := &sufferer{&member{fleet: o.fleet}, h}
	options := []txn.Options{{}, tiny}[i]
	opened := false
	o.faulty.join(true)
	var err error
	m.area, err = o.area.Open(func(a *mmapfile.Area, first bool) error {
		m.store, err = txn.Open(a, first, h, options)
		opened = first && err == nil
		return err
	})
	o.faulty.join(false)
	if err != nil {
		return nil, err
	}
	o.crew[i] = m
	if opened { // what was found is durable
		defer o.faulty.works()()
		if n, ok := o.holds(m.process, int(o.acked.Load()), int(o.begun.Load())); ok {
			o.acked.Store(int64(n))
			o.begun.Store(int64(n))
		}
	}
	return m, nil
}

func (o *ordeal) commit(i int) {
	m, err := o.joined(i)
	if err == nil {
		o.judge("commit", true, m.commit())
	} else {
		o.judge("open", false, err)
	}
}

// group makes one process publish two commits while the other one flushes, so that it leads
// for both.
func (o *ordeal) group() {
	a, err := o.joined(0)
	if err != nil {
		o.judge("open", false, err)
		return
	}
	b, err := o.joined(1)
	if err != nil {
		o.judge("open", false, err)
		return
	}
	reached, open := a.handle.gate.shut()
	first := a.inBackground()
	var errs []error
	select {
	case <-reached:
		second, third := b.publishes(), b.publishes()
		open()
		errs = []error{o.wait(first), o.wait(second), o.wait(third)}
	case err := <-first:
		a.handle.gate.leave()
		errs = []error{err}
	}
	o.judge("group commit", true, errs...)
}

// publishes runs a commit and returns when it is published, or fails: it may wait then for
// those before it.
func (m *sufferer) publishes() chan error {
	m.fleet.Helper()
	head, _ := m.store.Progress()
	before := m.handle.faulty.failed()
	done := m.inBackground()
	until(m.fleet.T, "a commit is published or fails", func() bool {
		now, _ := m.store.Progress()
		return now > head || len(done) > 0 || m.handle.faulty.failed() > before
	})
	return done
}

func (o *ordeal) rollback(i int) {
	m, err := o.joined(i)
	if err != nil {
		o.judge("open", false, err)
		return
	}
	w, err := m.store.Write(context.Background())
	if err == nil {
		for _, x := range o.ops(2) {
			if err = x.apply(w); err != nil {
				break
			}
		}
		err = errors.CombineErrors(err, w.Rollback())
	}
	o.judge("rollback", true, err)
}

func (o *ordeal) leave(i int) {
	m := o.crew[i]
	if m == nil {
		return
	}
	m.store.Leave()
	o.gone(i)
	o.judge("close", false, m.area.Close(func() error { return m.store.Finish(m.handle) }))
}

func (o *ordeal) dies(i int) {
	if m := o.crew[i]; m != nil {
		m.die()
		o.gone(i)
	}
}

func (o *ordeal) gone(i int) {
	o.crew[i] = nil
	if o.crew[1-i] == nil {
		o.poisoned = false
	}
}

// judge looks at how a step has ended, and at what everybody sees then.
func (o *ordeal) judge(step string, commits bool, errs ...error) {
	o.Helper()
	before := o.poisoned
	failed := false
	for _, err := range errs {
		poisoned := errors.Is(err, txn.ErrFlushFailed)
		switch {
		case err == nil && before && commits:
			o.Errorf("%s: went well although a flush had failed", step)
		case err == nil:
			continue
		case before && commits && !poisoned:
			o.Errorf("%s: a flush had failed, and the error is %+v", step, err)
		case !poisoned && !errors.Is(err, o.faulty.err) || errors.Is(err, txn.ErrUnknown):
			o.Errorf("%s: %+v", step, err)
		case poisoned && errors.Is(err, mmapfile.ErrNoSpace):
			o.Errorf("%s: a failed flush is no lack of space: %+v", step, err)
		}
		failed = true
		o.poisoned = o.poisoned || poisoned && commits
	}
	if !failed {
		return
	}
	if !before {
		o.failures++
	}
	defer o.faulty.works()()
	acked := int(o.acked.Load())
	for i, m := range o.crew {
		if m == nil {
			continue
		}
		if n, ok := o.holds(m.process, acked, acked); !ok {
			o.Errorf("%s failed: process %d reads commit %d of %d", step, i, n, acked)
		}
		w, err := m.store.Write(context.Background())
		if err == nil {
			w.Rollback()
		}
		if o.poisoned != errors.Is(err, txn.ErrFlushFailed) || !o.poisoned && err != nil {
			o.Errorf("%s failed, in a flush: %v; the next transaction of process %d: %+v", step, o.poisoned, i, err)
		}
	}
	o.cuts(nil, 1, 0)
}

// ends checks what is left when the disk works again.
func (o *ordeal) ends() {
	o.Helper()
	o.faulty.works()
	if o.faulty.count == 0 { // who leads is not always the same
		return
	}
	if once := !o.faulty.lasts && !o.faulty.dead; once && o.failures > 1 {
		o.Errorf("one operation failed, and so did %d steps", o.failures)
	}
	// A store that cannot become much longer becomes a little longer; and of a clean end
	// more is looked at than has to be there.
	harmless := o.faulty.first == "grow" && errors.Is(o.faulty.err, mmapfile.ErrNoSpace) ||
		o.faulty.first == "view" && o.faulty.opening
	if o.failures == 0 && !harmless {
		o.Errorf("nobody noticed")
	}
	for i, m := range o.crew {
		if m != nil {
			o.Fatalf("process %d is still there", i)
		}
	}
	o.cuts(nil, 2, 1)
	failures := o.failures
	for range 3 {
		o.commit(1)
	}
	o.leave(1)
	o.cuts(nil, 1, 0)
	o.opensWithoutDamage()
	if o.failures > failures {
		o.Errorf("%d steps failed when the disk worked again", o.failures-failures)
	}
}

// Every operation of the storage fails in turn, in every way, while two processes work on a
// store: each error is one of those that are promised, what was acknowledged stays, and when
// the disk works again all go on.
func TestEveryFailureOfTheDiskIsAnErrorAndLosesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes minutes under the race detector, for which others do the same")
	}
	rng := seeded(t)
	begin := newFleet(t, rng, ordealCapacity)
	begin.ops, begin.after = growing, afterGrowing
	m := begin.join()
	const commits = 2
	m.commits(commits)
	stopped := m.stopAt(4, true)
	m.inBackground()
	await(t, stopped)
	m.die()

	whole := newOrdeal(t, rng, begin.disk, commits, fault{}, "", 0)
	whole.work()
	if whole.failures > 0 {
		t.Fatalf("%d steps fail without a fault", whole.failures)
	}
	runs := 0
	for _, x := range faultsOf() {
		for _, first := range strings.Split(x.of, ", ") {
			step := max(1, times(whole.faulty.ops[first]/3, 3)) // three of them, or each third
			for at := 1 + rng.IntN(step); at <= whole.faulty.ops[first]; at += step {
				o := newOrdeal(t, rng, begin.disk, commits, x, first, at)
				o.work()
				runs++
				o.ends()
				if t.Failed() {
					t.Fatalf("%s: %s %d", x.name, first, at)
				}
			}
		}
	}
	t.Logf("%d runs, each with one of the operations %v", runs, whole.faulty.ops)
}

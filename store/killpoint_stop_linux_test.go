//go:build killpoints

package store_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/unix"

	"github.com/sharekv/sharekv/internal/testprocess"
	"github.com/sharekv/sharekv/store"
)

// impatience is how long those wait who find a stopped process in their way.
const impatience = 60 * time.Millisecond

// A pause is what others meet while a process is stopped.
type pause struct {
	reached       bool
	busy, unknown int // how many commits were told that it holds the lock, or that it flushes
}

// stop stops a victim at its point, sees how others fare, and lets it continue.
func (s *stage) stop(f fate) (p pause, err error) {
	path, err := s.set(f.Part)
	if err != nil {
		return p, err
	}
	db, err := open(path, &store.Options{LockTimeout: impatience, Async: lazily(f.Part)})
	if err != nil {
		return p, err
	}
	defer func() { err = errors.CombineErrors(err, db.Close()) }()
	victim, err := testprocess.Start(f.env(path))
	if err != nil {
		return p, err
	}
	defer victim.Process.Kill()
	acked := map[string]uint64{}
	var puts map[string]bool
	for victim.Out.Scan() {
		var who string
		var n uint64
		if line := victim.Out.Text(); line == "at" {
			p.reached = true
			if puts, err = p.meet(db, path, victim.Process.Pid); err != nil {
				return p, err
			}
			if err := victim.Process.Signal(syscall.SIGCONT); err != nil {
				return p, err
			}
		} else if _, err := fmt.Sscanf(line, "ack %s %d", &who, &n); err == nil {
			acked[who] = n
		}
	}
	if err := victim.Wait(); err != nil {
		return p, errors.Wrapf(err, "the victim that was stopped")
	}
	if err := putAtLast(db, "after"); err != nil {
		return p, err
	}
	for key, there := range puts {
		if _, err := db.Get([]byte(key)); (err == nil) != there {
			return p, errors.Newf("%s was put: %t. Get: %v", key, there, err)
		}
	}
	return p, errors.CombineErrors(waitForDead(db), whole(db, acked))
}

// putAtLast tries until nobody is in the way any more.
func putAtLast(db *store.DB, key string) (err error) {
	for begin := time.Now(); time.Since(begin) < patience; {
		err = db.Put([]byte(key), nil)
		if !errors.Is(err, store.ErrBusy) && !errors.Is(err, store.ErrUnknown) {
			break
		}
	}
	return err
}

// meet does what others do while the process pid is about to stop, and stopped. It
// returns the keys it has tried to put, and which of them will be there.
func (p *pause) meet(db *store.DB, path string, pid int) (puts map[string]bool, err error) {
	if err := unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		return nil, err
	}
	handles, err := db.Handles()
	if err != nil {
		return nil, err
	}
	writing := slices.ContainsFunc(handles, func(h store.Handle) bool { return h.PID == pid && h.Writing })
	puts = map[string]bool{}
	for i := range 3 {
		if err := db.View(consistent); err != nil {
			return nil, errors.Wrapf(err, "View")
		}
		key := fmt.Sprint("during ", i)
		err := db.Put([]byte(key), nil)
		puts[key] = !errors.Is(err, store.ErrBusy)
		switch {
		case err == nil && writing:
			return nil, errors.New("Put while the process holds the lock")
		case err == nil:
			continue
		case errors.Is(err, store.ErrBusy):
			p.busy++
		case errors.Is(err, store.ErrUnknown):
			p.unknown++
		default:
			return nil, err
		}
		if !strings.Contains(err.Error(), fmt.Sprintf("pid %d ", pid)) {
			return nil, errors.Wrapf(err, "pid %d is not named", pid)
		}
	}
	if strings.HasPrefix(path, inMemory) {
		return puts, nil // who opens a name has a patience of its own
	}
	another, err := open(path, &store.Options{LockTimeout: impatience, AnyMode: true})
	if errors.Is(err, store.ErrBusy) {
		return puts, nil
	}
	if err != nil {
		return nil, err
	}
	err = another.Close()
	if errors.Is(err, store.ErrBusy) { // what has been committed is still being flushed
		err = nil
	}
	return puts, err
}

// A halt is to be made at a point.
type halt struct {
	point string
	ways  []way
	seed  uint64
}

// make stops a victim at the point. If it does not come there another one is sent.
func (h halt) make(s *stage) (p pause, err error) {
	rng := rand.New(rand.NewPCG(h.seed, 0))
	for try := 0; try < 5 && !p.reached; try++ {
		f := choose(h.point, h.ways, "readers", rng)
		f.End = endStop
		if p, err = s.stop(f); err != nil {
			return p, errors.Wrapf(err, "%s", f)
		}
	}
	return p, err
}

// Whoever is stopped has what it held when it continues, however long others waited.
func TestProcessStoppedAtAnyPointIsNotRobbed(t *testing.T) {
	rng := seeded(t)
	stages := newStages(t, rng)
	every := 8
	if seeds, _ := killing(t); seeds > 0 {
		every = 1
	}
	var halts []halt
	ways := stages[0].record("readers", rng)
	first := rng.IntN(every)
	for i, point := range slices.Sorted(maps.Keys(ways)) {
		// Only where others can have the store open.
		some := slices.DeleteFunc(ways[point], func(w way) bool { return parts[w.part].once })
		if len(some) > 0 && i%every == first {
			halts = append(halts, halt{point, some, rng.Uint64()})
		}
	}
	var mu sync.Mutex
	stopped, busy, unknown := 0, 0, 0
	sendAll(stages, slices.Values(halts), func(s *stage, h halt) {
		p, err := h.make(s)
		if err != nil {
			t.Errorf("%+v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		if p.reached {
			stopped++
		}
		busy += p.busy
		unknown += p.unknown
	})
	t.Logf("%d were stopped at %d points; of the commits meanwhile %d found one holding the lock, %d one flushing",
		stopped, len(halts), busy, unknown)
	if stopped == 0 || every == 1 && (busy == 0 || unknown == 0) {
		t.Error("nobody was stopped where others have to wait")
	}
}

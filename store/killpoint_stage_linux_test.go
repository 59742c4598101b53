//go:build killpoints

package store_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/internal/testprocess"
	"github.com/sharekv/sharekv/store"
)

// patience is how long anybody waits for a lock. Nobody has to wait nearly as long.
const patience = 5 * time.Second

// imagesOf returns the stores that parts begin with.
func imagesOf(t testing.TB, rng *rand.Rand) map[string][]byte {
	t.Helper()
	path := filepath.Join(testdir.New(t), "a.kv")
	db, err := store.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	step := func(n int) []byte {
		for range n {
			if _, err := record(db, "base", rng); err != nil {
				t.Fatal(err)
			}
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	all := map[string][]byte{}
	before := step(10)
	all["unclean"] = step(1)
	// A page of the last commit did not get to the disk.
	torn := bytes.Clone(all["unclean"])
	const page = 4096
	for at := 2 * page; at < len(before); at += page {
		if !bytes.Equal(before[at:at+page], torn[at:at+page]) {
			copy(torn[at:], before[at:at+page])
			break
		}
	}
	all["torn"] = torn
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if all["clean"], err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return all
}

// A stage is where victims play, one after the other.
type stage struct {
	t      *testing.T
	dir    string
	images map[string][]byte
	cast   []*companion
	runs   int
}

// newStages returns four: victims sleep now and then.
func newStages(t *testing.T, rng *rand.Rand) (all []*stage) {
	t.Helper()
	images := imagesOf(t, rng)
	for range 4 {
		s := &stage{t: t, dir: testdir.New(t), images: images}
		for i := range 2 {
			s.cast = append(s.cast, startCompanion(t, fmt.Sprint("bystander", i)))
		}
		all = append(all, s)
	}
	return all
}

// sendAll does something with each of what there is, on one stage or another.
func sendAll[T any](stages []*stage, all iter.Seq[T], do func(*stage, T)) {
	queue := make(chan T)
	var wg sync.WaitGroup
	for _, s := range stages {
		wg.Go(func() {
			for x := range queue {
				do(s, x)
			}
		})
	}
	for x := range all {
		queue <- x
	}
	close(queue)
	wg.Wait()
}

// set returns the path of a store that a part can begin with.
func (s *stage) set(name string) (path string, err error) {
	s.runs++
	path = filepath.Join(s.dir, fmt.Sprint(s.runs, ".kv"))
	if parts[name].image == inMemory {
		return fmt.Sprintf("%s:%s-%d", inMemory, filepath.Base(s.dir), s.runs), nil
	}
	if image := s.images[parts[name].image]; image != nil {
		err = os.WriteFile(path, image, 0o600)
	}
	return path, err
}

// strike removes the store of a run, if it has files.
func strike(path string) error {
	if strings.HasPrefix(path, inMemory) {
		return nil
	}
	return errors.CombineErrors(os.Remove(path), os.Remove(path+"-lock"))
}

// A result is what a run has led to.
type result struct {
	points  map[string]int // that the victim has recorded
	reached bool
	acked   map[string]uint64
	paused  time.Duration // between the victim's end and when all others had gone on
}

// run lets a victim meet its fate, and sees that nobody is harmed.
func (s *stage) run(f fate, company string) (r result, err error) {
	path, err := s.set(f.Part)
	if err != nil {
		return r, err
	}
	others := s.party(company, path, lazily(f.Part))
	if !parts[f.Part].once {
		others.call()
		if err := others.settle(); err != nil {
			return r, err
		}
	}
	if r, err = s.play(f, path, others); err != nil {
		return r, err
	}
	if parts[f.Part].image == inMemory && (parts[f.Part].once || len(others.cast) == 0) {
		r.acked = map[string]uint64{} // it may be gone with the victim
	}
	end := time.Now()
	if err := others.goOn(); err != nil {
		return r, err
	}
	r.paused = time.Since(end)
	return r, errors.CombineErrors(outlive(path, others, r.acked), strike(path))
}

// play starts the victim and returns when it is dead. If it waits for its death, the
// others come first, those that are not there yet.
func (s *stage) play(f fate, path string, others *party) (r result, err error) {
	r.points, r.acked = map[string]int{}, map[string]uint64{}
	p, err := testprocess.Start(f.env(path))
	if err != nil {
		return r, err
	}
	hung := time.AfterFunc(longest+2*patience, func() { p.Process.Signal(syscall.SIGABRT) })
	for p.Out.Scan() {
		line := p.Out.Text()
		var who string
		var n uint64
		if _, err := fmt.Sscanf(line, "ack %s %d", &who, &n); err == nil {
			r.acked[who] = n
		} else if rest, ok := strings.CutPrefix(line, "point "); ok {
			times, name, _ := strings.Cut(rest, " ")
			r.points[name], _ = strconv.Atoi(times)
		} else if line == "at" {
			others.call()
			time.Sleep(3 * time.Millisecond) // they come to where they wait, if they must
			p.Process.Kill()
		}
	}
	p.Wait()
	hung.Stop()
	status := p.ProcessState.Sys().(syscall.WaitStatus)
	r.reached = status.Signaled() && status.Signal() == syscall.SIGKILL
	if !r.reached && !p.ProcessState.Success() {
		err = errors.Newf("the victim ended: %v", p.ProcessState)
	}
	return r, err
}

// outlive joins a store that was somebody's last, sees that all is there and that nothing
// is left of the dead, and that it is the same when it is opened again.
func outlive(path string, others *party, acked map[string]uint64) error {
	db, err := open(path, &store.Options{LockTimeout: patience, AnyMode: true})
	if err != nil {
		return err
	}
	// So much that it may need the space that the dead was about to provide.
	err = db.Put([]byte("survivor"), make([]byte, 100<<10))
	if err == nil {
		err = others.leave(acked)
	}
	if err == nil {
		err = waitForDead(db)
	}
	if err == nil {
		err = whole(db, acked)
	}
	err = errors.CombineErrors(err, db.Close())
	if err != nil || strings.HasPrefix(path, inMemory) {
		return err
	}
	if db, err = store.Open(path, nil); err != nil {
		return err
	}
	return errors.CombineErrors(whole(db, acked), db.Close())
}

// waitForDead returns when nothing is left of the dead. They are noticed by who writes, and
// when they are in the way.
func waitForDead(db *store.DB) error {
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		stats, err := db.Stats()
		if err != nil {
			return err
		}
		handles, err := db.Handles()
		if err != nil {
			return err
		}
		if stats.Readers == 0 && len(handles) == 1 && !handles[0].Writing {
			return nil
		}
		if time.Since(begin) > patience {
			return errors.Newf("%d reader slots are in use, and there are the handles %+v", stats.Readers, handles)
		}
		if err := db.Put([]byte("survivor"), nil); err != nil {
			return err
		}
	}
}

// whole returns an error if a store has not all that was acknowledged, or damage.
func whole(db *store.DB, acked map[string]uint64) error {
	if _, err := db.Check(context.Background()); err != nil {
		return err
	}
	return db.View(func(tx *store.Tx) error {
		for who, n := range acked {
			if got := load(tx, []byte("count "+who)); got < n {
				return errors.Newf("%s had %d commits acknowledged, the store has %d", who, n, got)
			}
		}
		return consistent(tx)
	})
}

// A way is how a point can be come to: in which part, and how often there.
type way struct {
	part  string
	times int
}

// record plays all parts to their end in a company, and returns the ways to each point.
func (s *stage) record(company string, rng *rand.Rand) map[string][]way {
	ways := map[string][]way{}
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		with := company
		if parts[name].once {
			with = "alone" // the others come when it dies
		}
		r, err := s.run(fate{Part: name, End: endRecord, Seed: rng.Uint64()}, with)
		if err != nil {
			s.t.Fatalf("%s, %s: %+v", name, company, err)
		}
		for point, times := range r.points {
			ways[point] = append(ways[point], way{name, times})
		}
	}
	return ways
}

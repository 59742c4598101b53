//go:build killpoints

package store_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sharekv/sharekv/internal/soak"
)

// Who is there when a victim dies.
var companies = []string{"alone", "readers", "writers"}

// choose returns one of the fates that lead to the point.
func choose(point string, ways []way, company string, rng *rand.Rand) fate {
	// It takes long until all slots are in use, and what is not done in each round may not
	// be done again: those are for points to which there is no other way.
	for _, good := range []func(way) bool{
		func(w way) bool { return w.part != "full" },
		func(w way) bool { return parts[w.part].once || w.times >= recordRounds },
	} {
		if some := slices.DeleteFunc(slices.Clone(ways), func(w way) bool { return !good(w) }); len(some) > 0 {
			ways = some
		}
	}
	w := ways[rng.IntN(len(ways))]
	f := fate{Part: w.part, Point: point, Hit: 1 + rng.IntN(w.times), End: endKill, Seed: rng.Uint64()}
	once := parts[w.part].once
	if !once {
		f.Hit = 1 + f.Hit/recordRounds
	}
	if company != "alone" && (once || rng.IntN(2) == 0) {
		f.End = endWait // so that the others certainly meet what it leaves
	}
	return f
}

// A death is to be died at a point.
type death struct {
	point, company string
	seed           uint64
}

// deaths are what comes of them.
type deaths struct {
	t    *testing.T
	ways map[string]map[string][]way // by company, by point

	mu      sync.Mutex
	at      map[string]int // by point
	in      map[string]int // by company
	missed  int
	longest time.Duration // until all had gone on
}

// die makes a victim die. If it does not come to its point another one is sent.
func (d *deaths) die(s *stage, x death) {
	rng := rand.New(rand.NewPCG(x.seed, 0))
	for range 5 {
		f := choose(x.point, d.ways[x.company][x.point], x.company, rng)
		r, err := s.run(f, x.company)
		if err != nil {
			d.t.Errorf("%s, %s: %+v", x.company, f, err)
			return
		}
		d.mu.Lock()
		d.longest = max(d.longest, r.paused)
		if r.reached {
			d.at[x.point]++
			d.in[x.company]++
		} else {
			d.missed++
		}
		d.mu.Unlock()
		if r.reached {
			return
		}
	}
}

// plan returns each death that there can be, or else one at each point.
func (d *deaths) plan(each bool) (all []death) {
	at := map[string][]death{}
	for _, company := range companies {
		for point := range d.ways[company] {
			d.at[point] = 0
			at[point] = append(at[point], death{point: point, company: company})
		}
	}
	for i, point := range slices.Sorted(maps.Keys(at)) {
		if each {
			all = append(all, at[point]...)
		} else {
			all = append(all, at[point][i%len(at[point])])
		}
	}
	return all
}

// report logs the figures, and returns an error for each point that nobody died at.
func (d *deaths) report() {
	d.t.Helper()
	var table strings.Builder
	total := 0
	for _, point := range slices.Sorted(maps.Keys(d.at)) {
		fmt.Fprintf(&table, "\n%6d %s", d.at[point], point)
		total += d.at[point]
		if d.at[point] == 0 {
			d.t.Errorf("nobody died %s", point)
		}
	}
	d.t.Logf("deaths at each point:%s", &table)
	d.t.Logf("%d deaths at %d points: %v; %d victims did not come to their point and were followed by others; "+
		"all went on within %v", total, len(d.at), d.in, d.missed, d.longest)
}

// killing returns with how many seeds each point is tried in each company, and for how
// long.
func killing(t testing.TB) (seeds int, duration time.Duration) {
	switch os.Getenv("SHAREKV_TEST") {
	case "ci":
		return 10, 0
	case "soak":
		return 1, soak.Duration(t)
	}
	return 0, 0
}

// A point lies between two things that others can see a process do.
func TestProcessKilledAtAnyPointHarmsNobody(t *testing.T) {
	seeds, duration := killing(t)
	rng := seeded(t)
	stages := newStages(t, rng)
	d := &deaths{t: t, ways: map[string]map[string][]way{}, at: map[string]int{}, in: map[string]int{}}
	for _, company := range companies {
		d.ways[company] = stages[0].record(company, rng)
	}
	all := d.plan(seeds > 0)
	begin := time.Now()
	sendAll(stages, func(yield func(death) bool) {
		for n := 0; n < max(seeds, 1) || time.Since(begin) < duration; n++ {
			rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			for _, x := range all {
				x.seed = rng.Uint64()
				if t.Failed() || !yield(x) {
					return
				}
			}
		}
	}, d.die)
	if !t.Failed() {
		d.report()
	}
}

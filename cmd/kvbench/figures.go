package main

import (
	"slices"
	"time"
)

// figures are what is told of one round, or of several.
type figures struct {
	Rate     float64       `json:"commits_per_second"`
	Ratio    *float64      `json:"ratio_to_lmdb,omitempty"` // of the rates in the same round
	P50      time.Duration `json:"p50_ns"`
	P99      time.Duration `json:"p99_ns"`
	Max      time.Duration `json:"max_ns"`
	Fairness float64       `json:"fairness"` // commits of the slowest worker for one of the fastest
	Late     time.Duration `json:"late_ns"`  // how long after the others the last worker began, at most

	PerFlush float64 `json:"commits_per_flush,omitempty"` // that one flush made durable, where the engine counts them
}

func (r *result) figures(duration time.Duration) figures {
	f := figures{
		P50: r.latencies.quantile(0.50),
		P99: r.latencies.quantile(0.99),
		Max: r.latencies.max,
	}
	slowest, fastest, sum := r.workers[0].Within, uint64(0), uint64(0)
	for _, w := range r.workers {
		slowest, fastest, sum = min(slowest, w.Within), max(fastest, w.Within), sum+w.Within
		f.Late = max(f.Late, w.Late)
	}
	f.Rate = float64(sum) / duration.Seconds()
	if r.flushes > 0 {
		f.PerFlush = float64(r.commits) / float64(r.flushes)
	}
	if fastest > 0 {
		f.Fairness = float64(slowest) / float64(fastest)
	}
	return f
}

// compareWith sets the ratio to the rate of LMDB.
func (f *figures) compareWith(reference *figures) {
	if reference.Rate > 0 {
		ratio := f.Rate / reference.Rate
		f.Ratio = &ratio
	}
}

// A summary of rounds holds the median of each figure, and the greatest Max and Late.
type summary struct {
	figures
	RateMin float64 `json:"commits_per_second_min"`
	RateMax float64 `json:"commits_per_second_max"`
}

func summarize(rounds []figures) (s summary) {
	s.Rate = medianOf(rounds, func(f figures) float64 { return f.Rate })
	s.P50 = medianOf(rounds, func(f figures) time.Duration { return f.P50 })
	s.P99 = medianOf(rounds, func(f figures) time.Duration { return f.P99 })
	s.Fairness = medianOf(rounds, func(f figures) float64 { return f.Fairness })
	s.PerFlush = medianOf(rounds, func(f figures) float64 { return f.PerFlush })
	s.RateMin, s.RateMax = rounds[0].Rate, rounds[0].Rate
	var ratios []float64
	for _, f := range rounds {
		s.RateMin, s.RateMax = min(s.RateMin, f.Rate), max(s.RateMax, f.Rate)
		s.Max, s.Late = max(s.Max, f.Max), max(s.Late, f.Late)
		if f.Ratio != nil {
			ratios = append(ratios, *f.Ratio)
		}
	}
	if len(ratios) > 0 {
		ratio := median(ratios)
		s.Ratio = &ratio
	}
	return s
}

func medianOf[T float64 | time.Duration](rounds []figures, figure func(figures) T) T {
	var values []T
	for _, f := range rounds {
		values = append(values, figure(f))
	}
	return median(values)
}

// median returns the middle of at least one value, or the mean of the two middle ones.
func median[T float64 | time.Duration](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

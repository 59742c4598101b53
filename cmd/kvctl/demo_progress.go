package main

import (
	"fmt"
	"time"

	"github.com/vbauerster/mpb/v8/decor"
)

// demoProgress shows how far the writers are: a bar on a terminal, and a few lines
// everywhere else.
type demoProgress struct {
	*demo
	bar     *progressBar
	quarter int // of the records, printed last
}

func (d *demo) showProgress() *demoProgress {
	bar := newProgressBar(d.messages, int64(len(d.records)), decor.CountersNoUnit("%d of %d records"),
		decor.Any(func(decor.Statistics) string { return fmt.Sprintf(", %d snapshots", d.snapshots()) }))
	return &demoProgress{demo: d, bar: bar}
}

// until shows progress until done says so.
func (p *demoProgress) until(done func() bool) {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for !done() {
		<-tick.C
		p.show()
	}
}

func (p *demoProgress) show() {
	n := p.written()
	p.bar.set(int64(n))
	if q := 4 * n / len(p.records); p.bar == nil && q > p.quarter {
		p.quarter = q
		p.say("%3d%%  %d records, %d snapshots", 25*q, n, p.snapshots())
	}
}

// say prints a line, above the bar if there is one.
func (p *demoProgress) say(format string, args ...any) {
	fmt.Fprintf(p.bar.above(p.messages), format+"\n", args...)
}

func (p *demoProgress) end() {
	p.show()
	p.bar.end()
}

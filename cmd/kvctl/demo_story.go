package main

import (
	"fmt"
	"time"

	"github.com/vbauerster/mpb/v8/decor"

	"github.com/sharekv/sharekv/testdata"
)

func (d *demo) printIntroduction() {
	fmt.Fprintf(d.out, `%d writers and %d readers, each a process of its own, share one store
with no server in between. The writers add the %d records of the Unicode character
database, %d in a transaction that also advances a counter; each commit is on disk
before the next begins. The readers take snapshot after snapshot, compare every byte,
and count: the records must be as many as the counters say. After a third of the
work, writer 1 is killed where it hurts most: in the middle of a transaction, with
the write lock in its hand. Another process goes on in its place.

`, demoWriters, demoReaders, len(d.records), demoBatch)
}

// printResult prints what each process did, and the proof.
func (d *demo) printResult() {
	d.printWork()
	d.printProof()
	r := d.checked
	fmt.Fprintf(d.out, `
space:
  %d pages of %d bytes: %d hold data, %d are free, %d retired; each commit wrote the
  pages that it changed to free ones, and those that it replaced become free again
  the file has % .1f, for % .1f of records
`, r.Pages, r.PageSize, r.Reachable, r.Free, r.Retired,
		decor.SizeB1024(d.fileSize), decor.SizeB1024(len(testdata.Unicode)))
}

func (d *demo) printWork() {
	fmt.Fprintf(d.out, "\n%-9s %7s %13s %9s %10s %9s %8s %8s %8s\n",
		"process", "pid", "transactions", "per s", "records", "per s", "p50 ms", "p99 ms", "max ms")
	for _, w := range d.crew.members {
		r := w.report()
		latency := "  killed"
		if r.Done {
			latency = fmt.Sprintf("%8.2f %8.2f %8.2f", ms(r.P50), ms(r.P99), ms(r.Max))
		}
		fmt.Fprintf(d.out, "%-9s %7d %13d %9.0f %10d %9.0f %s\n", w.name, w.pid(),
			r.Transactions, perSecond(r.Transactions, r.Elapsed),
			r.Records, perSecond(r.Records, r.Elapsed), latency)
	}
}

func (d *demo) printProof() {
	revs := 0
	for _, r := range d.readers {
		revs = max(revs, r.report().Revs)
	}
	victim := d.kill.victim
	fmt.Fprintf(d.out, `
proved:
  %d snapshots taken (one reader saw %d different revisions), all consistent:
  records and counters agree in each, every byte is right, and none is older than
  the one before
  killed %s, pid %d, after %d acknowledged transactions, in the middle of the
  next; its lock passed on in %.1f ms; nothing acknowledged is missing, and nothing
  of its last transaction is there; %s went on where it had stopped
  %d of %d records arrived, each acknowledged once
  check: %d pages, %d entries, no damage
`, d.snapshots(), revs,
		victim.name, victim.pid(), victim.report().Transactions, ms(d.kill.passedOn), d.kill.heir.name,
		len(d.records), len(d.records), d.checked.Pages, d.checked.Entries)
}

func perSecond(n int, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// printNext tells a newcomer how to go on.
func (d *demo) printNext(kept bool) {
	kvctl := invocation()
	fmt.Fprintf(d.out, "\nnext, in your shell:\n")
	fmt.Fprintf(d.out, "  %s -s notes.kv put greeting hello\n", kvctl)
	fmt.Fprintf(d.out, "  %s -s notes.kv get greeting\n", kvctl)
	if kept {
		fmt.Fprintf(d.out, "  %s -s \"%s\" scan --prefix U+1F60\n", kvctl, d.path)
	} else {
		fmt.Fprintf(d.out, "  %s demo --keep     (and look into the store with scan)\n", kvctl)
	}
}

package main

import (
	"encoding/json"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/sharekv/sharekv/store"
)

const (
	reportEvery = 50 * time.Millisecond // between two reports of a reader
	lookAgain   = time.Millisecond      // after a snapshot with nothing new, for the writers' sake
)

// The orders that a worker takes from its stdin. The end of stdin means: stop.
const (
	orderBegin = 'b'
	orderHalt  = 'h' // in the middle of a transaction, with the write lock
)

// A workReport is a line of JSON that a worker of the demo prints: the first when
// it is ready, one after its first transaction, some on the way, and the last with
// Done. A writer prints one after every transaction, once it is told that it is
// stored: what the reports say has been acknowledged.
type workReport struct {
	Transactions int
	Records      int  // written, or read and compared
	Revs         int  // different revisions that a reader saw
	Halted       bool // by order, in a transaction that is not among Transactions
	Done         bool
	Elapsed      time.Duration
	P50          time.Duration // this and the following only with Done
	P99          time.Duration
	Max          time.Duration
}

// demoJob says what a worker is to do.
type demoJob struct {
	role    string // writer or reader
	id      int    // from 0, among those of its role
	writers int
	batch   int // records to a transaction
}

// newDemoWorkerCommand is one process of the demo. It stops when stdin ends, and so
// also when the demo dies.
func newDemoWorkerCommand(s *storeFlags) *cobra.Command {
	var job demoJob
	cmd := &cobra.Command{
		Use:    "demo-worker",
		Short:  "One process of the demo.",
		Hidden: true,
		Args:   wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := store.Options{MustExist: true, ReadOnly: job.role == "reader"}
			return s.with(o, func(db *store.DB) error {
				return job.run(db, cmd.InOrStdin(), cmd.OutOrStdout())
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&job.role, "role", "", "writer or reader")
	flags.IntVar(&job.id, "id", 0, "which one, from 0")
	flags.IntVar(&job.writers, "writers", 1, "how many writers there are")
	flags.IntVar(&job.batch, "batch", 1, "records to a transaction")
	return cmd
}

// A shift is a worker at work.
type shift struct {
	demoJob
	db      *store.DB
	reports *json.Encoder
	report  workReport // the newest
	halt    atomic.Bool
	stop    chan struct{} // closed when stdin ends
}

// run works until there is nothing left to do or in ends, and reports to out.
func (j demoJob) run(db *store.DB, in io.Reader, out io.Writer) error {
	s := &shift{demoJob: j, db: db, reports: json.NewEncoder(out), stop: make(chan struct{})}
	step, err := s.steps()
	if err != nil {
		return err
	}
	if err := s.reports.Encode(s.report); err != nil {
		return err
	}
	if _, err := io.ReadFull(in, make([]byte, 1)); err != nil {
		return errors.Wrap(err, "wait for the beginning")
	}
	go s.takeOrders(in)
	return s.work(step)
}

func (s *shift) takeOrders(in io.Reader) {
	defer close(s.stop)
	order := make([]byte, 1)
	for {
		if _, err := io.ReadFull(in, order); err != nil {
			return
		}
		if order[0] == orderHalt {
			s.halt.Store(true)
		}
	}
}

// work does one step after another. A step returns how many records it wrote or
// read, and how many revisions were seen so far.
func (s *shift) work(step func() (records, revs int, err error)) error {
	var latency []time.Duration
	start := time.Now()
	next := start
	r := &s.report
	for more := true; more; {
		select {
		case <-s.stop: // one more, so that a reader sees what all writers left
			more = false
		default:
		}
		began := time.Now()
		records, revs, err := step()
		if err != nil {
			return err
		}
		if s.role == "writer" && records == 0 {
			break
		}
		now := time.Now()
		latency = append(latency, now.Sub(began))
		r.Transactions++
		r.Records += records
		r.Elapsed = now.Sub(start)
		if s.role == "reader" && revs == r.Revs {
			time.Sleep(lookAgain)
		}
		r.Revs = revs
		if s.role == "writer" || !now.Before(next) {
			next = now.Add(reportEvery)
			if err := s.reports.Encode(r); err != nil {
				return err
			}
		}
	}
	r.Done = true
	r.P50, r.P99, r.Max = percentiles(latency)
	return s.reports.Encode(r)
}

// steps returns the function that does one transaction.
func (s *shift) steps() (func() (records, revs int, err error), error) {
	data := demoRecords(s.writers)
	switch s.role {
	case "writer":
		b := batches{writer: s.id, own: recordsOf(s.id, data), size: s.batch, halfway: s.halfway}
		return func() (n, _ int, err error) {
			err = s.db.Update(func(tx *store.Tx) error {
				n, err = b.add(tx)
				return err
			})
			return n, 0, err
		}, nil
	case "reader":
		var w witness
		return func() (int, int, error) {
			err := s.db.View(func(tx *store.Tx) error {
				snap, err := takeSnapshot(tx, data, s.writers)
				if err != nil {
					return err
				}
				return w.see(snap)
			})
			return w.last.total(), w.revs, err
		}, nil
	}
	return nil, usageErrorf("--role %q is neither writer nor reader", s.role)
}

// halfway stands still if that was the order, and never lets the transaction go on:
// the worker is killed here, or stops.
func (s *shift) halfway() error {
	if !s.halt.Load() {
		return nil
	}
	halted := s.report
	halted.Halted = true
	if err := s.reports.Encode(halted); err != nil {
		return err
	}
	<-s.stop
	return errors.New("stopped in the middle of a transaction")
}

// percentiles sorts d.
func percentiles(d []time.Duration) (p50, p99, most time.Duration) {
	if len(d) == 0 {
		return 0, 0, 0
	}
	slices.Sort(d)
	return d[len(d)/2], d[len(d)*99/100], d[len(d)-1]
}

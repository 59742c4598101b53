package main

import (
	"encoding/json"
	"io"
	"slices"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/sharekv/sharekv/store"
)

const (
	reportEvery = 50 * time.Millisecond // between two reports of a worker
	lookAgain   = time.Millisecond      // after a snapshot with nothing new, for the writers' sake
)

// A workReport is a line of JSON that a worker of the demo prints: the first when
// it is ready, one after its first transaction, some on the way, and the last with
// Done.
type workReport struct {
	Transactions int
	Records      int // written, or read and compared
	Revs         int // different revisions that a reader saw
	Done         bool
	Elapsed      time.Duration // this and the following only with Done
	P50          time.Duration
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

// newDemoWorkerCommand is one process of the demo. It begins with the first byte
// of its stdin and stops when stdin ends, and so also when the demo dies.
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

// run works until there is nothing left to do or in ends, and reports to out.
func (j demoJob) run(db *store.DB, in io.Reader, out io.Writer) error {
	step, err := j.steps(db)
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(out)
	if err := encoder.Encode(workReport{}); err != nil {
		return err
	}
	if _, err := io.ReadFull(in, make([]byte, 1)); err != nil {
		return errors.Wrap(err, "wait for the beginning")
	}
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		io.Copy(io.Discard, in)
	}()
	var (
		report  workReport
		latency []time.Duration
		start   = time.Now()
		next    = start
	)
	for more := true; more; {
		select {
		case <-stop: // one more, so that a reader sees what all writers left
			more = false
		default:
		}
		began := time.Now()
		records, revs, err := step()
		if err != nil {
			return err
		}
		if j.role == "writer" && records == 0 {
			break
		}
		now := time.Now()
		latency = append(latency, now.Sub(began))
		report.Transactions++
		report.Records += records
		if j.role == "reader" && revs == report.Revs {
			time.Sleep(lookAgain)
		}
		report.Revs = revs
		if !now.Before(next) {
			next = now.Add(reportEvery)
			if err := encoder.Encode(report); err != nil {
				return err
			}
		}
	}
	report.Done = true
	report.Elapsed = time.Since(start)
	report.P50, report.P99, report.Max = percentiles(latency)
	return encoder.Encode(report)
}

// steps returns a function that does one transaction and returns how many
// records it wrote or read, and how many revisions were seen so far.
func (j demoJob) steps(db *store.DB) (func() (records, revs int, err error), error) {
	data := demoRecords(j.writers)
	switch j.role {
	case "writer":
		own := recordsOf(j.id, data)
		return func() (n, _ int, err error) {
			err = db.Update(func(tx *store.Tx) error {
				n, err = addBatch(tx, j.id, own, j.batch)
				return err
			})
			return n, 0, err
		}, nil
	case "reader":
		var w witness
		return func() (int, int, error) {
			err := db.View(func(tx *store.Tx) error {
				s, err := takeSnapshot(tx, data, j.writers)
				if err != nil {
					return err
				}
				return w.see(s)
			})
			return w.last.total(), w.revs, err
		}, nil
	}
	return nil, usageErrorf("--role %q is neither writer nor reader", j.role)
}

// percentiles sorts d.
func percentiles(d []time.Duration) (p50, p99, most time.Duration) {
	if len(d) == 0 {
		return 0, 0, 0
	}
	slices.Sort(d)
	return d[len(d)/2], d[len(d)*99/100], d[len(d)-1]
}

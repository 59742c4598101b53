package main

import (
	"context"
	"fmt"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/store"
)

// A kill is what came of killing a writer.
type kill struct {
	victim, heir *worker
	passedOn     time.Duration // until another process, the demo's own, had the write lock
}

// killWriter kills a writer where it hurts most: it has the write lock, and its
// transaction has added records but not yet advanced the counter. Then it proves
// that nothing is missing and nothing half-done is there, and starts another
// writer that goes on with the same records.
func (d *demo) killWriter(ctx context.Context) error {
	victim := d.writers[0]
	victim.halt()
	if !victim.until(func(r workReport) bool { return r.Halted }) {
		err := errors.Newf("%s ended before it could be killed", victim.name)
		return errors.CombineErrors(victim.wait(), err)
	}
	acknowledged := d.acknowledged()
	start := time.Now()
	if err := victim.kill(); err != nil {
		return err
	}
	d.kill.victim = victim
	err := d.db.UpdateContext(ctx, func(tx *store.Tx) error {
		d.kill.passedOn = time.Since(start)
		s, err := takeSnapshot(tx, d.records, demoWriters)
		if err != nil {
			return err
		}
		return errors.Wrapf(proveAcknowledged(s, acknowledged, victim.id), "after the death of %s", victim.name)
	})
	if err = errors.CombineErrors(err, victim.wait()); err != nil {
		return err
	}
	name := fmt.Sprintf("writer %d", len(d.writers)+1)
	if d.kill.heir, err = d.crew.start(ctx, name, "writer", victim.id); err != nil {
		return err
	}
	d.writers = append(d.writers, d.kill.heir)
	d.kill.heir.begin()
	return nil
}

// acknowledged returns how many records of each writer are known to be stored.
func (d *demo) acknowledged() []int {
	n := make([]int, demoWriters)
	for _, w := range d.writers {
		n[w.id] += w.report().Records
	}
	return n
}

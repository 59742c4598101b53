package mmapfile

import (
	"context"
	"time"
)

// Turn is tested by itself: what can go wrong in it takes an instant.
type Turn = turn

func (t *turn) Take(ctx context.Context) error { return t.take(ctx) }
func (t *turn) Own()                           { t.own() }
func (t *turn) Disown() (owned, open bool)     { return t.disown() }
func (t *turn) Give()                          { t.give() }
func (t *turn) Shut()                          { t.shut() }

// WithoutNet makes a wake-up that is lost stay lost, so that a test can see it.
func (w *Waiter) WithoutNet() *Waiter {
	w.nap = 24 * time.Hour
	return w
}

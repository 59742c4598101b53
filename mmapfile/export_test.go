package mmapfile

import "context"

// Turn is tested by itself: what can go wrong in it takes an instant.
type Turn = turn

func (t *turn) Take(ctx context.Context) error { return t.take(ctx) }
func (t *turn) Own()                           { t.own() }
func (t *turn) Disown() (owned, open bool)     { return t.disown() }
func (t *turn) Give()                          { t.give() }
func (t *turn) Shut()                          { t.shut() }

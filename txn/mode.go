package txn

import (
	"context"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
)

// setMode joins the mode that the store is open in, or sets it if nobody has come to
// write yet. Who takes any leaves it to those who come later, and has its own commits
// durable. Requires the area's gate.
func (s *Store) setMode(o *Options) error {
	if o.Async < 0 {
		return errors.Newf("txn: %v is no time to wait before a flush", o.Async)
	}
	if s.readOnly {
		return nil
	}
	if o.AnyMode && o.Async == 0 && s.shared.mode.Load() == modeUnset {
		s.settles = true
		return nil
	}
	mine := modeSync + uint64(o.Async)
	if o.Memory {
		mine = modeMemory
	}
	if s.shared.mode.CompareAndSwap(modeUnset, mine) || o.AnyMode {
		return nil
	}
	if now := s.Interval(); now != o.Async {
		return errors.WithHint(errors.Wrapf(ErrModeDiffers, "it is %s, not %s", modeName(now), modeName(o.Async)),
			"open it with the same Options.Async as the others, or with Options.AnyMode")
	}
	return nil
}

func modeName(interval time.Duration) string {
	if interval == 0 {
		return "Sync"
	}
	return "Async(" + interval.String() + ")"
}

// Interval returns after which time commits are made durable, 0 if before they
// return, or never. Once set it stays the same as long as anybody has the store open.
func (s *Store) Interval() time.Duration {
	mode := s.shared.mode.Load()
	if mode == modeMemory {
		return 0
	}
	return time.Duration(max(mode, modeSync) - modeSync)
}

// memory reports whether there is nothing that lasts, and so nothing to wait for.
func (s *Store) memory() bool { return s.shared.mode.Load() == modeMemory }

// async reports whether commits return, and are seen, before they are durable.
func (s *Store) async() bool { return s.shared.mode.Load() > modeSync }

// visible returns the record that readers take.
func (s *Store) visible() *record {
	if s.async() && s.shared.poison.Load() == 0 {
		return &s.shared.head
	}
	return &s.shared.durable
}

// Lost reports whether the snapshot may never become durable, because a flush has
// failed since it was published.
func (r *Reader) Lost() bool {
	sh := &r.store.shared
	return r.store.async() && sh.poison.Load() != 0 && r.Snapshot.TxID > sh.durable.txid()
}

// reusable returns up to which death pages may be reused, unless a snapshot that is
// pinned needs them. Where each commit is flushed, those that died before the other meta
// page's snapshot are enough, and no meta page needs any. So it must be after the death
// of a leader, too: its meta page may have got to the disk and is not known.
func (s *Store) reusable(base index.TxID, durable *commit) index.TxID {
	if s.memory() || s.async() && index.TxID(s.shared.suspect.Load()) <= durable.txid {
		return base
	}
	return durable.other
}

// Sync returns when all that was published before is durable. ctx, and the handle's
// patience, bound the wait for somebody else's flush.
func (s *Store) Sync(ctx context.Context) error {
	switch {
	case s.readOnly:
		return ErrReadOnly
	case s.memory():
		return nil
	}
	return s.settle(ctx, s.shared.head.txid())
}

package mmapfile

import (
	"context"
	"sync"
	"time"

	"github.com/cockroachdb/errors"
)

// Where a data file is locked to tell which area it is used with: one byte for
// every nonce, so far behind any data that nothing else is ever locked or stored
// there.
const (
	bindBase  int64 = 1 << 61
	nonceBits       = 40
	nonceEnd        = 1 << nonceBits
)

// bindTimeout is how long Bind disbelieves that there is another area. A killed
// process may lose its place in the area an instant before its lock on the data
// file, and on Windows somebody else who looks is mistaken for somebody who stays.
const bindTimeout = time.Second / 2

// A binding is the lock of a Mapping that says which area its file is used with.
type binding struct {
	sync.Mutex
	nonce uint64 // 0 = none
}

// Bind says that this process uses the file with the area that has the nonce, and
// lasts until Close. ErrSplit means that the file is in use with another area,
// whose members know nothing of those of this one. It comes after half a second, for
// others that are just leaving are waited for. Of two that bind with different
// nonces at the same time at most one gets it. It works on a read-only Mapping too.
//
// Requires that every Mapping that is bound is closed, or unbound, before its area is
// left: otherwise the next area comes too early.
func (m *Mapping) Bind(nonce uint64) error {
	if nonce == 0 || nonce >= nonceEnd {
		return errors.AssertionFailedf("mmapfile: %#x is the nonce of no area", nonce)
	}
	if err := m.enter(); err != nil {
		return err
	}
	defer m.life.RUnlock()
	m.bound.Lock()
	defer m.bound.Unlock()
	var err error
	if m.bound.nonce == 0 {
		ctx, cancel := context.WithTimeoutCause(context.Background(), bindTimeout, ErrSplit)
		defer cancel()
		err = waitLock(ctx, func() (bool, error) { return m.tryBind(nonce) })
	} else if m.bound.nonce != nonce {
		err = ErrSplit
	}
	if errors.Is(err, ErrSplit) {
		return errors.WithHint(errors.Wrapf(err, "%s", m.path),
			"stop everything that uses the file, and start it again; never remove the lock file of a file "+
				"that is in use, and do not open it in another directory, by a hard link or by a bind mount "+
				"of the single file")
	}
	if err == nil {
		m.bound.nonce = nonce
	}
	return err
}

// tryBind takes the lock of the nonce, and keeps it if nobody has that of another
// one. The lock comes first and the look second: so of two one sees the other. It
// is not kept between two tries, lest others take this process for one that stays.
func (m *Mapping) tryBind(nonce uint64) (bool, error) {
	at := bindBase + int64(nonce)
	got, err := tryShareByte(m.file, at)
	if err != nil || !got {
		return false, err
	}
	// One byte more is looked at than can be locked, so that no side is empty.
	below, err := anyLocked(m.file, bindBase, at-bindBase)
	above := false
	if err == nil && !below {
		above, err = anyLocked(m.file, at+1, bindBase+nonceEnd-at)
	}
	if err != nil || below || above {
		unlockBytes(m.file, at, 1)
		return false, err
	}
	return true, nil
}

// Unbind takes back what Bind has said. After Close it does nothing.
func (m *Mapping) Unbind() {
	m.life.Lock()
	defer m.life.Unlock()
	if !m.closed {
		m.unbind()
	}
}

// unbind frees the lock. Requires life exclusively. That the file is closed next
// is not enough: a child that this process is just starting may hold the
// description a moment longer.
func (m *Mapping) unbind() {
	if m.bound.nonce != 0 {
		unlockBytes(m.file, bindBase+int64(m.bound.nonce), 1)
		m.bound.nonce = 0
	}
}

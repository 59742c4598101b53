package crashsim

import (
	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/mmapfile"
)

// Operation is what a process asks of the disk.
type Operation struct {
	Name string // "store", "push", "flush", "grow" or "flush of growth"
	Off  int64  // of a store
	Data []byte // of a store, the first of it
}

// Handle is the disk as one process has it open, with hooks of its own. It implements
// txn.Storage.
type Handle struct {
	*Disk

	// Before and After are as Op and Done of Disk, which are called too, but for Push.
	Before func(Operation) error
	After  func(Operation)

	told int // failed flushes that this handle knows of
}

// Handle opens the disk once more.
func (d *Disk) Handle() *Handle { return &Handle{Disk: d, told: d.failures()} }

// Store implements txn.Storage.
func (h *Handle) Store(off int64, bufs [][]byte) error {
	op := Operation{Name: "store", Off: off}
	if len(bufs) > 0 {
		op.Data = bufs[0]
	}
	return h.do(op, func() error { return h.store(int(off), bufs) })
}

// Push implements txn.Storage.
func (h *Handle) Push() error {
	op := Operation{Name: "push"}
	if h.Before != nil {
		if err := h.Before(op); err != nil {
			return err
		}
	}
	if h.After != nil {
		h.After(op)
	}
	return nil
}

// Flush implements txn.Storage.
func (h *Handle) Flush() error { return h.flush("flush") }

// Grow implements txn.Storage.
func (h *Handle) Grow(size int64) error {
	if err := h.do(Operation{Name: "grow"}, func() error { return h.grow(int(size)) }); err != nil {
		return err
	}
	return h.flush("flush of growth")
}

// flush brings what was stored before to the medium.
func (h *Handle) flush(name string) error {
	op, stores := Operation{Name: name}, h.stored()
	if err := h.before(op); err != nil {
		h.Drop()
		h.told = h.failures()
		return errors.Wrapf(mmapfile.ErrFlush, "%v", err)
	}
	h.settle(stores)
	if failed := h.failures(); h.TellAll && failed > h.told {
		h.told = failed
		return errors.Wrapf(mmapfile.ErrFlush, "a flush of another handle failed")
	}
	h.after(op)
	return nil
}

func (h *Handle) do(op Operation, change func() error) error {
	if err := h.before(op); err != nil {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	h.after(op)
	return nil
}

func (h *Handle) before(op Operation) error {
	if h.Before != nil {
		if err := h.Before(op); err != nil {
			return err
		}
	}
	if h.Op != nil {
		return h.Op(op.Name)
	}
	return nil
}

func (h *Handle) after(op Operation) {
	if h.After != nil {
		h.After(op)
	}
	if h.Done != nil {
		h.Done(op.Name)
	}
}

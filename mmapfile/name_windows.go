package mmapfile

import (
	"os"
	"runtime"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/windows"
)

// A nameHold keeps a name in existence: it is a section of the page file that has
// the name and holds the record. A section of the file itself would not do, for it
// cannot tell the path, which everybody needs to map what the file grows by.
type nameHold struct{ section windows.Handle }

// createName makes the name stand for r, or joins those for whom it does.
func createName(name objectName, r nameRecord) (h *nameHold, err error) {
	content, err := r.encode()
	if err != nil {
		return nil, err
	}
	err = atNameGate(name.scope, func() error {
		h, err = createSectionOfName(name, r, content)
		return err
	})
	return h, errors.Wrapf(err, "name %q", name)
}

func createSectionOfName(name objectName, r nameRecord, content []byte) (*nameHold, error) {
	name16, err := windows.UTF16PtrFromString(name.String())
	if err != nil {
		return nil, errors.Wrapf(ErrName, "%v", err)
	}
	section, err := windows.CreateFileMapping(windows.InvalidHandle, nil, windows.PAGE_READWRITE, 0, recordMost, name16)
	if section == 0 {
		return nil, nameError("CreateFileMapping", err)
	}
	there := err == windows.ERROR_ALREADY_EXISTS
	err = withRecord(section, windows.FILE_MAP_WRITE, func(mem []byte) error {
		if !there {
			copy(mem, content)
			return nil
		}
		held, err := decodeRecord(mem)
		if err == nil {
			err = held.conflict(r)
		}
		return err
	})
	if err != nil {
		return nil, errors.CombineErrors(err, closeHandle(section))
	}
	return &nameHold{section}, nil
}

// openName joins those who hold the name.
func openName(name objectName) (h *nameHold, r nameRecord, err error) {
	err = atNameGate(name.scope, func() error {
		section, err := openFileMapping(name.String(), windows.FILE_MAP_READ)
		if err != nil {
			return nameError("OpenFileMapping", err)
		}
		h = &nameHold{section}
		err = withRecord(h.section, windows.FILE_MAP_READ, func(mem []byte) error {
			r, err = decodeRecord(mem)
			return err
		})
		if err != nil {
			err = errors.CombineErrors(err, h.close())
		}
		return err
	})
	return h, r, errors.Wrapf(err, "name %q", name)
}

func nameError(op string, err error) error {
	switch err {
	case windows.ERROR_FILE_NOT_FOUND:
		return ErrNotExist
	case windows.ERROR_INVALID_HANDLE:
		return errors.Wrapf(ErrWrongKind, "it is not a mapping")
	}
	return os.NewSyscallError(op, err)
}

func withRecord(section windows.Handle, access uint32, use func(mem []byte) error) error {
	addr, err := mapAnywhere(section, access, 0, recordMost)
	if err != nil {
		// Somebody else's sections may well be shorter.
		return errors.Wrapf(ErrWrongKind, "not an object of this library: %v", err)
	}
	mem := memoryAt(addr, recordMost)
	return errors.CombineErrors(use(mem), unmapShared(mem))
}

func (h *nameHold) close() error { return closeHandle(h.section) }

// atNameGate runs a function while no other process creates or opens a name, so
// that nobody sees a record that is only half there.
func atNameGate(scope string, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	name16, err := windows.UTF16PtrFromString(scope + `\sharekv-names`)
	if err != nil {
		return err
	}
	gate, err := windows.CreateMutex(nil, false, name16)
	if gate == 0 {
		return os.NewSyscallError("CreateMutex", err)
	}
	event, err := windows.WaitForSingleObject(gate, uint32(nameTimeout.Milliseconds()))
	switch event {
	case windows.WAIT_OBJECT_0, windows.WAIT_ABANDONED:
		err = f()
		err = errors.CombineErrors(err, os.NewSyscallError("ReleaseMutex", windows.ReleaseMutex(gate)))
	case uint32(windows.WAIT_TIMEOUT):
		err = os.ErrDeadlineExceeded
	default:
		err = os.NewSyscallError("WaitForSingleObject", err)
	}
	return errors.CombineErrors(err, closeHandle(gate))
}

package mmapfile

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/windows"
)

// A nameHold keeps a name in existence: it is a section of the page file that has
// the name and holds the record. A section of the file itself would not do, for it
// cannot tell the path, which everybody needs to map what the file grows by.
type nameHold struct {
	name    objectName
	section windows.Handle
}

// bodyPath returns where the body of an object is. A name may have letters that a path
// must not have, and processes may have different ideas of where temporary files go. Each
// session of a user has local names of its own.
func bodyPath(name objectName) (string, error) {
	dir, err := windows.KnownFolderPath(windows.FOLDERID_LocalAppData, windows.KF_FLAG_DEFAULT)
	if err != nil {
		return "", os.NewSyscallError("SHGetKnownFolderPath", err)
	}
	dir = filepath.Join(dir, "sharekv", "objects")
	scope, err := scopeInPath(name.scope)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(name.base))
	file := fmt.Sprintf("%s.%.100s.%x", scope, inPath(name.base), sum[:16])
	return filepath.Join(dir, file), os.MkdirAll(dir, 0o700)
}

func scopeInPath(scope string) (string, error) {
	if scope != scopeLocal {
		return scope, nil
	}
	var session uint32
	if err := windows.ProcessIdToSessionId(windows.GetCurrentProcessId(), &session); err != nil {
		return "", os.NewSyscallError("ProcessIdToSessionId", err)
	}
	return fmt.Sprintf("%s-%d", scope, session), nil
}

// inPath replaces what a path must not have. Names that differ there only, or in upper
// and lower case, have other sums.
func inPath(base string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || strings.ContainsRune(`<>:"/\|?*.`, r) {
			return '_'
		}
		return r
	}, base)
}

// eachName calls fn for each name that has a body, and removes what fn says; nobody holds
// that.
func eachName(fn func(ObjectInfo) (remove bool)) error {
	path, err := bodyPath(objectName{})
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	for _, scope := range []string{scopeLocal, scopeGlobal} {
		err := atNameGate(scope, func() error { return eachBody(dir, scope, fn) })
		if err != nil {
			return err
		}
	}
	return nil
}

func eachBody(dir, scope string, fn func(ObjectInfo) (remove bool)) error {
	first, err := scopeInPath(scope)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		part := strings.Split(e.Name(), ".")
		if len(part) != 3 || part[0] != first || strings.HasSuffix(e.Name(), LockSuffix) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		held, err := isOpen(path)
		if err != nil {
			return err
		}
		if fn(ObjectInfo{Name: scope + `\` + part[1], Path: path, Held: held}) && !held {
			if err := removeWithLock(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// isOpen reports whether somebody has the file open. Requires the name gate, so that it
// is in nobody's way.
func isOpen(path string) (bool, error) {
	f, err := createFileSharing(path, windows.GENERIC_READ, 0, windows.OPEN_EXISTING, 0)
	if errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, f.Close()
}

// createName makes the name stand for what first returns, or, if others hold it, calls
// join with what it stands for. Both run while nobody else creates, opens or closes the
// name.
func createName(name objectName, first func() (nameRecord, error), join func(nameRecord) error) (h *nameHold, err error) {
	err = atNameGate(name.scope, func() error {
		h, err = createSectionOfName(name, first, join)
		return err
	})
	return h, errors.Wrapf(err, "name %q", name)
}

func createSectionOfName(name objectName, first func() (nameRecord, error), join func(nameRecord) error) (*nameHold, error) {
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
		if there {
			return joinRecord(mem, join)
		}
		if err := removeBody(name); err != nil {
			return err
		}
		r, err := first()
		if err != nil {
			return err
		}
		content, err := r.encode()
		copy(mem, content)
		return err
	})
	if err != nil {
		if !there {
			_ = removeBody(name) // there is already an error to report
		}
		return nil, errors.CombineErrors(err, closeHandle(section))
	}
	return &nameHold{name, section}, nil
}

func joinRecord(mem []byte, join func(nameRecord) error) error {
	r, err := decodeRecord(mem)
	if err != nil {
		return err
	}
	return join(r)
}

// openName joins those who hold the name; join is as of createName.
func openName(name objectName, join func(nameRecord) error) (h *nameHold, err error) {
	err = atNameGate(name.scope, func() error {
		section, err := openFileMapping(name.String(), windows.FILE_MAP_READ)
		if err != nil {
			return nameError("OpenFileMapping", err)
		}
		h = &nameHold{name, section}
		err = withRecord(section, windows.FILE_MAP_READ, func(mem []byte) error { return joinRecord(mem, join) })
		if err != nil {
			h, err = nil, errors.CombineErrors(err, closeHandle(section))
		}
		return err
	})
	return h, errors.Wrapf(err, "name %q", name)
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

// close lets go of the name. The last one removes the body. Without the gate it stays, as
// a killed process would leave it.
func (h *nameHold) close() error {
	closed := false
	err := atNameGate(h.name.scope, func() error {
		closed = true
		if err := closeHandle(h.section); err != nil {
			return err
		}
		section, err := openFileMapping(h.name.String(), windows.FILE_MAP_READ)
		switch err {
		case nil:
			return closeHandle(section)
		case windows.ERROR_FILE_NOT_FOUND:
			return removeBody(h.name)
		}
		return os.NewSyscallError("OpenFileMapping", err)
	})
	if !closed {
		err = errors.CombineErrors(err, closeHandle(h.section))
	}
	return err
}

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

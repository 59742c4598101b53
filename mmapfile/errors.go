package mmapfile

import (
	"io/fs"

	"github.com/cockroachdb/errors"
)

// Errors of opening and naming.
var (
	// ErrNotExist is returned by Open for a name that nobody holds. It wraps
	// fs.ErrNotExist.
	ErrNotExist = errors.Wrap(fs.ErrNotExist, "mmapfile: no object of this name")

	// ErrName is returned for a name that breaks the rules of Options.Name.
	ErrName = errors.New("mmapfile: not a valid object name")

	// ErrWrongKind is returned where a name, or a path, belongs to something
	// else than what was asked for.
	ErrWrongKind = errors.New("mmapfile: in use for something else")

	// ErrUntrusted is returned for an object that another user could have put
	// there: a wrong owner, a directory open to others, a symbolic link.
	ErrUntrusted = errors.New("mmapfile: object cannot be trusted")

	// ErrEmpty is returned for a mapping of no bytes.
	ErrEmpty = errors.New("mmapfile: file is empty")

	// ErrVersion is returned by OpenArea when live members use the area with
	// another version, architecture or geometry.
	ErrVersion = errors.New("mmapfile: area is in use by another version")

	// ErrSplit is returned by Mapping.Bind when the file is in use with another
	// area than the one of the caller.
	ErrSplit = errors.New("mmapfile: the file is in use through another lock file")

	// ErrFull is returned by OpenArea when every member number is taken.
	ErrFull = errors.New("mmapfile: area has no free member number")
)

// Errors of use.
var (
	// ErrClosed is returned for any use after Close.
	ErrClosed = errors.New("mmapfile: closed")

	// ErrReadOnly is returned by what changes a file that was opened for
	// reading only.
	ErrReadOnly = errors.New("mmapfile: opened read-only")

	// ErrTruncated is returned where the file is shorter than what was asked
	// for.
	ErrTruncated = errors.New("mmapfile: file is too short")

	// ErrNoSpace is returned when the disk, a quota or the file size limit does
	// not allow the file to hold more.
	ErrNoSpace = errors.New("mmapfile: no space for the file")

	// ErrFlush is returned when what was stored, or the size of the file, could not
	// be brought to the disk. Nobody knows what is there then, and the system will
	// say of the next flush that it went well.
	ErrFlush = errors.New("mmapfile: flush to the disk failed")

	// ErrNoAddressSpace is returned when the process has no room to map what
	// was asked for.
	ErrNoAddressSpace = errors.New("mmapfile: no address space for the mapping")

	// ErrFault is what an access to a view becomes when the memory behind it
	// is gone: the file was cut, or the disk could not be read.
	ErrFault = errors.New("mmapfile: memory behind the view is gone")

	// ErrAbandoned is returned by Mutex.Lock when the lock is held, and its last
	// owner died holding it.
	ErrAbandoned = errors.New("mmapfile: the last owner of the lock died holding it")
)

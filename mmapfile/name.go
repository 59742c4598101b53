package mmapfile

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cockroachdb/errors"
)

const (
	nameMost = 200 // bytes of a name without its scope

	// nameTimeout is how long Create and Open wait for others that are just
	// creating, opening or closing the same name.
	nameTimeout = 10 * time.Second
)

// An objectName is a name that has been checked.
type objectName struct {
	scope string // Local or Global
	base  string
}

const (
	scopeLocal  = "Local"
	scopeGlobal = "Global"
)

func parseName(name string) (objectName, error) {
	n := objectName{scope: scopeLocal, base: name}
	for _, scope := range []string{scopeLocal, scopeGlobal} {
		rest, found := strings.CutPrefix(name, scope)
		if found && rest != "" && (rest[0] == '\\' || rest[0] == '/') {
			n = objectName{scope: scope, base: rest[1:]}
		}
	}
	switch {
	case n.base == "" || len(n.base) > nameMost:
		return n, errors.Wrapf(ErrName, "%q has not 1 to %d bytes", name, nameMost)
	case strings.ContainsAny(n.base, "\\/\x00"), strings.Contains(n.base, ".."), n.base == ".":
		return n, errors.Wrapf(ErrName, "%q has a separator, a NUL or dots", name)
	case !utf8.ValidString(n.base):
		return n, errors.Wrapf(ErrName, "%q is not UTF-8", name)
	}
	return n, nil
}

func (n objectName) String() string { return n.scope + `\` + n.base }

// A nameKind is what kind of object has a name.
type nameKind uint32

const (
	kindMapping   nameKind = 1 // of a file
	kindMemory    nameKind = 2 // a mapping of system memory
	kindMutex     nameKind = 3
	kindSemaphore nameKind = 4
	kindEvent     nameKind = 5
)

func (k nameKind) String() string {
	switch k {
	case kindMapping:
		return "mapping"
	case kindMemory:
		return "mapping of memory"
	case kindMutex:
		return "mutex"
	case kindSemaphore:
		return "semaphore"
	case kindEvent:
		return "event"
	}
	return "object of an unknown kind"
}

// LockSuffix is what the path of an area that belongs to a file ends with, behind the
// path of that file.
const LockSuffix = "-lock"

// An object that is not a file of the user's has a body: a file that is made with the
// name and goes with it. bodyPath, in the files of each system, tells its path; there
// is one for each name, so that whoever has the name alone can remove what a killed
// process has left.

// removeBody removes the body of a name, and the area that belongs to it, if there are
// any. Requires that nobody holds the name, and that nobody else tries to.
func removeBody(name objectName) error {
	path, err := bodyPath(name)
	if err != nil {
		return err
	}
	return removeWithLock(path)
}

func removeWithLock(path string) (err error) {
	for _, path := range []string{path, path + LockSuffix} {
		if e := os.Remove(path); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.CombineErrors(err, e)
		}
	}
	return err
}

// A nameRecord is what a name stands for: a file at a path.
type nameRecord struct {
	kind nameKind
	id   FileID
	path string
}

// The record in its object, in the byte order of the machine:
//
//	OFFSET  SIZE  MEANING
//	0       8     magic
//	8       4     kind
//	12      4     length of the path
//	16      16    volume and file
//	32      ...   path
const (
	recordMagic = 0x53_4b_56_4e_41_4d_45_01 // read as text: "SKVNAME" and a byte that is none
	recordHead  = 32
	pathMost    = 32 << 10
	recordMost  = recordHead + pathMost
)

func (r nameRecord) encode() ([]byte, error) {
	if len(r.path) > pathMost {
		return nil, errors.Wrapf(ErrName, "path of %d bytes", len(r.path))
	}
	var b []byte
	b = binary.NativeEndian.AppendUint64(b, recordMagic)
	b = binary.NativeEndian.AppendUint32(b, uint32(r.kind))
	b = binary.NativeEndian.AppendUint32(b, uint32(len(r.path)))
	b = binary.NativeEndian.AppendUint64(b, r.id.Volume)
	b = binary.NativeEndian.AppendUint64(b, r.id.File)
	return append(b, r.path...), nil
}

func decodeRecord(b []byte) (nameRecord, error) {
	if len(b) < recordHead || binary.NativeEndian.Uint64(b) != recordMagic {
		return nameRecord{}, errors.Wrapf(ErrWrongKind, "not an object of this library")
	}
	n := binary.NativeEndian.Uint32(b[12:])
	if uint64(n) > uint64(len(b)-recordHead) {
		return nameRecord{}, errors.Wrapf(ErrWrongKind, "damaged object")
	}
	r := nameRecord{
		kind: nameKind(binary.NativeEndian.Uint32(b[8:])),
		id: FileID{
			Volume: binary.NativeEndian.Uint64(b[16:]),
			File:   binary.NativeEndian.Uint64(b[24:]),
		},
		path: string(b[recordHead:][:n]),
	}
	if bytes.IndexByte([]byte(r.path), 0) >= 0 {
		return nameRecord{}, errors.Wrapf(ErrWrongKind, "damaged object")
	}
	return r, nil
}

// agrees tells why a name that stands for held cannot stand for r as well.
func (r nameRecord) agrees(held nameRecord) error {
	switch {
	case r.kind != held.kind:
		return errors.Wrapf(ErrWrongKind, "it is a %v, not a %v", held.kind, r.kind)
	case r.id != held.id:
		return errors.Wrapf(ErrWrongKind, "it is a %v of %s, not of %s", held.kind, held.path, r.path)
	}
	return nil
}

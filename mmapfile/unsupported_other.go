//go:build !linux && !windows

package mmapfile

import (
	"io/fs"
	"os"
	"os/exec"
	"syscall"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/word"
)

// errUnsupported is the answer of every operation on systems that have not been
// taught the primitives of this package. The error number is errors.ErrUnsupported
// to errors.Is.
var errUnsupported = errors.Wrap(syscall.ENOTSUP, "mmapfile: not on this system yet")

const defaultReserve int64 = 1 << 40

type fileView struct{ mem []byte }

func mapFile(*os.File, bool, int64, int64) (*fileView, error) { return nil, errUnsupported }
func (v *fileView) cover(*os.File, int64) (int64, error)      { return 0, errUnsupported }
func (v *fileView) keep()                                     {}
func (v *fileView) handOver(*os.File) error                   { return errUnsupported }
func (v *fileView) flush(*os.File) error                      { return errUnsupported }
func (v *fileView) trim(*os.File, int64) error                { return errUnsupported }
func (v *fileView) unmap(*os.File) error                      { return errUnsupported }
func (v *fileView) store(*os.File, int64, [][]byte) error     { return errUnsupported }
func openFile(string, bool, bool, fs.FileMode) (*os.File, bool, error) {
	return nil, false, errUnsupported
}
func setMode(*os.File, fs.FileMode) error         { return errUnsupported }
func fileID(*os.File) (FileID, error)             { return FileID{}, errUnsupported }
func fileIDAt(string) (FileID, error)             { return FileID{}, errUnsupported }
func allocate(*os.File, int64) error              { return errUnsupported }
func allocateHoles(*os.File, int64) (bool, error) { return false, errUnsupported }
func isNoSpace(error) bool                        { return false }
func flushAll(*os.File) error                     { return errUnsupported }
func renameNew(string, string) error              { return errUnsupported }
func syncDir(string) error                        { return errUnsupported }

func openLockFile(string) (*os.File, error)             { return nil, errUnsupported }
func adoptOwner(*os.File, string, fs.FileMode) error    { return errUnsupported }
func tryLockBytes(*os.File, int64, int64) (bool, error) { return false, errUnsupported }
func tryShareByte(*os.File, int64) (bool, error)        { return false, errUnsupported }
func anyLocked(*os.File, int64, int64) (bool, error)    { return false, errUnsupported }
func fileSystemOf(*os.File) (string, bool, error)       { return "", false, errUnsupported }
func unlockBytes(*os.File, int64, int64)                {}
func mapShared(*os.File, int) ([]byte, error)           { return nil, errUnsupported }
func unmapShared([]byte) error                          { return errUnsupported }

func (h *areaFile) newLock(*Area, int, *word.Uint32) memberLock {
	panic(errUnsupported) // there is no area to come from
}

func (h *areaFile) newBell(*Area, int, *word.Uint32) memberBell {
	panic(errUnsupported) // nor here
}

type nameHold struct{ name objectName }

func (h *nameHold) give(*exec.Cmd) (string, func() error, error) { return "", nil, errUnsupported }
func taken(objectName, string) (*nameHold, error)                { return nil, errUnsupported }

func eachName(func(ObjectInfo) bool) error { return errUnsupported }

func bodyPath(objectName) (string, error) { return "", errUnsupported }

func createName(objectName, func() (nameRecord, error), func(nameRecord) error) (*nameHold, error) {
	return nil, errUnsupported
}

func openName(objectName, func(nameRecord) error) (*nameHold, error) { return nil, errUnsupported }
func (h *nameHold) close() error                                     { return errUnsupported }

package mmapfile

import (
	"io/fs"
	"os"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/windows"
)

// openLockFile opens or creates the file of an area.
func openLockFile(path string) (*os.File, error) {
	f, err := createFile(path, windows.GENERIC_READ|windows.GENERIC_WRITE,
		windows.OPEN_ALWAYS, windows.FILE_FLAG_OPEN_REPARSE_POINT)
	if err != nil {
		return nil, err
	}
	var info windows.ByHandleFileInformation
	err = windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &info)
	switch {
	case err != nil:
		err = &fs.PathError{Op: "GetFileInformationByHandle", Path: path, Err: err}
	case info.FileAttributes&windows.FILE_ATTRIBUTE_REPARSE_POINT != 0:
		err = errors.Wrapf(ErrUntrusted, "%s is a link", path)
	default:
		return f, nil
	}
	return nil, errors.CombineErrors(err, f.Close())
}

// adoptOwner has nothing to do: the access list comes from the directory.
func adoptOwner(*os.File, string, fs.FileMode) error { return nil }

func mapShared(f *os.File, size int) ([]byte, error) {
	section, err := createSection(f, windows.PAGE_READWRITE, int64(size))
	if err != nil {
		return nil, err
	}
	addr, err := mapAnywhere(section, windows.FILE_MAP_WRITE, 0, int64(size))
	if err != nil {
		err = errors.Wrapf(ErrNoAddressSpace, "%s: %v", f.Name(), err)
		return nil, errors.CombineErrors(err, closeHandle(section))
	}
	return memoryAt(addr, int64(size)), closeHandle(section)
}

func unmapShared(mem []byte) error {
	return os.NewSyscallError("UnmapViewOfFile", windows.UnmapViewOfFile(addressOf(mem)))
}

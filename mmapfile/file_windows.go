package mmapfile

import (
	"io/fs"
	"os"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/windows"
)

// granule is the unit in which Windows maps files: a view can begin only at a
// multiple of it. A file that is open for writing is made such a multiple, so
// that what it grows by can be mapped right behind what is mapped.
const granule = 64 << 10

// openFile opens a file so that others may read and write it, but not remove or
// rename it. The mode means nothing here: the access list comes from the
// directory.
func openFile(path string, readOnly, create bool, _ fs.FileMode) (f *os.File, created bool, err error) {
	access := uint32(windows.GENERIC_READ | windows.GENERIC_WRITE)
	if readOnly {
		access = windows.GENERIC_READ
	}
	for range 100 { // others may create and remove the file meanwhile
		f, err = createFile(path, access, windows.OPEN_EXISTING, 0)
		if !create || !errors.Is(err, fs.ErrNotExist) {
			return f, false, err
		}
		f, err = createFile(path, access, windows.CREATE_NEW, 0)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return f, err == nil, err
}

func createFile(path string, access, disposition, flags uint32) (*os.File, error) {
	return createFileSharing(path, access, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE, disposition, flags)
}

func createFileSharing(path string, access, share, disposition, flags uint32) (*os.File, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	handle, err := windows.CreateFile(name, access, share, nil, disposition,
		windows.FILE_ATTRIBUTE_NORMAL|flags, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(handle), path), nil
}

func setMode(*os.File, fs.FileMode) error { return nil }

func fileID(f *os.File) (FileID, error) {
	// 64-bit file ids are not unique on all file systems, and the longer ones not
	// known to all.
	handle := windows.Handle(f.Fd())
	if id, err := longFileID(handle); err == nil {
		return id, nil
	}
	var short windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(handle, &short); err != nil {
		return FileID{}, &fs.PathError{Op: "GetFileInformationByHandle", Path: f.Name(), Err: err}
	}
	return FileID{
		Volume: uint64(short.VolumeSerialNumber),
		File:   uint64(short.FileIndexHigh)<<32 | uint64(short.FileIndexLow),
	}, nil
}

// fileIDAt identifies what is at path, be it a link.
func fileIDAt(path string) (FileID, error) {
	f, err := createFileSharing(path, windows.FILE_READ_ATTRIBUTES,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE,
		windows.OPEN_EXISTING, windows.FILE_FLAG_OPEN_REPARSE_POINT|windows.FILE_FLAG_BACKUP_SEMANTICS)
	if err != nil {
		return FileID{}, err
	}
	id, err := fileID(f)
	return id, errors.CombineErrors(err, f.Close())
}

// allocate makes the file at least size bytes long. To extend it by a section is
// the one way that cannot cut it, whatever others do at the same time.
func allocate(f *os.File, size int64) error {
	size = (size + granule - 1) &^ (granule - 1)
	info, err := f.Stat()
	if err != nil || info.Size() >= size {
		return err
	}
	section, err := createSection(f, windows.PAGE_READWRITE, size)
	if err != nil {
		return err
	}
	return closeHandle(section)
}

// allocateHoles reports whether the file has size bytes: then they have space on the
// disk, for a file gets holes only if it is asked to.
func allocateHoles(f *os.File, size int64) (bool, error) {
	info, err := f.Stat()
	return err == nil && info.Size() >= size, err
}

func createSection(f *os.File, protection uint32, size int64) (windows.Handle, error) {
	section, err := windows.CreateFileMapping(windows.Handle(f.Fd()), nil, protection,
		uint32(size>>32), uint32(size), nil)
	if section == 0 {
		return 0, asNoSpace(&fs.PathError{Op: "CreateFileMapping", Path: f.Name(), Err: err})
	}
	return section, nil
}

func closeHandle(handle windows.Handle) error {
	return os.NewSyscallError("CloseHandle", windows.CloseHandle(handle))
}

func isNoSpace(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

// flushAll brings to the disk what the file system has of the file.
func flushAll(f *os.File) error { return asNoSpace(f.Sync()) }

// renameNew renames without replacing what is at path, and returns when the new
// name is on the disk.
func renameNew(sibling, path string) error {
	from, err := windows.UTF16PtrFromString(sibling)
	if err != nil {
		return &os.LinkError{Op: "rename", Old: sibling, New: path, Err: err}
	}
	to, err := windows.UTF16PtrFromString(path)
	if err == nil {
		err = windows.MoveFileEx(from, to, windows.MOVEFILE_WRITE_THROUGH)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: sibling, New: path, Err: err}
	}
	return nil
}

// syncDir has nothing to do: renameNew wrote through.
func syncDir(string) error { return nil }

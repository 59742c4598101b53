package mmapfile

import (
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

func fileSystemOf(f *os.File) (name string, local bool, err error) {
	root, err := volumeRoot(f)
	if err != nil {
		return "", false, err
	}
	kind := windows.GetDriveType(root)
	switch kind {
	case windows.DRIVE_REMOTE:
		return "network drive", false, nil
	case windows.DRIVE_FIXED, windows.DRIVE_REMOVABLE, windows.DRIVE_RAMDISK:
		local = true
	}
	var name16 [windows.MAX_PATH + 1]uint16
	err = windows.GetVolumeInformationByHandle(windows.Handle(f.Fd()), nil, 0, nil, nil, nil,
		&name16[0], uint32(len(name16)))
	if name = windows.UTF16ToString(name16[:]); err != nil || name == "" {
		name = driveNames[min(int(kind), len(driveNames)-1)]
	}
	return name, local, nil
}

// driveNames are for volumes that do not tell what they are, by type of drive.
var driveNames = []string{"unknown", "unknown", "removable drive", "fixed drive",
	"network drive", "optical drive", "memory drive", "unknown"}

// volumeRoot returns where the volume is mounted that the file lies on, whatever
// links led there.
func volumeRoot(f *os.File) (*uint16, error) {
	path := make([]uint16, 300)
	for {
		n, err := windows.GetFinalPathNameByHandle(windows.Handle(f.Fd()), &path[0], uint32(len(path)), 0)
		if err != nil {
			return nil, &fs.PathError{Op: "GetFinalPathNameByHandle", Path: f.Name(), Err: err}
		}
		if int(n) < len(path) {
			break
		}
		path = make([]uint16, n+1)
	}
	root := make([]uint16, len(path)+1)
	if err := windows.GetVolumePathName(&path[0], &root[0], uint32(len(root))); err != nil {
		return nil, &fs.PathError{Op: "GetVolumePathName", Path: f.Name(), Err: err}
	}
	return &root[0], nil
}

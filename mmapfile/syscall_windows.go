package mmapfile

import (
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// What the windows package lacks.
const (
	memReservePlaceholder  = 0x00040000
	memReplacePlaceholder  = 0x00004000
	memPreservePlaceholder = 0x00000002
	memCoalescePlaceholder = 0x00000001
)

var (
	kernelbase         = windows.NewLazySystemDLL("kernelbase.dll")
	procVirtualAlloc2  = kernelbase.NewProc("VirtualAlloc2")
	procMapViewOfFile3 = kernelbase.NewProc("MapViewOfFile3")

	kernel32             = windows.NewLazySystemDLL("kernel32.dll")
	procMapViewOfFileEx  = kernel32.NewProc("MapViewOfFileEx")
	procOpenFileMappingW = kernel32.NewProc("OpenFileMappingW")
)

// openFileMapping opens the section that has a name.
func openFileMapping(name string, access uint32) (windows.Handle, error) {
	name16, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return 0, err
	}
	// SAFETY: the call reads the name and keeps no pointer.
	section, _, err := procOpenFileMappingW.Call(uintptr(access), 0, uintptr(unsafe.Pointer(name16)))
	if section == 0 {
		return 0, err
	}
	return windows.Handle(section), nil
}

// longFileID returns the file id of the file systems that have 128 bits for it,
// folded, and of those that can be asked as if they had.
func longFileID(handle windows.Handle) (FileID, error) {
	var info struct {
		volume uint64
		file   [2]uint64
	}
	// SAFETY: the call fills at most the size given, and keeps no pointer.
	err := windows.GetFileInformationByHandleEx(handle, windows.FileIdInfo,
		(*byte)(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)))
	return FileID{Volume: info.volume, File: info.file[0] ^ info.file[1]}, err
}

// securityAttributes makes what a new object is protected by of its textual form.
func securityAttributes(text string) (*windows.SecurityAttributes, error) {
	descriptor, err := windows.SecurityDescriptorFromString(text)
	if err != nil {
		return nil, os.NewSyscallError("ConvertStringSecurityDescriptorToSecurityDescriptor", err)
	}
	attributes := &windows.SecurityAttributes{SecurityDescriptor: descriptor}
	// SAFETY: only the size is asked for.
	attributes.Length = uint32(unsafe.Sizeof(*attributes))
	return attributes, nil
}

// memoryAt returns n bytes at an address that the system has mapped.
func memoryAt(addr uintptr, n int64) []byte {
	// SAFETY: the memory is not Go's: it neither moves nor is it collected. The
	// detour keeps the address from looking like an integer made into a pointer.
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))), n)
}

package store_test

import (
	"encoding/binary"
	"runtime"
	"testing"

	"golang.org/x/sys/windows"
)

var getProcessHandleCount = windows.NewLazySystemDLL("kernel32.dll").NewProc("GetProcessHandleCount")

// held returns what the process has: of mappings, the handles only.
func held(t *testing.T, dir string) holdings {
	t.Helper()
	process := windows.CurrentProcess()
	// The count is written to memory that Go does not move, and read back as another
	// process would: no pointer of Go's is passed on as a number.
	count, err := windows.VirtualAlloc(0, 4, windows.MEM_RESERVE|windows.MEM_COMMIT, windows.PAGE_READWRITE)
	if err != nil {
		t.Fatal(err)
	}
	defer windows.VirtualFree(count, 0, windows.MEM_RELEASE)
	if ok, _, err := getProcessHandleCount.Call(uintptr(process), count); ok == 0 {
		t.Fatalf("GetProcessHandleCount: %v", err)
	}
	var b [4]byte
	var n uintptr
	if err := windows.ReadProcessMemory(process, count, &b[0], uintptr(len(b)), &n); err != nil {
		t.Fatal(err)
	}
	return holdings{goroutines: runtime.NumGoroutine(), descriptors: int(binary.LittleEndian.Uint32(b[:]))}
}

package mmapfile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/mmapfile"
)

func TestFileSystemsHaveNames(t *testing.T) {
	for kind, want := range map[uint32]string{
		0xef53:     "ext4 true",
		0x58465342: "xfs true",
		0x9123683e: "btrfs true",
		0x01021994: "tmpfs true",
		0x794c7630: "overlayfs true",
		0x6969:     "nfs false",
		0xff534d42: "smb false",
		0x65735546: "fuse false",
		0x01021997: "9p false",
		0x1234:     "type 0x1234 false",
	} {
		name, local := mmapfile.NameFileSystem(kind)
		if got := fmt.Sprint(name, " ", local); got != want {
			t.Errorf("%#x: %s, not %s", kind, got, want)
		}
	}
	var st unix.Statfs_t
	if err := unix.Statfs("/dev/shm", &st); err != nil || st.Type != unix.TMPFS_MAGIC {
		t.Skip("no tmpfs")
	}
	dir, err := os.MkdirTemp("/dev/shm", "sharekv-test-")
	if err != nil {
		t.Skip(err)
	}
	defer func() {
		if err := testdir.Remove(dir); err != nil {
			t.Error(err)
		}
	}()
	m := create(t, filepath.Join(dir, "data"), 4096, nil)
	if name, local, err := m.FileSystem(); name != "tmpfs" || !local || err != nil {
		t.Error(name, local, err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

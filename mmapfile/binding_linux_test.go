package mmapfile_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sharekv/sharekv/internal/testdir"
)

// A file that is bind-mounted alone has another directory beside it, and so another
// lock file.
func TestSingleFileBindMountIsNoSecondFile(t *testing.T) {
	t.Parallel()
	here, there := testdir.New(t), testdir.New(t)
	data, mounted := filepath.Join(here, "data"), filepath.Join(there, "data")
	u := mustUse(t, filepath.Join(here, "lock"), data, nil)
	if err := os.WriteFile(mounted, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(data, mounted, "", unix.MS_BIND, ""); err != nil {
		if thorough() {
			t.Fatal(err)
		}
		t.Skip("no bind mounts: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mounted, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	mustSplit(t, filepath.Join(there, "lock"), mounted, nil)
	if err := u.close(); err != nil {
		t.Error(err)
	}
	mustUse(t, filepath.Join(there, "lock"), mounted, nil)
	mustSplit(t, filepath.Join(here, "lock"), data, nil)
}

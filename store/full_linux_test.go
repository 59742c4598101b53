package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/unix"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/internal/teststore"
	"github.com/sharekv/sharekv/store"
)

// smallDisk is a file system of the test's own, of a few pages.
type smallDisk struct {
	*testing.T
	dir string
}

// newSmallDisk mounts one, which takes root: without that the test is skipped, and
// fails in CI.
func newSmallDisk(t *testing.T, pages int) *smallDisk {
	t.Helper()
	d := &smallDisk{t, testdir.New(t)}
	err := unix.Mount("sharekv-test", d.dir, "tmpfs", 0, sizeOption(pages))
	if err != nil {
		if os.Getenv("SHAREKV_TEST") == "ci" {
			t.Fatalf("mount a tmpfs: %v", err)
		}
		t.Skipf("to mount a tmpfs takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(d.dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", d.dir, err)
		}
	})
	return d
}

func sizeOption(pages int) string { return fmt.Sprint("size=", pages*os.Getpagesize()) }

func (d *smallDisk) resize(pages int) {
	d.Helper()
	if err := unix.Mount("", d.dir, "", unix.MS_REMOUNT, sizeOption(pages)); err != nil {
		d.Fatalf("remount %s: %v", d.dir, err)
	}
}

// free returns how many pages are free.
func (d *smallDisk) free() int {
	d.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs(d.dir, &fs); err != nil {
		d.Fatal(err)
	}
	return int(int64(fs.Bavail) * int64(fs.Bsize) / int64(os.Getpagesize()))
}

// exists reports which of the files are there.
func exists(paths ...string) (names string) {
	for _, path := range paths {
		if _, err := os.Lstat(path); err == nil {
			names += " " + filepath.Base(path)
		}
	}
	return strings.TrimSpace(names)
}

func TestDiskOfEverySizeGetsFullAndTheStoreGoesOn(t *testing.T) {
	rng := seeded(t)
	lock, head := lockFilePages(t)
	refused := map[string]int{}
	worked := 0
	for _, pages := range every(t, rng, lock+head+256, 24) {
		pages++ // a size of 0 is no limit
		t.Run(fmt.Sprint(pages), func(t *testing.T) {
			d := newSmallDisk(t, pages)
			path := filepath.Join(d.dir, "a.kv")
			db, err := store.Open(path, nil)
			if err != nil {
				if !errors.Is(err, store.ErrNoSpace) || pages >= lock+head {
					t.Fatalf("open: %+v", err)
				}
				if left := exists(path, path+"-new"); left != "" {
					t.Errorf("open has failed, and left %s", left)
				}
				refused[exists(path+"-lock")+fmt.Sprint(pages >= lock)]++
				d.resize(pages + lock + head + 64)
				if err := teststore.Open(t, path, nil).Put([]byte("k"), nil); err != nil {
					t.Errorf("with more room: %+v", err)
				}
				return
			}
			if err := db.Close(); err != nil {
				t.Fatalf("%+v", err)
			}
			f := &full{T: t, now: newFilled(), pages: pages - lock, room: fmt.Sprint(pages-lock, " pages of disk")}
			if f.lives(path, nil, rng) > 0 {
				worked++
			} else if pages > lock+64 {
				t.Error("no room for anything")
			}
		})
	}
	t.Logf("Open refused: %v; content found room: %d", refused, worked)
	if worked == 0 {
		t.Error("no disk was large enough")
	}
}

// lockFilePages returns how many pages of a disk a lock file takes, and a new store.
func lockFilePages(t *testing.T) (lock, head int) {
	d := newSmallDisk(t, 4096)
	path := filepath.Join(d.dir, "a.kv")
	if err := teststore.Open(t, path, nil).Close(); err != nil {
		t.Fatal(err)
	}
	both := 4096 - d.free()
	if err := os.Remove(path + "-lock"); err != nil {
		t.Fatal(err)
	}
	head = 4096 - d.free()
	t.Logf("the lock file takes %d pages, a new store %d", both-head, head)
	return both - head, head
}

func TestLaterWritesWorkOnceThereIsRoomAgain(t *testing.T) {
	rng := seeded(t)
	lock, _ := lockFilePages(t)
	d := newSmallDisk(t, lock+80)
	f := &full{T: t, now: newFilled(), pages: 80, room: "80 pages of disk"}
	f.db = teststore.Open(t, filepath.Join(d.dir, "a.kv"), nil)
	for pages := 80; pages < 500; pages += 100 {
		if n := f.grow(); n == 0 {
			t.Errorf("no commit worked with %d pages", pages)
		}
		f.intact("full")
		d.resize(lock + pages + 100)
	}
	// Others use up the room, and give it back.
	used := filepath.Join(d.dir, "other")
	if err := os.WriteFile(used, make([]byte, d.free()*os.Getpagesize()), 0o600); err != nil {
		t.Fatal(err)
	}
	f.grow()
	f.deletes(rng)
	f.intact("with others")
	if err := os.Remove(used); err != nil {
		t.Fatal(err)
	}
	if n := f.grow(); n == 0 {
		t.Error("no commit worked when others had given their room back")
	}
	f.intact("in the end")
}

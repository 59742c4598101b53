package store_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/unix"

	"github.com/sharekv/sharekv/internal/soak"
	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/store"
)

const workers = 8

// cutting returns how often power is cut for a file system, or for how long.
func cutting(t *testing.T) (images int, duration time.Duration) {
	if os.Getenv("SHAREKV_TEST") == "ci" {
		return 1000, 0
	}
	return 0, soak.Duration(t)
}

// The disk is a file, of which the host file system makes clones, each of one moment,
// while workers commit. A clone has what the system has written to the disk by then,
// and nothing of what it has in memory.
func TestPowerCutLosesNothingAcknowledged(t *testing.T) {
	images, duration := cutting(t)
	programs := []string{"mkfs.ext4", "mkfs.xfs"}
	if duration > 0 {
		programs = append(programs, "mkfs.btrfs")
	}
	dir := inPrivate(t, images > 0 || duration > 0, programs...)
	if dir == "" {
		return
	}
	rng := seeded(t)
	host := disk{filepath.Join(dir, "host.img"), "xfs", ""}
	host.make(t, 2<<30, "-m", "reflink=1")
	host.mount(t, filepath.Join(dir, "host"))
	systems := []struct {
		name, kind, options string
		make                []string
	}{
		{"ext4", "ext4", "", ext4AtOnce},
		{"ext4 commit=1", "ext4", "commit=1", ext4AtOnce},
		{"xfs", "xfs", "nouuid", nil},
		{"btrfs", "btrfs", "", nil},
	}
	if duration == 0 {
		systems = systems[:3] // with btrfs it takes twice as long
	}
	for _, fs := range systems {
		t.Run(fs.name, func(t *testing.T) {
			c := newCuts(t, dir, rng.Uint64(), &disk{filepath.Join(dir, "host", "disk.img"), fs.kind, fs.options})
			c.disk.make(t, 320<<20, fs.make...)
			c.disk.mount(t, filepath.Join(dir, "disk"))
			defer c.end()
			begin := time.Now()
			c.startWorkers(filepath.Join(dir, "disk", "a.kv"))
			for n := 0; n < images || time.Since(begin) < duration/time.Duration(len(systems)); n++ {
				time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond) // the moment of the cut
				c.cut()
			}
			c.report(time.Since(begin))
		})
	}
}

// Nothing is made later, in the background.
var ext4AtOnce = []string{"-E", "lazy_itable_init=0,lazy_journal_init=0"}

// cuts are those of one disk.
type cuts struct {
	*testing.T
	dir     string
	disk    *disk
	books   books
	workers []*exec.Cmd
	acks    *os.File
	partial []byte   // of a line
	acked   []uint64 // by worker

	images, inFlight, older int
	cloning                 time.Duration
}

func newCuts(t *testing.T, dir string, seed uint64, d *disk) *cuts {
	return &cuts{
		T: t, dir: dir, disk: d,
		books: books{seed, make([]account, workers)},
		acked: make([]uint64, workers),
	}
}

func (c *cuts) startWorkers(path string) {
	exe, err := os.Executable()
	if err != nil {
		c.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		c.Fatal(err)
	}
	defer w.Close()
	c.acks = r
	for i := range workers {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), "SHAREKV_ROLE=work", "SHAREKV_STORE="+path,
			fmt.Sprint("SHAREKV_NUMBER=", i), fmt.Sprint("SHAREKV_SEED=", c.books.seed))
		cmd.Stdout, cmd.Stderr = w, os.Stderr
		if err := cmd.Start(); err != nil {
			c.Fatal(err)
		}
		c.workers = append(c.workers, cmd)
	}
}

// end kills the workers and unmounts the disk.
func (c *cuts) end() {
	for _, w := range c.workers {
		w.Process.Kill()
		w.Wait()
	}
	if c.acks != nil {
		c.acks.Close()
	}
	unmount(c, filepath.Join(c.dir, "disk"))
}

// acknowledged returns up to which number each worker's commits have been
// acknowledged until now.
func (c *cuts) acknowledged() []uint64 {
	c.Helper()
	conn, err := c.acks.SyscallConn()
	if err != nil {
		c.Fatal(err)
	}
	buf := make([]byte, 1<<16)
	for {
		var n int
		var e error
		err := conn.Read(func(fd uintptr) bool { n, e = unix.Read(int(fd), buf); return true })
		if err != nil {
			c.Fatal(err)
		}
		if e == unix.EINTR {
			continue
		}
		if e == unix.EAGAIN {
			return slices.Clone(c.acked)
		}
		if e != nil || n == 0 {
			c.Fatalf("acknowledgements of the workers: %d, %v", n, e)
		}
		lines := bytes.SplitAfter(append(c.partial, buf[:n]...), []byte("\n"))
		c.partial = slices.Clone(lines[len(lines)-1])
		for _, line := range lines[:len(lines)-1] {
			var worker int
			var number uint64
			if _, err := fmt.Sscan(string(line), &worker, &number); err != nil {
				c.Fatalf("acknowledgement %q: %v", line, err)
			}
			c.acked[worker] = number
		}
	}
}

// cut takes an image of the disk and looks at the store in it.
func (c *cuts) cut() {
	c.Helper()
	before := c.acknowledged()
	begin := time.Now()
	image := c.disk.clone(c, filepath.Join(c.dir, "host", "image"))
	c.cloning += time.Since(begin)
	after := c.acknowledged()
	c.images++
	c.signal(unix.SIGSTOP) // the image shall be looked at soon
	defer c.signal(unix.SIGCONT)
	dir := filepath.Join(c.dir, "image")
	untouched := image.clone(c, filepath.Join(c.dir, "host", "untouched"))
	image.mount(c, dir)
	if err := os.Remove(image.path); err != nil {
		c.Fatal(err)
	}
	c.look(filepath.Join(dir, "a.kv"), before, after)
	unmount(c, dir)
	if c.Failed() {
		c.keep(untouched)
		c.Fatalf("image %d, seed %d", c.images, c.books.seed)
	}
}

// keep copies the store as it was in an image to a directory that stays.
func (c *cuts) keep(image *disk) {
	dir := filepath.Join(c.dir, "kept")
	image.mount(c, dir)
	defer unmount(c, dir)
	b, err := os.ReadFile(filepath.Join(dir, "a.kv"))
	if err == nil {
		err = os.WriteFile(filepath.Join(testdir.New(c.T), "a.kv"), b, 0o600)
	}
	if err != nil {
		c.Error(err)
	}
}

func (c *cuts) signal(s unix.Signal) {
	for _, w := range c.workers {
		w.Process.Signal(s)
	}
}

// look opens the store of an image, of a moment between two at which so much was
// acknowledged.
func (c *cuts) look(path string, before, after []uint64) {
	if _, err := os.Stat(path); err != nil && slices.Max(before) == 0 {
		return // the workers have just begun
	}
	older := &olderTaken{}
	db, err := store.Open(path, &store.Options{MustExist: true, Logger: slog.New(older)})
	if err != nil {
		c.Errorf("open: %+v", err)
		return
	}
	defer func() {
		if err := db.Close(); err != nil {
			c.Errorf("%+v", err)
		}
	}()
	numbers, err := c.books.compare(db)
	if err != nil {
		c.Errorf("%+v", err)
	}
	inFlight := false
	var sum uint64
	for i, n := range numbers {
		if n < before[i] {
			c.Errorf("worker %d: %d commits were acknowledged, %d are there", i, before[i], n)
		}
		// One commit may be under way.
		if n > after[i]+1 {
			c.Errorf("worker %d: %d commits are there, but only %d were acknowledged", i, n, after[i])
		}
		inFlight = inFlight || n > after[i]
		sum += n
	}
	if inFlight {
		c.inFlight++
	}
	if older.yes {
		c.older++
	}
	if _, err := db.Check(context.Background()); err != nil {
		c.Errorf("check: %+v", err)
	}
	c.goesOn(db, sum)
}

// goesOn commits more to a store that has had so many transactions of the workers.
func (c *cuts) goesOn(db *store.DB, sum uint64) {
	for range 3 {
		sum++
		err := db.Update(func(tx *store.Tx) error {
			_, sequence, err := commitWork(tx, c.books.seed, 0)
			if err == nil && sequence != sum {
				err = errors.Newf("is in place %d", sequence)
			}
			return err
		})
		if err != nil {
			c.Errorf("commit %d, after the cut: %+v", sum, err)
		}
	}
	ahead := c.books.clone() // the next image may not be as far
	if _, err := ahead.compare(db); err != nil {
		c.Errorf("after three more commits: %+v", err)
	}
}

func (c *cuts) report(took time.Duration) {
	n := time.Duration(max(c.images, 1))
	c.Logf("%d images: %d with commits that nobody was told of, %d opened at the older meta page; %d acknowledged; %v for an image, of that %v for the clone",
		c.images, c.inFlight, c.older, c.acknowledged(), (took / n).Round(time.Millisecond), (c.cloning / n).Round(time.Millisecond))
	if slices.Min(c.acked) == 0 {
		c.Errorf("a worker did not commit: %d", c.acked)
	}
}

// olderTaken is a log that notes whether recovery took the older meta page.
type olderTaken struct{ yes bool }

func (o *olderTaken) Enabled(context.Context, slog.Level) bool { return true }
func (o *olderTaken) WithAttrs([]slog.Attr) slog.Handler       { return o }
func (o *olderTaken) WithGroup(string) slog.Handler            { return o }
func (o *olderTaken) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		o.yes = o.yes || a.Key == "taken"
		return true
	})
	return nil
}

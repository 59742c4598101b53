package store_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/unix"

	"github.com/sharekv/sharekv/internal/soak"
	"github.com/sharekv/sharekv/store"
)

func init() { roles["work until failed"] = workUntilFailed }

// workUntilFailed commits the transactions of worker SHAREKV_NUMBER, with more data
// each time, until one fails. It prints the number of each one that was acknowledged,
// then "failed" and why. At "commit" it says how the next one goes, and at "read" what
// it can read.
func workUntilFailed(db *store.DB) error {
	worker, _ := strconv.Atoi(os.Getenv("SHAREKV_NUMBER"))
	seed, _ := strconv.ParseUint(os.Getenv("SHAREKV_SEED"), 10, 64)
	next := func() (number uint64, err error) {
		err = db.Update(func(tx *store.Tx) (err error) {
			number, _, err = commitWork(tx, seed, worker)
			if err != nil {
				return err
			}
			more, err := tx.EnsureBucket("more")
			if err != nil {
				return err
			}
			return more.Put(fmt.Append(nil, worker, number), make([]byte, 20_000))
		})
		return number, err
	}
	for {
		number, err := next()
		if err != nil {
			fmt.Println("failed", refusal(err))
			break
		}
		fmt.Println(number)
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if in.Text() == "commit" {
			_, err := next()
			fmt.Println(refusal(err))
			continue
		}
		b := books{seed, make([]account, workers)}
		numbers, err := b.compare(db)
		if err != nil {
			return err
		}
		fmt.Println(numbers)
	}
	return nil
}

// refusal names what a disk that fails may do to a commit: its flush fails, or that of
// another, or the file system has noticed before and takes no more.
func refusal(err error) string {
	switch {
	case errors.Is(err, store.ErrFlushFailed):
		return "flush failed"
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EIO):
		return "refused"
	}
	return fmt.Sprintf("%q", fmt.Sprintf("%+v", err))
}

// failing is a disk whose backing file can be made immutable. Then every write to it is
// an error, of which the system learns when it writes what it has in memory: in a flush.
// The file is on ext4, where that holds for those who have it open, too.
//
// That the disk below is full would not do: of what a loop device finds room for only the
// beginning it says that it is written.
type failing struct {
	testing.TB
	dir     string
	host    disk
	disk    disk
	backing *os.File
}

const immutableFlag = 0x10 // FS_IMMUTABLE_FL of linux/fs.h

func newFailing(t testing.TB, dir string) *failing {
	f := &failing{TB: t, dir: dir}
	f.host = disk{filepath.Join(dir, "host.img"), "ext4", ""}
	f.host.make(t, 1<<30, append(ext4AtOnce, "-m", "0")...)
	f.host.mount(t, f.at("host"))
	// The journal is written in flushes only, so that nothing but a flush can fail first.
	f.disk = disk{filepath.Join(f.at("host"), "disk.img"), "ext4", "commit=600"}
	f.disk.make(t, 320<<20, ext4AtOnce...)
	var err error
	if f.backing, err = os.OpenFile(f.disk.path, os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	f.disk.mount(t, f.at("disk"))
	return f
}

func (f *failing) at(name string) string { return filepath.Join(f.dir, name) }

// fail makes the disk fail, or work again.
func (f *failing) fail(fails bool) {
	f.Helper()
	flags, err := unix.IoctlGetInt(int(f.backing.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil {
		flags &^= immutableFlag
		if fails {
			flags |= immutableFlag
		}
		err = unix.IoctlSetPointerInt(int(f.backing.Fd()), unix.FS_IOC_SETFLAGS, flags)
	}
	if err != nil {
		f.Fatal(err)
	}
}

func (f *failing) close() {
	f.Helper()
	unmount(f, f.at("disk"))
	if err := f.backing.Close(); err != nil {
		f.Fatal(err)
	}
	unmount(f, f.at("host"))
}

// The system takes what is stored, and cannot write it later.
func TestFailedFlushEndsCommitsOfAllProcessesAndLosesNothingAcknowledged(t *testing.T) {
	duration := soak.Duration(t)
	rounds := 1
	if os.Getenv("SHAREKV_TEST") == "ci" {
		rounds = 20
	}
	dir := inPrivate(t, rounds > 1 || duration > 0, "mkfs.ext4")
	if dir == "" {
		return
	}
	rng := seeded(t)
	var sum failures
	begin := time.Now()
	for sum.disks = 0; sum.disks < rounds || time.Since(begin) < duration; sum.disks++ {
		failFlush(t, rng, newFailing(t, dir), &sum)
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("%d disks: %d commits acknowledged, %d were there although their flush had failed, %d processes were refused by the file system",
		sum.disks, sum.acked, sum.inFlight, sum.refused)
}

type failures struct {
	disks, refused  int
	acked, inFlight uint64
}

func failFlush(t *testing.T, rng *rand.Rand, f *failing, sum *failures) {
	path := filepath.Join(f.at("disk"), "a.kv")
	db, err := store.Open(path, nil)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	seed := rng.Uint64()
	crew := make([]*process, workers)
	acked := make([]uint64, workers)
	for i := range crew {
		crew[i] = start(t, "work until failed", path, fmt.Sprint("SHAREKV_NUMBER=", i), fmt.Sprint("SHAREKV_SEED=", seed))
	}
	// heard notes what a worker says, and returns why it has failed, if so.
	heard := func(i int) (why string, failed bool) {
		line := crew[i].line(t)
		if why, failed = strings.CutPrefix(line, "failed "); failed {
			return why, true
		}
		var err error
		if acked[i], err = strconv.ParseUint(line, 10, 64); err != nil {
			t.Fatal(err)
		}
		return "", false
	}
	for i := range crew { // nobody comes when the disk fails already
		if why, failed := heard(i); failed {
			t.Fatalf("worker %d: %s", i, why)
		}
	}
	time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond) // the moment of the failure
	f.fail(true)
	reasons := map[string]int{}
	for i := range crew {
		why, failed := heard(i)
		for !failed {
			why, failed = heard(i)
		}
		if reasons[why]++; why != "flush failed" && why != "refused" {
			t.Errorf("worker %d: %s", i, why)
		}
	}
	if reasons["flush failed"] == 0 {
		t.Error("no flush has failed")
	}
	b := &books{seed, make([]account, workers)}
	b.stayReadable(t, db, crew, acked)

	// The disk works again before it is unmounted, or after.
	before := rng.IntN(2) == 0
	if before {
		f.fail(false)
	}
	unmount(t, f.at("disk"))
	if !before {
		f.fail(false)
	}
	f.disk.mount(t, f.at("disk"))
	if db, err = store.Open(path, &store.Options{MustExist: true}); err != nil {
		t.Fatalf("%+v", err)
	}
	for i, n := range b.check(t, db, acked) {
		sum.acked += acked[i]
		sum.inFlight += n - acked[i]
	}
	if _, err := db.Check(context.Background()); err != nil {
		t.Errorf("%+v", err)
	}
	if err := db.Put([]byte("k"), nil); err != nil {
		t.Errorf("commit after all have reopened the store: %+v", err)
	}
	if err := db.Close(); err != nil {
		t.Errorf("%+v", err)
	}
	f.close()
	sum.refused += reasons["refused"]
}

// stayReadable checks, after a flush has failed, that nobody commits, and that all
// read the same. Then all close the store.
func (b *books) stayReadable(t *testing.T, db *store.DB, crew []*process, acked []uint64) {
	t.Helper()
	if err := db.Put([]byte("k"), nil); !errors.Is(err, store.ErrFlushFailed) {
		t.Errorf("commit of a process that has not committed before: %v", err)
	}
	durable := b.check(t, db, acked)
	for i, p := range crew {
		for range 2 {
			fmt.Fprintln(p.In, "commit")
			if s := p.line(t); s != "flush failed" {
				t.Errorf("worker %d: next commit after a flush has failed: %s", i, s)
			}
		}
		fmt.Fprintln(p.In, "read")
		if s := p.line(t); s != fmt.Sprint(durable) {
			t.Errorf("worker %d reads %s, others %d", i, s, durable)
		}
	}
	if err := db.Close(); err != nil {
		t.Errorf("%+v", err)
	}
	for i, p := range crew {
		p.In.Close()
		if err := p.Wait(); err != nil {
			t.Errorf("worker %d: %v", i, err)
		}
	}
}

// check compares, and checks that each worker has what was acknowledged, or one
// commit more.
func (b *books) check(t *testing.T, db *store.DB, acked []uint64) []uint64 {
	t.Helper()
	numbers, err := b.compare(db)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	for i, n := range numbers {
		if n < acked[i] || n > acked[i]+1 {
			t.Errorf("worker %d: %d commits were acknowledged, %d are there", i, acked[i], n)
		}
	}
	return numbers
}

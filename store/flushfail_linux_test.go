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
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/unix"

	"github.com/sharekv/sharekv/store"
)

func init() { roles["work until failed"] = workUntilFailed }

// workUntilFailed commits the transactions of worker SHAREKV_NUMBER, with more data
// each time, until one fails for another reason than a lack of room. It prints the
// number of each one that was acknowledged, "full" for one that had no room, and
// "failed" and why. At each line it gets it says how the next commit goes, and at
// "read" what it can read.
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
		if err == nil {
			fmt.Println(number)
		} else if errors.Is(err, store.ErrNoSpace) && !errors.Is(err, store.ErrFlushFailed) {
			fmt.Println("full")
		} else {
			fmt.Println("failed", kindOf(err))
			break
		}
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if in.Text() != "read" {
			_, err := next()
			fmt.Println(kindOf(err))
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

// A disk that has less room than it says: the system takes what is stored, and cannot
// write it later.
func TestFailedFlushEndsCommitsOfAllProcessesAndLosesNothingAcknowledged(t *testing.T) {
	images, duration := cutting(t)
	dir := inPrivate(t, images > 0 || duration > 0, "mkfs.ext4")
	if dir == "" {
		return
	}
	rng := seeded(t)
	var sum failures
	begin := time.Now()
	for sum.disks = 0; sum.disks < images/15 || time.Since(begin) < duration; sum.disks++ {
		failFlush(t, dir, rng, &sum)
		if t.Failed() {
			t.Fatalf("disk %d", sum.disks)
		}
	}
	t.Logf("%d disks: %d commits acknowledged, %d found no room, %d were refused by the file system, %d were there although their flush had failed; %d disks failed between flushes",
		sum.disks, sum.acked, sum.full, sum.refused, sum.inFlight, sum.unnoticed)
	if sum.acked == 0 || sum.unnoticed > sum.disks/2 {
		t.Error("too few commits, or flushes that failed")
	}
}

type failures struct {
	disks, full, refused, unnoticed int
	acked, inFlight                 uint64
}

func failFlush(t *testing.T, dir string, rng *rand.Rand, sum *failures) {
	small, at := filepath.Join(dir, "small"), filepath.Join(dir, "disk")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	mount(t, "sharekv-test", small, "tmpfs", "size=1g")
	d := &disk{filepath.Join(small, "disk.img"), "ext4", ""}
	d.make(t, 320<<20, append(ext4AtOnce, "-J", "size=4")...)
	d.mount(t, at)
	path := filepath.Join(at, "a.kv")
	db, err := store.Open(path, nil)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	room := 1<<20 + rng.Int64N(24<<20)
	var fs unix.Statfs_t
	if err := unix.Statfs(small, &fs); err != nil {
		t.Fatal(err)
	}
	resize(t, small, int64(fs.Blocks-fs.Bfree)*int64(fs.Bsize)+room)
	seed := rng.Uint64()
	t.Logf("seed %d, room for %d bytes", seed, room)

	crew := make([]*process, workers)
	for i := range crew {
		crew[i] = start(t, "work until failed", path, fmt.Sprint("SHAREKV_NUMBER=", i), fmt.Sprint("SHAREKV_SEED=", seed))
	}
	acked := make([]uint64, workers)
	poisoned := false
	for i, p := range crew {
		var failure string
		for failed := false; !failed; {
			line := p.line(t)
			if failure, failed = strings.CutPrefix(line, "failed "); failed {
				continue
			}
			if line == "full" {
				sum.full++
			} else if acked[i], err = strconv.ParseUint(line, 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		sum.acked += acked[i]
		if failure == kindOf(store.ErrFlushFailed) {
			poisoned = true
		} else {
			sum.refused++
			t.Logf("worker %d: %s", i, firstLine(failure))
		}
	}
	b := &books{seed, make([]account, workers)}
	if poisoned {
		b.stayReadable(t, db, crew, acked)
	} else {
		// The file system has turned read-only before any flush.
		for _, p := range crew {
			p.Process.Kill()
			p.Wait()
		}
		sum.unnoticed++
		db.Close()
	}

	unmount(t, at)
	resize(t, small, 1<<30)
	d.mount(t, at)
	if db, err = store.Open(path, &store.Options{MustExist: true}); err != nil {
		t.Fatalf("%+v", err)
	}
	for i, n := range b.check(t, db, acked) {
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
	unmount(t, at)
	unmount(t, small)
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
			fmt.Fprintln(p.in, "commit")
			if s := p.line(t); s != kindOf(store.ErrFlushFailed) {
				t.Errorf("worker %d: next commit after a flush has failed: %s", i, s)
			}
		}
		fmt.Fprintln(p.in, "read")
		if s := p.line(t); s != fmt.Sprint(durable) {
			t.Errorf("worker %d reads %s, others %d", i, s, durable)
		}
	}
	if err := db.Close(); err != nil {
		t.Errorf("%+v", err)
	}
	for i, p := range crew {
		p.in.Close()
		if err := p.Wait(); err != nil {
			t.Errorf("worker %d: %v", i, err)
		}
	}
}

// firstLine returns the first line of a text that is quoted.
func firstLine(quoted string) string {
	first, _, _ := strings.Cut(quoted, `\n`)
	return first
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

func resize(t *testing.T, dir string, bytes int64) {
	t.Helper()
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, fmt.Sprint("size=", bytes)); err != nil {
		t.Fatal(err)
	}
}

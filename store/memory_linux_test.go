package store_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/unix"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/internal/teststore"
	"github.com/sharekv/sharekv/store"
)

func init() { roles["large transaction"] = largeTransaction }

// What a large transaction puts: so many small values, and as many times 100 kB as
// there are large ones, among them.
const (
	smallPerLarge = 200
	largeSize     = 100_000
	smallSize     = 100 // on average
)

// smallKey returns 16 bytes whose order has nothing to do with i.
func smallKey(i int) []byte {
	k := binary.BigEndian.AppendUint64(nil, uint64(i)*0x9e3779b97f4a7c15)
	return binary.BigEndian.AppendUint64(k, uint64(i))
}

func smallValue(i int) []byte {
	return bytes.Repeat(smallKey(i), 8)[:smallSize-20+i%41]
}

// largeValue returns the value of "large i", in buf.
func largeValue(buf []byte, i int) []byte {
	for at := 0; at < len(buf); at += 8 {
		binary.LittleEndian.PutUint64(buf[at:], uint64(i*largeSize+at))
	}
	return buf
}

func largeKey(i int) []byte { return fmt.Appendf(nil, "large %d", i) }

// largeTransaction puts all that in one transaction, and prints how much memory the
// process had of its own at most, in bytes, and how long it took.
func largeTransaction(db *store.DB) error {
	small, err := strconv.Atoi(os.Getenv("SHAREKV_NUMBER"))
	if err != nil {
		return err
	}
	begin := time.Now()
	stop, peak := make(chan struct{}), make(chan int64)
	go func() {
		most := int64(0)
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			most = max(most, anonymousMemory())
			select {
			case <-tick.C:
			case <-stop:
				peak <- most
				return
			}
		}
	}()
	buf := make([]byte, largeSize)
	err = db.Update(func(tx *store.Tx) error {
		for i := range small {
			if err := tx.Put(smallKey(i), smallValue(i)); err != nil {
				return err
			}
			if i%smallPerLarge == 0 {
				if err := tx.Put(largeKey(i), largeValue(buf, i)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	close(stop)
	fmt.Println(<-peak, time.Since(begin).Round(time.Millisecond))
	return err
}

// anonymousMemory returns how many bytes of memory this process has that are not
// those of a file.
func anonymousMemory() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	_, rest, found := strings.Cut(string(status), "RssAnon:")
	if !found {
		panic("no RssAnon")
	}
	n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		panic(err)
	}
	return n << 10
}

// largeDir returns a directory with room for so many bytes, in memory if there is so
// much of that.
func largeDir(t *testing.T, room int64) string {
	var fs unix.Statfs_t
	if unix.Statfs("/dev/shm", &fs) == nil && int64(fs.Bavail)*int64(fs.Bsize) > 4*room {
		return memoryDir(t)
	}
	return testdir.New(t)
}

func TestLargeTransactionNeedsLittleMemory(t *testing.T) {
	small, most := 100_000, int64(64<<20)
	if os.Getenv("SHAREKV_TEST") == "ci" {
		small, most = 1_000_000, 150<<20
	}
	if testing.Short() {
		small = 20_000
	}
	size := int64(small) * (smallSize + largeSize/smallPerLarge)
	path := filepath.Join(largeDir(t, 2*size), "a.kv")
	p := start(t, "large transaction", path, "GOMEMLIMIT=64MiB", fmt.Sprint("SHAREKV_NUMBER=", small))
	line := p.line(t)
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	var peak int64
	var took string
	if _, err := fmt.Sscan(line, &peak, &took); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d MB of values in %s with %d MB of memory", size/1e6, took, peak/1e6)
	// The race detector needs memory of its own.
	if peak > most && !testing.Short() {
		t.Errorf("that is more than %d MB", most/1e6)
	}
	db := teststore.Open(t, path, &store.Options{MustExist: true}) // checks it, too
	if err := db.View(func(tx *store.Tx) error { return hasLarge(tx, small) }); err != nil {
		t.Errorf("%+v", err)
	}
}

// hasLarge compares all values with those that largeTransaction has put.
func hasLarge(tx *store.Tx, small int) error {
	n, buf := 0, make([]byte, largeSize)
	for k, v := range tx.All() {
		var want []byte
		if len(k) == 16 {
			want = smallValue(int(binary.BigEndian.Uint64(k[8:])))
		} else if i, err := strconv.Atoi(strings.TrimPrefix(string(k), "large ")); err == nil {
			want = largeValue(buf, i)
		}
		if !bytes.Equal(v, want) {
			return errors.Newf("%q = %.20q", k, v)
		}
		n++
	}
	if large := (small + smallPerLarge - 1) / smallPerLarge; n != small+large {
		return errors.Newf("%d values instead of %d", n, small+large)
	}
	return nil
}

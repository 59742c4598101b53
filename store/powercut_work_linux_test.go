package store_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/store"
)

func init() { roles["work"] = work }

// work commits the transactions of worker SHAREKV_NUMBER, from the first that the
// store does not have, and prints the worker and the number of each one that was
// acknowledged.
func work(db *store.DB) error {
	worker, _ := strconv.Atoi(os.Getenv("SHAREKV_NUMBER"))
	seed, _ := strconv.ParseUint(os.Getenv("SHAREKV_SEED"), 10, 64)
	for {
		var number uint64
		err := db.Update(func(tx *store.Tx) (err error) {
			number, _, err = commitWork(tx, seed, worker)
			return err
		})
		if err != nil {
			return err
		}
		fmt.Println(worker, number) // in one piece, among those of others
	}
}

// commitWork does the next transaction of the worker, and returns its number, and
// which of all workers' transactions it is.
func commitWork(tx *store.Tx, seed uint64, worker int) (number, sequence uint64, err error) {
	mine, err := tx.EnsureBucket(fmt.Sprint("worker ", worker))
	if err != nil {
		return 0, 0, err
	}
	number, _, err = counter(mine)
	if err != nil {
		return 0, 0, err
	}
	number++
	sequence, err = tx.NextSequence()
	if err != nil {
		return 0, 0, err
	}
	if err := mine.Put([]byte("counter"), fmt.Append(nil, number, sequence)); err != nil {
		return 0, 0, err
	}
	for _, c := range changes(seed, worker, number) {
		if err := c.do(mine); err != nil {
			return 0, 0, err
		}
	}
	return number, sequence, nil
}

// counter returns the number of the worker's last transaction, and which of all
// workers' it was.
func counter(mine *store.Bucket) (number, sequence uint64, err error) {
	v, err := mine.Get([]byte("counter"))
	if err == store.ErrNotFound {
		return 0, 0, nil
	}
	if err == nil {
		_, err = fmt.Sscan(string(v), &number, &sequence)
	}
	return number, sequence, err
}

// place is where a worker keeps a record, in its own bucket or in one of that.
type place struct{ bucket, key string }

// payload is what a record holds: so many bytes that follow from the seed.
type payload struct {
	seed [3]uint64
	size int
}

func (c payload) bytes() []byte {
	var seed [32]byte
	for i, w := range c.seed {
		binary.LittleEndian.PutUint64(seed[i*8:], w)
	}
	b := make([]byte, c.size)
	rand.NewChaCha8(seed).Read(b)
	return b
}

// change is one step of a transaction.
type change struct {
	place      // without a key, the bucket is deleted
	put   bool // or it is deleted
	value payload
}

// changes returns what the transaction does.
func changes(seed uint64, worker int, number uint64) (all []change) {
	rng := rand.New(rand.NewPCG(seed, uint64(worker)<<48|number))
	if rng.IntN(30) == 0 {
		all = append(all, change{place: place{bucket: bucketName(1 + rng.IntN(3))}})
	}
	for range 1 + rng.IntN(5) {
		key := rng.IntN(40)
		c := change{place: place{bucketName(key % 4), fmt.Sprint("key ", key)}}
		if c.put = rng.IntN(6) > 0; c.put {
			c.value = payload{[3]uint64{seed, uint64(worker)<<48 | number, uint64(len(all))}, size(rng)}
		}
		all = append(all, c)
	}
	// So large that its pages are flushed before its meta page is stored.
	if worker == 0 && rng.IntN(300) == 0 {
		all = append(all, change{place{"", "huge"}, true, payload{[3]uint64{seed, number}, 4500 << 10}})
	}
	return all
}

func bucketName(i int) string {
	if i == 0 {
		return ""
	}
	return fmt.Sprint("bucket ", i)
}

func size(rng *rand.Rand) int {
	switch rng.IntN(60) {
	case 0:
		return rng.IntN(200_000)
	case 1, 2, 3, 4, 5:
		return rng.IntN(10_000)
	}
	return rng.IntN(500)
}

func (c change) do(mine *store.Bucket) error {
	if c.key == "" {
		return unless(mine.DeleteBucket(c.bucket), store.ErrBucketNotFound)
	}
	b := mine
	if c.bucket != "" {
		var err error
		if b, err = mine.EnsureBucket(c.bucket); err != nil {
			return err
		}
	}
	if c.put {
		return b.Put([]byte(c.key), c.value.bytes())
	}
	return unless(b.Delete([]byte(c.key)), store.ErrNotFound)
}

func unless(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// account is what one worker's records should be after some of its transactions.
type account struct {
	number  uint64 // of the last one
	records map[place]payload
}

// advance does the worker's transactions up to a number.
func (a *account) advance(seed uint64, worker int, number uint64) {
	if number < a.number || a.records == nil {
		*a = account{records: map[place]payload{}}
	}
	for ; a.number < number; a.number++ {
		for _, c := range changes(seed, worker, a.number+1) {
			switch {
			case c.put:
				a.records[c.place] = c.value
			case c.key != "":
				delete(a.records, c.place)
			default:
				for p := range a.records {
					if p.bucket == c.bucket {
						delete(a.records, p)
					}
				}
			}
		}
	}
}

// compare returns an error unless the worker's bucket holds the account.
func (a *account) compare(mine *store.Bucket) error {
	n := 0
	for i := range 4 {
		b, name := mine, bucketName(i)
		if name != "" {
			var err error
			if b, err = mine.Bucket(name); errors.Is(err, store.ErrBucketNotFound) {
				continue
			} else if err != nil {
				return err
			}
		}
		for k, v := range b.All() {
			if name == "" && string(k) == "counter" {
				continue
			}
			want, ok := a.records[place{name, string(k)}]
			if !ok {
				return errors.Newf("%q %q is there", name, k)
			}
			if !bytes.Equal(v, want.bytes()) {
				return errors.Newf("%q %q has %d bytes that are not the %d of %d", name, k, len(v), want.size, want.seed)
			}
			n++
		}
	}
	if n != len(a.records) {
		return errors.Newf("%d records instead of %d", n, len(a.records))
	}
	return nil
}

// books are the accounts of all workers.
type books struct {
	seed     uint64
	accounts []account
}

func (b *books) clone() *books {
	c := &books{b.seed, slices.Clone(b.accounts)}
	for i := range c.accounts {
		c.accounts[i].records = maps.Clone(c.accounts[i].records)
	}
	return c
}

// compare returns how many transactions of each worker the store has, and an error
// unless these are the first of all, in the order they were done, and nothing else.
func (b *books) compare(db *store.DB) (numbers []uint64, err error) {
	numbers = make([]uint64, len(b.accounts))
	err = db.View(func(tx *store.Tx) error {
		var sum, last uint64
		for worker := range b.accounts {
			mine, err := tx.Bucket(fmt.Sprint("worker ", worker))
			if errors.Is(err, store.ErrBucketNotFound) {
				continue
			} else if err != nil {
				return err
			}
			number, sequence, err := counter(mine)
			if err != nil {
				return err
			}
			a := &b.accounts[worker]
			a.advance(b.seed, worker, number)
			if err := a.compare(mine); err != nil {
				if tx.Err() != nil {
					return tx.Err() // of the walk, which it has ended
				}
				return errors.Wrapf(err, "worker %d after %d transactions", worker, number)
			}
			numbers[worker] = number
			sum += number
			last = max(last, sequence)
		}
		if sum != last {
			return errors.Newf("%d transactions up to the one in place %d", sum, last)
		}
		return nil
	})
	return numbers, err
}

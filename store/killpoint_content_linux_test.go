//go:build killpoints

package store_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/store"
)

// record makes one transaction in behalf of who: it counts it, moves amounts between
// accounts, and changes its own entries, all of which then hold the count. It returns
// the count when the transaction is acknowledged.
func record(db *store.DB, who string, rng *rand.Rand) (n uint64, err error) {
	err = db.Update(func(tx *store.Tx) error {
		n = load(tx, []byte("count "+who)) + 1
		count := binary.BigEndian.AppendUint64(nil, n)
		if err := tx.Put([]byte("count "+who), count); err != nil {
			return err
		}
		for range 3 {
			amount := rng.Uint64()
			for _, x := range []uint64{amount, -amount} {
				account := fmt.Appendf(nil, "account %d", rng.IntN(20))
				if err := tx.Put(account, binary.BigEndian.AppendUint64(nil, load(tx, account)+x)); err != nil {
					return err
				}
			}
		}
		prefix := "entry " + who + " "
		if _, err := tx.DeleteRange([]byte(prefix), []byte(prefix+"~")); err != nil {
			return err
		}
		// Now and then so much that pages are stored before the commit, or a run of them.
		entries, length := 1+rng.IntN(5), 1+rng.IntN(300)
		switch rng.IntN(6) {
		case 0:
			entries, length = 60+rng.IntN(60), 600
		case 1:
			length = 5000 + rng.IntN(30000)
		}
		for i := range entries {
			value := append(count, bytes.Repeat(count[7:], length)...)
			if err := tx.Put(fmt.Appendf(nil, "%s%d", prefix, i), value); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// consistent returns an error if a snapshot has a part of what record has done.
func consistent(tx *store.Tx) error {
	if err := zeroSum(tx); err != nil {
		return err
	}
	for k, v := range tx.Range([]byte("entry "), []byte("entry!")) {
		words := bytes.Fields(k)
		n := binary.BigEndian.AppendUint64(nil, load(tx, append([]byte("count "), words[1]...)))
		if !bytes.HasPrefix(v, n) || bytes.Count(v[8:], n[7:]) < len(v)-8 {
			return errors.Newf("revision %d: %s is not of the transaction %x of its maker", tx.Rev(), k, n)
		}
	}
	return tx.Err()
}

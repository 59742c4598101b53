package main

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/store"
	"github.com/sharekv/sharekv/testdata"
)

// The keys of the data set begin with dataPrefix; the counters of the writers lie
// outside.
const (
	dataPrefix    = "U+"
	counterPrefix = "demo/writer/"
)

// A demoRecord belongs to one writer, who is to add it.
type demoRecord struct {
	key, value string
	writer     int // from 0
}

// demoRecords deals the data set out to the writers in turn, and returns it in
// the order of its keys.
func demoRecords(writers int) []demoRecord {
	var records []demoRecord
	for line := range strings.Lines(testdata.Unicode) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		records = append(records, demoRecord{key, value, len(records) % writers})
	}
	slices.SortFunc(records, func(a, b demoRecord) int { return cmp.Compare(a.key, b.key) })
	return records
}

// recordsOf returns those that writer is to add, in order.
func recordsOf(writer int, records []demoRecord) []demoRecord {
	return slices.DeleteFunc(slices.Clone(records), func(r demoRecord) bool {
		return r.writer != writer
	})
}

func counterKey(writer int) []byte {
	return []byte(counterPrefix + strconv.Itoa(writer+1))
}

// readCounter returns how many records writer says that it has added.
func readCounter(tx *store.Tx, writer int) (int, error) {
	text, err := tx.Get(counterKey(writer))
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(string(text))
	return n, errors.Wrapf(err, "counter of writer %d", writer+1)
}

// batches are the transactions of one writer.
type batches struct {
	writer  int
	own     []demoRecord // the writer's, in order
	size    int          // records to a transaction
	halfway func() error // called before the counter is advanced; nil does nothing
}

// add adds the next records and advances the counter in the same transaction. It
// goes on where the counter stands, so a writer that was killed can be started
// again. It returns how many it added: none at the end.
func (b *batches) add(tx *store.Tx) (int, error) {
	done, err := readCounter(tx, b.writer)
	if err != nil {
		return 0, err
	}
	if done > len(b.own) {
		return 0, errors.Newf("the counter of writer %d says %d, but there are only %d records",
			b.writer+1, done, len(b.own))
	}
	batch := b.own[done:min(done+b.size, len(b.own))]
	if len(batch) == 0 {
		return 0, nil
	}
	for _, r := range batch {
		if err := tx.Put([]byte(r.key), []byte(r.value)); err != nil {
			return 0, errors.Wrapf(err, "put %q", r.key)
		}
	}
	if b.halfway != nil {
		if err := b.halfway(); err != nil {
			return 0, err
		}
	}
	return len(batch), tx.Put(counterKey(b.writer), strconv.AppendInt(nil, int64(done+len(batch)), 10))
}

// takeSnapshot reads everything that tx sees: it counts the records one by one,
// compares every byte with the data set, and reads the counters.
func takeSnapshot(tx *store.Tx, records []demoRecord, writers int) (snapshot, error) {
	s := snapshot{rev: revision(tx.Rev()), records: make([]int, writers), counters: make([]int, writers)}
	for w := range writers {
		n, err := readCounter(tx, w)
		if err != nil {
			return s, err
		}
		s.counters[w] = n
	}
	rest := records
	for key, value := range tx.Range([]byte(dataPrefix), prefixEnd(dataPrefix)) {
		for len(rest) > 0 && rest[0].key < string(key) {
			rest = rest[1:]
		}
		if len(rest) == 0 || rest[0].key != string(key) {
			return s, errors.Newf("revision %v holds the key %q, which nobody wrote", s.rev, key)
		}
		if !bytes.Equal(value, []byte(rest[0].value)) {
			return s, errors.Newf("revision %v: the value of %q is %q, but %q was written",
				s.rev, key, value, rest[0].value)
		}
		s.records[rest[0].writer]++
		rest = rest[1:]
	}
	return s, tx.Err()
}

package main

import (
	"path/filepath"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble/v2"
	"go.etcd.io/bbolt"

	"github.com/sharekv/sharekv/store"
)

// A storage is a store of an engine in Go that this process has open, with the
// engine's default settings.
type storage interface {
	load(ops []operation) error // in one transaction
	put(op *operation) error    // in one transaction, which is durable when it returns
	get(key []byte) ([]byte, error)
	count() (uint64, error)
	close() error
}

// A counter counts commits of all processes, and the flushes that they have shared, since
// the first process opened the store.
type counter interface {
	commitsAndFlushes() (commits, flushes uint64, err error)
}

// An opener opens the store in dir, or makes it. about tells version and durability
// settings, which it has made sure of.
type opener func(dir string) (s storage, about string, err error)

var errNotDurable = errors.New("the default settings are not the durable ones")

type sharekvStorage struct{ *store.DB }

func openSharekv(dir string) (storage, string, error) {
	// The command has judged the file system. All else is the default.
	db, err := store.Open(filepath.Join(dir, "store.kv"), &store.Options{AnyFileSystem: true})
	return sharekvStorage{db}, "revision " + revision() + ", default Options: commits are durable when Update returns", err
}

func (s sharekvStorage) load(ops []operation) error {
	return s.Update(func(tx *store.Tx) error {
		for i := range ops {
			if err := tx.Put(ops[i].key[:], ops[i].value[:]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s sharekvStorage) put(op *operation) error        { return s.Put(op.key[:], op.value[:]) }
func (s sharekvStorage) get(key []byte) ([]byte, error) { return s.Get(key) }
func (s sharekvStorage) close() error                   { return s.Close() }

func (s sharekvStorage) count() (uint64, error) {
	stats, err := s.Stats()
	return uint64(stats.Entries), err
}

func (s sharekvStorage) commitsAndFlushes() (commits, flushes uint64, err error) {
	stats, err := s.Stats()
	return uint64(stats.Commits), uint64(stats.Flushes), err
}

type bboltStorage struct {
	*bbolt.DB
	update func(func(*bbolt.Tx) error) error
}

var bboltBucket = []byte("bench")

func openBbolt(dir string) (storage, string, error) {
	return bboltWith(dir, "Update", (*bbolt.DB).Update)
}
func openBboltBatch(dir string) (storage, string, error) {
	return bboltWith(dir, "Batch", (*bbolt.DB).Batch)
}

func bboltWith(dir, name string, update func(*bbolt.DB, func(*bbolt.Tx) error) error) (storage, string, error) {
	db, err := bbolt.Open(filepath.Join(dir, "store.db"), 0o600, nil)
	if err != nil {
		return nil, "", err
	}
	if db.NoSync || db.NoGrowSync || db.NoFreelistSync {
		return nil, "", errors.CombineErrors(errors.Wrapf(errNotDurable, "bbolt"), db.Close())
	}
	s := bboltStorage{db, func(do func(*bbolt.Tx) error) error { return update(db, do) }}
	return s, "bbolt " + version("go.etcd.io/bbolt") + ", default Options (no NoSync), DB." + name + " per commit", nil
}

func (s bboltStorage) load(ops []operation) error {
	return s.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists(bboltBucket)
		for i := 0; i < len(ops) && err == nil; i++ {
			err = bucket.Put(ops[i].key[:], ops[i].value[:])
		}
		return err
	})
}

func (s bboltStorage) put(op *operation) error {
	return s.update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bboltBucket).Put(op.key[:], op.value[:])
	})
}

func (s bboltStorage) get(key []byte) (value []byte, err error) {
	err = s.View(func(tx *bbolt.Tx) error {
		value = append(value, tx.Bucket(bboltBucket).Get(key)...)
		return nil
	})
	return value, err
}

func (s bboltStorage) count() (n uint64, err error) {
	err = s.View(func(tx *bbolt.Tx) error {
		n = uint64(tx.Bucket(bboltBucket).Stats().KeyN)
		return nil
	})
	return n, err
}

func (s bboltStorage) close() error { return s.Close() }

type pebbleStorage struct{ *pebble.DB }

func openPebble(dir string) (storage, string, error) {
	options := &pebble.Options{}
	options.EnsureDefaults()
	if options.DisableWAL || options.WALMinSyncInterval != nil || !pebble.Sync.Sync {
		return nil, "", errors.Wrapf(errNotDurable, "pebble")
	}
	db, err := pebble.Open(dir, options)
	return pebbleStorage{db}, "Pebble " + version("github.com/cockroachdb/pebble/v2") +
		", default Options (WAL on), Set with pebble.Sync", err
}

func (s pebbleStorage) load(ops []operation) error {
	batch := s.NewBatch()
	for i := range ops {
		if err := batch.Set(ops[i].key[:], ops[i].value[:], nil); err != nil {
			return err
		}
	}
	return batch.Commit(pebble.Sync)
}

func (s pebbleStorage) put(op *operation) error {
	return s.Set(op.key[:], op.value[:], pebble.Sync)
}

func (s pebbleStorage) get(key []byte) ([]byte, error) {
	value, closer, err := s.Get(key)
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), value...), closer.Close()
}

func (s pebbleStorage) count() (n uint64, err error) {
	entries, err := s.NewIter(nil)
	if err != nil {
		return 0, err
	}
	for entries.First(); entries.Valid(); entries.Next() {
		n++
	}
	return n, entries.Close()
}

func (s pebbleStorage) close() error { return s.Close() }

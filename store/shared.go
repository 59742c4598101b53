package store

import (
	"runtime/debug"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/mmapfile"
	"github.com/sharekv/sharekv/txn"
)

// OpenShared opens the store of this name in the memory of the system, which has no
// file, and creates it unless o says otherwise. It is as one that Open returns, with
// these differences:
//
//   - It lives as long as somebody has it open, on this host, and is gone when the last
//     one closes it or dies.
//   - Nothing is flushed: a commit that has returned is seen by all. Options.Async,
//     AnyMode, FlushDataFirst and AnyFileSystem have no meaning.
//   - It grows up to Options.MaxSize, as far as there is memory for it: then a commit is
//     ErrNoSpace.
//
// A store with the name "" is only for those who are told of it: by what Name returns, or
// children by mmapfile.Inherit. Any other name follows the rules of mmapfile.Options.Name:
// stores, mappings, mutexes, semaphores and events share one name space, and Local\ is
// where it is looked for if it does not begin with Global\; / will do for \. Only
// processes of one user find each other.
func OpenShared(name string, o *Options) (*DB, error) {
	if o == nil {
		o = &Options{}
	}
	content, err := format(o)
	if err != nil {
		return nil, errors.Wrapf(err, "open shared memory %q", name)
	}
	db := newDB(name, o)
	db.shared = true
	m := &mmapfile.Options{Name: name, MustExist: o.MustExist, ReadOnly: o.ReadOnly, Mode: o.Mode}
	if o.MaxSize > defaultReserve {
		m.Reserve = o.MaxSize
	}
	db.mapping, err = mmapfile.Create("", int64(len(content)), m)
	if errors.Is(err, mmapfile.ErrNotExist) {
		err = errors.WithHint(err, "a shared store lives as long as somebody has it open; kvctl hold keeps one")
	}
	if err != nil {
		return nil, errors.Wrapf(err, "open shared memory")
	}
	err = db.enter(db.mapping.Path(), o, func(area *mmapfile.Area, first bool, o *Options) error {
		return db.joinShared(area, first, o, content)
	})
	if err != nil {
		return nil, err
	}
	return db, nil
}

// Name returns what OpenShared opens the store by, also one that was made without a name,
// and "" for a store in a file.
func (db *DB) Name() string { return db.mapping.Name() }

// joinShared makes this process a user of the store, under the area's gate. The first
// one fills the memory in: what is there belongs to nobody who lives.
func (db *DB) joinShared(area *mmapfile.Area, first bool, o *Options, content []byte) (err error) {
	defer db.catch(debug.SetPanicOnFault(true), &err)
	if first && o.ReadOnly {
		return errors.Wrapf(mmapfile.ErrNotExist, "nobody has it open to write")
	}
	// Others that are just leaving are waited for. Who stays has lost its area.
	if err := db.mapping.Bind(area.Nonce()); err != nil {
		return err
	}
	if first {
		if err := db.mapping.Grow(int64(len(content))); err != nil {
			return err
		}
		if err := db.mapping.Store(0, [][]byte{content}); err != nil {
			return err
		}
	}
	options := db.txnOptions(o)
	options.Memory = true
	db.txn, err = txn.Open(area, first, db.mapping, options)
	return err
}

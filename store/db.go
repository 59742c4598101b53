package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
	"github.com/sharekv/sharekv/mmapfile"
	"github.com/sharekv/sharekv/txn"
)

// FileFormat is the number of the file format that this version reads and
// writes.
const FileFormat = txn.FileFormat

// MaxValue is the length of the longest value in bytes.
const MaxValue = index.MaxValue

const (
	defaultPageSize = 4096
	defaultReserve  = 1 << 40 // of package mmapfile at most
)

// DB is a store that this process has open. Any number of processes may have the
// same one open. All methods may be used concurrently.
type DB struct {
	path        string
	readOnly    bool
	shared      bool // in memory, by name
	lockTimeout time.Duration
	mapping     *mmapfile.Mapping
	area        *mmapfile.Area
	txn         *txn.Store
	calls       calls
	life        context.Context // ends when Close begins
	endLife     context.CancelCauseFunc
	users       atomic.Int64 // the handle, until it is closed, and what Begin began
	flusher     sync.WaitGroup
}

// Open opens the store in the file at path, and creates it unless o says
// otherwise. Next to it lies a file with "-lock" appended to its name, through
// which the processes that have the store open coordinate.
func Open(path string, o *Options) (*DB, error) {
	if o == nil {
		o = &Options{}
	}
	path, err := locate(path, o)
	if err != nil {
		return nil, err
	}
	db := newDB(path, o)
	if err := db.enter(path, o, db.join); err != nil {
		return nil, err
	}
	if interval := db.txn.Interval(); interval > 0 && !o.ReadOnly {
		db.flusher.Go(func() { db.keepFlushing(interval) })
	}
	return db, nil
}

func newDB(path string, o *Options) *DB {
	db := &DB{path: path, readOnly: o.ReadOnly, lockTimeout: o.LockTimeout}
	db.calls.init()
	db.life, db.endLife = context.WithCancelCause(context.Background())
	db.users.Store(1)
	return db
}

// enter makes the handle a member of the area that belongs to the file; join does what
// is to be done under the area's gate.
func (db *DB) enter(file string, o *Options, join func(area *mmapfile.Area, first bool, o *Options) error) (err error) {
	ctx, cancel := db.bounded(context.Background())
	defer cancel()
	db.area, err = mmapfile.OpenArea(ctx, file+mmapfile.LockSuffix, &mmapfile.AreaOptions{
		Size:    txn.AreaSize,
		Members: txn.MaxMembers,
		Mode:    o.Mode,
		Like:    file,
	}, func(area *mmapfile.Area, first bool) error { return join(area, first, o) })
	if err != nil && db.mapping != nil {
		err = errors.CombineErrors(err, db.mapping.Close())
	}
	return errors.Wrapf(withHint(err), "open %s", db.path)
}

// locate returns the path of the file itself, so that the lock file lies next to
// it however it is called. It refuses what can be no store before anything is
// created.
func locate(path string, o *Options) (string, error) {
	path, err := filepath.Abs(path) // the application may change directory later
	if err != nil {
		return "", errors.Wrapf(err, "open store")
	}
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		dir, e := filepath.EvalSymlinks(filepath.Dir(path))
		if e != nil {
			return "", errors.WithHint(errors.Wrapf(e, "open %s", path), "create the directory first")
		}
		info, e := os.Lstat(path)
		switch {
		case e == nil && info.Mode()&fs.ModeSymlink != 0:
			return "", errors.WithHint(errors.Wrapf(err, "open %s", path),
				"the symbolic link leads nowhere: name the file itself")
		case e == nil: // somebody has just created it
			return locate(path, o)
		}
		if o.MustExist || o.ReadOnly {
			return "", errors.Wrapf(err, "open store")
		}
		return filepath.Join(dir, filepath.Base(path)), checkFileSystem(dir, o)
	}
	if err != nil {
		return "", errors.Wrapf(err, "open %s", path)
	}
	info, err := os.Stat(real)
	if err != nil {
		return "", errors.Wrapf(err, "open %s", path)
	}
	if !info.Mode().IsRegular() {
		return "", errors.WithHint(errors.Wrapf(ErrNotStore, "open %s: is no regular file", path),
			"name the file that holds the store")
	}
	if err := recognize(real); err != nil {
		return "", err
	}
	return real, checkFileSystem(real, o)
}

func checkFileSystem(path string, o *Options) error {
	name, local, err := mmapfile.FileSystem(path)
	if err != nil {
		return errors.Wrapf(err, "open store")
	}
	if local || o.AnyFileSystem {
		return nil
	}
	return errors.WithHint(errors.Wrapf(ErrFileSystem, "open %s: %s", path, name),
		"put the store on a local disk; Options.AnyFileSystem opens it all the same")
}

// recognize returns an error if the file was never a store.
func recognize(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return errors.Wrapf(err, "open store")
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, txn.HeadSize))
	if err != nil {
		return errors.Wrapf(err, "open store")
	}
	if len(head) == 0 {
		return errors.WithHint(errors.Wrapf(ErrNotStore, "open %s: the file is empty", path),
			"delete the file if nothing needs it: a store is then created in its place")
	}
	if !txn.Recognize(head) {
		return errors.WithHint(errors.Wrapf(ErrNotStore, "open %s", path),
			"check the path; nothing was changed")
	}
	info, err := f.Stat() // after the read: a store in use only grows
	if err != nil {
		return errors.Wrapf(err, "open store")
	}
	if need := txn.SizeNeeded(head); info.Size() < need {
		err := errors.Wrapf(ErrTruncated, "open %s: %d bytes of %d are there", path, info.Size(), need)
		return withHint(err)
	}
	return nil
}

// join makes this process a user of the store, under the area's gate.
func (db *DB) join(area *mmapfile.Area, first bool, o *Options) (err error) {
	defer db.catch(debug.SetPanicOnFault(true), &err)
	m := &mmapfile.Options{MustExist: true, ReadOnly: o.ReadOnly}
	if o.MaxSize > defaultReserve {
		m.Reserve = o.MaxSize
	}
	db.mapping, err = mmapfile.Create(db.path, 0, m)
	if errors.Is(err, fs.ErrNotExist) && !o.MustExist && !o.ReadOnly {
		if !first {
			return errors.Wrapf(ErrReplaced, "the file is gone, but others have it open")
		}
		if err := create(db.path, o); err != nil {
			return err
		}
		db.mapping, err = mmapfile.Create(db.path, 0, m)
	}
	if err != nil {
		return err
	}
	if err := db.mapping.Bind(area.Nonce()); err != nil {
		return err
	}
	options := db.txnOptions(o)
	options.Async, options.AnyMode, options.FlushDataFirst = o.Async, o.AnyMode, o.FlushDataFirst
	if first && o.ReadOnly {
		if err := db.recover(area, options); err != nil {
			return err
		}
		first = false
	}
	db.txn, err = txn.Open(area, first, db.mapping, options)
	return err
}

func (db *DB) txnOptions(o *Options) txn.Options {
	return txn.Options{
		ReadOnly: o.ReadOnly,
		ID:       db.mapping.ID(),
		MaxSize:  o.MaxSize,
		Budget:   o.budget,
		Patience: o.LockTimeout,
		Logger:   o.Logger,
	}
}

// recover finds the state of the store in behalf of a handle that is read-only:
// after an unclean end that takes writing.
func (db *DB) recover(area *mmapfile.Area, options txn.Options) error {
	_, err := txn.Open(area, true, db.mapping, options)
	if !errors.Is(err, ErrReadOnly) {
		return err
	}
	m, err := mmapfile.Create(db.path, 0, &mmapfile.Options{MustExist: true})
	if err != nil {
		return errors.WithHint(errors.Wrapf(err, "the store was not closed, and finding its state needs writing"),
			"let a process that may write open it once")
	}
	options.ReadOnly = false
	_, err = txn.Open(area, true, m, options)
	return errors.CombineErrors(err, m.Close())
}

func create(path string, o *Options) error {
	content, err := format(o)
	if err != nil {
		return err
	}
	return mmapfile.NewFile(path, o.Mode, content)
}

// format returns the content of a new store.
func format(o *Options) ([]byte, error) {
	var id [16]byte
	rand.Read(id[:])
	return txn.Format(cmp.Or(o.PageSize, defaultPageSize), id)
}

// withHint adds what the user can do about an error of opening.
func withHint(err error) error {
	switch {
	case errors.Is(err, ErrTruncated):
		return errors.WithHint(err, "the file was cut short, or copied while it was written: restore it from a backup")
	case errors.Is(err, ErrCorrupt):
		return errors.WithHint(err, "restore the file from a backup")
	case errors.Is(err, mmapfile.ErrVersion):
		return errors.WithHint(errors.Wrapf(ErrVersion, "%v", err),
			"end the processes that use the other version, or use the same one here")
	case errors.Is(err, ErrReplaced):
		return errors.WithHint(err, "stop the processes that have the old file open, then try again")
	}
	return err
}

// bounded returns ctx, ending with ErrBusy after the LockTimeout if there is one.
func (db *DB) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if db.lockTimeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, db.lockTimeout, ErrBusy)
}

// Close ends the use of the store by this handle. New calls get ErrClosed, and so
// do those that wait for another write transaction. View and Update under way are
// waited for, so Close must not be called from within one.
//
// Transactions from Begin that have not ended are not waited for. Close then
// returns an error that says how many there are; they can be used as before, and
// the last one to end lets go of the store. With Options.Async, Close flushes all the
// same, and so does the end of each of them.
func (db *DB) Close() error {
	db.endLife(ErrClosed)
	if !db.calls.close() {
		return ErrClosed
	}
	db.flusher.Wait()
	open := db.users.Load() - 1
	if err := db.release(); err != nil || open == 0 {
		return err
	}
	return errors.WithHint(errors.Newf("store: closed with %d transactions open", open),
		"end each transaction that Begin returned with Commit or Rollback")
}

// release ends one use of the handle, and lets go of the store if it was the last. From
// Close on nobody else flushes what the handle has committed.
func (db *DB) release() error {
	var err error
	if db.life.Err() != nil {
		err = db.flush()
	}
	if db.users.Add(-1) > 0 {
		return err
	}
	db.leave(&err)
	unmapped := false
	err = errors.CombineErrors(err, db.area.Close(func() error {
		// Before another area can begin, nothing may be bound to this one.
		if db.shared {
			db.mapping.Unbind()
			return nil // its end is that of the mapping's name
		}
		err := db.finish()
		unmapped = true
		return errors.CombineErrors(err, db.mapping.Close())
	}))
	if !unmapped {
		err = errors.CombineErrors(err, db.mapping.Close())
	}
	return errors.Wrapf(err, "close %s", db.path)
}

// flush makes what the handle has committed durable.
func (db *DB) flush() (err error) {
	defer db.catch(debug.SetPanicOnFault(true), &err)
	if db.readOnly || db.txn.Interval() == 0 {
		return nil
	}
	return asBusy(db.txn.Sync(context.Background()))
}

// leave ends what the handle has in the area. A fault is *err.
func (db *DB) leave(err *error) {
	defer db.catch(debug.SetPanicOnFault(true), err)
	db.txn.Leave()
}

// finish marks the store as closed cleanly. A handle that is read-only does so too
// if it may write at all: the last one to write may have been killed.
func (db *DB) finish() (err error) {
	defer db.catch(debug.SetPanicOnFault(true), &err)
	if !db.readOnly {
		return db.txn.Finish(db.mapping)
	}
	m, err := mmapfile.Create(db.path, 0, &mmapfile.Options{MustExist: true})
	if err != nil {
		return nil
	}
	if m.ID() == db.mapping.ID() {
		err = db.txn.Finish(m)
	}
	return errors.CombineErrors(err, m.Close())
}

// MaxKey returns the length of the longest key in bytes, which depends on the
// page size of the store: 968 for the default.
func (db *DB) MaxKey() int { return index.MaxKey(db.txn.PageSize()) }

// Get returns a copy of the value of key, as of the last commit.
func (db *DB) Get(key []byte) ([]byte, error) {
	return db.AppendGet(nil, key)
}

// AppendGet appends the value of key, as of the last commit, to dst. If dst has
// room, nothing is allocated.
func (db *DB) AppendGet(dst, key []byte) (value []byte, err error) {
	if !db.calls.enter() {
		return dst, ErrClosed
	}
	defer db.calls.leave()
	defer db.catch(debug.SetPanicOnFault(true), &err)
	r, err := db.txn.Read()
	if err != nil {
		return dst, err
	}
	defer r.End()
	v, kind, err := r.Snapshot.Get(r.Main.Ref, key)
	if err == nil && kind != index.KindValue {
		err = ErrNotFound
	}
	if r.Lost() {
		return dst, ErrFlushFailed
	}
	return append(dst, v...), err
}

// Delete removes key and its value, in a transaction of its own.
func (db *DB) Delete(key []byte) error {
	return db.Update(func(tx *Tx) error { return tx.Delete(key) })
}

// Put makes value the value of key, in a transaction of its own.
func (db *DB) Put(key, value []byte) error {
	return db.Update(func(tx *Tx) error { return tx.Put(key, value) })
}

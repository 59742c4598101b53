package store

import (
	"context"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
	"github.com/sharekv/sharekv/internal/invariant"
	"github.com/sharekv/sharekv/txn"
)

// Rev tells the commits of a store apart: it grows with every commit, also over
// reopening and crashes. It is not dense.
type Rev uint64

// top is Bucket by a name that does not hide its method of the same name.
type top = Bucket

// Tx is a transaction. It has all methods of Bucket, for the root bucket.
//
// It sees one state of the store: a read transaction the last durable commit before it
// began, or with Options.Async the last one, a write transaction the last commit, which is
// on its way to the disk at least, and its own changes.
//
// A read transaction may be used by several goroutines at once, a write
// transaction may not.
type Tx struct {
	top // the root bucket

	db       *DB
	snapshot *index.Snapshot
	reader   txn.Reader  // of a read transaction
	writer   *txn.Writer // of a write transaction, else nil
	managed  bool        // by View or Update
	done     atomic.Bool
	failure  atomic.Pointer[error] // of the first iterator that failed
}

// readTxs are read transactions of View that have ended.
var readTxs = sync.Pool{New: func() any { return new(Tx) }}

// View calls fn with a read transaction, which ends when fn returns. It never
// waits for anybody. It returns fn's error, or else that of an iterator.
func (db *DB) View(fn func(*Tx) error) (err error) {
	if !db.calls.enter() {
		return ErrClosed
	}
	defer db.calls.leave()
	tx := readTxs.Get().(*Tx)
	if err := tx.read(db); err != nil {
		return err
	}
	tx.managed = true
	defer func() {
		tx.end(&err)
		// Under invariants it is used no more, so that every later use shows.
		if !invariant.Enabled {
			readTxs.Put(tx)
		}
	}()
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Err(); err != nil {
		return err
	}
	return tx.lost()
}

// Update calls fn with a write transaction and commits what it did. If fn
// returns an error, panics or calls runtime.Goexit, nothing has changed.
//
// Only one write transaction runs at a time among all processes; the others wait,
// at most Options.LockTimeout. An Update called by fn on the same store waits for
// fn itself.
func (db *DB) Update(fn func(*Tx) error) error {
	return db.UpdateContext(context.Background(), fn)
}

// UpdateContext is Update with a context that bounds the wait for other write
// transactions, and nothing else: once fn runs, the commit alone decides.
func (db *DB) UpdateContext(ctx context.Context, fn func(*Tx) error) (err error) {
	if !db.calls.enter() {
		return ErrClosed
	}
	defer db.calls.leave()
	tx := new(Tx)
	if err := tx.write(ctx, db); err != nil {
		return err
	}
	tx.managed = true
	defer tx.end(&err)
	if err := fn(tx); err != nil {
		return err
	}
	return tx.commit()
}

// Begin begins a transaction that lasts until Commit or Rollback, for when a
// function of View or Update will not do. ctx bounds the wait for other write
// transactions, as in UpdateContext; a read transaction does not wait.
//
// A read transaction keeps the pages of its snapshot from being reused, and a
// write transaction stops all other writers, until it ends.
func (db *DB) Begin(ctx context.Context, writable bool) (*Tx, error) {
	if !db.calls.enter() {
		return nil, ErrClosed
	}
	defer db.calls.leave()
	tx := new(Tx)
	var err error
	if writable {
		err = tx.write(ctx, db)
	} else {
		err = tx.read(db)
	}
	if err != nil {
		return nil, err
	}
	db.users.Add(1)
	return tx, nil
}

func (tx *Tx) read(db *DB) (err error) {
	defer db.catch(debug.SetPanicOnFault(true), &err)
	tx.reader, err = db.txn.Read()
	tx.use(db, &tx.reader.Snapshot)
	tx.top.root = tx.reader.Main
	return err
}

func (tx *Tx) write(ctx context.Context, db *DB) (err error) {
	defer db.catch(debug.SetPanicOnFault(true), &err)
	ctx, cancel := db.bounded(ctx)
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(db.life, func() { end(ErrClosed) })()
	tx.writer, err = db.txn.Write(ctx)
	if err != nil {
		return err
	}
	tx.use(db, &tx.writer.Snapshot)
	tx.top.tree = tx.writer.Main
	return nil
}

func (tx *Tx) use(db *DB, snapshot *index.Snapshot) {
	tx.db, tx.snapshot, tx.top.tx = db, snapshot, tx
	tx.failure.Store(nil)
	tx.done.Store(false)
}

// end ends the transaction, if it has not ended, without committing anything, and
// reports whether it did. A fault is *err.
func (tx *Tx) end(err *error) bool {
	if !tx.done.CompareAndSwap(false, true) {
		return false
	}
	defer tx.db.catch(debug.SetPanicOnFault(true), err)
	if tx.writer != nil {
		// The application must not rely on what a power cut may take back.
		if e := tx.writer.Rollback(); e != nil {
			*err = errors.CombineErrors(asBusy(e), *err)
		}
	} else {
		tx.reader.End()
	}
	return true
}

// lost returns ErrFlushFailed if what a read transaction has seen may be gone once the
// store is opened again.
func (tx *Tx) lost() error {
	if tx.reader.Lost() {
		return ErrFlushFailed
	}
	return nil
}

// asBusy returns the error for a wait that was too long.
func asBusy(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.Wrapf(ErrBusy, "%v", err)
	}
	return err
}

func (tx *Tx) commit() (err error) {
	if err := tx.Err(); err != nil {
		return err
	}
	defer tx.db.catch(debug.SetPanicOnFault(true), &err)
	if err := tx.save(); err != nil {
		return err
	}
	return asBusy(tx.writer.Commit())
}

// Commit makes the changes of a write transaction from Begin durable, and then visible
// to readers, and ends it, whatever it returns. With Options.Async they are just visible.
// A read transaction just ends.
func (tx *Tx) Commit() error {
	if tx.managed {
		return errors.Wrapf(ErrTxManaged, "Commit")
	}
	if tx.done.Load() {
		return ErrTxDone
	}
	var err error
	if tx.writer != nil {
		err = tx.commit()
	} else {
		err = tx.lost()
	}
	return errors.CombineErrors(err, tx.Rollback())
}

// Rollback ends a transaction from Begin without committing anything. It does
// nothing if the transaction has ended, so it can be deferred. That of a write
// transaction returns when what it has read is durable, or why it may not be.
func (tx *Tx) Rollback() error {
	if tx.managed {
		return errors.Wrapf(ErrTxManaged, "Rollback")
	}
	var err error
	if !tx.end(&err) {
		return nil
	}
	return errors.CombineErrors(err, tx.db.release())
}

// Rev returns the revision that the transaction sees.
func (tx *Tx) Rev() Rev { return Rev(tx.snapshot.TxID) }

// Err returns the first error of an iterator of this transaction. View and
// Update return it if their function returns nil.
func (tx *Tx) Err() error {
	if err := tx.failure.Load(); err != nil {
		return *err
	}
	return nil
}

func (tx *Tx) fail(err error) { tx.failure.CompareAndSwap(nil, &err) }

package store

import (
	"context"
	"runtime/debug"
	"sync/atomic"

	"github.com/sharekv/sharekv/index"
	"github.com/sharekv/sharekv/txn"
)

// Rev tells the commits of a store apart: it grows with every commit, also over
// reopening and crashes. It is not dense.
type Rev uint64

// Tx is a transaction. It sees one state of the store: a read transaction the
// last commit before it began, a write transaction also its own changes.
//
// A read transaction may be used by several goroutines at once, a write
// transaction may not.
type Tx struct {
	Bucket // the root bucket

	db       *DB
	snapshot *index.Snapshot
	main     index.Root  // of a read transaction
	writer   *txn.Writer // of a write transaction, else nil
	done     atomic.Bool
	failure  atomic.Pointer[error] // of the first iterator that failed
}

// View calls fn with a read transaction, which ends when fn returns. It never
// waits for anybody. It returns fn's error, or else that of an iterator.
func (db *DB) View(fn func(*Tx) error) (err error) {
	if !db.calls.enter() {
		return ErrClosed
	}
	defer db.calls.leave()
	r, err := db.read()
	if err != nil {
		return err
	}
	tx := &Tx{db: db, snapshot: &r.Snapshot, main: r.Main}
	tx.Bucket.tx = tx
	defer func() { tx.done.Store(true) }()
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Err()
}

func (db *DB) read() (r txn.Reader, err error) {
	defer db.catch(debug.SetPanicOnFault(true), &err)
	return db.txn.Read()
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
func (db *DB) UpdateContext(ctx context.Context, fn func(*Tx) error) error {
	if !db.calls.enter() {
		return ErrClosed
	}
	defer db.calls.leave()
	w, err := db.write(ctx)
	if err != nil {
		return err
	}
	tx := &Tx{db: db, snapshot: &w.Snapshot, writer: w}
	tx.Bucket.tx = tx
	defer func() {
		tx.done.Store(true)
		w.Rollback() // does nothing after Commit
	}()
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Err(); err != nil {
		return err
	}
	return tx.commit()
}

func (db *DB) write(ctx context.Context) (w *txn.Writer, err error) {
	defer db.catch(debug.SetPanicOnFault(true), &err)
	ctx, cancel := db.bounded(ctx)
	defer cancel()
	return db.txn.Write(ctx)
}

func (tx *Tx) commit() (err error) {
	defer tx.db.catch(debug.SetPanicOnFault(true), &err)
	return tx.writer.Commit()
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

package store

import (
	"io/fs"
	"log/slog"
	"time"
)

// Options are how a store is opened. The zero value, and nil, are the defaults.
type Options struct {
	// Behaviour.

	// ReadOnly refuses write transactions. The store must exist.
	ReadOnly bool
	// MustExist makes a missing file an error instead of creating a store.
	MustExist bool
	// AnyFileSystem opens stores on network file systems and those that are not known,
	// too. Readers may then see old pages, and two hosts may write at once, unless
	// this host is the only one to use the file.
	AnyFileSystem bool
	// Mode is the permission of every file made; 0 is 0600.
	Mode fs.FileMode
	// Async makes commits return, and others see them, before they are on disk. Every
	// handle that may write flushes what has been committed when that much time has
	// passed, and so do Sync and Close. If the system crashes, or all processes that have
	// the store open die, the commits since the last flush may be lost, the last ones
	// first and never parts of one. 0 is the default mode: a commit that has returned is
	// on disk.
	//
	// A store is open in one mode: for others than the first to open it to write, another
	// value is ErrModeDiffers, until all have closed it, also those who only read. Handles
	// that are read-only take what there is.
	Async time.Duration
	// AnyMode takes the mode that others have the store open in. If there is nobody,
	// Async counts. If that is 0, those who come later may still choose; what this handle
	// commits is then on disk when the commit returns.
	AnyMode bool
	// FlushDataFirst makes each flush of this handle two: of the data, and then of the
	// page that says where it is. Nothing is left then to be verified when the store is
	// opened after a crash. Commits take up to twice as long.
	FlushDataFirst bool
	// LockTimeout bounds the wait for another process to end its write
	// transaction, or to finish opening the store; then ErrBusy. It also bounds the wait
	// of a commit for another process that flushes for both; then ErrUnknown; and those
	// of Sync, and of Close with Async, for one that flushes. 0 waits for ever.
	LockTimeout time.Duration
	// Logger is told of rare events: a store that was not closed, a writer or reader
	// that died, a flush that failed. Nil is told nothing.
	Logger *slog.Logger

	// Performance.

	// PageSize is the size of the pages in bytes of a store that is created, a
	// power of two from 4096, the default, to 65536. An existing store keeps its own.
	PageSize int
	// MaxSize is the size in bytes that the file may grow to through this handle;
	// 0 is no limit but the address space that is reserved: 1 TiB on 64-bit Linux,
	// 256 GiB on Windows. A greater MaxSize reserves more.
	MaxSize int64

	budget int // of txn.Options; tests set it
}

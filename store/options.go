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
	// LockTimeout bounds the wait for another process to end its write
	// transaction, or to finish opening the store; then ErrBusy. It also bounds the wait
	// of a commit for another process that flushes for both; then ErrUnknown. 0 waits
	// for ever.
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

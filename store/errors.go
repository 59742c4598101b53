package store

import (
	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
	"github.com/sharekv/sharekv/mmapfile"
	"github.com/sharekv/sharekv/txn"
)

// Errors of Open. A file that is not there is fs.ErrNotExist.
var (
	// ErrNotStore is returned for a file that never was a store.
	ErrNotStore = txn.ErrNotStore
	// ErrVersion is returned for a store that another version of sharekv made, or
	// has open, and this one does not know how to use.
	ErrVersion = txn.ErrVersion
	// ErrReplaced is returned when the path of a store that other processes have
	// open now leads to another file than theirs.
	ErrReplaced = txn.ErrReplaced
	// ErrModeDiffers is returned when others have the store open, which somebody has
	// opened to write in another mode; see Options.Async.
	ErrModeDiffers = txn.ErrModeDiffers
	// ErrSplit is returned when the file is in use through another lock file: one
	// was deleted, or the file has another name elsewhere. There would be two
	// writers.
	ErrSplit = mmapfile.ErrSplit
	// ErrFileSystem is returned for a file system that is not known to be local and
	// coherent; see Options.AnyFileSystem.
	ErrFileSystem = errors.New("store: file system is not known to be local")
)

// Errors of any call.
var (
	// ErrClosed is returned by a store that has been closed.
	ErrClosed = errors.New("store: closed")
	// ErrCorrupt is returned when the data is not what was written.
	ErrCorrupt = index.ErrCorrupt
	// ErrTruncated is returned for a store whose file is shorter than what it
	// holds.
	ErrTruncated = mmapfile.ErrTruncated
	// ErrFault is returned when the system could not bring a page of the mapped
	// file: the file was cut short under us, or the disk failed.
	ErrFault = mmapfile.ErrFault
	// ErrTxManaged is returned by Commit and Rollback inside View and Update, which
	// end their transaction themselves.
	ErrTxManaged = errors.New("store: not within View or Update")
	// ErrTxDone is returned for the use of a transaction that has ended. A read
	// transaction of View is used again by a later View, so that a use which comes
	// too late may also go unnoticed; with the build tag invariants it never does.
	ErrTxDone = txn.ErrTxDone
	// ErrBucketNotFound is returned for a bucket that is not there, or not any more.
	ErrBucketNotFound = errors.New("store: bucket not found")
	// ErrNotBucket is returned for a bucket whose name is the key of a value.
	ErrNotBucket = index.ErrNotBucket
	// ErrNotFound is returned, bare, for a key that is not there.
	ErrNotFound = index.ErrNotFound
)

// Errors of changes.
var (
	// ErrBusy is returned when Options.LockTimeout has passed before another
	// process or goroutine ended its write transaction. The text names it.
	ErrBusy = errors.New("store: busy")
	// ErrReadOnly is returned for a change in a read transaction, or of a store
	// opened with Options.ReadOnly.
	ErrReadOnly = txn.ErrReadOnly
	// ErrKeyEmpty, ErrKeyTooLarge and ErrValueTooLarge are returned for what does
	// not fit; see MaxKey and MaxValue. The transaction can go on.
	ErrKeyEmpty      = index.ErrKeyEmpty
	ErrKeyTooLarge   = index.ErrKeyTooLarge
	ErrValueTooLarge = index.ErrValueTooLarge
	// ErrIsBucket is returned, bare, for a value whose key names a bucket. The
	// transaction can go on.
	ErrIsBucket = index.ErrIsBucket
	// ErrConflict is returned, bare, by PutIf when the value is not the one expected.
	// The transaction can go on.
	ErrConflict = errors.New("store: the value is not the one expected")
	// ErrNoSpace is returned when the disk, or Options.MaxSize, is full. What was
	// committed before is not touched.
	ErrNoSpace = mmapfile.ErrNoSpace
	// ErrUnknown is returned by a commit that waited longer than Options.LockTimeout for
	// another process, named in the text, to flush for both: it is stopped, or the disk
	// is slow. The commit is durable and visible when that one goes on, when somebody
	// else commits, or when the last one closes the store, and otherwise not at all.
	ErrUnknown = txn.ErrUnknown
	// ErrFlushFailed is returned by a commit whose flush failed: its outcome is
	// unknown. No process can commit any more until all have closed the store and
	// opened it again; reading goes on.
	ErrFlushFailed = txn.ErrFlushFailed
)

package txn

import "github.com/cockroachdb/errors"

var (
	// ErrNotStore is returned for a file that never was a store.
	ErrNotStore = errors.New("txn: not a sharekv store")

	// ErrVersion is returned for a store, or a shared area, that another version
	// of sharekv made and this one does not know how to use.
	ErrVersion = errors.New("txn: made by another version of sharekv")

	// ErrFlushFailed is returned by the commit whose flush failed, whose outcome
	// is unknown then, and by every later commit of any process until all have
	// closed the store and opened it again. Reading goes on.
	ErrFlushFailed = errors.New("txn: a flush to disk failed")

	// ErrUnknown is returned by a commit that has been published, and then not been
	// seen to become durable.
	ErrUnknown = errors.New("txn: it is not known whether the commit is durable")

	// ErrModeDiffers is returned by Open when others have the store open to write in
	// another mode.
	ErrModeDiffers = errors.New("txn: the store is open in another mode")

	// ErrReplaced is returned when the path of a store that others have open
	// leads to another file than theirs.
	ErrReplaced = errors.New("txn: the file was replaced while others use the old one")

	// ErrReadOnly is returned for a change through a handle that is read-only.
	ErrReadOnly = errors.New("txn: read-only")

	// ErrTxDone is returned for the use of a transaction that has ended.
	ErrTxDone = errors.New("txn: transaction has ended")
)

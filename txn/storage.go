package txn

// Storage is where a store lies: a mapped file, or an image of one in a test.
// Its memory and what is stored are the same: what Store has stored, every
// process sees in its View at once.
//
// View may be called by several goroutines at once. The others are called by the
// holders of the writer mutex and the sync mutex, which may be two goroutines.
type Storage interface {
	// View returns the first size bytes, read-only. The base never moves: a slice
	// of it stays valid until the storage is closed.
	View(size int64) ([]byte, error)
	// Store stores bufs one behind the other from offset off on, within the space
	// that Grow has allocated.
	Store(off int64, bufs [][]byte) error
	// Push hands what this process has stored to the system, so that the Flush of
	// another covers it.
	Push() error
	// Flush returns once all is on disk that this process has stored, and others have
	// pushed.
	Flush() error
	// Grow allocates size bytes in all, so that a full disk is ErrNoSpace of
	// package mmapfile here and no error later, and returns once the size itself is
	// on disk. When that fails it is ErrFlush, and never ErrNoSpace.
	Grow(size int64) error
}

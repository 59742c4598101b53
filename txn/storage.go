package txn

// Storage is where a store lies: a mapped file, or an image of one in a test.
// Its memory and what is stored are the same: what Store has stored, every
// process sees in its View at once.
//
// View may be called by several goroutines at once; the others are called by the
// holder of the writer mutex.
type Storage interface {
	// View returns the first size bytes, read-only. The base never moves: a slice
	// of it stays valid until the storage is closed.
	View(size int64) ([]byte, error)
	// Store stores bufs one behind the other from offset off on, within the space
	// that Grow has allocated.
	Store(off int64, bufs [][]byte) error
	// Flush returns once all that was stored before, by this process, is on disk.
	Flush() error
	// Grow allocates size bytes in all, so that a full disk is ErrNoSpace of
	// package mmapfile here and no error later, and returns once the size itself is
	// on disk. When that fails it is ErrFlush, and never ErrNoSpace.
	Grow(size int64) error
}

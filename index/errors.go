package index

import "github.com/cockroachdb/errors"

var (
	// ErrCorrupt is returned when a page does not hold what the format, or the
	// page above it, says. Nothing was changed.
	ErrCorrupt = errors.New("index: data is corrupt")

	// ErrNotFound is returned bare when a key is not in the tree.
	ErrNotFound = errors.New("index: key not found")

	// ErrKeyEmpty is returned for a key of no bytes.
	ErrKeyEmpty = errors.New("index: key is empty")

	// ErrKeyTooLarge is returned for a key of more than MaxKey bytes.
	ErrKeyTooLarge = errors.New("index: key is too large")

	// ErrValueTooLarge is returned for a value of more than MaxValue bytes.
	ErrValueTooLarge = errors.New("index: value is too large")
)

func corrupt(r Ref, format string, args ...any) error {
	return errors.Wrapf(errors.Wrapf(ErrCorrupt, format, args...), "page %d (txid %v)", r.Page, r.TxID)
}

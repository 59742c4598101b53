package index

import "github.com/cockroachdb/errors"

var (
	// ErrCorrupt is returned when a page does not hold what the format, or the
	// page above it, says. Nothing was changed.
	ErrCorrupt = errors.New("index: data is corrupt")

	// ErrNotFound is returned bare when a key is not in the tree.
	ErrNotFound = errors.New("index: key not found")

	// ErrIsBucket is returned for a change of a value whose key names a bucket.
	ErrIsBucket = errors.New("index: key names a bucket")

	// ErrNotBucket is returned for a bucket whose name is the key of a value.
	ErrNotBucket = errors.New("index: name is the key of a value")

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

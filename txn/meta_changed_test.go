package txn_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
	"github.com/sharekv/sharekv/internal/crashsim"
)

// index/FORMAT.md, "Meta page".
const metaChanged = 208

// Opening a store after a crash is to be quick: no meta page asks for more than a leader
// leaves to be verified, and one that does was not written by any.
func TestMetaPageThatLeavesMuchToBeVerifiedIsCorrupt(t *testing.T) {
	good := newImage(t)
	for _, count := range []uint64{1024 + 1, 1 << 32, math.MaxUint64} {
		im := &image{bytes: bytes.Clone(good.bytes)}
		im.metas(func(m []byte) { binary.LittleEndian.PutUint64(m[metaChanged:], count) })
		if _, err := open(newArea(), crashsim.New(im.bytes, capacity)); !errors.Is(err, index.ErrCorrupt) {
			t.Errorf("%d pages to be verified: %v", count, err)
		}
	}
}

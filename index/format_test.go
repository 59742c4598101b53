package index

import (
	"testing"

	"github.com/sharekv/sharekv/internal/formatdoc"
)

func TestFormatDocumentSaysWhatTheCodeDoes(t *testing.T) {
	const K, V = formatdoc.Variable, formatdoc.Variable
	f := formatdoc.F
	for section, want := range map[string][]formatdoc.Field{
		"Page header": {
			f("checksum", offChecksum, 8), f("page", offPage, 8), f("txid", offTxID, 8),
			f("type", offType, 1), f("level", offLevel, 1), f("count", offCount, 2),
			f("prefix", offPrefix, 2), f("cells", offCells, 2),
		},
		"Slot": {
			f("hint", offSlotHint, 4), f("cell", offSlotCell, 2), f("keylen", offSlotKeyLen, 2),
		},
		"Leaf cell": {
			f("length", offLeafLen, 2), f("kind", offLeafKind, 1), f("flags", offLeafFlags, 1),
			f("key", offLeafKey, K), f("value", V, V),
		},
		"Branch cell": {
			f("page", offBranchPage, 8), f("txid", offBranchTxID, 8), f("separator", offBranchKey, K),
		},
		"Overflow reference": {
			f("page", offOverflowPage, 8), f("txid", offOverflowTxID, 8), f("length", offOverflowLength, 8),
		},
		"Overflow header": {f("length", offRunLength, 4)},
		"Root record": {
			f("page", offRootPage, 8), f("txid", offRootTxID, 8),
			f("entries", offRootEntries, 8), f("sequence", offRootSequence, 8),
		},
	} {
		t.Run(section, func(t *testing.T) { formatdoc.Check(t, "FORMAT.md", section, want) })
	}
}

func TestFormatDocumentHasTheConstants(t *testing.T) {
	formatdoc.CheckConstants(t, "FORMAT.md", "Constants", map[string]int64{
		"headersize":  HeaderSize,
		"minpagesize": MinPageSize,
		"maxpagesize": MaxPageSize,
		"firstpage":   int64(FirstPage),
		"maxlevel":    maxLevel,
		"maxvalue":    MaxValue,
	})
	for size := MinPageSize; size <= MaxPageSize; size *= 2 {
		if got, want := MaxKey(size), (size-32)/4-48; got != want {
			t.Errorf("the longest key in a page of %d bytes has %d bytes instead of %d", size, got, want)
		}
		if got, want := maxInline(size), (size-32)/2-12; got != want {
			t.Errorf("%d bytes of key and value fit a leaf of %d instead of %d", got, size, want)
		}
	}
}

func TestSlotWordIsLaidOutAsDocumented(t *testing.T) {
	p := make(page, 64)
	p.setSlot(0, makeSlot(0x61626364, 0x1234, 0x5678))
	want := []byte{0x64, 0x63, 0x62, 0x61, 0x34, 0x12, 0x78, 0x56}
	if got := p[HeaderSize:][:slotSize]; string(got) != string(want) {
		t.Errorf("slot is % x instead of % x", got, want)
	}
}

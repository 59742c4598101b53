package txn

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/index"
	"github.com/sharekv/sharekv/internal/formatdoc"
)

func TestFormatDocumentSaysWhatMetaPagesAre(t *testing.T) {
	f := formatdoc.F
	formatdoc.Check(t, "../index/FORMAT.md", "Meta page", []formatdoc.Field{
		f("magic", offMagic, 8), f("format", offFormat, 4), f("pagesize", offPageSize, 4),
		f("compatible", offCompatible, 8), f("readcompatible", offReadCompatible, 8),
		f("incompatible", offIncompatible, 8), f("sequence", offSequence, 8),
		f("storeid", offStoreID, 16), f("epoch", offEpoch, 8), f("fork", offFork, 8),
		f("next", offNext, 8), f("pages", offPages, 8), f("flags", offFlags, 8),
		f("main", offMain, index.RootSize), f("free", offFree, index.RootSize),
		f("base", offBase, 8), f("changed", offChanged, 8), f("sum", offSum, 8),
	})
	formatdoc.Check(t, "../index/FORMAT.md", "Retired extent", []formatdoc.Field{
		f("page", offRetiredPage, 8), f("pages", offRetiredPages, 8), f("birth", offRetiredBirth, 8),
	})
	formatdoc.CheckConstants(t, "../index/FORMAT.md", "Meta constants", map[string]int64{
		"format": FileFormat, "metasize": metaSize, "changedmost": changedMost,
		"flagclean": flagClean, "flagdataflushed": flagDataFlushed,
	})
}

func example(sequence uint64) *meta {
	return &meta{
		pageSize:       8192,
		compatible:     1 << 63,
		readCompatible: 1 << 62,
		sequence:       sequence,
		storeID:        [16]byte{1, 2, 3},
		epoch:          7,
		fork:           index.MakeTxID(6, 5),
		next:           100,
		clean:          true,
		base:           index.MakeTxID(7, 98),
		changed:        changed{count: 3, sum: 1<<63 + 7},
		snapshot: snapshot{
			txid:  index.MakeTxID(7, 99),
			pages: 1000,
			main:  index.Root{Ref: index.Ref{Page: 500, TxID: index.MakeTxID(7, 98)}, Entries: 3, Sequence: 4},
			free:  index.Root{Ref: index.Ref{Page: 501, TxID: index.MakeTxID(7, 97)}, Entries: 5},
		},
	}
}

func TestMetaPageIsReadAsItWasWritten(t *testing.T) {
	for slot := range 2 {
		want := example(9)
		got, err := decodeMeta(want.encode(slot), slot)
		if err != nil {
			t.Fatal(err)
		}
		if *got != *want {
			t.Errorf("wrote %+v\nread  %+v", want, got)
		}
		if _, err := decodeMeta(want.encode(slot), 1-slot); !errors.Is(err, index.ErrCorrupt) {
			t.Errorf("page %d read from the other slot: %v", slot, err)
		}
	}
}

func TestNewestValidMetaPageIsInForce(t *testing.T) {
	head := func(sequence ...uint64) []byte {
		var b []byte
		for slot, s := range sequence {
			b = append(b, example(s).encode(slot)...)
		}
		return b
	}
	for _, c := range []struct {
		head []byte
		slot int
	}{
		{head(1, 2), 1},
		{head(3, 2), 0},
	} {
		m, err := readMetas(c.head)
		if err != nil || m.newest() != c.slot {
			t.Errorf("slot %d instead of %d, %v", m.newest(), c.slot, err)
		}
		// Any damage of one leaves the other.
		for i := range metaSize {
			for _, slot := range []int{0, 1} {
				b := bytes.Clone(c.head)
				b[slot*8192+i] ^= 1
				if m, err := readMetas(b); err != nil || m.newest() != 1-slot {
					t.Fatalf("byte %d of meta page %d is damaged: slot %d, %v", i, slot, m.newest(), err)
				}
				b[(1-slot)*8192+100] ^= 1
				if _, err := readMetas(b); err == nil {
					t.Fatal("two damaged meta pages are taken")
				}
			}
		}
	}
}

func TestMetaPageOfANewerVersionIsRefusedEvenIfTheOtherCouldBeUsed(t *testing.T) {
	old := example(1)
	for name, change := range map[string]func([]byte){
		"format":   func(b []byte) { b[offFormat] = FileFormat + 1 },
		"features": func(b []byte) { b[offIncompatible] = 1 },
		"flags":    func(b []byte) { b[offFlags] |= 0x80 },
	} {
		for slot := range 2 {
			newer := example(2).encode(slot)
			change(newer)
			index.Seal(newer[:metaSize])
			b := append(newer, old.encode(1)...)
			if slot == 1 {
				b = append(old.encode(0), newer...)
			}
			if _, err := readMetas(b); !errors.Is(err, ErrVersion) {
				t.Errorf("newer %s in slot %d: %v", name, slot, err)
			}
		}
	}
}

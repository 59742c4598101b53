package main

import (
	"encoding/hex"
	"testing"
)

func TestRangeBounds(t *testing.T) {
	for _, c := range []struct {
		s      selection
		lo, hi string
	}{
		{selection{}, "", ""},
		{selection{prefix: "ab"}, "ab", "ac"},
		{selection{prefix: "a\xff\xff"}, "a\xff\xff", "b"},
		{selection{prefix: "\xff"}, "\xff", ""},
		{selection{from: "b", to: "d"}, "b", "d"},
		{selection{prefix: "b", from: "a", to: "z"}, "b", "c"},
		{selection{prefix: "b", from: "b5", to: "b7"}, "b5", "b7"},
		{selection{prefix: "b", to: "b7"}, "b", "b7"},
		{selection{from: "b", prefix: "a"}, "b", "b"},
	} {
		inHex := c.s
		inHex.hexKey = true
		for _, text := range []*string{&inHex.prefix, &inHex.from, &inHex.to} {
			*text = hex.EncodeToString([]byte(*text))
		}
		for _, s := range []selection{c.s, inHex} {
			r, err := s.keys()
			if err != nil || string(r.lo) != c.lo || string(r.hi) != c.hi || (c.hi == "") != (r.hi == nil) {
				t.Errorf("%+v: bounds %q, %q, %v; want %q, %q", s, r.lo, r.hi, err, c.lo, c.hi)
			}
		}
	}
	if _, err := (&selection{hexKey: true, to: "0"}).keys(); exitCode(err) != exitUsage {
		t.Errorf("half a byte in hexadecimal: error %v", err)
	}
}

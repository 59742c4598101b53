package main

import "testing"

func TestRangeBounds(t *testing.T) {
	for _, c := range []struct {
		r      keyRange
		lo, hi string
	}{
		{keyRange{}, "", ""},
		{keyRange{prefix: "ab"}, "ab", "ac"},
		{keyRange{prefix: "a\xff\xff"}, "a\xff\xff", "b"},
		{keyRange{prefix: "\xff"}, "\xff", ""},
		{keyRange{from: "b", to: "d"}, "b", "d"},
		{keyRange{prefix: "b", from: "a", to: "z"}, "b", "c"},
		{keyRange{prefix: "b", from: "b5", to: "b7"}, "b5", "b7"},
	} {
		lo, hi := c.r.bounds()
		if string(lo) != c.lo || string(hi) != c.hi || (c.hi == "") != (hi == nil) {
			t.Errorf("%+v: bounds %q, %q; want %q, %q", c.r, lo, hi, c.lo, c.hi)
		}
	}
}

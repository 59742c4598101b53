package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"
	"pgregory.net/rapid"
)

// awkward makes keys and values rich in what lines and JSON give a meaning to.
func awkward(minLen int) *rapid.Generator[[]byte] {
	piece := rapid.SampledFrom([]string{
		"\t", "\n", "\r", "\r\n", `\`, `\t`, "{", "}", `"`, "\x00", "\xff", "\xef\xbb\xbf",
		"a", "é", "\ufffd", "\u2028", `\ufffd`, `\ud800`, "<&>", "\U0001F600",
	})
	return rapid.Map(rapid.SliceOfN(piece, minLen, 12), func(p []string) []byte {
		return []byte(strings.Join(p, ""))
	})
}

func TestRecordsSurviveBothForms(t *testing.T) {
	for name, o := range map[string]*scanOptions{"text": {}, "json": {json: true}} {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			encode := o.text
			if o.json {
				encode = o.jsonLine
			}
			var want []record
			var lines []byte
			for range rapid.IntRange(1, 4).Draw(t, "records") {
				r := record{awkward(1).Draw(t, "key"), awkward(0).Draw(t, "value")}
				want = append(want, r)
				var err error
				if lines, err = encode(lines, r); err != nil {
					t.Fatal(err)
				}
			}
			in, err := newRecordReader("lines", bytes.NewReader(lines), "auto")
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range want {
				got, err := in.next()
				if err != nil || !bytes.Equal(got.key, r.key) || !bytes.Equal(got.value, r.value) {
					t.Fatalf("%q became %q, %v; lines %q", r, got, err, lines)
				}
			}
			if _, err := in.next(); !errors.Is(err, io.EOF) {
				t.Fatalf("after the last record: %v", err)
			}
		}))
	}
}

func TestBadLinesAreNamed(t *testing.T) {
	for _, c := range []struct{ lines, want string }{
		{"a\tb\nno tab\n", "f:2: no tab"},
		{"a\tb\n\n", "f:2: no tab"},
		{"\tb\n", "f:1: the key is empty"},
		{"a\t\\x\n", `f:1: \x means nothing`},
		{"a\tb\\", "f:1: a backslash at the end"},
		{`{"key":"a"}`, `f:1: neither "value" nor "value_base64"`},
		{`{"value":"a"}`, `f:1: neither "key" nor "key_base64"`},
		{`{"key":"a","key_base64":"YQ==","value":""}`, `f:1: both "key" and "key_base64"`},
		{`{"key_base64":"%","value":""}`, `f:1: "key_base64": illegal base64`},
		{`{"key":"a","value":"b","ttl":1}`, `f:1: json: unknown field "ttl"`},
		{`{"key":"a","value":1}`, "f:1: json: cannot unmarshal number"},
		{`{"key":"a","value":"b"}{}`, "f:1: more than one"},
		{`{"key":"a","value":"b"}]`, "f:1: more than one"},
		{`{"key":"a","value":"\ud800"}`, "f:1: half of a surrogate pair"},
		{"{\"key\":\"a\",\"value\":\"\xff\"}", "f:1: not UTF-8"},
		{"{\n", "f:1: "},
		{"{\"key\":\"a\",\"value\":\"b\"}\na\tb\n", "f:2: "},
		{"a\t" + strings.Repeat("x", lineMax), "f:1: the line is longer than 64 MiB"},
	} {
		in, err := newRecordReader("f", strings.NewReader(c.lines), "auto")
		for err == nil {
			_, err = in.next()
		}
		if !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%.60q: error %q, want %q", c.lines, err, c.want)
		}
	}
}

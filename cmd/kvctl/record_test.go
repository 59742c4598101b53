package main

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/cockroachdb/errors"
	"pgregory.net/rapid"
)

// awkward makes keys and values rich in what lines and JSON give a meaning to.
func awkward(minLen int) *rapid.Generator[[]byte] {
	piece := rapid.SampledFrom([]string{
		"\t", "\n", "\r", "\r\n", `\`, `\t`, "{", "}", `"`, "\x00", "\xff", "\xef\xbb\xbf",
		"a", "/", `\/`, `\x0`, "\x1b[1m", "\u202e", "\u0085", "é", "\ufffd", "\u2028", `\ufffd`, `\ud800`, "<&>", "\U0001F600",
	})
	return rapid.Map(rapid.SliceOfN(piece, minLen, 12), func(p []string) []byte {
		return []byte(strings.Join(p, ""))
	})
}

func TestRecordsSurviveEachForm(t *testing.T) {
	for printed, read := range map[form]form{
		formAuto: formAuto, formASCII: formAuto, formJSON: formAuto, formHex: formHex,
	} {
		t.Run(string(printed), rapid.MakeCheck(func(t *rapid.T) {
			p := printing{form: printed, buckets: rapid.Bool().Draw(t, "buckets")}
			var want []record
			var lines []byte
			for range rapid.IntRange(1, 4).Draw(t, "records") {
				r := drawRecord(t, p.buckets)
				want = append(want, r)
				var err error
				if lines, err = p.appendLine(lines, r); err != nil {
					t.Fatal(err)
				}
			}
			in := newRecordReader("lines", bytes.NewReader(lines), read)
			in.many = true
			for _, r := range want {
				got, err := in.next()
				if err != nil || !slices.Equal(got.bucket, r.bucket) ||
					!bytes.Equal(got.key, r.key) || !bytes.Equal(got.value, r.value) {
					t.Fatalf("%+v became %+v, %v; lines %q", r, got, err, lines)
				}
			}
			if _, err := in.next(); !errors.Is(err, io.EOF) {
				t.Fatalf("after the last record: %v", err)
			}
			if printed != formJSON && !isPlain(lines, printed != formAuto) {
				t.Fatalf("%q is not for a terminal", lines)
			}
		}))
	}
}

func drawRecord(t *rapid.T, buckets bool) record {
	var r record
	if buckets {
		for range rapid.IntRange(0, 3).Draw(t, "depth") {
			r.bucket = append(r.bucket, string(awkward(1).Draw(t, "name")))
		}
	}
	if len(r.bucket) > 0 && rapid.Bool().Draw(t, "empty") {
		return r
	}
	r.key, r.value = awkward(1).Draw(t, "key"), awkward(0).Draw(t, "value")
	return r
}

// isPlain reports whether nothing in lines but tabs and newlines would do something
// to a terminal.
func isPlain(lines []byte, ascii bool) bool {
	return utf8.Valid(lines) && !strings.ContainsFunc(string(lines), func(r rune) bool {
		return r != '\t' && r != '\n' && !unicode.IsGraphic(r) || ascii && r > unicode.MaxASCII
	})
}

func TestBadLinesAreNamed(t *testing.T) {
	for _, c := range []struct{ lines, want string }{
		{"a\tb\nno tab\n", "f:2: no tab"},
		{"a\tb\n\n", "f:2: no tab"},
		{"\tb\n", "f:1: the key is empty"},
		{"a\t\\y\n", `f:1: \y means nothing`},
		{"a\t\\xg1\n", `f:1: \xg1: \x wants two`},
		{"a\t\\x1", `f:1: \x1: \x wants two`},
		{"a\tb\tc\td", "f:1: more than two tabs"},
		{"a//b\tb\tc", `f:1: the path "a//b" has an empty name`},
		{"a/b\t\tc", "f:1: the key is empty"},
		{"\t\t", "f:1: the key is empty"},
		{`{"bucket":"a/","key":"a","value":"b"}`, `f:1: the path "a/" has an empty name`},
		{`{"bucket":"a","value":"b"}`, `f:1: neither "key" nor "key_base64"`},
		{`{"bucket":"a","key":"b"}`, `f:1: neither "value" nor "value_base64"`},
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
		{"{\n", "f:1: the JSON object does not end in this line"},
		{"{\"key\":\"a\",\"value\":\"b\"}\na\tb\n", "f:2: "},
		{"a\t" + strings.Repeat("x", 2<<20), "f:1: the line is longer than 2 MiB"},
	} {
		in := newRecordReader("f", strings.NewReader(c.lines), formAuto)
		in.many = true
		in.max = 2 << 20
		var err error
		for err == nil {
			_, err = in.next()
		}
		if !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%.60q: error %q, want %q", c.lines, err, c.want)
		}
	}
}

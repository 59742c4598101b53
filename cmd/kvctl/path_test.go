package main

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPathsAreReadAndPrinted(t *testing.T) {
	for _, c := range []struct {
		text, printed string
		path          bucketPath
	}{
		{`a`, `a`, bucketPath{"a"}},
		{`services/web`, `services/web`, bucketPath{"services", "web"}},
		{`a\/b/c`, `a\/b/c`, bucketPath{"a/b", "c"}},
		{`C:\\dir`, `C:\\dir`, bucketPath{`C:\dir`}},
		{`\\/b`, `\\/b`, bucketPath{`\`, "b"}},
		{`\x00\xFF/\x61\t`, `\x00\xff/a\t`, bucketPath{"\x00\xff", "a\t"}},
		{`Müller und Söhne`, `Müller und Söhne`, bucketPath{"Müller und Söhne"}},
		{`\x2f`, `\/`, bucketPath{"/"}},
		{`..`, `..`, bucketPath{".."}},
	} {
		path, err := parsePath(c.text)
		if err != nil || !slices.Equal(path, c.path) || path.String() != c.printed {
			t.Errorf("%s: path %q, %v, printed %v; want %q, printed %s", c.text, path, err, path, c.path, c.printed)
		}
	}
}

func TestBadPathsSayWhy(t *testing.T) {
	for text, want := range map[string]string{
		``:        `without --bucket it is the root bucket`,
		`/`:       `has an empty name; \/ stands for a slash`,
		`/a`:      `has an empty name`,
		`a/`:      `has an empty name`,
		`a//b`:    `has an empty name`,
		`a\`:      `a backslash at the end`,
		`a\q`:     `\q means nothing`,
		`a\x1`:    `\x wants two`,
		`a/\x/b1`: `\x wants two`,
	} {
		if path, err := parsePath(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: path %q, error %v; want %s", text, path, err, want)
		}
	}
}

func TestPrintedPathsLeadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var path bucketPath
		for range rapid.IntRange(1, 4).Draw(t, "depth") {
			path = append(path, string(awkward(1).Draw(t, "name")))
		}
		got, err := parsePath(path.String())
		if err != nil || !slices.Equal(got, path) {
			t.Fatalf("%q is printed as %s, which is %q, %v", path, path, got, err)
		}
	})
}

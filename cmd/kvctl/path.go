package main

import (
	"bytes"
	"slices"

	"github.com/cockroachdb/errors"
)

// A bucketPath names a bucket by those on the way to it, from the root bucket or
// another one, which is the empty path itself. As text it is their names with
// slashes in between.
type bucketPath []string

// pathHelp describes paths to users.
const pathHelp = `A path such as services/web names a bucket in a bucket. \/ is a slash within a name,
and the escapes ` + escapeHelp + `
stand for what is hard to type.`

// parsePath reads the text of a path with at least one name.
func parsePath(text string) (bucketPath, error) {
	if text == "" {
		return nil, errors.New("a path has at least one name: without --bucket it is the root bucket")
	}
	var path bucketPath
	for rest, more := text, true; more; {
		var name string
		name, rest, more = cutName(rest)
		if name == "" {
			return nil, errors.Newf(`the path %q has an empty name; \/ stands for a slash within a name`, text)
		}
		b, err := unescape([]byte(name))
		if err != nil {
			return nil, errors.Wrapf(err, "the path %q", text)
		}
		path = append(path, string(b))
	}
	return path, nil
}

// cutName cuts text at the first slash that is none of a name.
func cutName(text string) (name, rest string, more bool) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '/':
			return text[:i], text[i+1:], true
		}
	}
	return text, "", false
}

// String undoes parsePath.
func (p bucketPath) String() string { return string(p.appendText(nil, false)) }

// appendText appends what parsePath reads, in ASCII if that is asked for.
func (p bucketPath) appendText(dst []byte, ascii bool) []byte {
	for i, name := range p {
		if i > 0 {
			dst = append(dst, '/')
		}
		escaped := appendEscaped(nil, []byte(name), ascii)
		dst = append(dst, bytes.ReplaceAll(escaped, []byte{'/'}, []byte(`\/`))...)
	}
	return dst
}

// join returns the path that goes on from p with more.
func (p bucketPath) join(more ...string) bucketPath { return slices.Concat(p, more) }

// Set and Type make it the value of a flag.
func (p *bucketPath) Set(text string) (err error) {
	*p, err = parsePath(text)
	return err
}

func (p *bucketPath) Type() string { return "PATH" }

package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/cockroachdb/errors"
)

// A record is a key with its value, and has two forms as a line. Both are
// lossless whatever the bytes: what scan prints, load brings back.
//
//	text  KEY<TAB>VALUE, where tab, newline, carriage return and backslash in
//	      KEY and VALUE are \t \n \r \\, and all other bytes are as they are
//	JSON  {"key":"...","value":"..."}, or "key_base64" and "value_base64" for
//	      bytes that are no UTF-8 text
type record struct{ key, value []byte }

// formatHelp describes the lines to the users of scan and load.
const formatHelp = `A line of text is KEY<TAB>VALUE. In both, \t \n \r \\ stand for tab, newline,
carriage return and backslash; other bytes are as they are. A line of JSON is
{"key":"...","value":"..."}, with "key_base64" or "value_base64" in place of what
is not UTF-8. Either form brings back every byte.`

// appendEscaped appends b to dst as the text form has it.
func appendEscaped(dst, b []byte) []byte {
	for {
		i := bytes.IndexAny(b, "\t\n\r\\")
		if i < 0 {
			return append(dst, b...)
		}
		dst = append(append(dst, b[:i]...), '\\', escapeLetter(b[i]))
		b = b[i+1:]
	}
}

func escapeLetter(c byte) byte {
	switch c {
	case '\t':
		return 't'
	case '\n':
		return 'n'
	case '\r':
		return 'r'
	}
	return c
}

// unescape undoes appendEscaped. The result does not share memory with b.
func unescape(b []byte) ([]byte, error) {
	out := make([]byte, 0, len(b))
	for {
		i := bytes.IndexByte(b, '\\')
		if i < 0 {
			return append(out, b...), nil
		}
		out = append(out, b[:i]...)
		if i+1 == len(b) {
			return nil, errors.New(`a backslash at the end: \\ stands for one`)
		}
		switch b[i+1] {
		case 't':
			out = append(out, '\t')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case '\\':
			out = append(out, '\\')
		default:
			return nil, errors.Newf(`\%c means nothing: \\ stands for a backslash`, b[i+1])
		}
		b = b[i+2:]
	}
}

// parseText reads a line of text, without its end. The first tab ends the key.
func parseText(line []byte) (record, error) {
	k, v, ok := bytes.Cut(line, []byte{'\t'})
	if !ok {
		return record{}, errors.New("no tab between key and value")
	}
	key, err := unescape(k)
	if err != nil {
		return record{}, err
	}
	value, err := unescape(v)
	return record{key, value}, err
}

// jsonRecord is a line of JSON: one key member, and at most one value member.
type jsonRecord struct {
	Key         *string `json:"key,omitempty"`
	KeyBase64   *string `json:"key_base64,omitempty"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 *string `json:"value_base64,omitempty"`
}

// textOrBase64 returns b in the one of the two ways that keeps it.
func textOrBase64(b []byte) (text, base *string) {
	if utf8.Valid(b) {
		s := string(b)
		return &s, nil
	}
	s := base64.StdEncoding.EncodeToString(b)
	return nil, &s
}

// fromTextOrBase64 undoes textOrBase64. The name is that of the member.
func fromTextOrBase64(name string, text, base *string) ([]byte, error) {
	switch {
	case text != nil && base != nil:
		return nil, errors.Newf("both %q and %q", name, name+"_base64")
	case text != nil:
		return []byte(*text), nil
	case base != nil:
		b, err := base64.StdEncoding.DecodeString(*base)
		return b, errors.Wrapf(err, "%q", name+"_base64")
	}
	return nil, errors.Newf("neither %q nor %q", name, name+"_base64")
}

// parseJSON reads a line of JSON. It refuses what would not come out as it went
// in: bytes that are no UTF-8, and halves of surrogate pairs.
func parseJSON(line []byte) (record, error) {
	if !utf8.Valid(line) {
		return record{}, errors.New("not UTF-8")
	}
	var j jsonRecord
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&j); err != nil {
		return record{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return record{}, errors.New("more than one JSON object in a line")
	}
	if losesSurrogate(line, j.Key) || losesSurrogate(line, j.Value) {
		return record{}, errors.New("half of a surrogate pair is no text")
	}
	key, err := fromTextOrBase64("key", j.Key, j.KeyBase64)
	if err != nil {
		return record{}, err
	}
	value, err := fromTextOrBase64("value", j.Value, j.ValueBase64)
	return record{key, value}, err
}

// losesSurrogate reports whether decoding line put the replacement character
// into text in place of half a surrogate pair.
func losesSurrogate(line []byte, text *string) bool {
	if text == nil || !strings.ContainsRune(*text, utf8.RuneError) {
		return false
	}
	written := strings.Count(string(line), string(utf8.RuneError)) +
		strings.Count(strings.ToLower(string(line)), `\ufffd`)
	return written == 0
}

// isJSONLine tells the forms apart by a first line. A line of text has a tab, and
// a line of JSON from scan never has: even a key that looks like JSON is safe.
func isJSONLine(line []byte) bool {
	return bytes.HasPrefix(line, []byte{'{'}) && !bytes.ContainsRune(line, '\t')
}

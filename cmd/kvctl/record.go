package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/cockroachdb/errors"
)

// A record is a key with its value, or an empty bucket, which has neither. Its forms
// as a line are lossless whatever the bytes: what scan prints, load brings back.
//
//	text  KEY<TAB>VALUE, or BUCKET<TAB>KEY<TAB>VALUE, with escapes, so that no
//	      tab is left in any of them
//	hex   the same with KEY and VALUE in hexadecimal
//	JSON  {"bucket":"...","key":"...","value":"..."}, or "key_base64" and
//	      "value_base64" for bytes that are no UTF-8 text
type record struct {
	bucket     bucketPath // from the bucket that the command is about
	key, value []byte
}

// isBucket reports whether r stands for an empty bucket: a key is never empty.
func (r *record) isBucket() bool { return len(r.key) == 0 && len(r.bucket) > 0 }

// parseText reads a line of text, without its end.
func parseText(line []byte) (record, error) { return parseFields(line, unescape) }

// parseHex reads a line in hexadecimal.
func parseHex(line []byte) (record, error) {
	return parseFields(line, func(b []byte) ([]byte, error) {
		out, err := hex.AppendDecode([]byte{}, b)
		if err != nil {
			return nil, errors.Newf("%.64q is not hexadecimal, two digits to a byte", b)
		}
		return out, nil
	})
}

// parseFields reads a line whose keys and values decode undoes.
func parseFields(line []byte, decode func([]byte) ([]byte, error)) (r record, err error) {
	fields := bytes.Split(line, []byte{'\t'})
	switch len(fields) {
	case 1:
		err := errors.New("no tab between key and value")
		if bytes.HasPrefix(line, []byte{'['}) {
			err = errors.WithHint(err, "JSON must be an object a line: jq -c '.[]' makes that of an array")
		}
		return r, err
	case 2:
	case 3:
		if len(fields[0]) > 0 {
			if r.bucket, err = parsePath(string(fields[0])); err != nil {
				return r, err
			}
		}
		fields = fields[1:]
	default:
		return r, errors.New(`more than two tabs: \t stands for one in a key or value`)
	}
	if r.key, err = decode(fields[0]); err != nil {
		return r, err
	}
	r.value, err = decode(fields[1])
	return r, err
}

// jsonRecord is a line of JSON: at most one key member and one value member.
type jsonRecord struct {
	Bucket      string  `json:"bucket,omitempty"` // the text of a path
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
func parseJSON(line []byte) (r record, err error) {
	if !utf8.Valid(line) {
		return r, errors.New("not UTF-8")
	}
	var j jsonRecord
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&j); errors.Is(err, io.ErrUnexpectedEOF) {
		return r, errors.New("the JSON object does not end in this line")
	} else if err != nil {
		return r, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return r, errors.New("more than one JSON object in a line")
	}
	if losesSurrogate(line, j.Key) || losesSurrogate(line, j.Value) || losesSurrogate(line, &j.Bucket) {
		return r, errors.New("half of a surrogate pair is no text")
	}
	if j.Bucket != "" {
		if r.bucket, err = parsePath(j.Bucket); err != nil {
			return r, err
		}
		if j == (jsonRecord{Bucket: j.Bucket}) {
			return r, nil
		}
	}
	if r.key, err = fromTextOrBase64("key", j.Key, j.KeyBase64); err != nil {
		return r, err
	}
	r.value, err = fromTextOrBase64("value", j.Value, j.ValueBase64)
	return r, err
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

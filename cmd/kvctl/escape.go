package main

import (
	"encoding/hex"
	"unicode"
	"unicode/utf8"

	"github.com/cockroachdb/errors"
)

// escapeHelp lists the escapes for users. They are the same wherever bytes are
// written as text: in lines, in names of buckets and in paths.
const escapeHelp = `\t \n \r \\ (tab, newline, carriage return, backslash) and \xNN (any byte)`

// appendEscaped appends b to dst as text, which has no control characters and is
// valid UTF-8, or ASCII if that is asked for. unescape undoes it, whatever b is.
func appendEscaped(dst, b []byte, ascii bool) []byte {
	for len(b) > 0 {
		n := plainASCII(b)
		dst = append(dst, b[:n]...)
		b = b[n:]
		if len(b) == 0 {
			break
		}
		r, size := utf8.DecodeRune(b)
		valid := r != utf8.RuneError || size > 1
		if valid && !ascii && r >= utf8.RuneSelf && isText(r) {
			dst = append(dst, b[:size]...)
		} else {
			for _, c := range b[:size] {
				dst = appendByteEscape(dst, c)
			}
		}
		b = b[size:]
	}
	return dst
}

// plainASCII returns how many bytes at the beginning of b need no thought.
func plainASCII(b []byte) int {
	for i, c := range b {
		if c < ' ' || c >= 0x7f || c == '\\' {
			return i
		}
	}
	return len(b)
}

// isText reports whether r can be shown: it does not change how its neighbours are
// shown. The two joiners do, but many scripts cannot be written without them.
func isText(r rune) bool {
	const zeroWidthNonJoiner, zeroWidthJoiner = '\u200c', '\u200d'
	return unicode.IsGraphic(r) || r == zeroWidthNonJoiner || r == zeroWidthJoiner
}

func appendByteEscape(dst []byte, c byte) []byte {
	switch c {
	case '\t':
		return append(dst, `\t`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\\':
		return append(dst, `\\`...)
	}
	return hex.AppendEncode(append(dst, `\x`...), []byte{c})
}

// unescape undoes appendEscaped, and takes all other bytes as they are. The result
// does not share memory with b.
func unescape(b []byte) ([]byte, error) {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' {
			out = append(out, b[i])
			continue
		}
		if i++; i == len(b) {
			return nil, errors.New(`a backslash at the end: \\ stands for one`)
		}
		switch b[i] {
		case 't':
			out = append(out, '\t')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case '\\', '/':
			out = append(out, b[i])
		case 'x':
			var err error
			digits := b[i+1 : min(i+3, len(b))]
			if out, err = hex.AppendDecode(out, digits); err != nil || len(digits) < 2 {
				return nil, errors.Newf(`\x%s: \x wants two hexadecimal digits`, digits)
			}
			i += 2
		default:
			return nil, errors.Newf(`\%c means nothing: \\ stands for a backslash`, b[i])
		}
	}
	return out, nil
}

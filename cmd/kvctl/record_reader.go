package main

import (
	"bufio"
	"bytes"
	"io"

	"github.com/cockroachdb/errors"
)

// lineMax bounds the memory that one line of input can ask for.
const lineMax = 256 << 20

// A recordReader reads records from lines. Each line ends in \n, or in \r\n as
// some editors and shells write it: scan never prints a bare carriage return.
type recordReader struct {
	name  string // of the input, for errors
	in    *bufio.Reader
	parse func(line []byte) (record, error) // nil until the first line shows the form
	many  bool                              // buckets: records of text may have theirs
	line  int                               // number of the line read last
	long  []byte                            // a line that outgrew the buffer of in
	max   int                               // bytes of a line
}

// newRecordReader reads from in lines of the form text, hex or JSON, or with auto what
// the first line shows: text or JSON.
func newRecordReader(name string, in io.Reader, lines form) *recordReader {
	r := &recordReader{name: name, in: bufio.NewReaderSize(in, 256<<10), max: lineMax}
	switch lines {
	case formText:
		r.parse = parseText
	case formHex:
		r.parse = parseHex
	case formJSON:
		r.parse = parseJSON
	}
	return r
}

// next returns the next record, whose memory is its own. It ends with io.EOF; an
// error in a line names file and line.
func (r *recordReader) next() (record, error) {
	line, err := r.nextLine()
	if err != nil {
		return record{}, err
	}
	if r.parse == nil {
		r.parse = parseText
		if isJSONLine(line) {
			r.parse = parseJSON
		}
	}
	rec, err := r.parse(line)
	if err == nil && len(rec.bucket) > 0 && !r.many {
		err = errors.WithHint(errors.New("there is a bucket in front of the key"),
			`-r puts records into the buckets they name; in a key or value \t stands for a tab`)
	}
	if err == nil && len(rec.key) == 0 && (len(rec.value) > 0 || !rec.isBucket()) {
		err = errors.New("the key is empty")
	}
	return rec, r.at(r.line, err)
}

// at adds file and line to err.
func (r *recordReader) at(line int, err error) error {
	return errors.Wrapf(err, "%s:%d", r.name, line)
}

// nextLine returns a line without its end, valid until the next call.
func (r *recordReader) nextLine() ([]byte, error) {
	r.line++
	r.long = r.long[:0]
	for {
		part, err := r.in.ReadSlice('\n')
		if len(r.long)+len(part) > r.max {
			return nil, r.at(r.line, errors.Newf("the line is longer than %d MiB", r.max>>20))
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			r.long = append(r.long, part...)
			continue
		}
		if len(r.long) > 0 {
			r.long = append(r.long, part...)
			part = r.long
		}
		if errors.Is(err, io.EOF) && len(part) > 0 {
			err = nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			err = r.at(r.line, err)
		}
		return bytes.TrimSuffix(bytes.TrimSuffix(part, []byte{'\n'}), []byte{'\r'}), err
	}
}

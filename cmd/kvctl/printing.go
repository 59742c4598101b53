package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/cockroachdb/errors"
	"github.com/spf13/pflag"
)

// A form is how keys and values are printed or read.
type form string

const (
	formRaw   form = "raw"   // a value alone, with nothing around it
	formAuto  form = "auto"  // text with escapes; of input: what the first line shows
	formText  form = "text"  // of input: text, whatever the first line looks like
	formASCII form = "ascii" // text with escapes for all that is not ASCII
	formHex   form = "hex"
	formJSON  form = "json"
)

// formatHelp describes the lines to the users of scan and load.
const formatHelp = `A line of text is KEY<TAB>VALUE, or BUCKET<TAB>KEY<TAB>VALUE where there are records
of several buckets; BUCKET is a path from the bucket that the command is about. They
have the escapes ` + escapeHelp + `.
A line of JSON is {"key":"...","value":"..."}, with "bucket" where there are several,
and "key_base64" or "value_base64" in place of what is not UTF-8. An empty bucket is a
line with no key and no value. Each form brings back every byte. What NextSequence
returned is not carried over.`

// formFlag makes one of several forms the value of a flag.
type formFlag struct {
	form  *form
	forms []form // the first is the default
}

func (f *formFlag) Set(text string) error {
	if !slices.Contains(f.forms, form(text)) {
		return errors.Newf("it is none of %s", f.list())
	}
	*f.form = form(text)
	return nil
}

func (f *formFlag) String() string {
	if f.form == nil {
		return ""
	}
	return string(*f.form)
}

func (f *formFlag) Type() string { return "FORM" }

func (f *formFlag) list() string {
	names := make([]string, len(f.forms))
	for i, form := range f.forms {
		names[i] = string(form)
	}
	return strings.Join(names, ", ")
}

// registerForm adds --format for one of the forms, the first of which is the default.
func registerForm(flags *pflag.FlagSet, f *form, usage string, forms ...form) {
	*f = forms[0]
	v := &formFlag{f, forms}
	flags.Var(v, "format", usage+": "+v.list())
}

// A printing says how records are printed: in which form, and which parts of them.
type printing struct {
	form                 form
	json                 bool
	keysOnly, valuesOnly bool
	buckets              bool // there may be records of several
}

// register adds the flags for one of the forms, the first of which is the default.
func (p *printing) register(flags *pflag.FlagSet, forms ...form) {
	registerForm(flags, &p.form, "how to print", forms...)
	flags.BoolVar(&p.json, "json", false, "short for --format json")
}

func (p *printing) isJSON() bool { return p.json || p.form == formJSON }

// appendLine appends a record as a line, or a raw value.
func (p *printing) appendLine(dst []byte, r record) ([]byte, error) {
	if p.isJSON() {
		return p.appendJSON(dst, r)
	}
	if p.form == formRaw {
		return append(dst, r.value...), nil
	}
	if p.buckets && !p.valuesOnly {
		dst = append(r.bucket.appendText(dst, p.form != formAuto), '\t')
	}
	if !p.valuesOnly {
		dst = p.appendBytes(dst, r.key)
	}
	if !p.keysOnly && !p.valuesOnly {
		dst = append(dst, '\t')
	}
	if !p.keysOnly {
		dst = p.appendBytes(dst, r.value)
	}
	return append(dst, '\n'), nil
}

// appendBytes appends a key or value of a line of text.
func (p *printing) appendBytes(dst, b []byte) []byte {
	if p.form == formHex {
		return hex.AppendEncode(dst, b)
	}
	return appendEscaped(dst, b, p.form == formASCII)
}

func (p *printing) appendJSON(dst []byte, r record) ([]byte, error) {
	j := jsonRecord{Bucket: r.bucket.String()}
	if !p.valuesOnly && !r.isBucket() {
		j.Key, j.KeyBase64 = textOrBase64(r.key)
	}
	if !p.keysOnly && !r.isBucket() {
		j.Value, j.ValueBase64 = textOrBase64(r.value)
	}
	buf := bytes.NewBuffer(dst)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(j)
	return buf.Bytes(), err
}

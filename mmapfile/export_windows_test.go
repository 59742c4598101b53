package mmapfile

// Spans are what a flush goes by.
type (
	Spans = spans
	Span  = span
)

const SpansMost = spansMost

func (list spans) Add(begin, end int64) spans { return list.add(span{begin, end}) }
func (s span) Bounds() (begin, end int64)     { return s.begin, s.end }

// Unpushed returns what was stored and not yet handed over to the file system.
func (m *Mapping) Unpushed() spans { return m.view.writable.stored }

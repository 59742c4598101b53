package mmapfile

import "slices"

// spansMost is how many spans are kept apart.
const spansMost = 64

// A span is the bytes [begin, end) of a file.
type span struct{ begin, end int64 }

// spans are in order and do not touch each other. There are spansMost at most: for
// more, those that are next to each other become one with what is between them.
type spans []span

// add returns the spans with s, which is not empty.
func (list spans) add(s span) spans {
	first, _ := slices.BinarySearchFunc(list, s.begin, func(other span, begin int64) int {
		if other.end < begin {
			return -1
		}
		return 1
	})
	last := first
	for ; last < len(list) && list[last].begin <= s.end; last++ {
		s.begin, s.end = min(s.begin, list[last].begin), max(s.end, list[last].end)
	}
	list = slices.Replace(list, first, last, s)
	if len(list) > spansMost {
		list = list.join()
	}
	return list
}

// join makes one of the two spans with the least between them.
func (list spans) join() spans {
	best := 1
	for i := range list[1:] {
		if list[i+1].begin-list[i].end < list[best].begin-list[best-1].end {
			best = i + 1
		}
	}
	list[best-1].end = list[best].end
	return slices.Delete(list, best, best+1)
}

package mmapfile

import (
	"context"
	"sync"
	"time"

	"github.com/sharekv/sharekv/internal/word"
)

// A HeapArea is an area in the memory of one process, for the tools that cannot
// see mapped memory: the race detector, the fuzzer. Its members are the calls of
// Open; all else is as in an area that processes share. It may be used by several
// goroutines.
type HeapArea struct {
	layout layout
	mem    []byte
	sleep  heapSleeper

	mu     sync.Mutex
	owners map[int64]*heapMember // by number of the lock
}

// NewHeapArea makes an area without members. Only Size and Members of o count.
func NewHeapArea(o *AreaOptions) *HeapArea {
	l, err := layoutOf(o)
	if err != nil {
		panic(err)
	}
	h := &HeapArea{layout: l, mem: alignedBytes(l.total()), owners: map[int64]*heapMember{}}
	h.sleep.beds = map[*word.Uint32][]*heapBed{}
	return h
}

// alignedBytes returns n bytes that begin at a multiple of the line size.
func alignedBytes(n int) []byte {
	mem := make([]byte, n+lineSize)
	skip := int(-addressOf(mem) % lineSize)
	return mem[skip : skip+n : skip+n]
}

// Open joins the area as OpenArea does.
func (h *HeapArea) Open(start func(a *Area, first bool) error) (*Area, error) {
	m := &heapMember{area: h}
	if err := enterGate(context.Background(), m); err != nil {
		return nil, err
	}
	first, err := m.tryLock(memberZero, memberMost)
	if err != nil {
		return nil, err
	}
	if first {
		for off := 0; off < len(h.mem); off += 8 {
			uint64At(h.mem, off).Store(0)
		}
		uint64At(h.mem, offNonce).Store(newNonce())
		m.unlock(memberZero, memberMost)
	}
	return join(m, h.mem, h.layout, first, start)
}

// A heapMember is the home of an area as one of its members sees it.
type heapMember struct{ area *HeapArea }

func (m *heapMember) tryLock(first, n int64) (bool, error) {
	h := m.area
	h.mu.Lock()
	defer h.mu.Unlock()
	end := min(first+n, int64(memberZero+h.layout.members))
	for k := first; k < end; k++ {
		if owner := h.owners[k]; owner != nil && owner != m {
			return false, nil
		}
	}
	for k := first; k < end; k++ {
		h.owners[k] = m
	}
	return true, nil
}

func (m *heapMember) unlock(first, n int64) {
	h := m.area
	h.mu.Lock()
	defer h.mu.Unlock()
	for k, owner := range h.owners {
		if owner == m && k >= first && k < first+n {
			delete(h.owners, k)
		}
	}
}

func (m *heapMember) newLock(a *Area, _ int, word *word.Uint32) memberLock {
	return &wordLock{area: a, word: word, sleep: &m.area.sleep}
}

func (m *heapMember) newBell(a *Area, _ int, word *word.Uint32) memberBell {
	return newWordBell(a, word, &m.area.sleep)
}

func (m *heapMember) close() error {
	m.unlock(gateLock, memberMost)
	return nil
}

// A heapSleeper puts goroutines to sleep on words.
type heapSleeper struct {
	mu   sync.Mutex
	beds map[*word.Uint32][]*heapBed
}

type heapBed struct {
	woken chan struct{}
	mask  uint32
}

func (s *heapSleeper) wait(word *word.Uint32, v uint32, d time.Duration, mask uint32) wakeup {
	s.mu.Lock()
	if word.Load() != v {
		s.mu.Unlock()
		return changed
	}
	bed := &heapBed{woken: make(chan struct{}), mask: mask}
	s.beds[word] = append(s.beds[word], bed)
	s.mu.Unlock()
	select {
	case <-bed.woken:
		return wokenUp
	case <-time.After(d):
	}
	if s.wakeIf(word, 1, func(other *heapBed) bool { return other == bed }) == 0 {
		return wokenUp // just now
	}
	return timedOut
}

func (s *heapSleeper) wake(word *word.Uint32, n int, mask uint32) int {
	return s.wakeIf(word, n, func(bed *heapBed) bool { return bed.mask&mask != 0 })
}

// wakeIf wakes up to n sleepers that a condition holds for, first come, first
// served.
func (s *heapSleeper) wakeIf(word *word.Uint32, n int, cond func(*heapBed) bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	woken := 0
	var stay []*heapBed
	for _, bed := range s.beds[word] {
		if woken < n && cond(bed) {
			close(bed.woken)
			woken++
		} else {
			stay = append(stay, bed)
		}
	}
	if s.beds[word] = stay; len(stay) == 0 {
		delete(s.beds, word)
	}
	return woken
}

package txn_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/sharekv/sharekv/internal/crashsim"
	"github.com/sharekv/sharekv/txn"
)

// A process that may write to the area can make others fail, but not panic, wait beyond
// their patience, or reach out of bounds. Each input is a script of what two processes do
// and of what is written over words of the area meanwhile.
func FuzzArea(f *testing.F) {
	for seed := range byte(16) {
		s := []byte{seed}
		for i := range byte(60) {
			s = append(s, i*7+seed*31, i*i+seed, seed<<4|i)
		}
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		guard := time.AfterFunc(time.Minute, func() { panic("an input takes a minute") })
		defer guard.Stop()
		s := script(input)
		o := txn.Options{Patience: 2 * time.Millisecond}
		switch s.next() % 3 {
		case 1:
			o.Async = time.Hour
		case 2:
			o.Memory = true
		}
		content, err := txn.Format(pageSize, [16]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		disk, area := crashsim.New(content, 4<<20), newArea()
		var crew [2]process
		for i := range crew {
			if crew[i], err = open(area, disk, o); err != nil {
				t.Fatal(err)
			}
			defer crew[i].die()
		}
		for n := 0; len(s) > 0 && n < 100; n++ {
			p := crew[s.next()%2]
			switch s.next() % 8 {
			case 0, 1, 2:
				scribble(p, &s)
			case 3:
				p.store.Stats()
				p.store.Members()
			case 4:
				p.store.Sync(context.Background())
			case 5, 6:
				commitInVain(p, n)
			case 7:
				p.content()
			}
		}
	})
}

// scribble stores something in a word that is in use, or near one.
func scribble(p process, s *script) {
	off := s.next() % 128 * 8
	switch s.next() % 4 {
	case 0: // of a slot
		off = 1024 + s.next()%4*64 + s.next()%2*8
	case 1:
		off = 1024 + (txn.MaxMembers+s.next()%4)*64 + s.next()%2*8
	}
	word := p.area.Uint64(off)
	switch s.next() % 4 {
	case 0:
		word.Store(uint64(s.next()))
	case 1:
		word.Store(word.Load() + uint64(int8(s.next())))
	case 2:
		word.Store(p.area.Uint64(s.next() % 128 * 8).Load())
	case 3:
		var b [8]byte
		for i := range b {
			b[i] = byte(s.next())
		}
		word.Store(binary.LittleEndian.Uint64(b[:]))
	}
}

func commitInVain(p process, n int) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Millisecond)
	defer cancel()
	w, err := p.store.Write(ctx)
	if err != nil {
		return
	}
	defer w.Rollback()
	for i := range 3 {
		if w.Start(true) != nil {
			return
		}
		v := fmt.Appendf(nil, "%0*d", 1+n*i*97%9000, n)
		if w.Fail(w.Main.Put(fmt.Appendf(nil, "key %d", n*i%20), v)) != nil || w.Spill() != nil {
			return
		}
	}
	w.Commit()
}

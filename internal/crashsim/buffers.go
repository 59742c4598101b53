package crashsim

import (
	"slices"
	"sync"
)

// free keeps memory for those to come: to make it, and zeros of it, costs more than all
// else that is done with an image. A sync.Pool would lose it in each collection of garbage.
type free struct {
	mu   sync.Mutex
	bufs [][]byte
}

// freeMost is how many buffers are kept.
const freeMost = 32

var zeroed, used free

func (f *free) put(b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.bufs) == freeMost {
		f.bufs = slices.Delete(f.bufs, 0, 1)
	}
	f.bufs = append(f.bufs, b)
}

// get returns n bytes, of memory for not many more. If there are none they are new.
func (f *free) get(n int) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, b := range slices.Backward(f.bufs) {
		if cap(b) >= n && cap(b)/4 <= n {
			f.bufs = slices.Delete(f.bufs, i, i+1)
			return b[:n]
		}
	}
	return make([]byte, n)
}

// Recycle gives the memory of an image to those to come. Nobody may use it any more.
func Recycle(image []byte) { used.put(image) }

package crashsim

import "sync"

// To make memory, and zeros of it, costs more than all else that is done with an image.
var zeroed, used sync.Pool

// zeros returns n bytes of zeros.
func zeros(n int) []byte {
	if b, ok := zeroed.Get().(*[]byte); ok && cap(*b) >= n {
		return (*b)[:n]
	}
	return make([]byte, n)
}

// buffer returns n bytes, of whatever content.
func buffer(n int) []byte {
	if b, ok := used.Get().(*[]byte); ok && cap(*b) >= n {
		return (*b)[:n]
	}
	return make([]byte, n)
}

// Recycle gives the memory of an image to those to come. Nobody may use it any more.
func Recycle(image []byte) { used.Put(&image) }

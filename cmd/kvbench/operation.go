package main

import "encoding/binary"

const (
	keySize   = 16
	valueSize = 100
)

// mix is a bijection that leaves no trace of order or regularity.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// An operation is what one transaction puts.
type operation struct {
	key   [keySize]byte
	value [valueSize]byte
}

// preload makes op what a store holds for the key of this number before the rounds.
func (op *operation) preload(number uint64) {
	op.setValue(0, number, 0)
	op.setKey(number)
}

// change makes op the seq-th operation of a worker of j: a new value for a random
// one of its keys. No two workers share a key, so that the last value that each
// wrote is still there at the end of the round.
func (op *operation) change(j *job, worker, seq uint64) {
	state := op.setValue(j.seed, worker, seq)
	op.setKey(mix(^state)%(j.keys/j.workers)*j.workers + worker)
}

func (op *operation) setKey(number uint64) {
	binary.BigEndian.PutUint64(op.key[:], mix(number))
	binary.BigEndian.PutUint64(op.key[8:], mix(^number))
}

// setValue fills the value with bytes that do not compress, and differ from those
// of every other operation. It returns the state that they come from.
func (op *operation) setValue(seed, writer, seq uint64) (state uint64) {
	state = mix(mix(mix(seed)+writer) + seq)
	var word [8]byte
	for i := 0; i < valueSize; i += len(word) {
		binary.BigEndian.PutUint64(word[:], mix(state+uint64(i)))
		copy(op.value[i:], word[:])
	}
	return state
}

package mmapfile

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"runtime"

	"github.com/cockroachdb/errors"
)

// The bytes of an area. Everything is in the byte order of the machine, and lies
// in lines of 64 bytes:
//
//	OFFSET            SIZE       MEANING
//	0                 64         header: magic, version, architecture, geometry, nonce
//	64                64         where the mutexes are: 16 x (offset + 1), 0 = none
//	128               64 a line  members: joined (Unix ns), pid, program
//	128 + 64*members  size       user bytes
//
// The header never changes while there are members.
const (
	lineSize = 64

	areaMagic   = 0x53_4b_56_41_52_45_41_01 // read as text: "SKVAREA" and a byte that is none
	areaVersion = 1

	offMagic   = 0
	offVersion = 8
	offArch    = 12
	offMembers = 16
	offSize    = 24
	offNonce   = 32

	offMutexes   = lineSize
	mutexesMost  = lineSize / 4
	offMemberTab = 2 * lineSize

	programMost = lineSize - 16
)

// A layout is the geometry of an area.
type layout struct{ size, members int }

func layoutOf(o *AreaOptions) (layout, error) {
	if o.Size <= 0 || o.Size%lineSize != 0 || o.Members <= 0 || o.Members > memberMost/2 {
		return layout{}, errors.AssertionFailedf("mmapfile: area of %d bytes for %d members", o.Size, o.Members)
	}
	return layout{size: o.Size, members: o.Members}, nil
}

func (l layout) userOffset() int { return offMemberTab + l.members*lineSize }
func (l layout) total() int      { return l.userOffset() + l.size }

// header returns the first line of an area of this layout, but for the nonce.
func (l layout) header() []byte {
	h := make([]byte, lineSize)
	binary.NativeEndian.PutUint64(h[offMagic:], areaMagic)
	binary.NativeEndian.PutUint32(h[offVersion:], areaVersion)
	binary.NativeEndian.PutUint32(h[offArch:], crc32.ChecksumIEEE([]byte(runtime.GOARCH)))
	binary.NativeEndian.PutUint64(h[offMembers:], uint64(l.members))
	binary.NativeEndian.PutUint64(h[offSize:], uint64(l.size))
	return h
}

// newNonce returns what tells an area from all others.
func newNonce() uint64 { return 1 + rand.Uint64N(nonceEnd-1) }

package mmapfile

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"slices"

	"github.com/cockroachdb/errors"
)

// lockBase is where the lock bytes of an area's file lie: far behind its end, for
// on Windows a locked byte cannot be read or written by others.
const lockBase = 1 << 40

// An areaFile is the home of an area that processes share. Each has a description
// of the file of its own, for locks belong to the description.
type areaFile struct {
	file *os.File
	mem  []byte
}

func openAreaFile(path string) (*areaFile, error) {
	f, err := openLockFile(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.Wrapf(ErrWrongKind, "%s is not a regular file", path)
	}
	if err != nil {
		return nil, errors.CombineErrors(err, f.Close())
	}
	return &areaFile{file: f}, nil
}

// prepare makes the file an area of this layout with user bytes of zero. It gives
// all of them space on the disk, and does not map what it zeroes: so a full disk is
// an error here and no fault later. Requires the gate, and that no member lives.
func (h *areaFile) prepare(l layout, o *AreaOptions) error {
	head, err := h.readHeader()
	if err != nil {
		return err
	}
	switch {
	case len(head) == 0:
		// Nobody has finished this before, so the file was made here, or by
		// somebody who died before the next line.
		if err := adoptOwner(h.file, o.Like, o.Mode); err != nil {
			return err
		}
	case !bytes.HasPrefix(head, l.header()[:offVersion]) && len(bytes.TrimRight(head, "\x00")) > 0:
		return errors.Wrapf(ErrWrongKind, "%s was not made here", h.file.Name())
	}
	head = l.header()
	binary.NativeEndian.PutUint64(head[offNonce:], newNonce())
	size := int64(l.total())
	allocated, err := allocateHoles(h.file, size)
	if err != nil {
		return err
	}
	if allocated {
		return asNoSpace(h.reset(head, size))
	}
	return asNoSpace(writeAt(h.file, append(head, make([]byte, size-lineSize)...), 0))
}

// reset makes head and zeros of the file's first size bytes. Most are zeros before:
// members touch few of the words that there may be. To look is cheaper than to write.
func (h *areaFile) reset(head []byte, size int64) error {
	const block = 4 << 10
	var want [block]byte
	copy(want[:], head)
	buf := make([]byte, 8*block)
	for off := int64(0); off < size; {
		n, err := h.file.ReadAt(buf[:min(int64(len(buf)), size-off)], off)
		if err != nil {
			return err
		}
		for found := range slices.Chunk(buf[:n], block) {
			if !bytes.Equal(found, want[:len(found)]) {
				if err := writeAt(h.file, want[:len(found)], off); err != nil {
					return err
				}
			}
			clear(want[:len(head)]) // only the first block has it
			off += int64(len(found))
		}
	}
	return nil
}

// check compares the file with what this process expects. Requires the gate.
func (h *areaFile) check(l layout) error {
	head, err := h.readHeader()
	if err != nil {
		return err
	}
	if len(head) == lineSize {
		clear(head[offNonce : offNonce+8]) // join looks at it
	}
	if bytes.Equal(head, l.header()) {
		info, err := h.file.Stat()
		if err == nil && info.Size() < int64(l.total()) {
			err = errors.Wrapf(ErrTruncated, "%s has %d bytes, not %d",
				h.file.Name(), info.Size(), l.total())
		}
		return err
	}
	return errors.Wrapf(ErrVersion, "%s: %s", h.file.Name(), h.liveMember())
}

// readHeader returns the first line of the file, or as much as there is of it.
func (h *areaFile) readHeader() ([]byte, error) {
	head := make([]byte, lineSize)
	n, err := h.file.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	return head[:n], nil
}

// liveMember names somebody who has joined, though the area may have another
// geometry: the member table begins in the same way in all versions.
func (h *areaFile) liveMember() string {
	mem := make([]byte, 64*lineSize)
	n, _ := h.file.ReadAt(mem, offMemberTab) // the end of the file makes it shorter
	table := memberTable(mem[:n-n%lineSize])
	for i := range len(table) / lineSize {
		dead, err := h.tryLock(int64(memberZero+i), 1)
		if dead {
			h.unlock(int64(memberZero+i), 1)
		}
		if info, ok := table.get(i); ok && !dead && err == nil {
			return info.String()
		}
	}
	return "a member without a name"
}

func (h *areaFile) mapBytes(size int) ([]byte, error) {
	mem, err := mapShared(h.file, size)
	h.mem = mem
	return mem, err
}

func (h *areaFile) tryLock(first, n int64) (bool, error) {
	return tryLockBytes(h.file, lockBase+first, n)
}

func (h *areaFile) unlock(first, n int64) { unlockBytes(h.file, lockBase+first, n) }

func (h *areaFile) close() error {
	var err error
	if h.mem != nil {
		err = unmapShared(h.mem)
		h.mem = nil
	}
	return errors.CombineErrors(err, h.file.Close())
}

package mmapfile

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/errors"
)

// Options says how a file is mapped. The zero value, or nil, means defaults.
type Options struct {
	// Name lets other processes open the mapping with Open. It may begin with
	// "Local\" (the default: objects of this user) or "Global\", where "/"
	// stands for the separator as well; the rest has 1 to 200 bytes of UTF-8
	// without separators, NUL or "..". Empty means no name.
	Name string

	// MustExist makes a missing file an error that wraps fs.ErrNotExist.
	MustExist bool

	// ReadOnly implies MustExist. Nothing that changes the file works. On Windows
	// such a mapping may be unable to follow the file's growth if nobody had the
	// file open for writing when it was made.
	ReadOnly bool

	// Mode is the mode of a file created here, whatever the umask; 0 = 0600.
	Mode fs.FileMode

	// Reserve is how many bytes of address space are set aside, and so how far
	// the file may grow while it is mapped; 0 = 1 TiB on Linux, 256 GiB on
	// Windows. It is halved until it fits the limits of the process.
	Reserve int64
}

// FileID tells files apart, whatever paths lead to them. It is valid as long as
// the file exists.
type FileID struct{ Volume, File uint64 }

// A Mapping is a file and a read-only view of it whose base never moves. All
// methods may be called concurrently, except that slices from View must not be
// used any more when Close is called.
type Mapping struct {
	path     string
	id       FileID
	readOnly bool
	memory   bool // it is never flushed
	file     *os.File
	name     *nameHold // nil without a name
	view     *fileView
	bound    binding

	// covered is how many bytes are known to be in the file and in the view, or
	// -1 once closed. It grows under size, and shrinks there.
	covered atomic.Int64
	size    sync.Mutex

	// life is held shared by whatever uses the file, and exclusively by Close.
	life   sync.RWMutex
	closed bool
}

// Create opens the file at path, creating it unless o forbids that, and maps it.
// The file gets at least size bytes. A size of 0 stands for the size the file
// has; it is ErrEmpty if that is 0 or there is no file, and none is created.
//
// With a name, the mapping can be opened by other processes with Open as long as
// some process holds it. A name that another process holds for the same file is
// shared; one in use for anything else is ErrWrongKind.
//
// An empty path stands for memory of the system. Then there must be a size: 0 is
// ErrEmpty. If others hold the name, what they have is shared, and gets at least that
// size. Without a name it is only for those who are told of it, by Inherit or by what
// Mapping.Name returns. The memory is gone when nobody holds it any more.
func Create(path string, size int64, o *Options) (*Mapping, error) {
	if o == nil {
		o = &Options{}
	}
	if path == "" {
		return createMemory(size, o)
	}
	var name objectName
	if o.Name != "" {
		var err error
		if name, err = parseName(o.Name); err != nil {
			return nil, err
		}
	}
	m, created, err := openMapping(path, size, o)
	if err != nil || o.Name == "" {
		return m, err
	}
	record := nameRecord{kind: kindMapping, id: m.id, path: m.path}
	m.name, err = createName(name, func() (nameRecord, error) { return record, nil }, record.agrees)
	if err != nil {
		err = errors.CombineErrors(err, m.Close())
		if created {
			err = errors.CombineErrors(err, os.Remove(m.path))
		}
		return nil, err
	}
	return m, nil
}

// Open opens the mapping that some process holds under name. If there is none,
// or if its path no longer leads to its file, that is ErrNotExist. Only ReadOnly
// and Reserve of o count.
func Open(name string, o *Options) (*Mapping, error) {
	parsed, err := parseName(name)
	if err != nil {
		return nil, err
	}
	var m *Mapping
	hold, err := openName(parsed, func(r nameRecord) (err error) {
		m, err = openRecord(r, o)
		return err
	})
	if err != nil {
		return nil, err
	}
	m.name = hold
	return m, nil
}

func openRecord(record nameRecord, o *Options) (*Mapping, error) {
	if record.kind != kindMapping && record.kind != kindMemory {
		return nil, errors.Wrapf(ErrWrongKind, "it is a %v, not a mapping", record.kind)
	}
	return openHeld(record, 0, o)
}

// openHeld opens what a name stands for, which must be there.
func openHeld(record nameRecord, size int64, o *Options) (*Mapping, error) {
	options := Options{MustExist: true}
	if o != nil {
		options.ReadOnly, options.Reserve = o.ReadOnly, o.Reserve
	}
	m, _, err := openMapping(record.path, size, &options)
	if err != nil {
		return nil, err
	}
	if m.id != record.id {
		err := errors.Wrapf(ErrNotExist, "another file is at %s now", record.path)
		return nil, errors.CombineErrors(err, m.Close())
	}
	m.memory = record.kind == kindMemory
	return m, nil
}

// createMemory makes memory of the system known by name, or opens what is.
func createMemory(size int64, o *Options) (m *Mapping, err error) {
	switch {
	case size <= 0:
		return nil, errors.Wrapf(ErrEmpty, "%d bytes of memory", size)
	case o.ReadOnly || o.MustExist:
		return Open(o.Name, o)
	}
	name, err := parseName(cmp.Or(o.Name, unnamed()))
	if err != nil {
		return nil, err
	}
	path, err := bodyPath(name)
	if err != nil {
		return nil, err
	}
	first := func() (nameRecord, error) {
		m, _, err = openMapping(path, size, &Options{Mode: o.Mode, Reserve: o.Reserve})
		if err != nil {
			return nameRecord{}, err
		}
		m.memory = true
		return nameRecord{kind: kindMemory, id: m.id, path: path}, nil
	}
	hold, err := createName(name, first, func(held nameRecord) error {
		if held.kind != kindMemory {
			return errors.Wrapf(ErrWrongKind, "it is a %v, not a %v", held.kind, kindMemory)
		}
		m, err = openHeld(held, size, o)
		return err
	})
	if err != nil {
		if m != nil {
			err = errors.CombineErrors(err, m.Close())
		}
		return nil, err
	}
	m.name = hold
	return m, nil
}

// openMapping does the work of Create but for the name. created says that the
// file was not there before.
func openMapping(path string, size int64, o *Options) (m *Mapping, created bool, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return nil, false, err
	}
	mustExist := o.MustExist || o.ReadOnly
	f, created, err := openFile(path, o.ReadOnly, !mustExist && size > 0, o.Mode)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && !mustExist && size == 0 {
			err = errors.Wrapf(ErrEmpty, "%s: there is no file, and no size", path)
		}
		return nil, false, err
	}
	m, err = mapOpenFile(f, path, size, o)
	if err != nil {
		err = errors.CombineErrors(err, f.Close())
		if created {
			err = errors.CombineErrors(err, os.Remove(path))
		}
		return nil, false, err
	}
	return m, created, nil
}

func mapOpenFile(f *os.File, path string, size int64, o *Options) (*Mapping, error) {
	m := &Mapping{path: path, file: f, readOnly: o.ReadOnly}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.Wrapf(ErrWrongKind, "%s is not a regular file", path)
	}
	if m.id, err = fileID(f); err != nil {
		return nil, err
	}
	now := info.Size()
	switch {
	case now == 0 && size == 0:
		return nil, errors.Wrapf(ErrEmpty, "%s", path)
	case now < size && o.ReadOnly:
		return nil, errors.Wrapf(ErrTruncated, "%s has %d bytes, not %d", path, now, size)
	}
	if !o.ReadOnly {
		if err := allocate(f, max(now, size)); err != nil {
			return nil, err
		}
	}
	if m.view, err = mapFile(f, o.ReadOnly, max(now, size), cmp.Or(o.Reserve, defaultReserve)); err != nil {
		return nil, err
	}
	return m, nil
}

// View returns the first size bytes of the file. They are read-only: a store to
// them faults. The slice always begins at the same address, shows what any
// process stores in the file, and is valid until Close. ErrTruncated means that
// the file is shorter, ErrNoAddressSpace that the reservation is. No system call
// is made for a size that some View has already found covered.
func (m *Mapping) View(size int64) ([]byte, error) {
	if size < 0 || size > m.covered.Load() {
		if err := m.cover(size); err != nil {
			return nil, err
		}
	}
	return m.view.mem[:size:size], nil
}

// cover makes sure that the first size bytes are in the file and in the view.
func (m *Mapping) cover(size int64) error {
	if err := m.enter(); err != nil {
		return err
	}
	defer m.life.RUnlock()
	m.size.Lock()
	defer m.size.Unlock()
	now, err := m.fileSize()
	if err != nil {
		return err
	}
	if size < 0 || size > now {
		return errors.Wrapf(ErrTruncated, "%s has %d bytes, not %d", m.path, now, size)
	}
	now, err = m.view.cover(m.file, now)
	m.covered.Store(now)
	if err == nil && size > now {
		err = errors.Wrapf(ErrNoAddressSpace, "%s: %d bytes asked for, %d can be mapped",
			m.path, size, now)
	}
	return err
}

// Store stores bufs, one behind the other, at off. Every process sees the bytes
// in its views when it returns, and the next Flush of this Mapping makes them
// durable. Requires that Grow has covered the range, otherwise it is
// ErrTruncated. After an error the range may hold any part of the bytes.
func (m *Mapping) Store(off int64, bufs [][]byte) error {
	if err := m.enterToWrite(); err != nil {
		return err
	}
	defer m.life.RUnlock()
	end := off
	for _, buf := range bufs {
		end += int64(len(buf))
	}
	if off < 0 || end > m.covered.Load() {
		now, err := m.fileSize()
		if err != nil {
			return err
		}
		if off < 0 || end > now {
			return errors.Wrapf(ErrTruncated, "%s has %d bytes: cannot store [%d, %d)",
				m.path, now, off, end)
		}
	}
	return m.view.store(m.file, off, bufs)
}

// Push hands everything that was stored through this Mapping before the call to the
// system, so that the Flush of another process covers it. Linux needs nothing for
// that.
func (m *Mapping) Push() error {
	if err := m.enterToWrite(); err != nil {
		return err
	}
	defer m.life.RUnlock()
	if m.memory {
		return nil
	}
	return flushError(m.view.handOver(m.file))
}

// Flush returns when everything that was stored through this Mapping before the
// call, and that others have pushed, is on the disk. After ErrFlush nobody knows what
// is; trying again proves nothing.
func (m *Mapping) Flush() error {
	if err := m.enterToWrite(); err != nil {
		return err
	}
	defer m.life.RUnlock()
	if m.memory {
		return nil
	}
	return flushError(m.view.flush(m.file))
}

func flushError(err error) error {
	if err == nil {
		return nil
	}
	return errors.WithSecondaryError(errors.Wrapf(ErrFlush, "%v", err), err)
}

// Grow makes the file at least size bytes long and allocates the space, so that a
// full disk is ErrNoSpace now and not a fault later. It returns when the new size
// is on the disk, and makes it so even if the file was already that long: who
// made it long may have died before the flush. That is ErrFlush when it fails.
func (m *Mapping) Grow(size int64) error {
	if err := m.enterToWrite(); err != nil {
		return err
	}
	defer m.life.RUnlock()
	m.view.keep()
	if err := allocate(m.file, size); err != nil || m.memory {
		return err
	}
	return flushError(flushAll(m.file))
}

// Trim cuts the file down to size bytes; a file that is shorter stays. Requires
// that no process needs what lies behind, and that none grows the file at the
// same time.
//
// Windows cannot cut a mapped file. There the cut is tried by Close, unless m has
// stored or grown anything in between or another process has the file mapped. So
// call it right before Close, under the lock that keeps others from growing the
// file.
func (m *Mapping) Trim(size int64) error {
	if err := m.enterToWrite(); err != nil {
		return err
	}
	defer m.life.RUnlock()
	m.size.Lock()
	defer m.size.Unlock()
	now, err := m.fileSize()
	if err != nil || size >= now {
		return err
	}
	m.covered.Store(min(m.covered.Load(), size))
	return m.view.trim(m.file, size)
}

// Size returns the present size of the file in bytes. On Windows it is a multiple
// of 64 KiB once the file has been opened for writing.
func (m *Mapping) Size() (int64, error) {
	if err := m.enter(); err != nil {
		return 0, err
	}
	defer m.life.RUnlock()
	return m.fileSize()
}

func (m *Mapping) fileSize() (int64, error) {
	info, err := m.file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// ID identifies the file.
func (m *Mapping) ID() FileID { return m.id }

// Path returns the absolute path under which the file was opened.
func (m *Mapping) Path() string { return m.path }

// Fault translates what recover returned in a goroutine that had called
// debug.SetPanicOnFault: an error that wraps ErrFault if it is a fault inside the
// view of m, and nil if it is anything else, which the caller should panic with
// again.
func (m *Mapping) Fault(recovered any) error {
	if m == nil || m.view == nil {
		return nil
	}
	off, ok := faultIn(m.view.mem, recovered)
	if !ok {
		return nil
	}
	return errors.Wrapf(ErrFault, "%s at offset %d", m.path, off)
}

// Close unmaps the file and lets go of its name. No slice from View may be used
// from then on. A second Close does nothing and returns ErrClosed.
func (m *Mapping) Close() error {
	m.life.Lock()
	defer m.life.Unlock()
	if m.closed {
		return ErrClosed
	}
	m.closed = true
	m.covered.Store(-1)
	err := m.view.unmap(m.file)
	m.unbind()
	err = errors.CombineErrors(err, m.file.Close())
	if m.name != nil {
		err = errors.CombineErrors(err, m.name.close())
	}
	return err
}

// enter takes life shared. The caller must RUnlock it unless there is an error.
func (m *Mapping) enter() error {
	m.life.RLock()
	if m.closed {
		m.life.RUnlock()
		return ErrClosed
	}
	return nil
}

func (m *Mapping) enterToWrite() error {
	if m.readOnly {
		return errors.Wrapf(ErrReadOnly, "%s", m.path)
	}
	return m.enter()
}

package mmapfile

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/unix"
)

// A name is a file in a directory that belongs to the user alone. The file holds
// the record. Whoever holds the name has a shared lock on the file's life byte;
// the gate byte is held while anybody opens or closes it. So the kernel knows
// whether a name is held, and what a killed process leaves is no name any more.
const (
	nameGate = lockBase
	nameLife = lockBase + 1
)

// A nameHold keeps a name in existence.
type nameHold struct {
	name objectName
	file *os.File
	path string
}

// nameDir returns the directory of this user's names, and creates it.
func nameDir() (string, error) {
	uid := os.Geteuid()
	root := "/dev/shm"
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		root = "/tmp"
	}
	dir := filepath.Join(root, fmt.Sprintf("sharekv-%d", uid))
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return "", &fs.PathError{Op: "lstat", Path: dir, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != uid || st.Mode&0o077 != 0 {
		return "", errors.WithHint(
			errors.Wrapf(ErrUntrusted, "%s is not a directory of user %d alone", dir, uid),
			"remove it, if you know that it is not in use")
	}
	return dir, nil
}

// namePath returns where the file of a name is.
func namePath(name objectName) (string, error) {
	dir, err := nameDir()
	return filepath.Join(dir, name.scope+"."+name.base), err
}

// bodyPath returns where the body of an object is. It ends in another way than the path of
// the area that may belong to a body, so that these are not those of other names.
func bodyPath(name objectName) (string, error) {
	dir, err := nameDir()
	return filepath.Join(dir, "body."+name.scope+"."+name.base+".body"), err
}

// createName makes the name stand for what first returns, or, if others hold it, calls
// join with what it stands for. Both run while nobody else creates, opens or closes the
// name.
func createName(name objectName, first func() (nameRecord, error), join func(nameRecord) error) (*nameHold, error) {
	h, alone, err := enterName(name, os.O_CREATE)
	if err != nil {
		return nil, errors.Wrapf(err, "name %q", name)
	}
	anew := func() (nameRecord, error) {
		if err := removeBody(name); err != nil {
			return nameRecord{}, err
		}
		return first()
	}
	return h.takeOn(alone, anew, join)
}

// openName joins those who hold the name; join is as of createName.
func openName(name objectName, join func(nameRecord) error) (*nameHold, error) {
	h, alone, err := enterName(name, 0)
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotExist
	}
	if err != nil {
		return nil, errors.Wrapf(err, "name %q", name)
	}
	return h.takeOn(alone, func() (nameRecord, error) { return nameRecord{}, ErrNotExist }, join)
}

// takeOn makes h a holder of the name, as createName says. Requires the gate, and gives
// it back.
func (h *nameHold) takeOn(alone bool, first func() (nameRecord, error), join func(nameRecord) error) (*nameHold, error) {
	var err error
	if alone {
		err = h.write(first)
	} else {
		err = h.join(join)
	}
	if err != nil {
		h.abort(alone)
		return nil, errors.Wrapf(err, "name %q", h.name)
	}
	return h.hold()
}

// eachName calls fn for each name, and removes what fn says; nobody holds that.
func eachName(fn func(ObjectInfo) (remove bool)) error {
	dir, err := nameDir()
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		scope, base, _ := strings.Cut(e.Name(), ".")
		if scope != scopeLocal && scope != scopeGlobal {
			continue
		}
		name := objectName{scope, base}
		h, alone, err := enterName(name, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue // just gone
		}
		if err != nil {
			return errors.Wrapf(err, "name %q", name)
		}
		info := ObjectInfo{Name: name.String(), Held: !alone}
		if r, err := h.read(); err == nil {
			info.Kind, info.Path = r.kind.String(), r.path
		}
		h.abort(fn(info) && alone)
	}
	return nil
}

// write makes the record that first returns that of the name. Requires the gate and that
// nobody holds the name.
func (h *nameHold) write(first func() (nameRecord, error)) error {
	r, err := first()
	if err != nil {
		return err
	}
	content, err := r.encode()
	if err != nil {
		return err
	}
	if err := h.file.Truncate(0); err != nil {
		return err
	}
	_, err = h.file.WriteAt(content, 0)
	return asNoSpace(err)
}

// join calls join with the record. Requires the gate and that the name is held.
func (h *nameHold) join(join func(nameRecord) error) error {
	r, err := h.read()
	if err != nil {
		return err
	}
	return join(r)
}

// enterName opens the file of a name and takes its gate. alone says that nobody
// holds the name; then the life byte is taken exclusively.
func enterName(name objectName, create int) (h *nameHold, alone bool, err error) {
	path, err := namePath(name)
	if err != nil {
		return nil, false, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), nameTimeout)
	defer cancel()
	for {
		f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|create, defaultMode)
		if errors.Is(err, unix.ELOOP) {
			err = errors.Wrapf(ErrUntrusted, "%s is a symbolic link", path)
		}
		if err != nil {
			return nil, false, err
		}
		h := &nameHold{name: name, file: f, path: path}
		if err := waitLock(ctx, h.tryGate); err != nil {
			err = errors.Wrapf(err, "others open or close it")
			return nil, false, errors.CombineErrors(err, f.Close())
		}
		same, err := leadsTo(path, f)
		if err == nil && same {
			alone, err = tryLockBytes(f, nameLife, 1)
		}
		if err != nil {
			return nil, false, errors.CombineErrors(err, f.Close())
		}
		if same {
			return h, alone, nil
		}
		if err := f.Close(); err != nil {
			return nil, false, err
		}
	}
}

func (h *nameHold) tryGate() (bool, error) { return tryLockBytes(h.file, nameGate, 1) }

// read returns the record. Requires the gate and that the name is held.
func (h *nameHold) read() (nameRecord, error) {
	b := make([]byte, recordMost)
	n, err := h.file.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return nameRecord{}, err
	}
	return decodeRecord(b[:n])
}

// hold takes the life byte for good, and gives the gate back.
func (h *nameHold) hold() (*nameHold, error) {
	if _, err := setLock(h.file, unix.F_RDLCK, nameLife, 1); err != nil {
		h.abort(false)
		return nil, err
	}
	unlockBytes(h.file, nameGate, 1)
	return h, nil
}

// abort gives up an attempt, and the name as well if nobody holds it. Requires
// the gate. There is already an error to report.
func (h *nameHold) abort(alone bool) {
	if alone {
		_ = removeBody(h.name)
		_ = os.Remove(h.path)
		unlockBytes(h.file, nameLife, 1)
	}
	unlockBytes(h.file, nameGate, 1)
	_ = h.file.Close()
}

// close lets go of the name. The last one removes it. Without the gate the name
// stays as a killed process would leave it.
func (h *nameHold) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var err error
	if waitLock(ctx, h.tryGate) == nil {
		var alone, same bool
		alone, err = tryLockBytes(h.file, nameLife, 1)
		if err == nil && alone {
			if same, err = leadsTo(h.path, h.file); err == nil && same {
				err = errors.CombineErrors(removeBody(h.name), os.Remove(h.path))
			}
		}
	}
	unlockBytes(h.file, nameLife, 1)
	unlockBytes(h.file, nameGate, 1)
	return errors.CombineErrors(err, h.file.Close())
}

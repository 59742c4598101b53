package mmapfile

import (
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/word"
)

// defaultMode is the mode of files whose maker asked for none.
const defaultMode fs.FileMode = 0o600

// NewFile creates the file at path with content, whole or not at all, whatever
// dies: when it returns nil the file is on the disk, and at no time does path lead
// to a part of it. A path in use is an error that wraps fs.ErrExist. A mode of 0
// stands for 0600.
//
// It works in a sibling, path with "-new" behind it, which a dead creator may
// leave and the next one replaces. Requires that the callers for one path come
// one after the other.
func NewFile(path string, mode fs.FileMode, content []byte) (err error) {
	if mode == 0 {
		mode = defaultMode
	}
	if _, err := os.Lstat(path); err == nil {
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	sibling := path + "-new"
	// A sibling that is there may be a link to anything: it is never opened.
	if err := os.Remove(sibling); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(sibling, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	err = fill(f, mode, content)
	if err = errors.CombineErrors(err, f.Close()); err == nil {
		err = renameNew(sibling, path)
	}
	if err != nil {
		return errors.CombineErrors(asNoSpace(err), os.Remove(sibling))
	}
	return syncDir(filepath.Dir(path))
}

// fill gives a new file its mode and content, and flushes it.
func fill(f *os.File, mode fs.FileMode, content []byte) error {
	if err := setMode(f, mode); err != nil {
		return err
	}
	if err := writeAt(f, content, 0); err != nil {
		return err
	}
	return flushAll(f)
}

func writeAt(f *os.File, b []byte, off int64) error {
	word.BeforeCall()
	_, err := f.WriteAt(b, off)
	word.AfterCall()
	return err
}

// asNoSpace makes an error that says that the disk is full wrap ErrNoSpace.
func asNoSpace(err error) error {
	if err != nil && isNoSpace(err) {
		return errors.Wrapf(ErrNoSpace, "%v", err)
	}
	return err
}

// leadsTo reports whether path is that of f, and not of a link.
func leadsTo(path string, f *os.File) (bool, error) {
	mine, err := fileID(f)
	if err != nil {
		return false, err
	}
	there, err := fileIDAt(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && mine == there, err
}

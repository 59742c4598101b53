package main

import (
	"io/fs"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/store"
)

// location is where a store is: in the file at path, or in shared memory by name.
type location struct{ path, name string }

const sharedPrefix = "shm:"

// locate takes shm:NAME, shm:local/NAME and shm:global/NAME for names. A file whose name
// begins like that is ./shm:...
func locate(at string) location {
	name, shared := strings.CutPrefix(at, sharedPrefix)
	if !shared {
		return location{path: at}
	}
	return location{name: objectName(name)}
}

// objectName returns the name of an object for package mmapfile.
func objectName(name string) string {
	scope, rest, scoped := strings.Cut(name, "/")
	switch {
	case scoped && strings.EqualFold(scope, "global"):
		return `Global\` + rest
	case scoped && strings.EqualFold(scope, "local"):
		return `Local\` + rest
	}
	return name
}

func (l location) shared() bool { return l.path == "" }

func (l location) String() string {
	if l.shared() {
		return sharedPrefix + strings.Replace(l.name, `\`, "/", 1)
	}
	return l.path
}

func (l location) open(o *store.Options) (*store.DB, error) {
	var db *store.DB
	var err error
	if l.shared() {
		db, err = store.OpenShared(l.name, o)
	} else {
		db, err = store.Open(l.path, o)
	}
	if !errors.Is(err, fs.ErrNotExist) || !o.MustExist {
		return db, advise(err)
	}
	if l.shared() {
		return nil, errors.WithHintf(errors.Newf("nobody holds the shared store %v", l),
			"it lives as long as somebody has it open; kvctl hold %v makes one and keeps it", l)
	}
	return nil, errors.WithHint(errors.Newf("there is no store at %s", l.path),
		"check the path: of all commands, only put and load create a store")
}

package main

import (
	"cmp"
	"os"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/sharekv/sharekv/store"
)

const storeVariable = "KVCTL_STORE"

// storeFlags says which store a command works on, and how long it waits for the
// write lock.
type storeFlags struct {
	path    string
	timeout time.Duration
}

func (s *storeFlags) register(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.StringVarP(&s.path, "store", "s", "",
		"the store's `PATH`, or shm:NAME for one in shared memory (default $"+storeVariable+")")
	flags.DurationVar(&s.timeout, "timeout", 10*time.Second,
		"how long to wait for the write lock, such as 500ms; 0 is for ever")
}

// How a command uses the store. Whatever the mode, what it has changed is on disk when
// it ends.
var (
	reading  = store.Options{ReadOnly: true, MustExist: true}
	changing = store.Options{MustExist: true, AnyMode: true}
	creating = store.Options{AnyMode: true}
)

// with opens the store, runs fn on it and closes it.
func (s *storeFlags) with(o store.Options, fn func(*store.DB) error) (err error) {
	at, err := s.resolve()
	if err != nil {
		return err
	}
	o.LockTimeout = s.timeout
	if at.shared() {
		o.MustExist = true
	}
	db, err := at.open(&o)
	if err != nil {
		return err
	}
	defer func() { err = errors.CombineErrors(err, db.Close()) }()
	return advise(fn(db))
}

// view runs fn in a read transaction.
func (s *storeFlags) view(fn func(*store.Tx) error) error {
	return s.with(reading, func(db *store.DB) error { return db.View(fn) })
}

// change runs fn in a write transaction on a store that exists.
func (s *storeFlags) change(fn func(*store.Tx) error) error {
	return s.with(changing, func(db *store.DB) error { return db.Update(fn) })
}

func (s *storeFlags) resolve() (location, error) {
	if s.timeout < 0 {
		return location{}, usageErrorf("--timeout %v is negative", s.timeout)
	}
	at := cmp.Or(s.path, os.Getenv(storeVariable))
	if at == "" {
		return location{}, errors.WithHintf(usageErrorf("no store given"),
			"name it with --store PATH (-s PATH), or set %s for all commands", storeVariable)
	}
	return locate(at), nil
}

// advise adds what the user can do about err.
func advise(err error) error {
	switch {
	case errors.Is(err, store.ErrBusy):
		return errors.WithHint(err, "wait longer with --timeout, or end the process that holds the lock")
	case errors.Is(err, store.ErrCorrupt) && len(errors.GetAllHints(err)) == 0:
		return errors.WithHint(err, "restore the file from a backup")
	}
	return err
}

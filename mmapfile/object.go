package mmapfile

import (
	"cmp"
	"context"
	"sync"

	"github.com/cockroachdb/errors"
)

// ObjectOptions says how a mutex, semaphore or event is opened. The zero value, or nil,
// means defaults. One that is created with the name "" is only for those who are told of
// it, by Inherit or by what its method Name returns.
type ObjectOptions struct {
	// MustExist makes a name that nobody holds ErrNotExist, instead of creating it.
	MustExist bool
}

// An object is what NamedMutex, Semaphore and Event have in common: an area of its own,
// which is the body of a name.
//
// The first line of its user bytes belongs to the kind, and the second is a mutex or a
// waiter.
type object struct {
	area *Area
	hold *nameHold

	// life is held shared by whoever uses the words, and by Close.
	life   sync.RWMutex
	closed bool
}

const (
	objectSize    = 2 * lineSize
	objectWaits   = lineSize // where the mutex or waiter is
	objectMembers = 256
)

// openObject joins those who hold the name, or makes it stand for a new object. first
// fills the user bytes of a new one in.
func openObject(kind nameKind, name string, o *ObjectOptions, first func(*Area)) (obj *object, existed bool, err error) {
	parsed, err := parseName(cmp.Or(name, unnamed()))
	if err != nil {
		return nil, false, err
	}
	path, err := bodyPath(parsed)
	if err != nil {
		return nil, false, err
	}
	obj = new(object)
	enter := func(path string) error {
		ctx, cancel := context.WithTimeout(context.Background(), nameTimeout)
		defer cancel()
		obj.area, err = OpenArea(ctx, path, &AreaOptions{Size: objectSize, Members: objectMembers},
			func(a *Area, alone bool) error {
				if existed = !alone; alone {
					first(a)
				}
				return nil
			})
		return err
	}
	create := func() (nameRecord, error) {
		if err := enter(path); err != nil {
			return nameRecord{}, err
		}
		id, err := fileIDAt(path)
		return nameRecord{kind: kind, id: id, path: path}, err
	}
	join := func(held nameRecord) error {
		if held.kind != kind {
			return errors.Wrapf(ErrWrongKind, "it is a %v, not a %v", held.kind, kind)
		}
		// Otherwise there would be two objects of one name, if somebody has removed it.
		if id, err := fileIDAt(held.path); err != nil || id != held.id {
			return errors.Wrapf(ErrNotExist, "it is no longer at %s", held.path)
		}
		return enter(held.path)
	}
	if o != nil && o.MustExist {
		obj.hold, err = openName(parsed, join)
	} else {
		obj.hold, err = createName(parsed, create, join)
	}
	if err != nil && obj.area != nil {
		err = errors.CombineErrors(err, obj.area.Close(nil))
	}
	return obj, existed, err
}

// enter takes life shared. The caller must RUnlock it unless there is an error.
func (o *object) enter() error {
	o.life.RLock()
	if o.closed {
		o.life.RUnlock()
		return ErrClosed
	}
	return nil
}

// try returns what cond does.
func (o *object) try(cond func() bool) (bool, error) {
	if err := o.enter(); err != nil {
		return false, err
	}
	defer o.life.RUnlock()
	return cond(), nil
}

// wait returns when cond is true. Whoever makes it so wakes the waiter; but it may die
// before it does.
func (o *object) wait(ctx context.Context, w *Waiter, cond func() bool) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var seen uint32
		ok, err := o.try(func() bool {
			seen = w.Count()
			return cond()
		})
		if ok || err != nil {
			return err
		}
		nap, wake := context.WithTimeout(ctx, napMost)
		_, err = w.Wait(nap, seen)
		over := nap.Err() != nil // which is no error, or one of ctx
		wake()
		if err != nil && !over {
			return err
		}
	}
}

// Close lets go of the object. The last one to do so, or to die, ends it. Waits through
// this handle end with ErrClosed.
func (o *object) Close() error {
	o.life.Lock()
	closed := o.closed
	o.closed = true
	o.life.Unlock()
	if closed {
		return ErrClosed
	}
	return errors.CombineErrors(o.area.Close(nil), o.hold.close())
}

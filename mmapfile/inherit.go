package mmapfile

import (
	"crypto/rand"
	"os"
	"os/exec"
	"strings"

	"github.com/cockroachdb/errors"
)

// An object that was made without a name has one that nobody can guess. It is that by
// which others find it, once they have been told: a child by Inherit, a process that runs
// in whatever way a text reaches it.
func unnamed() string { return "unnamed-" + rand.Text() }

// Object is what a name stands for: a Mapping that has a name, a NamedMutex, a Semaphore,
// an Event.
type Object interface {
	// Name is what others open the object by, also one that was made without a name.
	Name() string
	Close() error
}

// Name returns what others open the mapping by with Open, or "" for one of a file that has
// no name.
func (m *Mapping) Name() string {
	if m.name == nil {
		return ""
	}
	return m.name.name.String()
}

// Name implements Object.
func (o *object) Name() string { return o.hold.name.String() }

// inheritVariable begins the environment variables that tell a child what it holds.
const inheritVariable = "SHAREKV_OBJECT_"

// Inherit makes the process that cmd is going to start a holder of the object from its
// beginning: it finds it with Inherited and the label, which has letters, digits and _
// only. Whatever becomes of this process, the object is there as long as that one lives.
//
// release is to be called when cmd has been started, or is not to be started any more: it
// lets go of what this process holds for it.
func Inherit(cmd *exec.Cmd, label string, obj Object) (release func() error, err error) {
	if label == "" || strings.Trim(label, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		return nil, errors.Wrapf(ErrName, "label %q", label)
	}
	name, err := parseName(obj.Name())
	if err != nil {
		return nil, err
	}
	h, err := openName(name, func(nameRecord) error { return nil })
	if err != nil {
		return nil, err
	}
	token, release, err := h.give(cmd)
	if err != nil {
		return nil, errors.CombineErrors(err, h.close())
	}
	cmd.Env = append(cmd.Environ(), inheritVariable+label+"="+token+" "+obj.Name())
	return release, nil
}

// Inherited calls open with the name of the object that the process has inherited by this
// label, and returns its error, or ErrNotExist if there is no such object. From then on
// the object is held by what open has opened.
func Inherited(label string, open func(name string) error) error {
	text := os.Getenv(inheritVariable + label)
	token, name, found := strings.Cut(text, " ")
	if !found {
		return errors.Wrapf(ErrNotExist, "nothing was inherited as %q", label)
	}
	if err := os.Unsetenv(inheritVariable + label); err != nil {
		return err
	}
	parsed, err := parseName(name)
	if err != nil {
		return err
	}
	h, err := taken(parsed, token)
	if err != nil {
		return err
	}
	return errors.CombineErrors(open(name), h.close())
}

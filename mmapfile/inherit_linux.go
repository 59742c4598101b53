package mmapfile

import (
	"os"
	"os/exec"
	"strconv"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/unix"
)

// give makes cmd hold the name: it gets the description that has the lock. It ends with
// the last descriptor, and so release closes ours and unlocks nothing.
func (h *nameHold) give(cmd *exec.Cmd) (token string, release func() error, err error) {
	cmd.ExtraFiles = append(cmd.ExtraFiles, h.file)
	return strconv.Itoa(2 + len(cmd.ExtraFiles)), h.file.Close, nil
}

// taken is the other end of give.
func taken(name objectName, token string) (*nameHold, error) {
	path, err := namePath(name)
	if err != nil {
		return nil, err
	}
	fd, err := strconv.Atoi(token)
	if err != nil || fd < 3 {
		return nil, errors.Wrapf(ErrNotExist, "descriptor %q", token)
	}
	unix.CloseOnExec(fd)
	h := &nameHold{name: name, file: os.NewFile(uintptr(fd), path), path: path}
	if same, err := leadsTo(path, h.file); err != nil || !same {
		return nil, errors.CombineErrors(errors.Wrapf(ErrNotExist, "descriptor %d is not that of %q", fd, name), err)
	}
	return h, nil
}

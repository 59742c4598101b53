package mmapfile

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/windows"
)

// give makes cmd hold the name: it gets the handle of the section.
func (h *nameHold) give(cmd *exec.Cmd) (token string, release func() error, err error) {
	err = windows.SetHandleInformation(h.section, windows.HANDLE_FLAG_INHERIT, windows.HANDLE_FLAG_INHERIT)
	if err != nil {
		return "", nil, os.NewSyscallError("SetHandleInformation", err)
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	attr := cmd.SysProcAttr
	attr.AdditionalInheritedHandles = append(attr.AdditionalInheritedHandles, syscall.Handle(h.section))
	return strconv.FormatUint(uint64(h.section), 10), h.close, nil
}

// taken is the other end of give.
func taken(name objectName, token string) (*nameHold, error) {
	handle, err := strconv.ParseUint(token, 10, 64)
	if err != nil || handle == 0 {
		return nil, errors.Wrapf(ErrNotExist, "handle %q", token)
	}
	return &nameHold{name, windows.Handle(handle)}, nil
}

package mmapfile

import (
	"context"
	"fmt"
	"math/bits"
	"os"
	"sync"
	"time"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/windows"

	"github.com/sharekv/sharekv/internal/word"
)

// An eventBell wakes the members by an event of the kernel for each, found by the
// identity of the area's file and the member's number. The system can wait for a
// word, too, but only for one that its own process changes.
//
// A member that is about to sleep sets its mark, and then looks at the word again;
// who rings has changed the word, and then looks at the marks. These are four atomic
// operations in one order for all: either the sleeper finds the change, or the ringer
// the mark. And an event stays set until its owner has waited for it, so that one set
// just before the sleep ends it. Only its owner clears the mark of a member that
// lives: so a ringer that stops or dies halfway takes nothing from the next.
//
// An event is gone with its owner. A mark without an event is what a dead member has
// left, or a living one that has not slept yet; the lock of its number tells.
type eventBell struct {
	area   *Area
	word   *word.Uint32
	marks  [waiterMembers / 64]*word.Uint64
	file   *os.File
	prefix func() (string, error)
	event  windows.Handle // 0 before the first sleep; belongs to who has the lead
}

func (h *areaFile) newBell(a *Area, off int, word *word.Uint32) memberBell {
	b := &eventBell{area: a, word: word, file: h.file}
	for i := range b.marks {
		b.marks[i] = a.Uint64(off + offBells + 8*i)
	}
	b.prefix = sync.OnceValues(func() (string, error) { return kernelName(h.file, off) })
	return b
}

// mark returns where the mark of member i is, and which bit.
func (b *eventBell) mark(i int) (*word.Uint64, uint64) { return b.marks[i/64], 1 << (i % 64) }

func (b *eventBell) sleep(ctx context.Context, v uint32, d time.Duration) error {
	if b.event == 0 {
		if err := b.createEvent(); err != nil {
			return err
		}
	}
	mark, bit := b.mark(b.area.self)
	mark.Or(bit)
	defer mark.And(^bit)
	if b.word.Load() != v {
		return nil
	}
	signalled := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = windows.SetEvent(b.event) // fails only without the event
		close(signalled)
	})
	_, err := windows.WaitForSingleObject(b.event, uint32(d.Milliseconds()))
	if !stop() {
		<-signalled // the event is not closed before; a set too many does no harm
	}
	return os.NewSyscallError("WaitForSingleObject", err)
}

func (b *eventBell) ring() {
	for k, mark := range b.marks {
		for left := mark.Load(); left != 0; left &= left - 1 {
			if i := 64*k + bits.TrailingZeros64(left); i < b.area.members {
				b.strike(i)
			}
		}
	}
}

// strike wakes member i. Should that fail, the member wakes up by itself.
func (b *eventBell) strike(i int) {
	name16, err := b.eventName(i)
	if err != nil {
		return
	}
	event, err := windows.OpenEvent(windows.EVENT_MODIFY_STATE, false, name16)
	if err == nil {
		_ = windows.SetEvent(event)
		_ = windows.CloseHandle(event)
		return
	}
	if err != windows.ERROR_FILE_NOT_FOUND {
		return
	}
	// While its number is seized, nobody can become that member and sleep.
	if release, dead := b.area.Seize(i); dead {
		mark, bit := b.mark(i)
		mark.And(^bit)
		release()
	}
}

// eventName returns the name of the event of member i.
func (b *eventBell) eventName(i int) (*uint16, error) {
	prefix, err := b.prefix()
	if err != nil {
		return nil, err
	}
	return windows.UTF16PtrFromString(fmt.Sprintf("%s-%d", prefix, i))
}

// createEvent makes this member's event, which resets itself. If a ringer has just
// opened that of the number's last owner, it is the same one.
func (b *eventBell) createEvent() error {
	attributes, err := ownAttributes()
	if err != nil {
		return err
	}
	name16, err := b.eventName(b.area.self)
	if err != nil {
		return err
	}
	const access = windows.SYNCHRONIZE | windows.EVENT_MODIFY_STATE
	event, err := windows.CreateEventEx(attributes, name16, 0, access)
	if event == 0 {
		err = os.NewSyscallError("CreateEventEx", err)
		return errors.Wrapf(err, "%s: a waiter", b.file.Name())
	}
	b.event = event
	return nil
}

func (b *eventBell) close() {
	if b.event != 0 {
		_ = windows.CloseHandle(b.event)
		b.event = 0
	}
}

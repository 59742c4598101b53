package mmapfile

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// MemberInfo tells people about a member. It proves nothing: a pid says little
// across containers, and any member could have written any of it.
type MemberInfo struct {
	PID     int
	Program string
	Since   time.Time // when it joined; from Mutex.Holder: when it got the lock
	Number  int       // as Self returns it
}

// String returns, for example, "pid 123 (kvctl), since 12:03:04".
func (i MemberInfo) String() string {
	return fmt.Sprintf("pid %d (%s), since %s", i.PID, i.Program, i.since())
}

// since leaves the date out where the time of day is enough.
func (i MemberInfo) since() string {
	if time.Since(i.Since) < 12*time.Hour {
		return i.Since.Format(time.TimeOnly)
	}
	return i.Since.Format(time.DateTime)
}

// program is what this process calls itself.
var program = sync.OnceValue(func() string {
	if len(os.Args) == 0 {
		return ""
	}
	name := filepath.Base(os.Args[0])
	return strings.ToValidUTF8(name[:min(len(name), programMost)], "")
})

// Self returns the number of this member, from 0 to Members-1.
func (a *Area) Self() int { return a.self }

// Member tells who has, or had last, number i. For people only: whether it lives
// is for Alive to say.
func (a *Area) Member(i int) (MemberInfo, bool) {
	if i < 0 || i >= a.members {
		return MemberInfo{}, false
	}
	info, ok := a.table.get(i)
	info.Number = i
	return info, ok
}

// A memberTable holds a line for each member: when it joined (Unix ns, 0 = no
// member), its pid, and the name of its program.
type memberTable []byte

func (t memberTable) get(i int) (MemberInfo, bool) {
	line := i * lineSize
	since := uint64At(t, line).Load()
	if since == 0 {
		return MemberInfo{}, false
	}
	var name [programMost]byte
	for off := 0; off < programMost; off += 8 {
		binary.NativeEndian.PutUint64(name[off:], uint64At(t, line+16+off).Load())
	}
	text, _, _ := strings.Cut(string(name[:]), "\x00")
	return MemberInfo{
		PID:     int(uint64At(t, line+8).Load()),
		Program: printable(text),
		Since:   time.Unix(0, int64(since)),
	}, true
}

// set writes the line of this process. A reader meanwhile sees no member.
func (t memberTable) set(i int, joined time.Time) {
	line := i * lineSize
	t.clear(i)
	var name [programMost]byte
	copy(name[:], program())
	for off := 0; off < programMost; off += 8 {
		uint64At(t, line+16+off).Store(binary.NativeEndian.Uint64(name[off:]))
	}
	uint64At(t, line+8).Store(uint64(os.Getpid()))
	uint64At(t, line).Store(uint64(joined.UnixNano()))
}

func (t memberTable) clear(i int) { uint64At(t, i*lineSize).Store(0) }

// printable keeps what a member wrote from controlling somebody's terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// clock returns the time in Unix nanoseconds, cheaply.
func (a *Area) clock() uint64 { return uint64(a.joined.UnixNano() + int64(time.Since(a.joined))) }

// Alive reports whether member i lives, on the kernel's word. A stopped process
// lives.
func (a *Area) Alive(i int) bool {
	if i == a.self {
		return true
	}
	if i < 0 || i >= a.members {
		return false
	}
	a.probe.Lock()
	defer a.probe.Unlock()
	if a.probe.seized[i] {
		return false
	}
	got, err := a.home.tryLock(int64(memberZero+i), 1)
	if got {
		a.home.unlock(int64(memberZero+i), 1)
	}
	return err != nil || !got
}

// Seize takes the place of member i if i is dead or nobody, so that nobody can
// become i before release is called. Words that i left may be cleaned meanwhile.
// Release must be called before Close.
func (a *Area) Seize(i int) (release func(), ok bool) {
	if i < 0 || i >= a.members || i == a.self {
		return nil, false
	}
	a.probe.Lock()
	defer a.probe.Unlock()
	if a.probe.seized == nil || a.probe.seized[i] {
		return nil, false
	}
	if got, err := a.home.tryLock(int64(memberZero+i), 1); err != nil || !got {
		return nil, false
	}
	a.probe.seized[i] = true
	return sync.OnceFunc(func() {
		a.probe.Lock()
		defer a.probe.Unlock()
		a.home.unlock(int64(memberZero+i), 1)
		delete(a.probe.seized, i)
	}), true
}

package mmapfile

import (
	"context"
	"runtime"
	"time"

	"github.com/sharekv/sharekv/internal/invariant"
	"github.com/sharekv/sharekv/internal/word"
)

// A wordLock is a mutex made of one word and of the members' proof of life. Its
// bits besides the owner:
//
//	waiters    somebody may sleep on the word: who frees it must wake one
//	abandoned  free, and the last owner died: whoever takes it is told
//	reserved   a waiter was passed over for too long: when free, it is only for
//	           those that have slept, so that no newcomer gets in before them
//
// Every death is covered: of the owner, by stealing the word while holding the
// dead member's lock, so that nobody can have become that member meanwhile; of an
// owner between freeing and waking, and of a waiter that was woken, by the others,
// which look again after a while anyway.
type wordLock struct {
	area  *Area
	word  *word.Uint32
	sleep sleeper
}

// A sleeper puts threads or goroutines to sleep on a word and wakes them.
type sleeper interface {
	// wait sleeps while the word is v, for d at most, until a wake with a bit of
	// mask. It may return early for no reason.
	wait(word *word.Uint32, v uint32, d time.Duration, mask uint32) wakeup
	// wake wakes up to n sleepers with a bit of mask, and returns how many.
	wake(word *word.Uint32, n int, mask uint32) int
}

// A wakeup is why wait returned.
type wakeup int

const (
	wokenUp  wakeup = iota
	changed         // the word was not v
	timedOut        // d is over
)

const (
	spins   = 100
	pollMin = 10 * time.Millisecond // between looks whether the owner still lives
	pollMax = 50 * time.Millisecond
	patient = time.Millisecond // how long a waiter lets others pass

	allSleepers = 1 << 30
	anyMask     = 1<<32 - 1
)

// multicore says whether spinning can help.
var multicore = runtime.NumCPU() > 1

func (l *wordLock) me() uint32 { return uint32(l.area.self) + 1 }

func (l *wordLock) acquire(ctx context.Context) (abandoned bool, err error) {
	if l.word.CompareAndSwap(0, l.me()) || multicore && l.spin() {
		return false, nil
	}
	return l.wait(ctx)
}

func (l *wordLock) try() (got, abandoned bool, err error) {
	v := l.word.Load()
	got = v&(wordOwner|wordReserved) == 0 && l.word.CompareAndSwap(v, l.me()|v&wordWaiters)
	return got, got && v&wordAbandoned != 0, nil
}

// spin tries for as long as a short critical section of a running owner takes.
func (l *wordLock) spin() bool {
	for range spins {
		v := l.word.Load()
		if v == 0 && l.word.CompareAndSwap(0, l.me()) {
			return true
		}
		if v&wordWaiters != 0 {
			return false
		}
		for range 20 { // leave the cache line to the owner
		}
	}
	return false
}

func (l *wordLock) wait(ctx context.Context) (abandoned bool, err error) {
	// Waking too many, or for nothing, does no harm. A wake that comes just before
	// the sleep is lost; the sleep is short.
	mask := uint32(1) << (l.me() % 32)
	rouse := func() { l.sleep.wake(l.word, allSleepers, mask) }
	defer context.AfterFunc(ctx, rouse)()
	defer context.AfterFunc(l.area.life, rouse)()

	begin, poll, slept := time.Now(), pollMin, false
	for {
		v := l.word.Load()
		if v&wordOwner == 0 && (v&wordReserved == 0 || slept) {
			// Others may sleep: the bit that tells so is kept up.
			if l.word.CompareAndSwap(v, l.me()|wordWaiters) {
				return v&wordAbandoned != 0, nil
			}
			continue
		}
		if err := l.over(ctx); err != nil {
			l.withdraw()
			return false, err
		}
		want := v | wordWaiters
		if slept && time.Since(begin) > patient {
			want |= wordReserved
		}
		if want != v && !l.word.CompareAndSwap(v, want) {
			continue
		}
		switch l.sleep.wait(l.word, want, poll, mask) {
		case wokenUp:
			slept = true
		case timedOut:
			slept = true
			poll = min(2*poll, pollMax)
			if l.steal() {
				return true, nil
			}
		}
	}
}

// over tells why waiting has no point any more.
func (l *wordLock) over(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return context.Cause(l.area.life)
}

// withdraw passes on the wake that may have been meant for a waiter that now
// leaves. If there is nobody, no newcomer needs to stay behind either.
func (l *wordLock) withdraw() {
	for l.sleep.wake(l.word, 1, anyMask) == 0 {
		v := l.word.Load()
		if v&wordReserved == 0 || l.word.CompareAndSwap(v, v&^wordReserved) {
			return
		}
	}
}

// steal takes the word from an owner that is dead.
func (l *wordLock) steal() bool {
	owner := l.word.Load() & wordOwner
	if owner == 0 {
		return false
	}
	// This goroutine has its member's turn, so the member does not hold the lock;
	// nor does one that cannot be. Only damage makes the word say so.
	if owner != l.me() && owner <= uint32(l.area.members) {
		release, ok := l.area.Seize(int(owner) - 1)
		if !ok {
			return false
		}
		defer release()
	}
	for {
		v := l.word.Load()
		if v&wordOwner != owner {
			return false
		}
		if l.word.CompareAndSwap(v, l.me()|wordWaiters) {
			return true
		}
	}
}

func (l *wordLock) release() {
	for {
		v := l.word.Load()
		if v&wordOwner != l.me() {
			invariant.Assert(false, "M5: unlock of word %#x by member %d", v, l.area.self)
			return
		}
		free := uint32(0)
		if v&wordReserved != 0 {
			free = wordReserved | wordWaiters
		}
		if l.word.CompareAndSwap(v, free) {
			// The lock is another's from here on: only the address is used.
			if v&wordWaiters != 0 {
				l.sleep.wake(l.word, 1, anyMask)
			}
			return
		}
	}
}

func (l *wordLock) disown() {
	for {
		v := l.word.Load()
		if v&wordOwner != l.me() {
			return
		}
		if l.word.CompareAndSwap(v, v&^wordOwner|wordAbandoned) {
			l.sleep.wake(l.word, 1, anyMask)
			return
		}
	}
}

func (l *wordLock) close() {}

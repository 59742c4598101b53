//go:build killpoints

package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/word"
	"github.com/sharekv/sharekv/store"
)

func init() { programs["victim"] = victim }

// What a victim does when it has come to its point.
const (
	endKill   = "kill"   // it kills itself
	endWait   = "wait"   // it says so, and goes no further until it is killed
	endStop   = "stop"   // it says so, and stops until it is told to continue; then it ends well
	endRecord = "record" // it has none: it does its work, and says to which points it came
)

// A fate is what becomes of a victim.
type fate struct {
	Part  string // what it does
	Point string
	Hit   int // the how many-th time that it comes to the point
	End   string
	Seed  uint64
}

const fateVariable = "SHAREKV_FATE"

func (f fate) String() string {
	text, err := json.Marshal(f)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// env returns what makes the test binary meet the fate.
func (f fate) env(path string) []string {
	return []string{"SHAREKV_ROLE=victim", "SHAREKV_STORE=" + path, fateVariable + "=" + f.String()}
}

// A part is work that comes to points. One that is done once begins with a store that
// nobody has open; the others are done again and again.
type part struct {
	once  bool
	image string // of the store to begin with; "" = there is none yet
	work  func(*actor) error
}

// inMemory is the image of parts with a store in shared memory, which is none.
const inMemory = "memory"

// open opens a store in a file, or one in shared memory.
func open(path string, o *store.Options) (*store.DB, error) {
	if name, shared := strings.CutPrefix(path, inMemory+":"); shared {
		return store.OpenShared(name, o)
	}
	return store.Open(path, o)
}

var parts = map[string]part{
	"create":  {true, "", (*actor).visit},
	"recover": {true, "unclean", (*actor).visit},
	"choose":  {true, "torn", (*actor).visit},
	"consult": {true, "unclean", (*actor).consult},
	"visit":   {false, "clean", (*actor).visit},
	"lazy":    {false, "clean", (*actor).lazy},
	"commit":  {false, "clean", (*actor).commit},
	"crowd":   {false, "clean", (*actor).crowd},
	"read":    {false, "clean", (*actor).read},
	"inherit": {false, "clean", (*actor).inherit},
	"full":    {false, "clean", (*actor).full},
	"found":   {true, inMemory, (*actor).visit},
	"share":   {false, inMemory, (*actor).share},
}

// An actor is a victim at work.
type actor struct {
	fate
	path string
	rng  *rand.Rand

	names sync.Map // of points, by word.Point
	hits  atomic.Int64
	past  atomic.Bool // it has been stopped and continued

	mu    sync.Mutex
	count map[string]int // how often it came to each point

	// guide, if not nil, is asked at each point whether the goroutine is to stay there
	// for ever, because the handle that it uses has died.
	guide atomic.Pointer[func(point string) (stay bool)]
}

const (
	recordRounds = 2
	longest      = 3 * time.Second // that a victim tries to come to its point
)

func victim() error {
	a := &actor{path: os.Getenv("SHAREKV_STORE"), count: map[string]int{}}
	if err := json.Unmarshal([]byte(os.Getenv(fateVariable)), &a.fate); err != nil {
		return err
	}
	a.rng = rand.New(rand.NewPCG(a.Seed, 1))
	word.Watch(a.at)
	begin, p := time.Now(), parts[a.Part]
	for round := 1; ; round++ {
		if err := p.work(a); err != nil {
			return err
		}
		if p.once || a.past.Load() || a.End == endRecord && round == recordRounds || time.Since(begin) > longest {
			break
		}
	}
	for point, n := range a.count {
		fmt.Printf("point %d %s\n", n, point)
	}
	return nil
}

// at is called at each point.
func (a *actor) at(p word.Point) {
	name, ok := a.names.Load(p)
	if !ok {
		name, _ = a.names.LoadOrStore(p, nameOf(p))
	}
	point := name.(string)
	if guide := a.guide.Load(); guide != nil && (*guide)(point) {
		select {}
	}
	if a.End == endRecord {
		a.mu.Lock()
		a.count[point]++
		a.mu.Unlock()
		return
	}
	if point != a.Point || a.hits.Add(1) != int64(a.Hit) {
		return
	}
	if a.End == endKill {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	fmt.Println("at")
	if a.End == endWait {
		select {}
	}
	syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	a.past.Store(true)
}

// lazily is the mode of a part.
func lazily(part string) time.Duration {
	if part == "lazy" {
		return 2 * time.Millisecond
	}
	return 0
}

func (a *actor) open() (*store.DB, error) {
	o := &store.Options{LockTimeout: patience, Async: lazily(a.Part)}
	o.SetBudget(32 << 10)
	return open(a.path, o)
}

// use opens the store for fn.
func (a *actor) use(fn func(*store.DB) error) error {
	db, err := a.open()
	if err != nil {
		return err
	}
	return errors.CombineErrors(fn(db), db.Close())
}

// commit makes n transactions and says when each is acknowledged.
func commit(db *store.DB, who string, n int, rng *rand.Rand) error {
	for range n {
		count, err := record(db, who, rng)
		if err != nil {
			return err
		}
		fmt.Println("ack", who, count)
	}
	return nil
}

// visit opens the store, changes something and closes it.
func (a *actor) visit() error {
	return a.use(func(db *store.DB) error { return commit(db, "visitor", 1, a.rng) })
}

// consult opens the store for reading only.
func (a *actor) consult() error {
	db, err := store.Open(a.path, &store.Options{LockTimeout: patience, ReadOnly: true})
	if err != nil {
		return err
	}
	return errors.CombineErrors(db.View(consistent), db.Close())
}

// commit makes transactions of all sizes, and some that end without.
func (a *actor) commit() error {
	return a.use(func(db *store.DB) error {
		for range 10 {
			if err := commit(db, "single", 2, a.rng); err != nil {
				return err
			}
			tx, err := db.Begin(context.Background(), true)
			if err != nil {
				return err
			}
			if err := errors.CombineErrors(tx.Put([]byte("nothing"), nil), tx.Rollback()); err != nil {
				return err
			}
			if err := db.Update(consistent); err != nil {
				return err
			}
		}
		// The store gets larger in each round, whatever others leave free.
		key := fmt.Appendf(nil, "round %x", a.rng.Uint64())
		return db.Put(key, make([]byte, 64<<10))
	})
}

// lazy makes transactions that are not durable when they return.
func (a *actor) lazy() error {
	return a.use(func(db *store.DB) error {
		for range 5 {
			var count uint64
			for range 1 + a.rng.IntN(5) {
				var err error
				if count, err = record(db, "lazy", a.rng); err != nil {
					return err
				}
			}
			if a.rng.IntN(2) == 0 {
				time.Sleep(2 * lazily(a.Part)) // it is flushed in the background
			}
			if err := db.Sync(context.Background()); err != nil {
				return err
			}
			fmt.Println("ack lazy", count)
		}
		return nil
	})
}

// share opens, changes and reads a store that others may have in memory.
func (a *actor) share() error {
	return a.use(func(db *store.DB) error {
		all, err := begin(db, 3)
		if err != nil {
			return err
		}
		err = errors.CombineErrors(commit(db, "share", 5, a.rng), a.visit())
		return errors.CombineErrors(err, end(all))
	})
}

// crowd makes transactions in two handles, of two goroutines each.
func (a *actor) crowd() error {
	return a.use(func(db *store.DB) error {
		return a.use(func(other *store.DB) error {
			if err := errors.CombineErrors(giveUp(db, other), a.hurry(db, other)); err != nil {
				return err
			}
			results := make(chan error)
			for i := range 4 {
				rng := rand.New(rand.NewPCG(a.rng.Uint64(), 0))
				go func() {
					results <- commit([]*store.DB{db, other}[i%2], fmt.Sprint("crowd", i), 10, rng)
				}()
			}
			var err error
			for range 4 {
				err = errors.CombineErrors(err, <-results)
			}
			return err
		})
	})
}

// giveUp waits in vain, for long enough that nobody is to pass by meanwhile.
func giveUp(db, other *store.DB) error {
	tx, err := db.Begin(context.Background(), true)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	_, err = other.Begin(ctx, true)
	if !errors.Is(err, context.DeadlineExceeded) {
		return errors.Newf("Begin while another handle writes: %v", err)
	}
	return tx.Rollback()
}

// hurry has one handle find the lock taken just when the other one frees it: in so short
// a time it is worth spinning.
func (a *actor) hurry(db, other *store.DB) error {
	var freeing, taking atomic.Bool
	meet := func(point string) (stay bool) {
		switch {
		case strings.HasPrefix(point, "before mmapfile.(*wordLock).acquire:"):
			await(&freeing)
			taking.Store(true)
		case strings.HasPrefix(point, "before mmapfile.(*wordLock).release:"):
			taking.Store(false)
			freeing.Store(true)
			await(&taking)
			freeing.Store(false)
		}
		return false
	}
	a.guide.Store(&meet)
	defer a.guide.Store(nil)
	results := make(chan error)
	for _, x := range []*store.DB{db, other} {
		go func() {
			var err error
			for range 20 {
				err = errors.CombineErrors(err, x.Update(func(*store.Tx) error { return nil }))
			}
			results <- err
		}()
	}
	return errors.CombineErrors(<-results, <-results)
}

// await waits for a moment, awake.
func await(flag *atomic.Bool) {
	for begin := time.Now(); !flag.Load() && time.Since(begin) < time.Millisecond; {
	}
}

// begin begins n read transactions.
func begin(db *store.DB, n int) (all []*store.Tx, err error) {
	for range n {
		tx, err := db.Begin(context.Background(), false)
		if err != nil {
			return all, err
		}
		all = append(all, tx)
	}
	return all, nil
}

func end(all []*store.Tx) (err error) {
	for _, tx := range all {
		err = errors.CombineErrors(err, tx.Rollback())
	}
	return err
}

// read has many readers at once.
func (a *actor) read() error {
	return a.use(func(db *store.DB) error {
		for range 3 {
			all, err := begin(db, 70)
			if err != nil {
				return err
			}
			if err := commit(db, "read", 1, a.rng); err != nil {
				return err
			}
			a.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			for _, tx := range all[:5] {
				if err := consistent(tx); err != nil {
					return err
				}
			}
			if err := end(all); err != nil {
				return err
			}
		}
		return nil
	})
}

// full has more readers than there are slots, and then the slots of one that has died.
func (a *actor) full() error {
	return a.use(func(db *store.DB) error {
		ghost, err := a.open()
		if err != nil {
			return err
		}
		if _, err := begin(ghost, 4096); err != nil {
			return err
		}
		all, err := begin(db, 3)
		if err != nil {
			return err
		}
		if err := errors.CombineErrors(commit(db, "full", 2, a.rng), end(all)); err != nil {
			return err
		}
		ghost.Die()
		time.Sleep(60 * time.Millisecond) // the dead are looked for once in a while only
		all, err = begin(db, 3)
		return errors.CombineErrors(err, end(all))
	})
}

// inherit goes on where others have died: they read, write, or lead.
func (a *actor) inherit() error {
	return a.use(func(db *store.DB) error {
		for _, die := range []func(*store.DB) error{dieReading, dieWriting, a.dieLeading} {
			// Who goes on was there before, or gets the number of the one that has died.
			for _, goOn := range []func() error{
				func() error { return commit(db, "inherit", 4, a.rng) },
				a.visit,
			} {
				ghost, err := a.open()
				if err != nil {
					return err
				}
				if err := errors.CombineErrors(commit(db, "inherit", 1, a.rng), die(ghost)); err != nil {
					return err
				}
				if err := goOn(); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func dieReading(db *store.DB) error {
	_, err := begin(db, 3)
	db.Die()
	return err
}

func dieWriting(db *store.DB) error {
	tx, err := db.Begin(context.Background(), true)
	if err == nil {
		err = tx.Put([]byte("half"), []byte("way"))
	}
	db.Die()
	return err
}

// dieLeading dies when it has made a commit durable, and has told nobody.
func (a *actor) dieLeading(db *store.DB) error {
	leads := make(chan struct{})
	var once sync.Once
	lead := func(point string) (stay bool) {
		if strings.Contains(point, "(*record).publish") && strings.Contains(point, "(*Store).syncHead") {
			once.Do(func() { stay = true; close(leads) })
		}
		return stay
	}
	a.guide.Store(&lead)
	defer a.guide.Store(nil)
	go func() {
		for db.Put([]byte("led"), nil) == nil { // others may lead for it
		}
	}()
	select {
	case <-leads:
	case <-time.After(patience):
		return errors.New("it never led")
	}
	db.Die()
	return nil
}

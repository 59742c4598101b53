package store_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/soak"
	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/internal/testprocess"
	"github.com/sharekv/sharekv/internal/teststore"
	"github.com/sharekv/sharekv/store"
)

// The test binary plays the processes of its tests: SHAREKV_ROLE names what it
// is, SHAREKV_STORE the store. What a role returns ends the process.
var roles = map[string]func(db *store.DB) error{
	"follow": follow,
	"count":  count,
	"watch":  watchSums,
	"slow":   slow,
	"hold":   hold,
	"put":    putForEver,
}

// putForEver commits until it is killed, and says when it has begun.
func putForEver(db *store.DB) error {
	for first := true; ; first = false {
		if err := db.Put([]byte("theirs"), nil); err != nil {
			return err
		}
		if first {
			fmt.Println("put")
		}
	}
}

// programs are the roles that open stores themselves.
var programs = map[string]func() error{}

func TestMain(m *testing.M) {
	name := os.Getenv("SHAREKV_ROLE")
	if name == "" {
		os.Exit(m.Run())
	}
	err := play(name)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %+v\n", name, err)
		os.Exit(1)
	}
}

func play(name string) error {
	if program := programs[name]; program != nil {
		return program()
	}
	db, err := openAt(os.Getenv("SHAREKV_STORE"), &store.Options{AnyMode: true})
	if err != nil {
		return err
	}
	return errors.CombineErrors(roles[name](db), db.Close())
}

// openAt opens the store at a path, or in shared memory if that is shm: and a name.
func openAt(at string, o *store.Options) (*store.DB, error) {
	if name, shared := strings.CutPrefix(at, "shm:"); shared {
		return store.OpenShared(name, o)
	}
	return store.Open(at, o)
}

// process is a role being played.
type process struct{ *testprocess.Player }

func start(t testing.TB, role, path string, env ...string) *process {
	t.Helper()
	p, err := testprocess.Start(append(env, "SHAREKV_ROLE="+role, "SHAREKV_STORE="+path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill(); p.Wait() })
	return &process{p}
}

// line returns the next line that the process prints.
func (p *process) line(t testing.TB) string {
	t.Helper()
	if !p.Out.Scan() {
		t.Fatalf("process ended: %v, %v", p.Out.Err(), p.Wait())
	}
	return p.Out.Text()
}

// follow prints each value that "k" takes.
func follow(db *store.DB) error {
	go func() { io.Copy(io.Discard, os.Stdin); os.Exit(0) }()
	fmt.Println("ready")
	for last := ""; ; {
		v, err := db.Get([]byte("k"))
		if err != nil && err != store.ErrNotFound {
			return err
		}
		if s := string(v); s != last {
			fmt.Println(s)
			last = s
		}
	}
}

func TestOtherProcessSeesEachPutWhileItHoldsTheStoreOpen(t *testing.T) {
	path := filepath.Join(testdir.New(t), "a.kv")
	db := teststore.Open(t, path, nil)
	p := start(t, "follow", path)
	if s := p.line(t); s != "ready" {
		t.Fatal(s)
	}
	for i := range 300 {
		// Values of all sizes, so that the file grows under the other process.
		v := fmt.Sprintf("%d %0*d", i, 1+i*i%5000, 0)
		if err := db.Put([]byte("k"), []byte(v)); err != nil {
			t.Fatalf("%+v", err)
		}
		if s := p.line(t); s != v {
			t.Fatalf("after Put of %.20q the other process sees %.20q", v, s)
		}
	}
}

const accounts = 50

// count moves amounts between accounts, whose sum stays zero, and counts its
// transactions under its own key. It prints the count after each commit.
func count(db *store.DB) error {
	me := []byte("process " + os.Getenv("SHAREKV_NUMBER"))
	number, _ := strconv.ParseUint(os.Getenv("SHAREKV_NUMBER"), 10, 64)
	rng := rand.New(rand.NewPCG(number, uint64(os.Getpid())))
	for {
		var n uint64
		err := db.Update(func(tx *store.Tx) error {
			n = load(tx, me) + 1
			if err := tx.Put(me, binary.BigEndian.AppendUint64(nil, n)); err != nil {
				return err
			}
			for range 1 + rng.IntN(20) {
				from := fmt.Appendf(nil, "account %d", rng.IntN(accounts))
				to := fmt.Appendf(nil, "account %d", rng.IntN(accounts))
				amount := rng.Uint64()
				if err := tx.Put(from, binary.BigEndian.AppendUint64(nil, load(tx, from)-amount)); err != nil {
					return err
				}
				if err := tx.Put(to, binary.BigEndian.AppendUint64(nil, load(tx, to)+amount)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		fmt.Println(n)
	}
}

func load(tx *store.Tx, key []byte) uint64 {
	v, err := tx.Get(key)
	if err != nil {
		return 0
	}
	return binary.BigEndian.Uint64(v)
}

// watchSums takes snapshots and checks the sum in each, until its input ends.
func watchSums(db *store.DB) error {
	stop := make(chan struct{})
	go func() { io.Copy(io.Discard, os.Stdin); close(stop) }()
	var last store.Rev
	for n := 0; ; n++ {
		select {
		case <-stop:
			fmt.Println(n)
			return nil
		default:
		}
		err := db.View(func(tx *store.Tx) error {
			if tx.Rev() < last {
				return errors.Newf("revision %d after %d", tx.Rev(), last)
			}
			last = tx.Rev()
			return zeroSum(tx)
		})
		if err != nil {
			return err
		}
	}
}

func zeroSum(tx *store.Tx) error {
	var sum uint64
	for _, v := range tx.Range([]byte("account "), []byte("account!")) {
		sum += binary.BigEndian.Uint64(v)
	}
	if sum != 0 {
		return errors.Newf("the accounts of revision %d do not add up", tx.Rev())
	}
	return nil
}

// A weather is how long processes are killed, and how often, at least, and the longest
// time between two.
type weather struct {
	duration time.Duration
	kills    int
	calm     time.Duration
}

func storm(t testing.TB) weather {
	switch {
	case os.Getenv("SHAREKV_TEST") == "soak":
		return weather{soak.Duration(t), 0, 80 * time.Millisecond}
	case os.Getenv("SHAREKV_TEST") != "ci":
		return weather{2 * time.Second, 5, 200 * time.Millisecond}
	case runtime.GOOS == "windows":
		return weather{20 * time.Second, 30, 200 * time.Millisecond}
	}
	return weather{0, 2000, 80 * time.Millisecond}
}

// breeze is a tenth of a storm.
func breeze(t testing.TB) weather {
	w := storm(t)
	return weather{w.duration / 10, max(w.kills/10, 3), w.calm}
}

// crew is processes that are killed and replaced while they work.
type crew struct {
	t        *testing.T
	path     string
	writers  []*process
	readers  []*process
	acked    []uint64      // by writer: the last count that one printed
	finished []chan uint64 // by writer: the same, when its output has ended
}

func (c *crew) startWriter(i int) {
	p := start(c.t, "count", c.path, fmt.Sprint("SHAREKV_NUMBER=", i))
	finished := make(chan uint64, 1)
	go func() {
		var n uint64
		for p.Out.Scan() {
			n, _ = strconv.ParseUint(p.Out.Text(), 10, 64)
		}
		finished <- n
	}()
	c.writers[i], c.finished[i] = p, finished
}

func (c *crew) startReader(i int) { c.readers[i] = start(c.t, "watch", c.path) }

func (c *crew) killWriter(i int) {
	c.writers[i].Process.Kill()
	c.acked[i] = max(c.acked[i], <-c.finished[i])
	c.writers[i].Wait()
}

func (c *crew) killReader(i int) {
	c.readers[i].Process.Kill()
	c.readers[i].Wait()
}

// Writers and readers are killed at random and replaced.
func TestKilledProcessesLoseNothingAcknowledgedAndBlockNobody(t *testing.T) {
	path := filepath.Join(testdir.New(t), "a.kv")
	db := teststore.Open(t, path, &store.Options{LockTimeout: 30 * time.Second})
	storm(t).over(t, db, path)
}

// As long as one is there who was not killed, what others have committed is there.
func TestKilledProcessesLoseNothingInAsyncMode(t *testing.T) {
	for _, interval := range []time.Duration{10 * time.Millisecond, time.Hour} {
		path := filepath.Join(testdir.New(t), "a.kv")
		db := teststore.Open(t, path, &store.Options{LockTimeout: 30 * time.Second, Async: interval})
		breeze(t).over(t, db, path)
	}
}

func TestKilledProcessesLoseNothingInSharedMemory(t *testing.T) {
	name := sharedName(t)
	breeze(t).over(t, openShared(t, name, &store.Options{LockTimeout: 30 * time.Second}), "shm:"+name)
}

// over kills processes that use the store, and checks that it is right all the time.
func (w weather) over(t *testing.T, db *store.DB, path string) {
	const each = 4
	c := &crew{
		t: t, path: path,
		writers: make([]*process, each), readers: make([]*process, each),
		acked: make([]uint64, each), finished: make([]chan uint64, each),
	}
	for i := range each {
		c.startWriter(i)
		c.startReader(i)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	kills := 0
	var longest time.Duration
	for end := time.Now().Add(w.duration); time.Now().Before(end) || kills < w.kills; kills++ {
		time.Sleep(time.Duration(rng.Int64N(int64(w.calm)))) // the moment of the kill
		i := rng.IntN(each)
		if rng.IntN(3) == 0 {
			c.killReader(i)
			c.startReader(i)
			continue
		}
		c.killWriter(i)
		// Whoever was killed, the next transaction goes through.
		begin := time.Now()
		if err := db.Put([]byte("parent"), fmt.Append(nil, kills)); err != nil {
			t.Fatalf("after kill %d: %+v", kills, err)
		}
		longest = max(longest, time.Since(begin))
		c.startWriter(i)
	}
	snapshots := 0
	for i := range each {
		c.killWriter(i)
		c.readers[i].In.Close()
		n, _ := strconv.Atoi(c.readers[i].line(t))
		if err := c.readers[i].Wait(); err != nil {
			t.Errorf("reader %d: %v", i, err)
		}
		snapshots += n
	}
	err := db.View(func(tx *store.Tx) error {
		for i, n := range c.acked {
			if got := load(tx, fmt.Append(nil, "process ", i)); got < n {
				t.Errorf("writer %d had %d commits acknowledged, the store has %d", i, n, got)
			}
		}
		return zeroSum(tx)
	})
	if err != nil {
		t.Error(err)
	}
	// The dead are noticed when they are in the way; then nothing of them is left.
	time.Sleep(100 * time.Millisecond) // a dead reader is looked for once in a while only
	for range 3 {
		if err := db.Put([]byte("parent"), nil); err != nil {
			t.Fatal(err)
		}
	}
	if stats, err := db.Stats(); err != nil || stats.Readers > 0 {
		t.Errorf("%d reader slots are still in use, %v", stats.Readers, err)
	}
	if stats, err := db.Stats(); err != nil || stats.Pages > 1000 {
		t.Errorf("the store has %d pages for a few keys, %v", stats.Pages, err)
	}
	handles, err := db.Handles()
	if err != nil || len(handles) != 1 || len(handles[0].Reading) > 0 || handles[0].Writing {
		t.Errorf("handles after all have gone: %+v, %v", handles, err)
	}
	t.Logf("%d kills, %d commits acknowledged, %d snapshots by the last readers, longest commit after a kill %v",
		kills, c.acked, snapshots, longest)
}

func TestReaderInAnotherProcessKeepsItsSnapshot(t *testing.T) {
	readerKeepsItsSnapshot(t, func(*process) {}, func(*process) {})
}

// readerKeepsItsSnapshot changes everything, again and again, while a process has
// read half of a snapshot. before and after are done with that process.
func readerKeepsItsSnapshot(t *testing.T, before, after func(*process)) {
	path := filepath.Join(testdir.New(t), "a.kv")
	db := teststore.Open(t, path, nil)
	fill := func(round int) {
		update(t, db, func(tx *store.Tx) error {
			for i := range 2000 {
				if err := tx.Put(fmt.Appendf(nil, "%04d", i), fmt.Appendf(nil, "%0100d", round)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	fill(0)
	p := start(t, "slow", path)
	if s := p.line(t); s != "half" {
		t.Fatal(s)
	}
	before(p)
	for round := range 10 {
		fill(round + 1)
	}
	after(p)
	fmt.Fprintln(p.In)
	if s := p.line(t); s != "2000 entries, all of round 0" {
		t.Error(s)
	}
}

// slow reads half of its snapshot, waits for a line, and reads the rest.
func slow(db *store.DB) error {
	return db.View(func(tx *store.Tx) error {
		n := 0
		for k, v := range tx.All() {
			if n++; n == 1000 {
				fmt.Println("half")
				bufio.NewReader(os.Stdin).ReadString('\n')
			}
			if i, err := strconv.Atoi(string(v)); err != nil || i != 0 {
				return errors.Newf("%s = %s", k, v)
			}
		}
		fmt.Printf("%d entries, all of round 0\n", n)
		return nil
	})
}

// hold holds the write transaction until it gets a line.
func hold(db *store.DB) error {
	return db.Update(func(tx *store.Tx) error {
		if err := tx.Put([]byte("held"), []byte("yes")); err != nil {
			return err
		}
		fmt.Println("holding")
		bufio.NewReader(os.Stdin).ReadString('\n')
		return nil
	})
}

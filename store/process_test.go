package store_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/internal/teststore"
	"github.com/sharekv/sharekv/store"
)

// The test binary plays the processes of its tests: SHAREKV_ROLE names what it
// is, SHAREKV_STORE the store. What a role returns ends the process.
var roles = map[string]func(db *store.DB) error{
	"follow": follow,
	"count":  count,
	"watch":  watchSums,
}

func TestMain(m *testing.M) {
	name := os.Getenv("SHAREKV_ROLE")
	if name == "" {
		os.Exit(m.Run())
	}
	db, err := store.Open(os.Getenv("SHAREKV_STORE"), nil)
	if err == nil {
		err = errors.CombineErrors(roles[name](db), db.Close())
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %+v\n", name, err)
		os.Exit(1)
	}
}

// process is a role being played.
type process struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func start(t testing.TB, role, path string, env ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.Command(exe)}
	p.Env = append(append(os.Environ(), "SHAREKV_ROLE="+role, "SHAREKV_STORE="+path), env...)
	p.Stderr = os.Stderr
	p.in, err = p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewScanner(out)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill(); p.Wait() })
	return p
}

// line returns the next line that the process prints.
func (p *process) line(t testing.TB) string {
	t.Helper()
	if !p.out.Scan() {
		t.Fatalf("process ended: %v, %v", p.out.Err(), p.Wait())
	}
	return p.out.Text()
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

// Writers are killed at random and replaced; readers look on.
func TestKilledWritersLoseNothingAcknowledgedAndBlockNobody(t *testing.T) {
	duration := 2 * time.Second
	if os.Getenv("SHAREKV_TEST") == "ci" {
		duration = 20 * time.Second
	}
	path := filepath.Join(testdir.New(t), "a.kv")
	db := teststore.Open(t, path, &store.Options{LockTimeout: 30 * time.Second})
	readers := []*process{start(t, "watch", path), start(t, "watch", path)}

	type writer struct {
		*process
		acked chan uint64 // the last count printed, when the output has ended
	}
	launch := func(i int) writer {
		w := writer{start(t, "count", path, fmt.Sprint("SHAREKV_NUMBER=", i)), make(chan uint64, 1)}
		go func() {
			var n uint64
			for w.out.Scan() {
				n, _ = strconv.ParseUint(w.out.Text(), 10, 64)
			}
			w.acked <- n
		}()
		return w
	}
	var writers [3]writer
	var acked [3]uint64
	kill := func(i int) {
		writers[i].Process.Kill()
		acked[i] = max(acked[i], <-writers[i].acked)
		writers[i].Wait()
	}
	for i := range writers {
		writers[i] = launch(i)
	}
	kills := 0
	for end := time.Now().Add(duration); time.Now().Before(end); kills++ {
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond) // the moment of the kill
		i := rand.IntN(len(writers))
		kill(i)
		// Whoever was killed, the next transaction goes through.
		if err := db.Put([]byte("parent"), fmt.Append(nil, kills)); err != nil {
			t.Fatalf("after kill %d: %+v", kills, err)
		}
		writers[i] = launch(i)
	}
	for i := range writers {
		kill(i)
	}
	err := db.View(func(tx *store.Tx) error {
		for i, n := range acked {
			if got := load(tx, fmt.Append(nil, "process ", i)); got < n {
				t.Errorf("writer %d had %d commits acknowledged, the store has %d", i, n, got)
			}
		}
		return zeroSum(tx)
	})
	if err != nil {
		t.Error(err)
	}
	snapshots := 0
	for _, r := range readers {
		r.in.Close()
		n, _ := strconv.Atoi(r.line(t))
		if err := r.Wait(); err != nil || n == 0 {
			t.Errorf("reader took %d snapshots: %v", n, err)
		}
		snapshots += n
	}
	t.Logf("%d kills, %d commits acknowledged, %d snapshots", kills, acked, snapshots)
}

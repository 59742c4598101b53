package mmapfile_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/windows"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/mmapfile"
)

// chunksVariable makes a process of a test do without placeholders.
const chunksVariable = "MMAPFILE_TEST_CHUNKS"

func init() {
	if os.Getenv(chunksVariable) != "" {
		mmapfile.WithoutPlaceholders()
	}
}

// eachWay runs a test with placeholders, where the system has them, and without.
func eachWay(t *testing.T, test func(t *testing.T, placeholders bool)) {
	t.Run("placeholders", func(t *testing.T) {
		if version := wineVersion(t); version != 0 && version <= 8 {
			t.Skipf("Windows has placeholders since 10 1803, Wine %d has none", version)
		}
		test(t, true)
	})
	t.Run("chunks", func(t *testing.T) {
		defer mmapfile.WithoutPlaceholders()()
		test(t, false)
	})
}

// startIn runs a role with or without placeholders.
func startIn(t *testing.T, placeholders bool, role string, args ...string) *process {
	t.Helper()
	value := "yes"
	if placeholders {
		value = ""
	}
	t.Setenv(chunksVariable, value)
	return start(t, role, args...)
}

// What the windows package lacks.
const (
	memFree   = 0x10000
	memMapped = 0x40000
)

// A region is pages next to each other of which the system says the same.
type region struct {
	begin, allocation uintptr
	size              int64
	state, kind       uint32
}

// regionsIn returns what the system has at the addresses of a reservation.
func regionsIn(t *testing.T, base uintptr, length int64) (list []region) {
	t.Helper()
	for at := base; at < base+uintptr(length); {
		var info windows.MemoryBasicInformation
		if err := windows.VirtualQuery(at, &info, reflect.TypeOf(info).Size()); err != nil {
			t.Fatal(err)
		}
		end := min(info.BaseAddress+info.RegionSize, base+uintptr(length))
		list = append(list, region{at, info.AllocationBase, int64(end - at), info.State, info.Type})
		at = end
	}
	return list
}

// mustBeContiguous fails unless the first bytes of a reservation are mapped, at least
// size of them, and nothing behind them is free for others. It returns how many
// views there are.
func mustBeContiguous(t *testing.T, r *mmapfile.Reservation, size int64) (views int) {
	t.Helper()
	seen := map[uintptr]bool{}
	mapped := int64(0)
	rest := 0
	for _, g := range regionsIn(t, r.Base(), r.Length()) {
		switch {
		case rest == 0 && g.state == windows.MEM_COMMIT && g.kind == memMapped:
			mapped += g.size
			seen[g.allocation] = true
		case mapped == r.Used() && g.state == windows.MEM_RESERVE:
			rest++
			if r.InPlaceholder() && (rest > 1 || g.begin != g.allocation) {
				t.Errorf("the rest is not one placeholder: %#x", g)
			}
		default:
			t.Errorf("at %#x behind %d bytes, of which %d are mapped: %#x", r.Base(), r.Used(), mapped, g)
		}
	}
	if mapped != r.Used() || mapped < size {
		t.Errorf("%d bytes are mapped and %d said to be, of %d", mapped, r.Used(), size)
	}
	return len(seen)
}

// A view grows by a piece behind the others, under a base that stays, while another
// process makes the file longer, in the same way or the other.
func TestViewGrowsPieceByPieceAtOneBase(t *testing.T) {
	eachWay(t, func(t *testing.T, placeholders bool) {
		for _, same := range []bool{true, false} {
			t.Run(fmt.Sprintf("other process alike %v", same), func(t *testing.T) {
				path := filepath.Join(testdir.New(t), "file")
				m := create(t, path, 64*kib, nil)
				r := m.Reservation()
				if r.InPlaceholder() != placeholders {
					t.Fatalf("in a placeholder: %v", r.InPlaceholder())
				}
				if r.Length() != 256<<30 {
					t.Errorf("%d bytes are reserved", r.Length())
				}
				other := startIn(t, placeholders == same, "mapper", path)
				base := &mustView(t, m, 1)[0]
				random := rand.New(rand.NewPCG(1, 2))
				for size, views := int64(64*kib), 1; views < 20; {
					size += 1 + random.Int64N(2<<20)
					if answer := other.ask("grow %d", size); answer != "ok" {
						t.Fatal(answer)
					}
					if answer := other.ask("store %d there", size-5); answer != "ok" {
						t.Fatal(answer)
					}
					view := mustView(t, m, size)
					if &view[0] != base || string(view[size-5:]) != "there" {
						t.Fatalf("at %p, not %p: %q", &view[0], base, view[size-5:])
					}
					now := mustBeContiguous(t, r, size)
					if now < views || now > views && placeholders && now != views+1 {
						t.Fatalf("%d views, and %d before", now, views)
					}
					views = now
				}
				other.finish()
			})
		}
	})
}

// Other threads of this process take and free addresses all the time. A placeholder
// keeps its place whatever they do; chunks may lose it, which is an error and
// nothing worse.
func TestGrowthAmongThreadsThatTakeAddresses(t *testing.T) {
	eachWay(t, func(t *testing.T, placeholders bool) {
		m := create(t, filepath.Join(testdir.New(t), "file"), 64*kib, nil)
		done := make(chan struct{})
		var group sync.WaitGroup
		for i := range uint64(2) {
			random := rand.New(rand.NewPCG(i, 0))
			group.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
					}
					size := uintptr(random.IntN(32)+1) * 64 * kib
					addr, err := windows.VirtualAlloc(0, size, windows.MEM_RESERVE, windows.PAGE_NOACCESS)
					if err != nil {
						t.Error(err)
						return
					}
					if err := windows.VirtualFree(addr, 0, windows.MEM_RELEASE); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		size := int64(64 * kib)
		for range 30 {
			size += 256 * kib
			if err := m.Grow(size); err != nil {
				t.Error(err)
				break
			}
			if err := m.Store(size-5, [][]byte{[]byte("there")}); err != nil {
				t.Error(err)
				break
			}
			view, err := m.View(size)
			if err != nil {
				if placeholders || !errors.Is(err, mmapfile.ErrNoAddressSpace) {
					t.Error(err)
				}
				t.Log(err)
				break
			}
			if string(view[size-5:]) != "there" {
				t.Errorf("%q at %d", view[size-5:], size)
			}
		}
		close(done)
		group.Wait()
		if placeholders {
			mustBeContiguous(t, m.Reservation(), size)
		}
	})
}

// A piece may begin where an offset in the file takes more than 32 bits.
func TestViewGrowsBehindFourGigabytes(t *testing.T) {
	eachWay(t, func(t *testing.T, _ bool) {
		m := create(t, filepath.Join(testdir.New(t), "file"), 64*kib, nil)
		for _, size := range []int64{4<<30 + 64*kib, 4<<30 + 128*kib} {
			if err := m.Grow(size); err != nil {
				t.Fatal(err)
			}
			if err := m.Store(size-5, [][]byte{[]byte("there")}); err != nil {
				t.Fatal(err)
			}
			if view := mustView(t, m, size); string(view[size-5:]) != "there" || view[size-4<<30-5] != 0 {
				t.Errorf("%q at %d", view[size-5:], size)
			}
			mustBeContiguous(t, m.Reservation(), size)
		}
	})
}

// Who can only read sees growth as well, if the file was ever open for writing.
func TestReadOnlyViewGrows(t *testing.T) {
	eachWay(t, func(t *testing.T, placeholders bool) {
		m := create(t, filepath.Join(testdir.New(t), "file"), 1, nil)
		reader := create(t, m.Path(), 0, &mmapfile.Options{ReadOnly: true})
		if reader.Reservation().InPlaceholder() != placeholders {
			t.Errorf("in a placeholder: %v", !placeholders)
		}
		base := &mustView(t, reader, 1)[0]
		if err := m.Grow(300 * kib); err != nil {
			t.Fatal(err)
		}
		if err := m.Store(250*kib, [][]byte{[]byte("there")}); err != nil {
			t.Fatal(err)
		}
		if view := mustView(t, reader, 300*kib); &view[0] != base || string(view[250*kib:][:5]) != "there" {
			t.Errorf("%p, %q", &view[0], view[250*kib:][:5])
		}
		mustBeContiguous(t, reader.Reservation(), 300*kib)
	})
}

// The rest of a file that ends anywhere is shown, and nothing behind it: that needs
// no placeholder, and could not go into one.
func TestFileThatEndsAnywhereIsShownWithoutPlaceholders(t *testing.T) {
	path := filepath.Join(testdir.New(t), "file")
	if err := os.WriteFile(path, make([]byte, 100*kib+1), 0o600); err != nil {
		t.Fatal(err)
	}
	m := create(t, path, 0, &mmapfile.Options{ReadOnly: true})
	mustView(t, m, 100*kib+1)
	if m.Reservation().InPlaceholder() {
		t.Error("in a placeholder")
	}
	writer := create(t, path, 200*kib, nil)
	mustView(t, writer, 200*kib)
	if _, err := m.View(200 * kib); !errors.Is(err, mmapfile.ErrNoAddressSpace) {
		t.Error(err)
	}
	mustView(t, m, 100*kib+1)
}

// What cannot be mapped takes no address away, and a full reservation ends with the
// last byte.
func TestReservationGoesOnAfterAFailureAndEndsWhenItIsFull(t *testing.T) {
	eachWay(t, func(t *testing.T, placeholders bool) {
		const length = 1 << 20
		f, err := os.OpenFile(filepath.Join(testdir.New(t), "file"), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		section, err := mmapfile.CreateSection(f, windows.PAGE_READWRITE, length)
		if err != nil {
			t.Fatal(err)
		}
		defer windows.CloseHandle(section)
		r, ok := mmapfile.Reserve(0, length, placeholders)
		if !ok || r.Length() != length || r.InPlaceholder() != placeholders {
			t.Fatal(ok, r)
		}
		base := r.Base()
		var pieces []uintptr
		for r.Used() < length {
			for _, n := range []int64{64 * kib, length - r.Used()} {
				if got, err := r.Extend(windows.InvalidHandle, n); err == nil {
					t.Errorf("mapped %d bytes of nothing", got)
				}
				mustBeContiguous(t, r, 0)
			}
			at := base + uintptr(r.Used())
			if n, err := r.Extend(section, 256*kib); n == 0 || err != nil {
				t.Fatal(n, err)
			}
			pieces = append(pieces, at)
			mustBeContiguous(t, r, 0)
		}
		if n, err := r.Extend(section, 64*kib); n != 0 || err != nil {
			t.Error(n, err)
		}
		if err := r.Release(); err != nil {
			t.Error(err)
		}
		for _, at := range pieces {
			if err := windows.UnmapViewOfFile(at); err != nil {
				t.Error(err)
			}
		}
	})
}

// Others can have the addresses of a mapping that is closed. They may do so at once,
// but not with that many.
func TestClosedMappingGivesItsAddressesBack(t *testing.T) {
	eachWay(t, func(t *testing.T, _ bool) {
		m := create(t, filepath.Join(testdir.New(t), "file"), 64*kib, nil)
		for _, size := range []int64{256 * kib, 80 << 20} {
			if err := m.Grow(size); err != nil {
				t.Fatal(err)
			}
			mustView(t, m, size)
		}
		r := m.Reservation()
		base, length := r.Base(), r.Length()
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		taken := int64(0)
		for _, g := range regionsIn(t, base, length) {
			if g.state != memFree {
				taken += g.size
			}
		}
		if taken > 64<<20 {
			t.Errorf("%d of %d bytes are still taken", taken, length)
		}
	})
}

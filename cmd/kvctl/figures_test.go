package main

import (
	"strings"
	"testing"
	"time"

	"github.com/sharekv/sharekv/store"
)

func TestRevisionsAreEpochAndCounter(t *testing.T) {
	at := func(epoch, counter uint64) revision { return revision(epoch<<40 | counter) }
	if got := at(1<<24-1, 1<<40-1).String(); got != "16777215.1099511627775" {
		t.Errorf("the last revision is %s", got)
	}
	for _, c := range []struct {
		r, now revision
		want   uint64
	}{
		{at(1, 7), at(1, 7), 0},
		{at(1, 7), at(1, 10), 3},
		{at(1, 7), at(2, 8), 1}, // the counter goes on in a new epoch
		{at(1, 7), at(2, 7), 0},
		{at(1, 9), at(2, 8), 0}, // the old epoch's last transactions never committed
		{at(1, 8), at(1, 7), 0},
	} {
		if got := c.r.behind(c.now); got != c.want {
			t.Errorf("%v is %d behind %v, want %d", c.r, got, c.now, c.want)
		}
	}
}

func TestAgeHasTwoUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:                         "0s",
		999 * time.Millisecond:               "0s",
		59 * time.Second:                     "59s",
		time.Minute:                          "1m00s",
		time.Hour - time.Second:              "59m59s",
		2*time.Hour + 5*time.Minute:          "2h05m",
		24*time.Hour - time.Second:           "23h59m",
		75*time.Hour + 59*time.Minute:        "3d03h",
		400*24*time.Hour + 23*time.Hour + 59: "400d23h",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%v) = %s, want %s", d, got, want)
		}
	}
}

// TestUsersComeWithTheOldestReaderFirst has handles as the store returns them: in no
// order, but each with its revisions ascending.
func TestUsersComeWithTheOldestReaderFirst(t *testing.T) {
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const epoch = store.Rev(1) << 40
	users := usersOf([]store.Handle{
		{PID: 1, Program: "late", Since: ago(time.Second)},
		{PID: 2, Program: "self", Since: ago(0), Self: true, Reading: []store.Rev{1}},
		{PID: 3, Program: "early", Since: ago(time.Hour), Writing: true},
		{PID: 4, Program: "new", Since: ago(time.Minute), Reading: []store.Rev{epoch | 90, epoch | 100}},
		{PID: 5, Since: ago(time.Minute), Reading: []store.Rev{epoch | 7, epoch | 7, epoch | 100}},
	}, revision(epoch|100))
	var out strings.Builder
	if err := writeUsers(&out, users, now); err != nil {
		t.Fatal(err)
	}
	want := `PID  PROGRAM  OPEN FOR  WRITING  READERS  REVISION  BEHIND
5    ?        1m00s     no       2        1.7       93
5    ?        1m00s     no       1        1.100     0
4    new      1m00s     no       1        1.90      10
4    new      1m00s     no       1        1.100     0
3    early    1h00m     yes      0        -         -
1    late     1s        no       0        -         -
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	f := figuresOf(store.Stats{Rev: epoch | 100}, users)
	if f.Handles != 4 || f.Readers != 5 || f.OldestReader.PID != 5 || f.OldestReader.Behind != 93 {
		t.Errorf("figures %+v, oldest reader %+v", f, f.OldestReader)
	}
}

func TestStatTellsOfAFailedFlush(t *testing.T) {
	f := figuresOf(store.Stats{Pages: 3, Free: 1, Failed: true}, nil)
	var out strings.Builder
	if err := f.write(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\n  free     1 (33.3%)\n", "\nflush      FAILED: nobody can commit"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("stat does not say %q:\n%s", want, out.String())
		}
	}
}

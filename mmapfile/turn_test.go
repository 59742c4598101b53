package mmapfile_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/mmapfile"
)

// A goroutine gives up at the instant in which it is given the turn. Whatever it
// makes of that, the turn must not be lost.
func TestTurnIsNotLostOnWhoGivesUp(t *testing.T) {
	var turn mmapfile.Turn
	limit := soon(t)
	for range 5000 {
		if err := turn.Take(limit); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(background)
		done := make(chan struct{})
		go func() {
			if turn.Take(ctx) == nil {
				turn.Give()
			}
			close(done)
		}()
		runtime.Gosched()
		cancel()
		turn.Give()
		<-done
	}
}

func TestShutTurnWaitsForWhoIsOnTheWay(t *testing.T) {
	for round := range 200 {
		var turn mmapfile.Turn
		if err := turn.Take(background); err != nil {
			t.Fatal(err)
		}
		queued := make(chan error)
		go func() { queued <- turn.Take(background) }()
		var passed, early atomic.Bool
		shut := make(chan struct{})
		go func() {
			turn.Shut()
			early.Store(!passed.Load())
			close(shut)
		}()
		if err := <-queued; !errors.Is(err, mmapfile.ErrClosed) {
			t.Fatal(err)
		}
		for range 10 {
			runtime.Gosched()
		}
		passed.Store(true)
		if round%2 == 0 {
			turn.Give()
		} else {
			turn.Own()
		}
		<-shut
		if early.Load() {
			t.Fatal("shut did not wait")
		}
		if round%2 == 1 {
			if owned, open := turn.Disown(); !owned || open {
				t.Error(owned, open)
			}
		}
		if err := turn.Take(background); !errors.Is(err, mmapfile.ErrClosed) {
			t.Error(err)
		}
	}
}

func TestShutTurnLeavesItToWhoOwnsIt(t *testing.T) {
	var turn mmapfile.Turn
	if err := turn.Take(background); err != nil {
		t.Fatal(err)
	}
	turn.Own()
	turn.Shut()
	if owned, open := turn.Disown(); !owned || open {
		t.Error(owned, open)
	}
}

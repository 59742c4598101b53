package mmapfile_test

import (
	"context"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/windows"

	"github.com/sharekv/sharekv/mmapfile"
)

func TestWaitThatCannotSleepIsAnError(t *testing.T) {
	const name = "sharekv without a bell"
	s, _, err := mmapfile.CreateSemaphore(name, 0, 1, nil)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer s.Close()
	bell, err := mmapfile.NameOfBell(name, 0)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	name16, err := windows.UTF16PtrFromString(bell)
	if err != nil {
		t.Fatal(err)
	}
	inTheWay, err := windows.CreateMutex(nil, false, name16)
	if err != nil {
		t.Fatal(err)
	}
	defer windows.CloseHandle(inTheWay)
	ctx, cancel := context.WithTimeout(background, 10*time.Second)
	defer cancel()
	if err := s.Acquire(ctx); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waited without sleeping: %v", err)
	}
}

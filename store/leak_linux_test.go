package store_test

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// held returns what the process has, with the mappings of files in dir.
func held(t *testing.T, dir string) holdings {
	t.Helper()
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	h := holdings{goroutines: runtime.NumGoroutine(), descriptors: len(descriptors)}
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, dir) {
			h.mappings++
		}
		span, _, _ := strings.Cut(line, " ")
		from, to, _ := strings.Cut(span, "-")
		begin, err := strconv.ParseUint(from, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		end, err := strconv.ParseUint(to, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		h.reserved += int64(end - begin)
	}
	return h
}

package mmapfile_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/mmapfile"
)

// Without placeholders the place of a view is given up for a moment when it grows.
// Other views of the same process do not get in.
func TestFilesOfOneProcessDoNotTakeEachOthersPlaces(t *testing.T) {
	dir := testdir.New(t)
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			path := filepath.Join(dir, fmt.Sprint(i))
			for range 60 {
				m, err := mmapfile.Create(path, 64<<10, nil)
				if err != nil {
					t.Error(err)
					return
				}
				for size := int64(128 << 10); size <= 512<<10 && err == nil; size += 128 << 10 {
					if err = m.Grow(size); err == nil {
						_, err = m.View(size)
					}
				}
				if err == nil {
					err = m.Store(1000, [][]byte{{1}})
				}
				if err != nil {
					t.Error(err)
				}
				if err := m.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

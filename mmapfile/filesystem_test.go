package mmapfile_test

import (
	"path/filepath"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/internal/testdir"
	"github.com/sharekv/sharekv/mmapfile"
)

func TestFileSystemOfATestIsKnown(t *testing.T) {
	m := create(t, filepath.Join(testdir.New(t), "data"), 4096, nil)
	name, local, err := m.FileSystem()
	if err != nil || name == "" {
		t.Errorf("%q %v", name, err)
	}
	t.Logf("%s, local: %v", name, local)
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if _, _, err := m.FileSystem(); !errors.Is(err, mmapfile.ErrClosed) {
		t.Error(err)
	}
}

package mmapfile_test

import (
	"io/fs"
	"os"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/sharekv/sharekv/mmapfile"
)

func TestObjectWhoseBodyWasRemovedIsNotMadeTwice(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			name := "sharekv removed " + k.name
			first, _, err := k.create(name, nil)
			if err != nil {
				t.Fatalf("%+v", err)
			}
			path, err := mmapfile.BodyPath(name)
			if err == nil {
				err = os.Remove(path)
			}
			if err != nil {
				t.Fatalf("%+v", err)
			}
			if second, _, err := k.create(name, nil); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("made a second time: %v", err)
				if err == nil {
					second.Close()
				}
			}
			if err := first.Close(); err != nil {
				t.Errorf("%+v", err)
			}
			again, _, err := k.create(name, nil)
			if err != nil {
				t.Fatalf("%+v", err)
			}
			if err := again.Close(); err != nil {
				t.Errorf("%+v", err)
			}
		})
	}
}

package mmapfile

import (
	"os"

	"github.com/cockroachdb/errors"
)

// FileSystem tells what kind of file system the file lies on. local says that it is
// known to keep mappings, writes and locks of all processes in step, because one
// system alone is in charge of it. One that is not known is not local. name is for
// people: "ext4", "nfs", or "type 0x1234" for one without a name here.
func (m *Mapping) FileSystem() (name string, local bool, err error) {
	if err := m.enter(); err != nil {
		return "", false, err
	}
	defer m.life.RUnlock()
	return fileSystemOf(m.file)
}

// FileSystem is Mapping.FileSystem for the file or directory at path.
func FileSystem(path string) (name string, local bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", false, err
	}
	name, local, err = fileSystemOf(f)
	return name, local, errors.CombineErrors(err, f.Close())
}

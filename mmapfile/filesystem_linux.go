package mmapfile

import (
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// localFileSystems and otherFileSystems name the types that statfs knows. Those in
// the second list belong to several systems, to a program that may do as it likes,
// or to no one who writes.
var (
	localFileSystems = map[uint32]string{
		unix.BCACHEFS_SUPER_MAGIC:  "bcachefs",
		unix.BTRFS_SUPER_MAGIC:     "btrfs",
		unix.EXFAT_SUPER_MAGIC:     "exfat",
		unix.EXT4_SUPER_MAGIC:      "ext4", // and ext2 and ext3
		unix.F2FS_SUPER_MAGIC:      "f2fs",
		0x3153464a:                 "jfs",
		unix.MSDOS_SUPER_MAGIC:     "vfat",
		unix.NILFS_SUPER_MAGIC:     "nilfs2",
		0x7366746e:                 "ntfs3",
		unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
		unix.RAMFS_MAGIC:           "ramfs",
		unix.REISERFS_SUPER_MAGIC:  "reiserfs",
		unix.TMPFS_MAGIC:           "tmpfs",
		unix.XFS_SUPER_MAGIC:       "xfs",
		0x2fc12fc1:                 "zfs",
	}
	otherFileSystems = map[uint32]string{
		unix.V9FS_MAGIC:           "9p",
		unix.AFS_SUPER_MAGIC:      "afs",
		unix.AFS_FS_MAGIC:         "afs",
		0x19830326:                "beegfs",
		unix.CEPH_SUPER_MAGIC:     "ceph",
		unix.CODA_SUPER_MAGIC:     "coda",
		unix.ECRYPTFS_SUPER_MAGIC: "ecryptfs",
		unix.EROFS_SUPER_MAGIC_V1: "erofs",
		unix.FUSE_SUPER_MAGIC:     "fuse",
		0x01161970:                "gfs2",
		0x47504653:                "gpfs",
		0xbacbacbc:                "hgfs",
		unix.ISOFS_SUPER_MAGIC:    "iso9660",
		0x0bd00bd0:                "lustre",
		unix.NFS_SUPER_MAGIC:      "nfs",
		unix.OCFS2_SUPER_MAGIC:    "ocfs2",
		0x20030528:                "orangefs",
		unix.CIFS_SUPER_MAGIC:     "smb",
		unix.SMB2_SUPER_MAGIC:     "smb",
		unix.SMB_SUPER_MAGIC:      "smb",
		unix.SQUASHFS_MAGIC:       "squashfs",
		0x786f4256:                "vboxsf",
	}
)

func fileSystemOf(f *os.File) (name string, local bool, err error) {
	var st unix.Statfs_t
	err = ignoringEINTR(func() error { return unix.Fstatfs(int(f.Fd()), &st) })
	if err != nil {
		return "", false, &fs.PathError{Op: "fstatfs", Path: f.Name(), Err: err}
	}
	name, local = nameFileSystem(uint32(st.Type))
	return name, local, nil
}

func nameFileSystem(kind uint32) (name string, local bool) {
	if name, ok := localFileSystems[kind]; ok {
		return name, true
	}
	if name, ok := otherFileSystems[kind]; ok {
		return name, false
	}
	return fmt.Sprintf("type %#x", kind), false
}

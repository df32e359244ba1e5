package pgtest

import (
	"path/filepath"
	"syscall"
)

// tmpfsMagic is the type of a file system that lies in memory.
const tmpfsMagic = 0x01021994

// enough is the room that a whole run of all tests may need: a database is 8 MB, and
// a few dozen exist at a time.
const enough = 2 << 30

// memoryRoot returns the folder in memory where the farm's server may keep its data:
// making and dropping a database is hundreds of small files, four times as fast
// there. It is "" where memory is scarce, as in a container with default settings.
func memoryRoot(base string) string {
	const shm = "/dev/shm"
	var fs syscall.Statfs_t
	if err := syscall.Statfs(shm, &fs); err != nil || fs.Type != tmpfsMagic {
		return ""
	}
	if fs.Bavail*uint64(fs.Bsize) < enough {
		return ""
	}
	return filepath.Join(shm, nameOf(base))
}

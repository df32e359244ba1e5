//go:build linux || darwin || freebsd

package worker

import (
	"fmt"
	"syscall"
)

// freeBytes returns what a user may still write on the disk of dir.
func freeBytes(dir string) (int64, error) {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		return 0, fmt.Errorf("look at the disk of %s: %w", dir, err)
	}
	return int64(disk.Bavail) * int64(disk.Bsize), nil
}

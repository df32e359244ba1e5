//go:build unix

package client

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockPurse takes the lock at path for the life of the returned file. The kernel frees
// it when the process ends, however it ends.
func lockPurse(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock purse: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrPurseInUse
		}
		return nil, fmt.Errorf("lock purse: %w", err)
	}
	return f, nil
}

func unlockPurse(f *os.File) error { return f.Close() }

// syncFolder makes names in a folder durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

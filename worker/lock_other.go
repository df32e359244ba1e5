//go:build !unix

package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// keepsLock: the lock is the file itself.
const keepsLock = false

// isLocked reports whether the lock at path is there.
func isLocked(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// lockFile takes the lock at path, by a file that must not exist. After a crash it
// has to be removed by hand.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%w; after a crash remove %s", ErrLocked, path)
	}
	if err != nil {
		return nil, fmt.Errorf("lock worker folder: %w", err)
	}
	return f, nil
}

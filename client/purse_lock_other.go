//go:build !unix

package client

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// lockPurse takes the lock at path, by a file that must not exist. After a crash it has
// to be removed by hand.
func lockPurse(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%w; after a crash remove %s", ErrPurseInUse, path)
	}
	if err != nil {
		return nil, fmt.Errorf("lock purse: %w", err)
	}
	return f, nil
}

func unlockPurse(f *os.File) error { return errors.Join(f.Close(), os.Remove(f.Name())) }

// syncFolder does nothing: a folder can't be synced here.
func syncFolder(string) error { return nil }

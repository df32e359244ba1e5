//go:build !unix

package genesis

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// lock takes the lock of the folder dir, by a file that must not exist. After a
// crash it has to be removed by hand.
func lock(dir string) (unlock func() error, err error) {
	path := filepath.Join(dir, ".lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("lock folder: another genesis runs in %s; after a crash remove %s", dir, path)
	}
	if err != nil {
		return nil, fmt.Errorf("lock folder: %w", err)
	}
	return func() error { return errors.Join(f.Close(), os.Remove(path)) }, nil
}

//go:build unix

package genesis

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lock waits until no other run decides on the network of the folder dir, which
// must exist. The kernel frees it when the process ends, however it ends.
func lock(dir string) (unlock func() error, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("lock folder: %w", err)
	}
	for {
		err = syscall.Flock(int(d.Fd()), syscall.LOCK_EX)
		if err == nil {
			return d.Close, nil
		}
		if !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock folder %s: %w", dir, err), d.Close())
		}
	}
}

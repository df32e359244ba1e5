//go:build unix

package signer

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockFile keeps other signers off the journal until f is closed or the process
// ends, however it ends.
func lockFile(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errors.New("another signer holds it: one journal is for one signer")
	}
	if err != nil {
		return fmt.Errorf("lock it: %w", err)
	}
	return nil
}

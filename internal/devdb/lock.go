package devdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// takeLock locks the file for as long as the returned file, or a copy of it that a
// child inherited, is open. It tries until wait is over or ctx ends.
func takeLock(ctx context.Context, path string, wait time.Duration) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("a server still runs there (stop the process that started it, or choose another folder): %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// removeWait covers the instant in which a process that is just being started, by
// another goroutine of ours, still has a copy of every file that we have open.
const removeWait = 2 * time.Second

// Remove deletes a stopped database, also what had to lie elsewhere. It refuses
// while a server runs there. A folder that does not exist is no error.
func Remove(dir string) error {
	if err := remove(dir); err != nil {
		return fmt.Errorf("remove database %s: %w", dir, err)
	}
	return nil
}

func remove(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	lock, err := takeLock(context.Background(), filepath.Join(dir, "lock"), removeWait)
	if err != nil {
		return err
	}
	defer lock.Close()
	if to, err := os.Readlink(filepath.Join(dir, "place")); err == nil {
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

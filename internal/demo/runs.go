package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ionet-settlement/ionet/internal/devdb"
)

// newRun makes a folder for one run under root and holds its lock until unlock.
// Folders of runs that have ended are removed; those of demos that run beside
// this one are locked and stay.
func newRun(root string) (dir string, unlock func(), err error) {
	root, err = filepath.Abs(root)
	if err != nil {
		return "", nil, fmt.Errorf("find %s: %w", root, err)
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", nil, fmt.Errorf("make %s: %w", root, err)
	}
	if err := removeEnded(root); err != nil {
		return "", nil, err
	}
	for range 5 {
		if dir, err = os.MkdirTemp(root, "run-"); err != nil {
			return "", nil, fmt.Errorf("make state folder: %w", err)
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			return "", nil, fmt.Errorf("open state folder to the database's user: %w", err)
		}
		// Another demo that cleans up may hold the new lock for a moment.
		if lock, ok := tryLock(lockOf(dir)); ok {
			return dir, func() { lock.Close() }, nil
		}
	}
	return "", nil, fmt.Errorf("lock a state folder in %s", root)
}

// lockOf is the lock beside a run's folder: it must outlive the folder's
// removal by another demo that looks at the same time.
func lockOf(dir string) string { return dir + ".lock" }

func tryLock(path string) (*os.File, bool) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, false
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, false
	}
	return f, true
}

func removeEnded(root string) error {
	runs, err := filepath.Glob(filepath.Join(root, "run-*.lock"))
	if err != nil {
		return fmt.Errorf("list earlier runs: %w", err)
	}
	for _, path := range runs {
		lock, ok := tryLock(path)
		if !ok {
			continue
		}
		dir := strings.TrimSuffix(path, ".lock")
		err := devdb.Remove(filepath.Join(dir, "postgres"))
		if err == nil {
			err = os.RemoveAll(dir)
		}
		if err == nil {
			err = os.Remove(path)
		}
		lock.Close()
		if err != nil {
			return fmt.Errorf("remove the state of an earlier run: %w", err)
		}
	}
	return nil
}

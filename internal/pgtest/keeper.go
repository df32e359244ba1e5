package pgtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/ionet-settlement/ionet/internal/devdb"
)

// The keeper is a copy of a test program that does nothing but own the server. It
// must outlive the test that started it, which a goroutine can't, and it must be a
// process that we have at hand: hence a copy of ourselves, told by these variables.
const (
	keeperEnv = "IONET_PGTEST_KEEPER"
	lingerEnv = "IONET_PGTEST_LINGER"
)

// init turns a process that startKeeper started into the keeper. It is the one place
// that comes before the test program's own main.
func init() {
	base := os.Getenv(keeperEnv)
	if base == "" {
		return
	}
	if err := keep(base, os.Getenv(lingerEnv)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// keep runs a server until it has been without users for the linger time. If the
// keeper is killed, devdb's watcher stops the server.
func keep(base, lingerText string) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	linger, err := time.ParseDuration(lingerText)
	if err != nil {
		return fmt.Errorf("read %s: %w", lingerEnv, err)
	}
	dir, err := newDataDir(base)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cleanUp(base, dir)) }()
	if err := publish(filepath.Join(base, "keeper"), self(dir)); err != nil {
		return err
	}
	db, err := devdb.Start(ctx, devdb.Config{
		Dir:     dir,
		NoFsync: true,
		Settings: map[string]string{
			"max_connections": "400",
			"max_wal_size":    "96MB", // it may lie in memory
			"min_wal_size":    "32MB",
			"autovacuum":      "off", // no database lives long enough
			"jit":             "off",
		},
	})
	if err != nil {
		return err
	}
	if err := publish(filepath.Join(base, "url"), db.URLOf("postgres")); err != nil {
		return err
	}
	// lease is nil if we stop for another reason than being unused: then our users
	// see their server go, and the next to attach starts another.
	lease := waitUnused(ctx, filepath.Join(base, "lease"), linger, db.Done())
	if lease != nil {
		defer lease.Close()
	}
	return shutDown(base, db)
}

// waitUnused returns the lease, held alone, once nobody else has held it for linger;
// or nil when ctx or the server ends. Each try takes the lock for an instant only,
// which at worst delays a process that just attaches by lockPoll.
func waitUnused(ctx context.Context, path string, linger time.Duration, ended <-chan struct{}) *os.File {
	const each = 200 * time.Millisecond
	var unused time.Duration
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ended:
			return nil
		case <-time.After(each):
		}
		lease, err := tryLockFile(path, exclusive)
		if err != nil {
			return nil // the folder is gone, and with it all who could use us
		}
		if lease == nil {
			unused = 0
			continue
		}
		if unused += each; unused >= linger {
			return lease
		}
		lease.Close()
	}
}

// shutDown ends the server, after taking back its address, so that nobody is sent to
// a server that is going.
func shutDown(base string, db *devdb.DB) error {
	retract(filepath.Join(base, "url"), db.URLOf("postgres"))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return db.Stop(ctx)
}

// cleanUp removes what is ours. If our server ended by itself, a newer keeper may be
// at work already: then its files are there in place of ours.
func cleanUp(base, dir string) error {
	if err := devdb.Remove(dir); err != nil {
		return err
	}
	if root := filepath.Dir(dir); root != base {
		os.Remove(root) // refused while a newer keeper has data there
	}
	retract(filepath.Join(base, "keeper"), self(dir))
	return nil
}

// self is what the file keeper says.
func self(dir string) string { return fmt.Sprintf("%d\n%s\n", os.Getpid(), dir) }

// publish writes the file in one step.
func publish(path, content string) error {
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// retract removes a file that we published, unless it is somebody else's by now.
func retract(path, content string) {
	if b, err := os.ReadFile(path); err == nil && string(b) == content {
		os.Remove(path)
	}
}

// newDataDir makes the folder of a new server's data, in memory if there is room,
// and removes what keepers that were killed left. Remove refuses a folder whose
// server still runs: the next keeper gets it.
func newDataDir(base string) (string, error) {
	root := base
	if m := memoryRoot(base); m != "" && makePrivate(m) == nil {
		root = m
	}
	for _, r := range []string{base, root} {
		old, err := filepath.Glob(filepath.Join(r, "db-*"))
		if err != nil {
			return "", err
		}
		for _, dir := range old {
			if err := devdb.Remove(dir); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
	}
	dir, err := os.MkdirTemp(root, "db-")
	if errors.Is(err, os.ErrNotExist) && root != base {
		// The keeper before us has just removed it, see cleanUp.
		if err := makePrivate(root); err != nil {
			return "", err
		}
		dir, err = os.MkdirTemp(root, "db-")
	}
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o711) // see makePrivate
}

// nameOf is the farm's name among those of all users and checkouts.
func nameOf(base string) string {
	sum := sha256.Sum256([]byte(base))
	return fmt.Sprintf("ionet-pgtest-%d-%s", os.Getuid(), hex.EncodeToString(sum[:6]))
}

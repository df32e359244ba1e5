package pgtest

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
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
func keep(base, lingerText string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	linger, err := time.ParseDuration(lingerText)
	if err != nil {
		return fmt.Errorf("read %s: %w", lingerEnv, err)
	}
	if err := publish(filepath.Join(base, "keeper"), strconv.Itoa(os.Getpid())); err != nil {
		return err
	}
	sweep(base)
	dir, err := os.MkdirTemp(base, "db-")
	if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o711); err != nil { // see farm.makeBase
		return err
	}
	db, err := devdb.Start(ctx, devdb.Config{
		Dir:     dir,
		NoFsync: true,
		Settings: map[string]string{
			"max_connections": "400",
			"autovacuum":      "off", // its locks would make timings differ
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
	return shutDown(base, dir, db)
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

func shutDown(base, dir string, db *devdb.DB) error {
	// First, so that nobody is sent to a server that is going. If the address is not
	// ours any more, a newer keeper's is there.
	url := filepath.Join(base, "url")
	if b, err := os.ReadFile(url); err == nil && string(b) == db.URLOf("postgres") {
		os.Remove(url)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := db.Stop(ctx); err != nil {
		return err
	}
	return devdb.Remove(dir)
}

// publish writes the file in one step.
func publish(path, content string) error {
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// sweep removes what keepers that were killed left. Remove refuses a folder whose
// server still runs: the next sweep gets it.
func sweep(base string) {
	old, _ := filepath.Glob(filepath.Join(base, "db-*"))
	for _, dir := range old {
		if err := devdb.Remove(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}

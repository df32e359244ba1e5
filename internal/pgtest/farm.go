package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A farm is the folder where one server and its users meet:
//
//	lease      every process that uses the server holds this lock shared for its
//	           whole life; the keeper stops the server only while it holds it alone
//	starting   held by the process that is just starting a keeper
//	template   held by the process that is just making a template
//	url        address of the running server, written when it is ready
//	db-*       the server's data, a new folder for each server; or in memory,
//	           see memoryRoot
//	keeper     the keeper's process id and the folder of the data
//	keeper.log what the keeper and its server's start printed
//
// The kernel drops locks when a process dies, however it dies, so there is nothing
// to time out and nothing to clean up. The lock files are never removed: two
// processes could then each hold "the" lock.
type farm struct {
	base   string
	linger time.Duration // how long the server stays after its last user
}

const (
	defaultLinger = 30 * time.Second
	// attachWait covers a first run, which downloads the server.
	attachWait = 5 * time.Minute
	lockPoll   = 10 * time.Millisecond
)

// defaultBase is per user: a server that ran as another user could not be trusted,
// nor stopped.
func defaultBase() string {
	return filepath.Join(os.TempDir(), "ionet-pgtest-"+strconv.Itoa(os.Getuid()))
}

// attach returns the farm's server, starting it if there is none, and holds a lease
// on it for the rest of this process's life.
func (f farm) attach(ctx context.Context) (*server, error) {
	ctx, cancel := context.WithTimeout(ctx, attachWait)
	defer cancel()
	if err := makePrivate(f.base); err != nil {
		return nil, err
	}
	lease, err := lockFile(ctx, f.path("lease"), inCommon)
	if err != nil {
		return nil, err
	}
	url, err := f.findOrStart(ctx)
	if err != nil {
		lease.Close()
		return nil, err
	}
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = 2
	admin, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), cfg)
	if err != nil {
		return nil, err
	}
	return &server{base: url, farm: f, admin: admin, lease: lease}, nil
}

// findOrStart returns the address of the running server, or of a new one. We hold
// the lease, so a server that answers now is not stopped before we end.
func (f farm) findOrStart(ctx context.Context) (string, error) {
	if url := f.running(ctx); url != "" {
		return url, nil
	}
	starting, err := lockFile(ctx, f.path("starting"), exclusive)
	if err != nil {
		return "", err
	}
	defer starting.Close()
	if url := f.running(ctx); url != "" {
		return url, nil // another process started it while we waited
	}
	return f.startKeeper(ctx)
}

// running returns the address in the url file if a server answers there. One that
// says that it has too many clients does answer.
func (f farm) running(ctx context.Context) string {
	b, err := os.ReadFile(f.path("url"))
	if err != nil {
		return ""
	}
	url := strings.TrimSpace(string(b))
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgconn.Connect(ctx, url)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "53300" {
		return url
	}
	if err != nil {
		return ""
	}
	conn.Close(ctx)
	return url
}

// startKeeper starts this same program as the keeper and waits for its server.
func (f farm) startKeeper(ctx context.Context) (string, error) {
	if err := os.Remove(f.path("url")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	out, err := os.OpenFile(f.path("keeper.log"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", err
	}
	defer out.Close()
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), keeperEnv+"="+f.base, lingerEnv+"="+f.linger.String())
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = out, out // never ours: go test would wait for them
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		if url, err := os.ReadFile(f.path("url")); err == nil {
			return strings.TrimSpace(string(url)), nil
		}
		select {
		case err := <-ended:
			said, _ := os.ReadFile(out.Name())
			return "", fmt.Errorf("the server's keeper ended (%v); it said:\n%s", err, said)
		case <-ctx.Done():
			return "", fmt.Errorf("wait for the server: %w", ctx.Err())
		case <-time.After(lockPoll):
		}
	}
}

// makePrivate makes a folder of ours, and refuses one that somebody else made there
// where everybody may. 0711 as the server may run as another user.
func makePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	st, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok || !st.IsDir() || int(sys.Uid) != os.Getuid() || st.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("folder %s is not ours alone (remove it, or set TMPDIR to a private folder)", dir)
	}
	return nil
}

func (f farm) path(name string) string { return filepath.Join(f.base, name) }

// Kinds of lock.
const (
	inCommon  = syscall.LOCK_SH
	exclusive = syscall.LOCK_EX
)

// lockFile waits for a lock on the file, until ctx ends. Closing the file drops it.
func lockFile(ctx context.Context, path string, kind int) (*os.File, error) {
	for {
		file, err := tryLockFile(path, kind)
		if file != nil || err != nil {
			return file, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock %s: %w", path, ctx.Err())
		case <-time.After(lockPoll):
		}
	}
}

// tryLockFile returns nil without an error when another process has the lock.
func tryLockFile(path string, kind int) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	switch err := syscall.Flock(int(file.Fd()), kind|syscall.LOCK_NB); {
	case err == nil:
		return file, nil
	case errors.Is(err, syscall.EWOULDBLOCK), errors.Is(err, syscall.EINTR):
		return nil, file.Close()
	default:
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
}

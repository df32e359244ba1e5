package devdb

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// watchdog starts the server ("$@") and, beside it, a watcher that shuts it down
// when the last write end of the pipe on fd 3 closes. The server replaces the shell,
// so $$ is the server's pid; the watcher is forked twice, so that the server does not
// find a child that it does not know. fd 4 is the lock: the server and all that it
// forks keep it, the watcher does not. SIGINT is PostgreSQL's fast shutdown.
const watchdog = `
( ( trap '' HUP INT TERM; cat <&3 >/dev/null; kill -INT $$ ) 4<&- >/dev/null 2>&1 & )
exec "$@" 3<&- </dev/null
`

const (
	readyPoll = 5 * time.Millisecond
	quitWait  = 5 * time.Second
)

// server is a running postmaster.
type server struct {
	cmd  *exec.Cmd
	pipe *os.File // write end; closing it shuts the server down
	done chan struct{}
	once sync.Once
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// stop shuts the server down; see DB.Stop.
func (s *server) stop(ctx context.Context) error {
	s.once.Do(func() { s.pipe.Close() })
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	// SIGQUIT is the immediate shutdown: no checkpoint, recovery at the next start.
	if err := s.cmd.Process.Signal(syscall.SIGQUIT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("quit at once: %w", err)
	}
	select {
	case <-s.done:
	case <-time.After(quitWait):
	}
	return fmt.Errorf("orderly shutdown: %w", ctx.Err())
}

// launch is what it takes to start a postmaster.
type launch struct {
	bin, data, logFile string
	as                 identity
	lock               *os.File
	settings           map[string]string
}

// start starts the server and waits until it accepts connections. With port 0 it
// tries a few free ports, as another process can take one before the server does.
func (l launch) start(ctx context.Context, port int) (*server, int, error) {
	if port != 0 {
		s, err := l.startOn(ctx, port)
		return s, port, err
	}
	for try := 1; ; try++ {
		port, err := freePort()
		if err != nil {
			return nil, 0, err
		}
		s, err := l.startOn(ctx, port)
		if err == nil || try == 5 || !errors.Is(err, errPortTaken) {
			return s, port, err
		}
	}
}

var errPortTaken = errors.New("port is taken")

func (l launch) startOn(ctx context.Context, port int) (*server, error) {
	out, err := os.OpenFile(l.logFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	before, err := out.Stat()
	if err != nil {
		return nil, err
	}
	s, err := l.spawn(port, out)
	if err != nil {
		return nil, err
	}
	if err := s.ready(ctx, filepath.Join(l.data, "postmaster.pid")); err != nil {
		s.stop(context.WithoutCancel(ctx))
		said := since(l.logFile, before.Size())
		if strings.Contains(said, "could not bind") {
			return nil, fmt.Errorf("listen on 127.0.0.1:%d: %w", port, errPortTaken)
		}
		return nil, fmt.Errorf("%w; it said:\n%s", err, said)
	}
	return s, nil
}

// spawn starts the shell that becomes the server.
func (l launch) spawn(port int, out *os.File) (*server, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	args := []string{"-c", watchdog, "sh", filepath.Join(l.bin, "postgres"), "-D", l.data, "-p", strconv.Itoa(port)}
	for k, v := range l.settings {
		args = append(args, "-c", k+"="+v)
	}
	cmd := l.as.command(context.Background(), "/bin/sh", args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.ExtraFiles = []*os.File{r, l.lock}
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	s := &server{cmd: cmd, pipe: w, done: make(chan struct{})}
	go func() {
		cmd.Wait()
		s.once.Do(func() { s.pipe.Close() }) // ends the watcher of a server that ended by itself
		close(s.done)
	}()
	return s, nil
}

// ready waits until the server says so in the eighth line of its pid file.
func (s *server) ready(ctx context.Context, pidFile string) error {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return errors.New("postgres ended at its start")
		case <-ctx.Done():
			return fmt.Errorf("wait for postgres: %w", ctx.Err())
		case <-tick.C:
			if isReady(pidFile, s.pid()) {
				return nil
			}
		}
	}
}

func isReady(pidFile string, pid int) bool {
	b, err := os.ReadFile(pidFile)
	if err != nil {
		return false
	}
	lines := strings.Split(string(b), "\n")
	return len(lines) >= 8 && lines[0] == strconv.Itoa(pid) && strings.TrimSpace(lines[7]) == "ready"
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// since returns the end of what a file holds after an offset.
func since(path string, offset int64) string {
	const most = 4000
	b, err := os.ReadFile(path)
	if err != nil || int64(len(b)) < offset {
		return "(nothing)"
	}
	b = b[offset:]
	if len(b) > most {
		b = b[len(b)-most:]
	}
	return strings.TrimSpace(string(b))
}

// environ is the environment of the server's programs: PATH for the shell, and none
// of the PG* variables that would change what they do.
func environ() []string {
	env := slices.DeleteFunc(os.Environ(), func(e string) bool {
		return strings.HasPrefix(e, "PG") || strings.HasPrefix(e, "LC_") || strings.HasPrefix(e, "LANG") || strings.HasPrefix(e, "TZ=")
	})
	return append(env, "LC_ALL=C", "TZ=UTC")
}

// makeCluster runs initdb in a folder beside place/data and renames it: a folder
// called data is complete. What a killed initdb left is removed.
func makeCluster(ctx context.Context, bin, place, password string, as identity, noSync bool) error {
	data := filepath.Join(place, "data")
	switch v, err := os.ReadFile(filepath.Join(data, "PG_VERSION")); {
	case err == nil && strings.TrimSpace(string(v)) != majorVersion:
		return fmt.Errorf("%s is of PostgreSQL %s, need %s (remove the folder: a development database can be made anew)", data, strings.TrimSpace(string(v)), majorVersion)
	case err == nil:
		return nil
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	fresh := data + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	if err := as.mkdir(fresh); err != nil {
		return err
	}
	if err := initdb(ctx, bin, fresh, password, as, noSync); err != nil {
		return err
	}
	return os.Rename(fresh, data)
}

func initdb(ctx context.Context, bin, data, password string, as identity, noSync bool) error {
	pwFile := data + ".password"
	if err := as.writeFile(pwFile, password+"\n"); err != nil {
		return err
	}
	defer os.Remove(pwFile)
	args := []string{"-D", data, "-U", role, "--pwfile", pwFile, "--no-instructions",
		"-A", "scram-sha-256",
		// The password is 24 random bytes: stretching it only makes connections slow.
		"-c", "scram_iterations=1",
		// The same collation on every machine.
		"--no-locale", "-E", "UTF8"}
	if noSync {
		args = append(args, "--no-sync")
	}
	cmd := as.command(ctx, filepath.Join(bin, "initdb"), args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run initdb: %w; it said:\n%s", err, lastLines(out.String(), 12))
	}
	return nil
}

func lastLines(s string, n int) string {
	var lines []string
	for sc := bufio.NewScanner(strings.NewReader(s)); sc.Scan(); {
		lines = append(lines, sc.Text())
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

package pgtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// userEnv makes this test program a process that attaches to the farm named, prints
// the server's address and goes when its standard input ends.
const userEnv = "IONET_PGTEST_TEST_USER"

func TestMain(m *testing.M) {
	if base := os.Getenv(userEnv); base != "" {
		srv, err := farm{base: base, linger: time.Second}.attach(context.Background())
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(srv.base)
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// user is such a process.
type user struct {
	cmd *exec.Cmd
	in  io.Closer
	out *bufio.Reader
}

func startUser(t *testing.T, base string) *user {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	u := &user{cmd: exec.Command(exe)}
	u.cmd.Env = append(os.Environ(), userEnv+"="+base)
	if u.in, err = u.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := u.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	u.out = bufio.NewReader(out)
	if err := u.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.in.Close(); u.cmd.Process.Kill(); u.cmd.Wait() })
	return u
}

// url waits for the address that the process prints.
func (u *user) url(t *testing.T) string {
	t.Helper()
	line, err := u.out.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "postgres://") {
		rest, _ := io.ReadAll(u.out)
		t.Fatalf("the user process said %q, %q, then %v", line, rest, err)
	}
	return strings.TrimSpace(line)
}

func (u *user) kill() {
	u.cmd.Process.Kill()
	u.cmd.Wait()
}

func (u *user) leave() {
	u.in.Close()
	u.cmd.Wait()
}

func testBase(t *testing.T) string { return filepath.Join(t.TempDir(), "farm") }

// Packages start their tests at once, some are killed, and yet there is one server;
// it stays for its last user, and nothing stays after that.
func TestOneServerForAllProcesses(t *testing.T) {
	t.Parallel()
	base := testBase(t)
	users := []*user{startUser(t, base), startUser(t, base), startUser(t, base), startUser(t, base)}
	url := users[0].url(t)
	for _, u := range users[1:] {
		if got := u.url(t); got != url {
			t.Errorf("two servers: %s and %s", got, url)
		}
	}
	users[0].kill()
	users[1].kill()
	users[2].leave()
	late := startUser(t, base)
	if got := late.url(t); got != url {
		t.Errorf("a late process got %s, want %s", got, url)
	}
	users[3].leave()
	if !answers(t, base) {
		t.Error("the server left while a process used it")
	}
	late.kill()
	waitEmpty(t, base)
}

// Whatever is killed, the next process has a server that works.
func TestServerAfterKill(t *testing.T) {
	for _, victim := range []string{"server", "keeper"} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			base := testBase(t)
			first := startUser(t, base)
			old := first.url(t)
			pid, dir := keeperOf(t, base)
			if victim == "server" {
				pid, _ = twoLines(t, filepath.Join(dir, "data", "postmaster.pid"))
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			for answers(t, base) {
				time.Sleep(lockPoll)
			}
			second := startUser(t, base)
			if got := second.url(t); got == old {
				t.Errorf("still the server that was killed, %s", got)
			}
			if !answers(t, base) {
				t.Error("the new server does not answer")
			}
			first.leave()
			second.leave()
			waitEmpty(t, base)
		})
	}
}

// Two checkouts with other migrations share the server, not the template.
func TestTemplatePerMigrations(t *testing.T) {
	srv := serverFor(t)
	one, err := sumOf(os.DirFS(writeStep(t, "SELECT 1")))
	if err != nil {
		t.Fatal(err)
	}
	two, err := sumOf(os.DirFS(writeStep(t, "SELECT 2")))
	if err != nil {
		t.Fatal(err)
	}
	if one == two {
		t.Error("other migrations have the same name")
	}
	NewURL(t)
	if !existsDB(t, srv, srv.template) {
		t.Errorf("template %s does not exist", srv.template)
	}
}

func writeStep(t *testing.T, sql string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "0001_one.sql"), []byte(sql), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestRefusesSomebodyElsesFolder(t *testing.T) {
	base := testBase(t)
	if err := os.Mkdir(base, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(base, 0o777); err != nil {
		t.Fatal(err)
	}
	_, err := farm{base: base}.attach(t.Context())
	if err == nil || !strings.Contains(err.Error(), "not ours alone") {
		t.Errorf("got %v, want that the folder is not ours alone", err)
	}
}

// The keeper's own words reach the test that waits for it.
func TestKeeperErrorIsTold(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // no node, so no server
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	_, err := farm{base: testBase(t), linger: time.Second}.attach(t.Context())
	if err == nil || !strings.Contains(err.Error(), "install postgres") {
		t.Errorf("got %v, want that postgres can't be installed", err)
	}
}

// keeperOf returns the keeper's process and the folder of its server.
func keeperOf(t *testing.T, base string) (pid int, dir string) {
	t.Helper()
	return twoLines(t, filepath.Join(base, "keeper"))
}

func twoLines(t *testing.T, path string) (pid int, second string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(b), "\n")
	if pid, err = strconv.Atoi(lines[0]); err != nil || len(lines) < 2 {
		t.Fatalf("%s: %q, %v", path, b, err)
	}
	return pid, lines[1]
}

func answers(t *testing.T, base string) bool {
	t.Helper()
	return farm{base: base}.running(t.Context()) != ""
}

// waitEmpty waits until the keeper, its server and all data are gone; the test's own
// time limit is the only deadline.
func waitEmpty(t *testing.T, base string) {
	t.Helper()
	for {
		left := 0
		for _, root := range []string{base, memoryRoot(base)} {
			dbs, err := filepath.Glob(filepath.Join(root, "db-*"))
			if err != nil {
				t.Fatal(err)
			}
			left += len(dbs)
		}
		for _, name := range []string{"url", "keeper"} {
			if _, err := os.Stat(filepath.Join(base, name)); !errors.Is(err, os.ErrNotExist) {
				left++
			}
		}
		if left == 0 {
			return
		}
		time.Sleep(lockPoll)
	}
}

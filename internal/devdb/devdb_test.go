package devdb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// launchTest starts a fast server in dir that ends with the test.
func launchTest(t *testing.T, dir string) *DB {
	t.Helper()
	db, err := Start(t.Context(), Config{Dir: dir, NoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopTest(t, db) })
	return db
}

// testDir is a folder that every user can enter: were it out of reach of the server's
// user, the data would lie elsewhere, which only one test is about.
func testDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "ionet-devdb-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

func stopTest(t *testing.T, db *DB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := db.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func run(t *testing.T, url, sql string, args ...any) {
	t.Helper()
	if _, err := connect(t, url).Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func query[V any](t *testing.T, url, sql string) (v V) {
	t.Helper()
	if err := connect(t, url).QueryRow(t.Context(), sql).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func TestKeepsDataFromStartToStart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(testDir(t), "a folder's \"name\"", "db")
	db, err := Start(t.Context(), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if got := query[string](t, db.URL(), `SHOW fsync`); got != "on" {
		t.Errorf("fsync is %s, want on", got)
	}
	if got := query[string](t, db.URL(), `SHOW synchronous_commit`); got != "on" {
		t.Errorf("synchronous_commit is %s, want on", got)
	}
	run(t, db.URL(), `CREATE TABLE kept (n int)`)
	run(t, db.URL(), `INSERT INTO kept VALUES (42)`)
	stopTest(t, db)
	stopTest(t, db) // a second one does nothing
	if _, err := pgx.Connect(t.Context(), db.URL()); err == nil {
		t.Error("the server answers after Stop")
	}

	db = launchTest(t, dir)
	if got := query[int](t, db.URL(), `SELECT n FROM kept`); got != 42 {
		t.Errorf("got %d, want 42", got)
	}
	if err := Remove(dir); err == nil {
		t.Error("Remove took the folder of a running server")
	}
}

func TestRecoversFromKill(t *testing.T) {
	t.Parallel()
	dir := testDir(t)
	db := launchTest(t, dir)
	run(t, db.URL(), `CREATE TABLE kept (n int)`)
	if err := syscall.Kill(db.server.pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-db.Done()
	stopTest(t, db)
	db = launchTest(t, dir)
	if got := query[int](t, db.URL(), `SELECT count(*) FROM kept`); got != 0 {
		t.Errorf("got %d rows, want none", got)
	}
}

func TestStopAtOnceWhenContextEnds(t *testing.T) {
	t.Parallel()
	dir := testDir(t)
	db := launchTest(t, dir)
	run(t, db.URL(), `CREATE TABLE kept (n int)`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Stop(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
	<-db.Done()
	db = launchTest(t, dir)
	if got := query[int](t, db.URL(), `SELECT count(*) FROM kept`); got != 0 {
		t.Errorf("got %d rows, want none", got)
	}
}

func TestRefusesStrangers(t *testing.T) {
	t.Parallel()
	dir := testDir(t)
	db := launchTest(t, dir)

	_, err := pgx.Connect(t.Context(), strings.Replace(db.URL(), db.password, "wrong", 1))
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "28P01" {
		t.Errorf("with a wrong password got %v, want SQLSTATE 28P01", err)
	}
	if got := query[string](t, db.URL(), `SHOW listen_addresses`); got != "127.0.0.1" {
		t.Errorf("listens on %s, want 127.0.0.1", got)
	}
	for _, name := range []string{"password", "log"} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", name, st.Mode().Perm())
		}
	}

	// The folder is taken as long as the server runs, in this process or another.
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Start(ctx, Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "still runs") {
		t.Errorf("a second Start got %v, want that a server still runs", err)
	}
	if got := query[int](t, db.URL(), `SELECT 1`); got != 1 {
		t.Error("the first server is gone")
	}
}

func TestSnapshotAndBack(t *testing.T) {
	t.Parallel()
	db := launchTest(t, testDir(t))
	pool, err := pgxpool.New(t.Context(), db.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	run(t, db.URL(), `CREATE TABLE counter AS SELECT 1 AS n`)

	// A pool that is in use throughout, as a running service's is.
	busy, stop := context.WithCancel(t.Context())
	idle := make(chan struct{})
	go func() {
		defer close(idle)
		for busy.Err() == nil {
			pool.Exec(busy, `SELECT n FROM counter`)
		}
	}()
	if err := db.Snapshot(t.Context(), "ionet", `an "odd" name`); err != nil {
		t.Fatal(err)
	}
	run(t, db.URL(), `UPDATE counter SET n = 2`)
	if err := db.Snapshot(t.Context(), `an "odd" name`, "ionet"); err != nil {
		t.Fatal(err)
	}
	if got := query[int](t, db.URL(), `SELECT n FROM counter`); got != 1 {
		t.Errorf("after going back n is %d, want 1", got)
	}
	stop()
	<-idle

	// Twice to the same name replaces it.
	run(t, db.URL(), `UPDATE counter SET n = 3`)
	for range 2 {
		if err := db.Snapshot(t.Context(), "ionet", "copy"); err != nil {
			t.Fatal(err)
		}
	}
	if got := query[int](t, db.URLOf("copy"), `SELECT n FROM counter`); got != 3 {
		t.Errorf("in the copy n is %d, want 3", got)
	}
	if err := db.Snapshot(t.Context(), "copy", "copy"); err == nil {
		t.Error("a copy onto itself was accepted")
	}
	if err := db.Snapshot(t.Context(), "no such", "copy"); err == nil {
		t.Error("a copy of a missing database was accepted")
	}
}

func TestStartErrors(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() }) // after the subtests, which are parallel
	port := taken.Addr().(*net.TCPAddr).Port

	for _, c := range []struct {
		name    string
		cfg     Config
		prepare func(dir string) error
		want    string
	}{
		{"no folder", Config{Dir: ""}, nil, "Dir is empty"},
		{"port taken", Config{Port: port}, nil, strconv.Itoa(port) + ": port is taken"},
		{"bad setting", Config{Settings: map[string]string{"no_such": "1"}}, nil, `unrecognized configuration parameter "no_such"`},
		{"other version", Config{}, func(dir string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, "data"), 0o700),
				os.WriteFile(filepath.Join(dir, "password"), []byte("x\n"), 0o600),
				os.WriteFile(filepath.Join(dir, "data", "PG_VERSION"), []byte("15\n"), 0o600))
		}, "of PostgreSQL 15, need 18"},
		{"lost password", Config{}, func(dir string) error {
			return os.Mkdir(filepath.Join(dir, "data"), 0o700)
		}, "the cluster exists but"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.cfg.NoFsync = true
			if c.prepare != nil || c.name != "no folder" {
				c.cfg.Dir = testDir(t)
			}
			if c.prepare != nil {
				if err := c.prepare(c.cfg.Dir); err != nil {
					t.Fatal(err)
				}
			}
			db, err := Start(t.Context(), c.cfg)
			if err == nil {
				stopTest(t, db)
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want it to say %q", err, c.want)
			}
			// Nothing holds the folder after a failed start.
			if c.cfg.Dir != "" {
				if err := Remove(c.cfg.Dir); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestRemovesWhatAKilledInitdbLeft(t *testing.T) {
	t.Parallel()
	dir := testDir(t)
	if err := os.MkdirAll(filepath.Join(dir, "data.new", "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	db := launchTest(t, dir)
	if got := query[int](t, db.URL(), `SELECT 1`); got != 1 {
		t.Error("no answer")
	}
	for _, left := range []string{"data.new", "data.new.password"} {
		if _, err := os.Stat(filepath.Join(dir, left)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there (%v)", left, err)
		}
	}
}

func TestRemoveNothing(t *testing.T) {
	if err := Remove(filepath.Join(t.TempDir(), "none")); err != nil {
		t.Error(err)
	}
}

// waitGone waits until nothing listens at the port; the test's own time limit is the
// only deadline.
func waitGone(t *testing.T, port int) {
	t.Helper()
	for {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return
		}
		c.Close()
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

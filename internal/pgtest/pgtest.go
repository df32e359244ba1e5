// Package pgtest gives each test a migrated PostgreSQL database of its own.
//
// All test processes of a user share one server (package devdb). The first process
// that needs it starts it, in about two seconds; it ends when no process has used it
// for half a minute, and all its data go with it. Nothing has to be cleaned up after
// a test that was killed.
//
// A database per test rather than a schema per test: a copy of a migrated template
// takes about 30 ms where running the migrations into a schema takes longer with
// each one that is written, a test may look at the catalog, and a test that ends
// all sessions or puts a database back to an earlier copy hurts no other.
//
// The server trades durability for speed (devdb.Config.NoFsync): a test of
// durability starts a devdb of its own.
package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet/internal/devdb"
	"github.com/ionet-settlement/ionet/migrations"
)

// closeWait is how long a pool may take to get its connections back after a test.
const closeWait = 10 * time.Second

// shared is this process's lease on the user's server. It is global because the
// lease must outlive every test that uses it.
var shared struct {
	once sync.Once
	srv  *server
	err  error
}

// New returns a pool on a fresh migrated database. Both go when the test ends; a
// connection that the test did not release by then fails it.
func New(t testing.TB) *pgxpool.Pool {
	t.Helper()
	return Open(t, NewURL(t))
}

// NewURL returns the address of a fresh migrated database, which goes when the test
// ends. The URL holds the password; it is good for this machine and this test only.
func NewURL(t testing.TB) string {
	t.Helper()
	srv := serverFor(t)
	name := srv.newName()
	if err := srv.createFromTemplate(t.Context(), name, migrations.FS()); err != nil {
		t.Fatalf("create a test database: %v", err)
	}
	t.Cleanup(func() { srv.drop(t, name) })
	return srv.urlOf(name)
}

// NewEmptyURL is NewURL without the migrations: for tests of the migrations.
func NewEmptyURL(t testing.TB) string {
	t.Helper()
	srv := serverFor(t)
	name := srv.newName()
	if err := srv.exec(t.Context(), `CREATE DATABASE `+pgx.Identifier{name}.Sanitize()+` TEMPLATE template0`); err != nil {
		t.Fatalf("create an empty test database: %v", err)
	}
	t.Cleanup(func() { srv.drop(t, name) })
	return srv.urlOf(name)
}

// Open returns a pool on the database, which is closed when the test ends.
func Open(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatalf("open %s: %v", url, err)
	}
	t.Cleanup(func() { closePool(t, pool, closeWait) })
	return pool
}

// Copy returns the address of a new database that holds just what the one at url
// holds now. It ends all sessions of that one: call Reset on a pool that you go on
// using. The copy goes when the test ends.
func Copy(t testing.TB, url string) string {
	t.Helper()
	srv := serverFor(t)
	to := srv.newName()
	if err := devdb.Snapshot(t.Context(), srv.urlOf("postgres"), nameIn(t, url), to); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.drop(t, to) })
	return srv.urlOf(to)
}

// Restore puts the database at url back to what the one at from holds now; from is
// usually a Copy that was taken earlier. It ends all sessions of both, as Copy does.
func Restore(t testing.TB, url, from string) {
	t.Helper()
	srv := serverFor(t)
	if err := devdb.Snapshot(t.Context(), srv.urlOf("postgres"), nameIn(t, from), nameIn(t, url)); err != nil {
		t.Fatal(err)
	}
}

// serverFor returns the shared server, starting it if no process has.
func serverFor(t testing.TB) *server {
	t.Helper()
	shared.once.Do(func() {
		f := farm{base: defaultBase(), linger: defaultLinger}
		shared.srv, shared.err = f.attach(context.Background())
	})
	if shared.err != nil {
		t.Fatalf("start the test database server: %v", shared.err)
	}
	return shared.srv
}

func nameIn(t testing.TB, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}

// closePool ends a pool, and reports what would otherwise hang: a connection that
// the test still holds.
func closePool(t testing.TB, pool *pgxpool.Pool, wait time.Duration) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		pool.Close()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(wait):
		t.Errorf("the test did not release %d connections of its pool", pool.Stat().AcquiredConns())
	}
}

// server is a server that this process holds a lease on.
type server struct {
	base  string // address of the database "postgres"
	farm  farm
	admin *pgxpool.Pool
	lease *os.File // kept open for the life of the process

	mu       sync.Mutex
	template string // of migrations.FS(), once it is known to exist
}

func (s *server) newName() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return "t_" + hex.EncodeToString(b[:])
}

func (s *server) urlOf(name string) string {
	u, err := url.Parse(s.base)
	if err != nil {
		panic(fmt.Sprintf("our own URL does not parse: %v", err))
	}
	u.Path = "/" + name
	return u.String()
}

func (s *server) exec(ctx context.Context, sql string) error {
	_, err := s.admin.Exec(ctx, sql)
	return err
}

func (s *server) drop(t testing.TB, name string) {
	err := s.exec(context.Background(), `DROP DATABASE IF EXISTS `+pgx.Identifier{name}.Sanitize()+` WITH (FORCE)`)
	if err != nil {
		t.Errorf("drop test database: %v", err)
	}
}

package pgtest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

func TestNewIsMigratedAndAlone(t *testing.T) {
	var names []string
	t.Run("two at once", func(t *testing.T) {
		for i := range 2 {
			url := NewURL(t)
			pool := Open(t, url)
			names = append(names, nameIn(t, url))
			var version int
			if err := pool.QueryRow(t.Context(), `SELECT max(version_id) FROM goose_db_version`).Scan(&version); err != nil {
				t.Fatal(err)
			}
			if version == 0 {
				t.Error("no step was applied")
			}
			// The same table twice would clash in one database.
			if _, err := pool.Exec(t.Context(), `CREATE TABLE mine AS SELECT $1::int AS n`, i); err != nil {
				t.Fatal(err)
			}
		}
	})
	srv := serverFor(t)
	for _, name := range names {
		if exists := existsDB(t, srv, name); exists {
			t.Errorf("database %s outlived its test", name)
		}
	}
}

func TestNewEmptyURL(t *testing.T) {
	pool := Open(t, NewEmptyURL(t))
	var tables int
	err := pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_tables WHERE schemaname = 'public'`).Scan(&tables)
	if err != nil {
		t.Fatal(err)
	}
	if tables != 0 {
		t.Errorf("it has %d tables, want none", tables)
	}
}

func TestCopyAndRestore(t *testing.T) {
	url := NewURL(t)
	pool := Open(t, url)
	exec := func(sql string) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE TABLE counter AS SELECT 1 AS n`)
	before := Copy(t, url)
	pool.Reset()
	exec(`UPDATE counter SET n = 2`)
	if got := counter(t, Open(t, before)); got != 1 {
		t.Errorf("the copy follows the original: n is %d, want 1", got)
	}
	Restore(t, url, before)
	pool.Reset()
	if got := counter(t, pool); got != 1 {
		t.Errorf("after Restore n is %d, want 1", got)
	}
}

func counter(t *testing.T, pool *pgxpool.Pool) (n int) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), `SELECT n FROM counter`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func existsDB(t *testing.T, srv *server, name string) (exists bool) {
	t.Helper()
	err := srv.admin.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, name).Scan(&exists)
	if err != nil {
		t.Fatal(err)
	}
	return exists
}

// recorder is a test that only remembers its errors.
type recorder struct {
	testing.TB
	said []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func TestHeldConnectionIsReported(t *testing.T) {
	pool, err := pgxpool.New(t.Context(), NewURL(t))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var r recorder
	closePool(&r, pool, 10*time.Millisecond)
	if len(r.said) != 1 || !strings.Contains(r.said[0], "did not release 1 connections") {
		t.Errorf("got %q, want one error that one connection is held", r.said)
	}
	conn.Release()

	r.said = nil
	if pool, err = pgxpool.New(t.Context(), NewURL(t)); err != nil {
		t.Fatal(err)
	}
	if closePool(&r, pool, closeWait); len(r.said) != 0 {
		t.Errorf("got %q for a pool that holds nothing", r.said)
	}
}

func BenchmarkNew(b *testing.B) {
	New(b)
	for b.Loop() {
		New(b)
	}
}

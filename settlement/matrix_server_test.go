package settlement

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet/internal/devdb"
	iwires "github.com/ionet-settlement/ionet/internal/wires"
	"github.com/ionet-settlement/ionet/migrations"
)

// server is a database server of the test's own, which may crash: its commits are
// durable, unlike those of the server that all tests share.
type server struct {
	t    *testing.T
	cfg  devdb.Config
	db   *devdb.DB
	made int // databases
}

func newServer(t *testing.T) *server {
	t.Helper()
	// Not t.TempDir: the server may run as a user who can't get there.
	dir, err := os.MkdirTemp("/var/tmp", "ionet-matrix-")
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &server{t: t, cfg: devdb.Config{Dir: dir}}
	s.start()
	t.Cleanup(func() {
		if err := s.db.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// start starts the server; from the second time on at the same address.
func (s *server) start() {
	s.t.Helper()
	var err error
	if s.db, err = devdb.Start(context.WithoutCancel(s.t.Context()), s.cfg); err != nil {
		s.t.Fatal(err)
	}
	if s.cfg.Port == 0 {
		u, err := pgxpool.ParseConfig(s.db.URL())
		if err != nil {
			s.t.Fatal(err)
		}
		s.cfg.Port = int(u.ConnConfig.Port)
	}
}

// newURL makes a migrated database.
func (s *server) newURL() string {
	s.t.Helper()
	s.made++
	name := fmt.Sprint("network", s.made)
	s.exec(s.db.URL(), func(ctx context.Context, pool *pgxpool.Pool) error {
		_, err := pool.Exec(ctx, `CREATE DATABASE `+name)
		return err
	})
	s.exec(s.db.URLOf(name), migrations.Apply)
	return s.db.URLOf(name)
}

// copy returns the address of a copy of the database at url.
func (s *server) copy(url string) string {
	s.t.Helper()
	s.made++
	to := fmt.Sprint("copy", s.made)
	s.snapshot(s.nameOf(url), to)
	return s.db.URLOf(to)
}

// restore puts the database at url back to a copy.
func (s *server) restore(url, from string) { s.snapshot(s.nameOf(from), s.nameOf(url)) }

func (s *server) snapshot(from, to string) {
	s.t.Helper()
	if err := s.db.Snapshot(s.t.Context(), from, to); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) nameOf(url string) string {
	s.t.Helper()
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		s.t.Fatal(err)
	}
	return cfg.ConnConfig.Database
}

func (s *server) exec(url string, f func(context.Context, *pgxpool.Pool) error) {
	s.t.Helper()
	pool, err := pgxpool.New(s.t.Context(), url)
	if err != nil {
		s.t.Fatal(err)
	}
	defer pool.Close()
	if err := f(s.t.Context(), pool); err != nil {
		s.t.Fatal(err)
	}
}

// crash ends the server at once, without a word to anybody, and starts it again: it
// has what its log has.
func (s *server) crash() {
	s.t.Helper()
	now, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.db.Stop(now); err == nil {
		s.t.Log("the server ended before it could be killed")
	}
	<-s.db.Done()
	s.start()
}

// serverFault crashes the server at a commit: just before it, or at every second step
// just after it has answered.
func serverFault() matrixFault {
	return matrixFault{
		name: "database crashed", durable: true,
		what:  "the database server is killed just before a commit, or at every second step just after its answer, and starts again from its log.",
		meets: func(_ matrixKind, step string) bool { return !strings.HasPrefix(step, "rpc ") },
		at: func(c *cell, n int) iwires.Fault {
			f := iwires.Fault{Outcome: iwires.Pass, Before: func(string) { c.server.crash() }}
			if n%2 == 0 {
				f.Before, f.After = nil, f.Before
			}
			return f
		},
	}
}

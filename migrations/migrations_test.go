package migrations_test

import (
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/migrations"
)

func TestApplyTwice(t *testing.T) {
	pool := pgtest.Open(t, pgtest.NewEmptyURL(t))
	for range 2 {
		if err := migrations.Apply(t.Context(), pool); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := version(t, pool), len(stepNames(t)); got != want {
		t.Errorf("the database is at step %d, want %d", got, want)
	}
}

// Any number of instances start at once on an empty database.
func TestApplyConcurrently(t *testing.T) {
	url := pgtest.NewEmptyURL(t)
	const instances = 6
	errs := make([]error, instances)
	var wg sync.WaitGroup
	for i := range instances {
		pool := pgtest.Open(t, url)
		wg.Go(func() { errs[i] = migrations.Apply(t.Context(), pool) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("instance %d: %v", i, err)
		}
	}
}

func TestApplyRefusesNewerDatabase(t *testing.T) {
	pool := pgtest.New(t)
	if _, err := pool.Exec(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`); err != nil {
		t.Fatal(err)
	}
	err := migrations.Apply(t.Context(), pool)
	if err == nil || !strings.Contains(err.Error(), "it is at step 9999 and this program knows only") {
		t.Errorf("got %v, want that the database is newer", err)
	}
}

// A step that fails leaves nothing of itself; the repaired one goes on from there.
func TestApplyAfterBrokenStep(t *testing.T) {
	pool := pgtest.Open(t, pgtest.NewEmptyURL(t))
	steps := fstest.MapFS{
		"0001_one.sql": {Data: []byte("-- +goose Up\nCREATE TABLE one (n int);\n")},
		"0002_two.sql": {Data: []byte("-- +goose Up\nCREATE TABLE two (n int);\nCREATE TABLE one (n int);\n")},
	}
	if err := migrations.ApplySteps(t.Context(), pool, steps); err == nil {
		t.Fatal("a step that makes a table twice was accepted")
	}
	if got := version(t, pool); got != 1 {
		t.Errorf("after the broken step the database is at %d, want 1", got)
	}
	steps["0002_two.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE two (n int);\n")}
	if err := migrations.ApplySteps(t.Context(), pool, steps); err != nil {
		t.Fatal(err)
	}
	if got := version(t, pool); got != 2 {
		t.Errorf("after the repair the database is at %d, want 2", got)
	}
}

// A step below one that was applied already would run in another order than on a
// new database.
func TestApplyRefusesLateStep(t *testing.T) {
	pool := pgtest.Open(t, pgtest.NewEmptyURL(t))
	steps := fstest.MapFS{"0002_two.sql": {Data: []byte("-- +goose Up\nCREATE TABLE two (n int);\n")}}
	if err := migrations.ApplySteps(t.Context(), pool, steps); err != nil {
		t.Fatal(err)
	}
	steps["0001_one.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE one (n int);\n")}
	if err := migrations.ApplySteps(t.Context(), pool, steps); err == nil {
		t.Error("a step that came late was applied")
	}
}

// forbidden is what distributed engines that speak Postgres's protocol lack or do
// slowly.
var forbidden = regexp.MustCompile(`(?i)\b(advisory|trigger|sequence|(small|big)?serial|plpgsql|deferrable|temp|temporary|identity)\b`)

func TestSteps(t *testing.T) {
	for i, name := range stepNames(t) {
		if !regexp.MustCompile(`^[0-9]{4}_[a-z0-9_]+\.sql$`).MatchString(name) {
			t.Errorf("%s is not named NNNN_name.sql", name)
		}
		if want := fmt.Sprintf("%04d_", i+1); !strings.HasPrefix(name, want) {
			t.Errorf("%s is out of order, want %s", name, want)
		}
		b, err := fs.ReadFile(migrations.FS(), name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(b), "-- +goose Up\n") {
			t.Errorf("%s does not begin with `-- +goose Up`", name)
		}
		for n, line := range strings.Split(string(b), "\n") {
			sql, comment, _ := strings.Cut(line, "--")
			if found := forbidden.FindString(sql); found != "" {
				t.Errorf("%s:%d uses %q", name, n+1, found)
			}
			if strings.Contains(comment, "goose Down") || strings.Contains(comment, "NO TRANSACTION") {
				t.Errorf("%s:%d: steps go forward only, each in a transaction", name, n+1)
			}
		}
	}
}

func stepNames(t *testing.T) []string {
	t.Helper()
	names, err := fs.Glob(migrations.FS(), "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		t.Fatal("no steps are embedded")
	}
	return names
}

func version(t *testing.T, pool *pgxpool.Pool) (v int) {
	t.Helper()
	err := pool.QueryRow(t.Context(), `SELECT max(version_id) FROM `+migrations.VersionTable).Scan(&v)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Package migrations holds the database schema as forward-only steps and applies
// them. A step is a file NNNN_name.sql whose first line is `-- +goose Up`; it runs in
// one transaction and is never changed once it is released. schema.sql is what all
// of them make together, printed by internal/schemadump; a test keeps it true.
//
// Apply may run in any number of processes at once: they take turns by a row of the
// table goose_lock, whose lease a dead holder loses after leaseTime. There are no
// advisory locks, which not every Postgres-compatible engine has.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed [0-9]*.sql
var files embed.FS

// FS holds the steps, NNNN_name.sql at its root.
func FS() fs.FS { return files }

// Bookkeeping tables of Apply itself; they are no part of the product's schema.
const (
	VersionTable = "goose_db_version"
	LockTable    = "goose_lock"
)

// leaseTime is how long a holder that died mid-way keeps the others waiting; a live
// one renews its lease each renewTime. A waiter gives up after waitTimes tries.
const (
	leaseTime = 30 * time.Second
	renewTime = 5 * time.Second
	tryEach   = 250 * time.Millisecond
	waitTries = 480
)

// Apply brings the database that pool is connected to up to the newest step. An
// up-to-date database is left as it is; one that is newer than this program is
// refused, because an older program does not know what the newer columns mean.
func Apply(ctx context.Context, pool *pgxpool.Pool) error {
	if err := apply(ctx, pool, files); err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	return nil
}

func apply(ctx context.Context, pool *pgxpool.Pool, steps fs.FS) error {
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	p, err := provider(db, steps)
	if err != nil {
		return err
	}
	if err := up(ctx, p); err != nil {
		return err
	}
	return checkNotNewer(ctx, p)
}

// up runs the steps. Of two processes that find an empty database at once, one may
// lose the race to create the lock table; the second try finds it made.
func up(ctx context.Context, p *goose.Provider) error {
	const tries = 5
	for try := 1; ; try++ {
		_, err := p.Up(ctx)
		if err == nil || try == tries || !lostCreateRace(err) {
			return err
		}
	}
}

// lostCreateRace recognizes what PostgreSQL answers to the slower of two CREATE
// TABLE IF NOT EXISTS: a duplicate in a catalog, or a duplicate table.
func lostCreateRace(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	return pg.Code == "42P07" || (pg.Code == "23505" && pg.SchemaName == "pg_catalog")
}

func checkNotNewer(ctx context.Context, p *goose.Provider) error {
	at, known, err := p.GetVersions(ctx)
	if err != nil {
		return err
	}
	if at > known {
		return fmt.Errorf("it is at step %d and this program knows only %d (run the newer program)", at, known)
	}
	return nil
}

func provider(db *sql.DB, steps fs.FS) (*goose.Provider, error) {
	locker, err := lock.NewPostgresTableLocker(
		lock.WithTableName(LockTable),
		lock.WithTableLeaseDuration(leaseTime),
		lock.WithTableHeartbeatInterval(renewTime),
		lock.WithTableLockTimeout(tryEach, waitTries),
		lock.WithTableLogger(slog.New(slog.DiscardHandler)),
	)
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, db, steps,
		goose.WithTableName(VersionTable),
		goose.WithLocker(locker),
		goose.WithDisableGlobalRegistry(true))
}

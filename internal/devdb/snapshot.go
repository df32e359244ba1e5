package devdb

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Snapshot makes the database to an exact copy of the database from, replacing what
// to held. So Snapshot(ctx, "ionet", "before") takes a copy and Snapshot(ctx,
// "before", "ionet") puts it back. It ends the sessions of both: a pool that goes on
// being used needs its Reset called, or it tells of each ended session once.
func (d *DB) Snapshot(ctx context.Context, from, to string) error {
	return Snapshot(ctx, d.URLOf("postgres"), from, to)
}

// Snapshot is DB.Snapshot for a server that is known by the address of a third
// database of it, whose role must own both.
func Snapshot(ctx context.Context, url, from, to string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("copy database %s to %s: %w", from, to, err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := snapshot(ctx, conn, from, to); err != nil {
		return fmt.Errorf("copy database %s to %s: %w", from, to, err)
	}
	return nil
}

// snapshot keeps new sessions out of from while it is copied, or a pool that
// reconnects at once would make the copy impossible. A crash in between leaves from
// closed; the next snapshot from it opens it again.
func snapshot(ctx context.Context, conn *pgx.Conn, from, to string) (err error) {
	source, target := pgx.Identifier{from}.Sanitize(), pgx.Identifier{to}.Sanitize()
	if from == to {
		return errors.New("source and target are the same")
	}
	if _, err := conn.Exec(ctx, `DROP DATABASE IF EXISTS `+target+` WITH (FORCE)`); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, `ALTER DATABASE `+source+` WITH ALLOW_CONNECTIONS false`); err != nil {
		return err
	}
	defer func() {
		_, opened := conn.Exec(context.WithoutCancel(ctx), `ALTER DATABASE `+source+` WITH ALLOW_CONNECTIONS true`)
		err = errors.Join(err, opened)
	}()
	const end = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()`
	if _, err := conn.Exec(ctx, end, from); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, `CREATE DATABASE `+target+` TEMPLATE `+source)
	return err
}

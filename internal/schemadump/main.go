// Command schemadump prints the schema that all migrations make together, as SQL that
// would make it again:
//
//	go run ./internal/schemadump > migrations/schema.sql
//
// It reads the catalog of a database of its own, so it needs no pg_dump, and prints
// in one order whatever the order of the migrations was. A test compares its output
// with migrations/schema.sql, so a migration shows in review what it changes.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet/internal/devdb"
	"github.com/ionet-settlement/ionet/migrations"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "schemadump:", err)
		os.Exit(1)
	}
}

// run migrates a new database, prints its schema and removes it.
func run(ctx context.Context, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "ionet-schemadump-")
	if err != nil {
		return err
	}
	db, err := devdb.Start(ctx, devdb.Config{Dir: dir, NoFsync: true})
	if err != nil {
		return err
	}
	defer func() {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if e := db.Stop(stopCtx); err == nil {
			err = e
		}
		if e := devdb.Remove(dir); err == nil {
			err = e
		}
	}()
	pool, err := pgxpool.New(ctx, db.URL())
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := migrations.Apply(ctx, pool); err != nil {
		return err
	}
	schema, err := dump(ctx, pool)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, schema)
	return err
}

package devdb

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestSurvivesRestart(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir() + "/with space"
	t0 := time.Now()
	db, err := Start(ctx, Config{Dir: dir, NoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(time.Since(t0))
	conn, err := pgx.Connect(ctx, db.URL())
	if err != nil {
		t.Fatal(err)
	}
	var v string
	conn.QueryRow(ctx, "select version()").Scan(&v)
	t.Log(v)
	t0 = time.Now()
	if err := db.Snapshot(ctx, "ionet", "b"); err != nil {
		t.Fatal(err)
	}
	t.Log(time.Since(t0))
	t0 = time.Now()
	if err := db.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Log(time.Since(t0))
	t0 = time.Now()
	db, err = Start(ctx, Config{Dir: dir, NoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(time.Since(t0))
	if err := db.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
}

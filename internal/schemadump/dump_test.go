package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet/internal/pgtest"
)

func TestSchemaFileIsUpToDate(t *testing.T) {
	got, err := dump(t.Context(), pgtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../../migrations/schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("migrations/schema.sql is out of date, run `make schema` (-file +migrations):\n%s", diff)
	}
}

// The file makes the schema that it was printed from.
func TestSchemaMakesItself(t *testing.T) {
	want, err := dump(t.Context(), pgtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	pool := pgtest.Open(t, pgtest.NewEmptyURL(t))
	exec(t, pool, want)
	got, err := dump(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the printed SQL makes another schema (-want +got):\n%s", diff)
	}
}

func TestDumpPrintsEveryPart(t *testing.T) {
	pool := pgtest.Open(t, pgtest.NewEmptyURL(t))
	exec(t, pool, `
		CREATE TABLE zebra (
			id bytea PRIMARY KEY,
			gone int,
			"Odd name" text COLLATE "POSIX" NOT NULL DEFAULT 'it''s',
			price numeric(20, 8)[],
			half bigint GENERATED ALWAYS AS (octet_length(id) / 2) STORED,
			seen timestamptz DEFAULT 'epoch',
			CONSTRAINT id_is_short CHECK (octet_length(id) < 10),
			CONSTRAINT odd_is_alone UNIQUE NULLS NOT DISTINCT ("Odd name", half)
		) WITH (fillfactor = 70);
		ALTER TABLE zebra DROP COLUMN gone;
		CREATE TABLE ant (zebra bytea CONSTRAINT ant_rides_zebra REFERENCES zebra (id) ON DELETE CASCADE, n int);
		CREATE INDEX ant_by_n ON ant (n DESC NULLS LAST) INCLUDE (zebra) WHERE n > 3;
		CREATE TABLE herd (n int, turn int CHECK (turn > 0), PRIMARY KEY (n, turn)) PARTITION BY LIST (turn);
		CREATE TABLE herd_2 PARTITION OF herd FOR VALUES IN (2, 4);
		CREATE TABLE herd_1 PARTITION OF herd FOR VALUES IN (1);
		CREATE INDEX herd_by_turn ON herd (turn);
		CREATE UNIQUE INDEX ant_lower ON ant ((abs(n)))`)
	want := header + `
CREATE TABLE ant (
    zebra bytea,
    n integer
);
CREATE INDEX ant_by_n ON ant USING btree (n DESC NULLS LAST) INCLUDE (zebra) WHERE (n > 3);
CREATE UNIQUE INDEX ant_lower ON ant USING btree (abs(n));

CREATE TABLE herd (
    n integer NOT NULL,
    turn integer NOT NULL,
    CONSTRAINT herd_pkey PRIMARY KEY (n, turn),
    CONSTRAINT herd_turn_check CHECK ((turn > 0))
) PARTITION BY LIST (turn);
CREATE TABLE herd_1 PARTITION OF herd FOR VALUES IN (1);
CREATE TABLE herd_2 PARTITION OF herd FOR VALUES IN (2, 4);
CREATE INDEX herd_by_turn ON herd USING btree (turn);

CREATE TABLE zebra (
    id bytea NOT NULL,
    "Odd name" text COLLATE "POSIX" NOT NULL DEFAULT 'it''s'::text,
    price numeric(20,8)[],
    half bigint GENERATED ALWAYS AS ((octet_length(id) / 2)) STORED,
    seen timestamp with time zone DEFAULT '1970-01-01 00:00:00+00'::timestamp with time zone,
    CONSTRAINT zebra_pkey PRIMARY KEY (id),
    CONSTRAINT odd_is_alone UNIQUE NULLS NOT DISTINCT ("Odd name", half),
    CONSTRAINT id_is_short CHECK ((octet_length(id) < 10))
) WITH (fillfactor=70);

ALTER TABLE ant ADD CONSTRAINT ant_rides_zebra FOREIGN KEY (zebra) REFERENCES zebra(id) ON DELETE CASCADE;
`
	got, err := dump(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDumpRefusesWhatItCannotPrint(t *testing.T) {
	for _, c := range []struct{ sql, want string }{
		{`CREATE VIEW v AS SELECT 1 AS n`, "view v"},
		{`CREATE SEQUENCE s`, "sequence s"},
		{`CREATE TABLE t (id serial)`, "sequence t_id_seq"},
		{`CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY)`, "sequence t_id_seq"},
		{`CREATE TYPE mood AS ENUM ('good')`, "type mood"},
		{`CREATE DOMAIN d AS int`, "type d"},
		{`CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'`, "function f"},
		{`CREATE UNLOGGED TABLE u (n int)`, "table u"},
		{`CREATE TABLE p (n int) PARTITION BY RANGE (n); CREATE TABLE q PARTITION OF p DEFAULT PARTITION BY RANGE (n)`, "partition that is partitioned q"},
		{`CREATE TABLE p (n int) PARTITION BY RANGE (n); CREATE TABLE q PARTITION OF p DEFAULT; CREATE INDEX ON q (n)`, "partition of its own kind q"},
		{`CREATE TABLE p (n int) PARTITION BY RANGE (n); CREATE TABLE q PARTITION OF p (CHECK (n > 1)) DEFAULT`, "partition of its own kind q"},
		{`CREATE TABLE p (n int) PARTITION BY RANGE (n); CREATE TABLE q PARTITION OF p DEFAULT WITH (fillfactor = 50)`, "partition of its own kind q"},
		{`CREATE TABLE o (n int); CREATE TABLE i () INHERITS (o)`, "table i"},
		{`CREATE SCHEMA other`, "schema other"},
	} {
		t.Run(c.want, func(t *testing.T) {
			pool := pgtest.Open(t, pgtest.NewEmptyURL(t))
			exec(t, pool, c.sql)
			if _, err := dump(t.Context(), pool); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to name %q", err, c.want)
			}
		})
	}
}

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), header) || !strings.Contains(out.String(), "CREATE TABLE") {
		t.Errorf("it printed:\n%s", out.String())
	}
}

func exec(t *testing.T, pool *pgxpool.Pool, sql string) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet/migrations"
)

const header = `-- The schema that all migrations make together, printed by internal/schemadump from
-- the catalog. Not edited by hand: ` + "`make schema`" + ` prints it anew.
`

// table is what is printed of one table.
type table struct {
	oid         uint32
	name        string // quoted as needed
	with        string // storage parameters
	columns     []string
	constraints []string // all but foreign keys
	parts       []string // of a partitioned table: the SQL that makes its partitions
}

// dump prints tables by name, each with its indexes, then all foreign keys: in that
// order the SQL can be run. It refuses what it could not print in full.
func dump(ctx context.Context, pool *pgxpool.Pool) (string, error) {
	// One snapshot: the parts agree with each other.
	tx, err := pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return "", err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	if err := refuseOthers(ctx, tx); err != nil {
		return "", err
	}
	tables, err := readTables(ctx, tx)
	if err != nil {
		return "", fmt.Errorf("read tables: %w", err)
	}
	var b strings.Builder
	b.WriteString(header)
	for _, t := range tables {
		indexes, err := lines(ctx, tx, indexSQL, t.oid)
		if err != nil {
			return "", fmt.Errorf("read indexes of %s: %w", t.name, err)
		}
		t.print(&b, indexes)
	}
	foreign, err := lines(ctx, tx, foreignKeySQL, bookkeeping())
	if err != nil {
		return "", fmt.Errorf("read foreign keys: %w", err)
	}
	if len(foreign) > 0 {
		b.WriteString("\n")
	}
	for _, f := range foreign {
		b.WriteString(f + ";\n")
	}
	return b.String(), nil
}

// print writes the table and its indexes.
func (t table) print(b *strings.Builder, indexes []string) {
	fmt.Fprintf(b, "\nCREATE TABLE %s (", t.name)
	for i, l := range append(t.columns, t.constraints...) {
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString("\n    " + l)
	}
	b.WriteString("\n)" + t.with + ";\n")
	for _, l := range slices.Concat(t.parts, indexes) {
		b.WriteString(l + ";\n")
	}
}

func readTables(ctx context.Context, tx pgx.Tx) ([]table, error) {
	rows, err := tx.Query(ctx, tableSQL, bookkeeping())
	if err != nil {
		return nil, err
	}
	tables, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t table, err error) {
		return t, row.Scan(&t.oid, &t.name, &t.with)
	})
	if err != nil {
		return nil, err
	}
	for i := range tables {
		t := &tables[i]
		if t.columns, err = lines(ctx, tx, columnSQL, t.oid); err != nil {
			return nil, err
		}
		if t.constraints, err = lines(ctx, tx, constraintSQL, t.oid); err != nil {
			return nil, err
		}
		if t.parts, err = lines(ctx, tx, partSQL, t.oid); err != nil {
			return nil, err
		}
	}
	return tables, nil
}

// bookkeeping are the tables of the migrations' own machinery.
func bookkeeping() []string {
	return []string{migrations.VersionTable, migrations.LockTable}
}

func lines(ctx context.Context, tx pgx.Tx, sql string, args ...any) ([]string, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// refuseOthers fails on every kind of object that dump has no words for, so that
// schema.sql can never be silently incomplete.
func refuseOthers(ctx context.Context, tx pgx.Tx) error {
	others, err := lines(ctx, tx, otherSQL, bookkeeping())
	if err != nil {
		return fmt.Errorf("look for other objects: %w", err)
	}
	if len(others) > 0 {
		return fmt.Errorf("print %s: schemadump knows only plain tables, their partitions, indexes and constraints", strings.Join(others, ", "))
	}
	return nil
}

const tableSQL = `
SELECT c.oid, quote_ident(c.relname),
       coalesce(' PARTITION BY ' || pg_get_partkeydef(c.oid), '') || coalesce(' WITH (' || array_to_string(c.reloptions, ', ') || ')', '')
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> ALL ($1)
ORDER BY c.relname COLLATE "C"`

// A collation is printed where it is not the type's own; NOT NULL belongs to the
// column, though the catalog has it as a constraint too.
const columnSQL = `
SELECT quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod)
    || CASE WHEN a.attcollation NOT IN (0, t.typcollation) THEN ' COLLATE ' || a.attcollation::regcollation ELSE '' END
    || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
    || CASE a.attgenerated
           WHEN 's' THEN ' GENERATED ALWAYS AS (' || pg_get_expr(d.adbin, d.adrelid) || ') STORED'
           WHEN 'v' THEN ' GENERATED ALWAYS AS (' || pg_get_expr(d.adbin, d.adrelid) || ')'
           ELSE coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')
       END
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum`

const constraintSQL = `
SELECT 'CONSTRAINT ' || quote_ident(conname) || ' ' || pg_get_constraintdef(oid)
FROM pg_constraint
WHERE conrelid = $1 AND contype NOT IN ('n', 'f')
ORDER BY array_position('{p,u,x,c}'::"char"[], contype), conname COLLATE "C"`

const partSQL = `
SELECT 'CREATE TABLE ' || quote_ident(c.relname) || ' PARTITION OF ' || quote_ident(o.relname) || ' ' || pg_get_expr(c.relpartbound, c.oid)
FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid JOIN pg_class o ON o.oid = h.inhparent
WHERE h.inhparent = $1
ORDER BY c.relname COLLATE "C"`

const indexSQL = `
SELECT regexp_replace(pg_get_indexdef(i.indexrelid), ' ON (ONLY )?public\.', ' ON ')
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = $1 AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype <> 'f')
ORDER BY c.relname COLLATE "C"`

const foreignKeySQL = `
SELECT 'ALTER TABLE ' || quote_ident(c.relname) || ' ADD CONSTRAINT ' || quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE k.contype = 'f' AND c.relnamespace = 'public'::regnamespace AND c.relname <> ALL ($1)
ORDER BY c.relname COLLATE "C", k.conname COLLATE "C"`

// A partition is as its table is: of one that has something of its own this says nothing.
const otherSQL = `
SELECT what || ' ' || name FROM (
    SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
               WHEN 'f' THEN 'foreign table' WHEN 'p' THEN 'partition that is partitioned' WHEN 'c' THEN 'composite type'
               WHEN 'r' THEN CASE WHEN relispartition THEN 'partition of its own kind' ELSE 'unlogged, inherited or row-secured table' END END AS what, relname::text AS name
    FROM pg_class c
    WHERE relnamespace = 'public'::regnamespace
      AND (relkind IN ('v', 'm', 'S', 'f', 'c') OR (relkind = 'p' AND relispartition) OR (relkind = 'r' AND (relpersistence <> 'p' OR relrowsecurity
           OR EXISTS (SELECT FROM pg_inherits h WHERE c.oid = h.inhparent OR (c.oid = h.inhrelid AND NOT c.relispartition))
           OR (relispartition AND (reloptions IS NOT NULL
               OR EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = i.indexrelid))
               OR EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype <> 'n' AND k.conislocal AND k.conparentid = 0))))))
      AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_class o ON o.oid = d.refobjid
                      WHERE d.objid = c.oid AND d.deptype IN ('a', 'i') AND o.relname = ANY ($1))
    UNION ALL
    SELECT 'function', proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'type', typname FROM pg_type
    WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd', 'r')
    UNION ALL
    SELECT 'trigger', tgname FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT 'rule', rulename FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
    UNION ALL
    SELECT 'extension', extname FROM pg_extension WHERE extname <> 'plpgsql'
    UNION ALL
    SELECT 'schema', nspname FROM pg_namespace WHERE nspname NOT IN ('public', 'information_schema') AND nspname NOT LIKE 'pg\_%'
) others ORDER BY 1`

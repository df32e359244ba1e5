package main

import (
	"context"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet/internal/devdb"
	"github.com/ionet-settlement/ionet/migrations"
)

// databases makes and drops databases of one server. Their names begin with
// prefix, so that several simulations may share a server.
type databases struct {
	admin  string // address of a database of the server that is left alone
	prefix string
	made   map[string]bool
}

// url returns the address of the database of that name.
func (d *databases) url(name string) string {
	u, err := url.Parse(d.admin)
	if err != nil {
		return d.admin // connecting will say what is wrong with it
	}
	u.Path = "/" + d.prefix + name
	return u.String()
}

// create makes a migrated database.
func (d *databases) create(ctx context.Context, name string) error {
	if err := d.exec(ctx, `CREATE DATABASE `+pgx.Identifier{d.prefix + name}.Sanitize()+` TEMPLATE template0`); err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	d.made[name] = true
	pool, err := pgxpool.New(ctx, d.url(name))
	if err != nil {
		return fmt.Errorf("open database %s: %w", name, err)
	}
	defer pool.Close()
	return migrations.Apply(ctx, pool)
}

// copy replaces to by what from holds now, and ends all sessions of both.
func (d *databases) copy(ctx context.Context, from, to string) error {
	d.made[to] = true
	return devdb.Snapshot(ctx, d.admin, d.prefix+from, d.prefix+to)
}

// drop removes a database.
func (d *databases) drop(ctx context.Context, name string) error {
	delete(d.made, name)
	return d.exec(ctx, `DROP DATABASE IF EXISTS `+pgx.Identifier{d.prefix + name}.Sanitize()+` WITH (FORCE)`)
}

// dropAll removes all that were made.
func (d *databases) dropAll(ctx context.Context) error {
	for name := range d.made {
		if err := d.drop(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (d *databases) exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, d.admin)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, sql)
	return err
}

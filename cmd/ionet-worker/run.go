package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/worker"
)

type runCmd struct {
	folder
	Server string `required:"" env:"IONET_SERVER" placeholder:"URL" help:"URL of the service."`
	consent
	devices
	SpoolMiB int64    `name:"spool-mib" default:"64" env:"IONET_SPOOL_MIB" range:"1..1048576" placeholder:"N" help:"Bound of the spool in MiB; when it is full no new statement is made."`
	Metrics  string   `env:"IONET_METRICS" placeholder:"ADDR" help:"Serve Prometheus metrics at this address, as 127.0.0.1:9464, under /metrics."`
	RPC      []string `name:"rpc" env:"IONET_RPC" placeholder:"URL" help:"RPC of the cluster: the service's beacons are checked against it before they are signed. Repeat for more endpoints."`
	sale
}

// Help shows examples below the flags.
func (c *runCmd) Help() string {
	return `With --provider, and after init --provider, it waits until that wallet has signed. A beacon that --rpc contradicts
is not signed: the service is asked again. While no endpoint answers, a beacon is signed on the service's word after
three samples, and that is said.

With --serve and --offer the host sells inference: it passes OpenAI's API on to the back ends that the offer file names
and is paid by voucher. It speaks plain HTTP: put a reverse proxy with TLS in front, let that pass the headers Ionet-*
and trailers on and buffer no answer, and name its URL as the offer's endpoint. An offer file:

  endpoint = "https://gpu.example"
  capacity = 16
  expires_after = "24h"
  [[models]]
  name = "llama-3.1-8b"
  unit = "token"                     # or image, second, request
  price = "1200"                     # base units of the token, of per units
  per = 1000
  max_units = 4096                   # bounds what a request may cost that names no bound
  backend = "http://127.0.0.1:8000"
  upstream = "meta-llama/Llama-3.1-8B"

Examples:
  ionet-worker run --server https://ionetd.example
  ionet-worker run --server https://ionetd.example --provider 9aB...
  ionet-worker run --server https://ionetd.example --rpc https://rpc.example
  ionet-worker run --server https://ionetd.example --dir /var/lib/ionet-worker --keypair wallet.json
  ionet-worker run --server http://127.0.0.1:8080 --keypair wallet.json --simulate 2 --seed 1
  ionet-worker run --server https://ionetd.example --serve 127.0.0.1:8770 --offer offer.toml
  ionet-worker run --server https://ionetd.example --serve 127.0.0.1:8770 --offer offer.toml --batch-jobs 1000 --batch-every 30s`
}

// Run proves the devices until the context ends.
func (c *runCmd) Run(s *stage) (err error) {
	if err := c.sale.check(); err != nil {
		return err
	}
	metrics := newRunMetrics()
	stop, err := s.serveMetrics(c.Metrics, metrics.all) // first: a host that waits is watched as well
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	sampler, err := c.sampler()
	if err != nil {
		return err
	}
	m, err := join(s.ctx, c.Dir, c.Server)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.folder.Close()) }()
	if err := c.take(m); err != nil {
		return err
	}
	s.print("worker %s", m.worker())
	s.print("network %s %s", m.network.Name, ionet.Key(m.network.ID()))
	if sampler.Simulated() {
		s.print("%s", simulatedWarning)
	}
	cluster, err := c.cluster(s, m)
	if err != nil {
		return err
	}
	metrics.waiting.Set(1)
	delegation, err := c.await(s, m)
	if errors.Is(err, context.Canceled) {
		s.print("stopped")
		return nil
	}
	if err != nil {
		return err
	}
	metrics.waiting.Set(0)
	// The loop has a pace of its own, which spreads many hosts: no call repeats itself.
	api, err := client.New(client.Config{Server: c.Server, Network: m.network.ID(), Attempts: 1})
	if err != nil {
		return err
	}
	w, err := worker.New(s.ctx, worker.Config{
		API: api, Network: m.network, Key: m.key, Delegation: delegation, Sampler: sampler, Folder: m.folder,
		Renew: c.renewal(m), Chain: cluster, SpoolBytes: c.SpoolMiB << 20, Logger: s.log,
		Events: func(e worker.Event) { s.print("%s", e) },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	metrics.add(w.Metrics())
	if err := c.work(s, m, w, api, metrics); err != nil {
		return err
	}
	s.print("stopped")
	return nil
}

// work proves the devices, and serves renters where that is asked for. The end of one is
// the end of both.
func (c *runCmd) work(s *stage, m *membership, w *worker.Worker, api *client.Client, metrics *runMetrics) (err error) {
	till, err := c.sale.meter(s, m, api)
	if err != nil {
		return err
	}
	if till == nil {
		return w.Run(s.ctx)
	}
	defer func() { err = errors.Join(err, till.Close()) }()
	metrics.add(till.Metrics())
	both, ctx := errgroup.WithContext(s.ctx)
	both.Go(func() error { return endOf(w.Run(ctx)) })
	both.Go(func() error { return endOf(c.sell(ctx, s, till)) })
	if err := both.Wait(); !errors.Is(err, errEnded) {
		return err
	}
	return nil
}

// errEnded is the end of what ran until it was told to stop.
var errEnded = errors.New("it ended")

func endOf(err error) error {
	if err == nil {
		return errEnded
	}
	return err
}

// cluster opens the endpoints of --rpc, nil for none. One of another cluster is a mistake;
// one that does not answer holds nothing up.
func (c *runCmd) cluster(s *stage, m *membership) (*rpc.Client, error) {
	if len(c.RPC) == 0 {
		return nil, nil
	}
	cluster, err := rpc.New(rpc.Config{Endpoints: c.RPC, Cluster: m.network.Cluster, Timeout: 5 * time.Second, Rounds: 1})
	if err != nil {
		return nil, fmt.Errorf("--rpc: %w", err)
	}
	err = cluster.CheckCluster(s.ctx)
	var other *rpc.ClusterError
	if errors.As(err, &other) {
		return nil, fmt.Errorf("--rpc: %w", err)
	}
	if err != nil {
		s.print("trouble: --rpc: %v", err)
	}
	return cluster, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement"
	"github.com/ionet-settlement/ionet/web"
)

type serveCmd struct {
	place
	Listen      string         `default:"127.0.0.1:8080" env:"IONET_LISTEN" placeholder:"ADDR" help:"host:port of the HTTP API; port 0 takes a free one (default: ${default})."`
	PayoutEvery *time.Duration `env:"IONET_PAYOUT_EVERY" placeholder:"DURATION" help:"Time between payout runs; 0: only by ionetd payouts run (default: 24h, unless --payout-cron is given)."`
	MaxPriority uint64         `name:"max-priority-fee" default:"100000" range:"1.." env:"IONET_MAX_PRIORITY_FEE" placeholder:"LAMPORTS" help:"Most lamports of priority fee in one transaction (default: ${default})."`
	Checkpoint  time.Duration  `name:"checkpoint-every" default:"1s" env:"IONET_CHECKPOINT_EVERY" placeholder:"DURATION" help:"Time between two signed checkpoints of the receipt log, while it grows (default: ${default})."`
	SealEvery   *time.Duration `env:"IONET_SEAL_EVERY" placeholder:"DURATION" help:"Time between two seals of the receipt log on chain, while it grows; 0: none but by --seal-receipts (default: 10m, unless --seal-cron is given)."`
	SealCron    string         `env:"IONET_SEAL_CRON" placeholder:"CRON" help:"When seals of the receipt log are due, in place of --seal-every; as --payout-cron."`
	SealCount   uint64         `name:"seal-receipts" env:"IONET_SEAL_RECEIPTS" placeholder:"N" help:"Seal the receipt log before its time once it has grown by N records; 0: never."`
	PayoutCron  string         `env:"IONET_PAYOUT_CRON" placeholder:"CRON" help:"When payout runs are due, in place of --payout-every: minute, hour, day of month, month, day of week in UTC, or a word such as @daily."`
}

// Help is shown below the flags.
func (c *serveCmd) Help() string {
	return `Serves the HTTP API, a status page at / and the published files at /files/, closes epochs and pays. --dir and --store
are those that ionetd genesis has made; a store without the network file is refused. Several services may share one
database and one store: one leads, the others take in statements and wait to take over.

With --signer the keys that move money are with ionetd signer; --dir must then hold three files of genesis: network.toml,
policy.toml, and service.json, the key that signs acks.

Examples:
  ionetd serve --dir keys --store published --rpc https://rpc.example --database postgres://localhost/ionet
  ionetd serve --dir keys --store published --rpc https://a.example --rpc https://b.example \
    --database postgres://localhost/ionet --listen 0.0.0.0:8080 --payout-every 24h
  ionetd serve --payout-cron "30 3 * * mon,thu"   # with IONET_DIR, IONET_STORE, IONET_RPC and IONET_DATABASE set
  ionetd serve --seal-every 1m --seal-receipts 100000      # a minute, or 100,000 records, whichever is first
  ionetd serve --seal-cron "*/15 * * * *"                  # each quarter of an hour
  ionetd serve --store "s3://bucket/network?endpoint=s3.example:9000&region=eu-1"   # keys in AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
  ionetd serve --dir public --signer unix:/run/ionet/signer.sock --rpc https://rpc.example \
    --database postgres://localhost/ionet      # the keys are with ionetd signer`
}

// drain is how long requests in flight may take after SIGTERM.
const drain = 3 * time.Second

func (c *serveCmd) Run(s *stage) error {
	var runs settlement.Config
	if err := errors.Join(c.schedule(&runs), c.sealing(&runs)); err != nil {
		return err
	}
	o, err := c.place.open(s)
	if err != nil {
		return err
	}
	defer o.close()
	o.cfg.PayoutSchedule, o.cfg.PayoutEvery = runs.PayoutSchedule, runs.PayoutEvery
	o.cfg.CheckpointEvery, o.cfg.SealReceiptsCount = runs.CheckpointEvery, runs.SealReceiptsCount
	o.cfg.SealSchedule, o.cfg.SealEvery = runs.SealSchedule, runs.SealEvery
	o.cfg.MaxPriorityLamports = c.MaxPriority
	service, err := c.start(s.ctx, o.cfg)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("--listen %s: %w: want a free HOST:PORT", c.Listen, err)
	}
	server := &http.Server{
		Handler:           web.Handler(webConfig(service, o.cfg.Store, s.log)),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute,
	}
	s.print("network %s (%s), mint %s", o.cfg.Network.Name, ionet.Key(o.cfg.Network.ID()), o.cfg.Network.Mint)
	s.print("listening http://%s", listener.Addr())
	return serve(s.ctx, service, server, listener)
}

// webConfig lets the API serve the published files from a folder itself, and hand on
// those of a bucket.
func webConfig(service *settlement.Service, store publish.Store, log *slog.Logger) web.Config {
	cfg := web.Config{Service: service, Store: store, Logger: log}
	if f, ok := store.(*publish.Folder); ok {
		cfg.Files = f.Dir()
	}
	return cfg
}

// defaultPayoutEvery is the time between payout runs where nothing is said of it.
const defaultPayoutEvery = 24 * time.Hour

// schedule says in cfg when payout runs are due: by a schedule, or so often.
func (c *serveCmd) schedule(cfg *settlement.Config) (err error) {
	switch {
	case c.PayoutCron != "" && c.PayoutEvery != nil:
		return errors.New("--payout-every and --payout-cron both say when payout runs are due: give one of them")
	case c.PayoutCron != "":
		if cfg.PayoutSchedule, err = settlement.ParsePayoutCron(c.PayoutCron); err != nil {
			return fmt.Errorf(`--payout-cron: %w; "0 3 * * *" is each day at 03:00 UTC`, err)
		}
	case c.PayoutEvery == nil:
		cfg.PayoutEvery = defaultPayoutEvery
	case *c.PayoutEvery < 0:
		return fmt.Errorf("--payout-every %s is negative: give the time between payout runs, or 0 for none but those of ionetd payouts run", *c.PayoutEvery)
	default:
		cfg.PayoutEvery = *c.PayoutEvery
	}
	return nil
}

// defaultSealEvery is the time between seals where nothing is said of it: about 150 of
// them a day.
const defaultSealEvery = 10 * time.Minute

// sealing says in cfg when the receipt log is published and sealed.
func (c *serveCmd) sealing(cfg *settlement.Config) (err error) {
	if c.Checkpoint <= 0 {
		return fmt.Errorf("--checkpoint-every %s: want more than 0, such as 1s", c.Checkpoint)
	}
	cfg.CheckpointEvery, cfg.SealReceiptsCount = c.Checkpoint, c.SealCount
	switch {
	case c.SealCron != "" && c.SealEvery != nil:
		return errors.New("--seal-every and --seal-cron both say when seals are due: give one of them")
	case c.SealCron != "":
		if cfg.SealSchedule, err = settlement.ParsePayoutCron(c.SealCron); err != nil {
			return fmt.Errorf(`--seal-cron: %w; "*/15 * * * *" is each quarter of an hour`, err)
		}
	case c.SealEvery == nil:
		cfg.SealEvery = defaultSealEvery
	case *c.SealEvery < 0:
		return fmt.Errorf("--seal-every %s is negative: give the time between seals, or 0 for none but those of --seal-receipts", *c.SealEvery)
	default:
		cfg.SealEvery = *c.SealEvery
	}
	return nil
}

// serve runs API and settlement until ctx ends or the API fails, then stops
// both: requests in flight are answered, the pass at hand is cut off.
func serve(ctx context.Context, service *settlement.Service, server *http.Server, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		service.Run(ctx)
	}()
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	cancel()
	wait, done := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer done()
	if serr := server.Shutdown(wait); serr != nil {
		server.Close()
	}
	<-settled
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

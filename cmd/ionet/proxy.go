package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
)

type proxyCmd struct {
	server
	sessionFile
	Listen     string      `default:"127.0.0.1:8765" placeholder:"ADDR" help:"Where to serve OpenAI's API (default: ${default})."`
	MaxFee     string      `name:"max-fee" placeholder:"TOKENS" help:"The most that one request may cost; a hundredth of the session's reserve by default."`
	First      string      `placeholder:"TOKENS" help:"Limit of a channel to a worker that has served before, a sixteenth of it to others; it is doubled as it is needed; a hundredth of the session's reserve by default."`
	Cap        []string    `placeholder:"MODEL=TOKENS/UNITS" help:"The most that so many units of a model may cost, beside the session's caps; repeat."`
	Worker     []ionet.Key `placeholder:"KEY" help:"Use this worker only; repeat for more."`
	Again      []ionet.Key `placeholder:"KEY" help:"Use this worker again, which was left because it broke its word; channel list tells why."`
	APIKey     string      `name:"api-key" env:"IONET_PROXY_KEY" placeholder:"TEXT" help:"What callers have to give as API key; without one, any."`
	Host       []string    `placeholder:"NAME" help:"A name by which the proxy is called, beside localhost and addresses; repeat."`
	KeepBodies bool        `name:"keep-bodies" help:"Keep requests and answers beside the receipts."`
	Private    bool        `name:"allow-private" help:"Use workers whose address is not the Internet's: this machine, or its network."`
}

// Help shows examples below the flags.
func (c *proxyCmd) Help() string {
	return `An endpoint of OpenAI's API on this machine that pays by the request: any SDK works with a changed base URL. It picks
the cheapest offer, opens channels out of the session, signs vouchers for no more than is needed, checks what workers
sign against what they answered, and keeps the receipts. Whoever can reach it spends the session's reserve. Answers
have the headers Ionet-Job, the receipt's id, and Ionet-Fee, what it cost in base units: of a token with 8 decimals
150000 are 0.0015. Where it is 0 nothing is charged, and there is no receipt.

Examples:
  ionet proxy --server https://ionetd.example --session session.json
  ionet proxy --server https://ionetd.example --session session.json --max-fee 0.05 --cap llama-3.3-70b=0.9/1000000

Then, in another terminal:
  OPENAI_BASE_URL=http://127.0.0.1:8765/v1 OPENAI_API_KEY=any your-program`
}

// Run serves until it is interrupted.
func (c *proxyCmd) Run(s *stage) error {
	if err := c.check(); err != nil {
		return err
	}
	if _, err := c.key(); err != nil { // before a folder is made for it
		return err
	}
	api, err := c.client()
	if err != nil {
		return err
	}
	network, err := c.network(s.ctx, api)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(s.errs, nil))
	cfg := client.PurseConfig{Workers: c.Worker, Again: c.Again, KeepBodies: c.KeepBodies, AllowPrivate: c.Private, Log: log}
	if c.MaxFee != "" {
		if cfg.Most, err = tokens("--max-fee", c.MaxFee, network.Decimals); err != nil {
			return err
		}
	}
	if c.First != "" {
		if cfg.First, err = tokens("--first", c.First, network.Decimals); err != nil {
			return err
		}
	}
	caps, err := parseCaps(c.Cap, network.Decimals)
	if err != nil {
		return err
	}
	for _, most := range caps {
		cfg.Caps = append(cfg.Caps, client.PriceCap{Model: most.Model, Price: most.Price, Per: most.Per})
	}
	purse, err := c.purse(api, network, cfg)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return errors.Join(fmt.Errorf("--listen: %w", err), purse.Close())
	}
	session, id := purse.Session()
	s.print("session %s of %s IO, until %s", id, session.Reserve.Tokens(network.Decimals), clockText(session.Expires))
	s.print("serving OpenAI's API at http://%s/v1", listener.Addr())
	return errors.Join(c.serve(s.ctx, listener, client.ProxyHandler(client.ProxyConfig{Purse: purse, APIKey: c.APIKey, Hosts: c.Host, Log: log})), purse.Close())
}

// check refuses an address from which others would spend.
func (c *proxyCmd) check() error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("--listen: %w; want an address such as 127.0.0.1:8765", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) && c.APIKey == "" {
		return fmt.Errorf("--listen %s can be reached by others, who would spend the session's money: give an --api-key too", c.Listen)
	}
	return nil
}

// network returns the network file: the service's, or, while that is away, the one that
// was kept. The session's text names the network, so a false one opens no purse.
func (c *proxyCmd) network(ctx context.Context, api *client.Client) (*ionet.Network, error) {
	kept := filepath.Join(c.state(), "network.toml")
	n, file, err := api.NetworkFile(ctx)
	if err == nil {
		if err := os.MkdirAll(c.state(), 0o700); err != nil {
			return nil, fmt.Errorf("--state: %w", err)
		}
		if err := writeWhole(kept, file); err != nil {
			return nil, fmt.Errorf("--state: %w", err)
		}
		return n, nil
	}
	file, readErr := os.ReadFile(kept)
	if errors.Is(readErr, fs.ErrNotExist) {
		return nil, err
	}
	if readErr != nil {
		return nil, fmt.Errorf("--state: %w", readErr)
	}
	return ionet.ParseNetwork(file)
}

// stopWait is how long answers that run may take to end.
const stopWait = 5 * time.Second

func (c *proxyCmd) serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
		wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWait)
		defer cancel()
		if server.Shutdown(wait) != nil {
			return server.Close() // what runs is asked for at the next start
		}
		return nil
	}
}

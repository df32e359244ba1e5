// Command ionet is the providers' side of a network: delegate workers, see what
// was earned and why, and claim it with a wallet. And it is everybody's view of the
// emission schedule.
package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/internal/commandline"
	"github.com/ionet-settlement/ionet/proofs"
)

const help = `For providers: make a wallet key, delegate workers, revoke that, see earnings and verdicts, claim.
For renters: pay in, open a session, use models through a proxy on this machine, see receipts, withdraw.
For the observer that a policy names: hand in the token's price.

Keys are files in solana-keygen's format, readable by their owner alone.

Examples:
  ionet keygen --out wallet.json
  ionet delegate --server https://ionetd.example --keypair wallet.json --worker 7Xk...
  ionet revoke   --server https://ionetd.example --keypair wallet.json --worker 7Xk...
  ionet release  --server https://ionetd.example --keypair wallet.json --device GPU-6b1a1b7c-0d3e-4c55-9f2b-6f4f1d2e3a4b
  ionet balance  --server https://ionetd.example --wallet 9aB...
  ionet earnings --server https://ionetd.example --provider 9aB... --csv
  ionet claim    --server https://ionetd.example --keypair wallet.json
  ionet claim    --server https://ionetd.example --pay-url
  ionet deposit  --server https://ionetd.example --wallet 9aB...
  ionet session open --server https://ionetd.example --keypair wallet.json --key-out session.json --reserve 10
  ionet proxy    --server https://ionetd.example --session session.json
  ionet withdraw --server https://ionetd.example --keypair wallet.json --amount 12.5
  ionet why      --server https://ionetd.example --device GPU-6b1a1b7c-0d3e-4c55-9f2b-6f4f1d2e3a4b --epoch 12
  ionet price    --server https://ionetd.example --keypair oracle.json --usd 0.0731`

type commands struct {
	Keygen   keygenCmd   `cmd:"" help:"Make a wallet key file."`
	Delegate delegateCmd `cmd:"" help:"Let workers prove GPU time for a wallet."`
	Revoke   revokeCmd   `cmd:"" help:"End delegations of a wallet, from the next epoch on."`
	Release  releaseCmd  `cmd:"" help:"Free a device from its worker, so that another may use it."`
	Account  accountCmd  `cmd:"" help:"The wallet's token account."`
	Balance  balanceCmd  `cmd:"" help:"Show what a wallet has earned, been paid, and can claim."`
	Earnings earningsCmd `cmd:"" help:"What a wallet's devices earned, by epoch, device and rule."`
	Claim    claimCmd    `cmd:"" help:"Claim all that a wallet can claim."`
	Deposit  depositCmd  `cmd:"" help:"Pay in for a renter, or show how to."`
	Withdraw withdrawCmd `cmd:"" help:"Get unspent balance back."`
	Session  sessionCmds `cmd:"" help:"Keys that may spend a part of a renter's balance."`
	Channel  channelCmds `cmd:"" help:"A session's channels, one for each worker."`
	Offers   offersCmd   `cmd:"" help:"What workers serve, and at what price."`
	Proxy    proxyCmd    `cmd:"" help:"Serve OpenAI's API on this machine, paid out of a session."`
	Receipt  receiptCmd  `cmd:"" help:"Show and verify the receipt of an inference."`
	Dispute  disputeCmd  `cmd:"" help:"Make public that a worker handed in another statement than it gave you."`
	History  historyCmd  `cmd:"" help:"What came in and went out of a renter's balance, in order."`
	Price    priceCmd    `cmd:"" help:"Observe the token's price for the current epoch, with the key that the policy names."`
	Epochs   epochsCmd   `cmd:"" help:"List the latest epochs."`
	Why      whyCmd      `cmd:"" help:"Tell why a device was paid or not, with a proof against the epoch's seal."`

	Rules rulesCmd `cmd:"" help:"The rules by which devices are accepted or refused."`

	Emissions emissionsCmd `cmd:"" help:"Show the emission schedule and the supply, as rows, picture or vector."`
}

// server is the flag of all commands that call the service.
type server struct {
	Server string `required:"" env:"IONET_SERVER" placeholder:"URL" help:"URL of the service."`
}

func (s server) client() (*client.Client, error) {
	api, err := client.New(client.Config{Server: s.Server})
	if err != nil {
		return nil, fmt.Errorf("--server: %w", err)
	}
	return api, nil
}

// network returns a client of the service, and the network that it is of.
func (s server) network(st *stage) (*client.Client, *ionet.Network, error) {
	api, err := s.client()
	if err != nil {
		return nil, nil, err
	}
	network, _, err := api.NetworkFile(st.ctx)
	return api, network, err
}

// busyTries is how often a statement is handed in, a second apart or what the service
// asks for, while that says that it is busy: one that has just started first looks at
// the chain.
const (
	busyTries   = 30
	longestWait = 10 * time.Second
)

// submit hands in a statement.
func submit(s *stage, api *client.Client, e proofs.Envelope) (client.Result, error) {
	for tries := 1; ; tries++ {
		var r client.Result
		results, err := api.Submit(s.ctx, []client.Presented{{Statement: e}})
		if err == nil {
			r = results[0]
		}
		wait, busy := busyFor(r, err)
		if !busy || tries == busyTries {
			return r, err
		}
		if err := s.pause(wait); err != nil {
			return client.Result{}, err
		}
	}
}

// busyFor returns how long a service wants to be left alone that says it is busy.
func busyFor(r client.Result, err error) (time.Duration, bool) {
	p := r.Problem
	if err != nil && !errors.As(err, &p) || p == nil || p.Kind() != client.Busy || p.RetryAfter > longestWait {
		return 0, false
	}
	return max(p.RetryAfter, time.Second), true
}

// openRPC opens the endpoints of --rpc.
func openRPC(endpoints []string) (*rpc.Client, error) {
	cluster, err := rpc.New(rpc.Config{Endpoints: endpoints})
	if err != nil {
		return nil, fmt.Errorf("--rpc: %w", err)
	}
	return cluster, nil
}

// openCluster opens the endpoints of --rpc and checks that they are of the network's
// cluster, before anything is signed for it.
func openCluster(s *stage, endpoints []string, n *ionet.Network) (*rpc.Client, error) {
	cluster, err := rpc.New(rpc.Config{Endpoints: endpoints, Cluster: n.Cluster})
	if err != nil {
		return nil, fmt.Errorf("--rpc: %w", err)
	}
	if err := cluster.CheckCluster(s.ctx); err != nil {
		return nil, fmt.Errorf("--rpc: %w", err)
	}
	return cluster, nil
}

// readKeypair reads the key file of --keypair.
func readKeypair(file string) (ed25519.PrivateKey, error) {
	key, err := chain.ReadKeypair(file)
	if err != nil {
		return nil, fmt.Errorf("--keypair: %w", err)
	}
	return key, nil
}

// stage is what a command runs on.
type stage struct {
	ctx  context.Context
	out  io.Writer
	errs io.Writer // diagnostics
}

func (s *stage) print(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// json prints v, indented.
func (s *stage) json(v any) error {
	e := json.NewEncoder(s.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// pause waits between two looks, or fails when the command is interrupted.
func (s *stage) pause(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "ionet:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var c commands
	program := commandline.Program{Name: "ionet", Help: help, Stdout: stdout, Stderr: stderr}
	parsed, err := program.Parse(&c, args)
	if parsed == nil || err != nil {
		return err
	}
	err = parsed.Run(&stage{ctx: ctx, out: stdout, errs: stderr})
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted")
	}
	return err
}

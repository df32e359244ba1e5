package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement/genesis"
)

// genesisCmd makes a network. The network's own flags only count the first
// time: after that the folder's network file decides, and flags that contradict
// it are refused.
type genesisCmd struct {
	Dir   string   `default:"keys" env:"IONET_DIR" placeholder:"DIR" help:"Folder of keys, network file and policy; made if missing (default: ${default})."`
	RPC   []string `name:"rpc" required:"" env:"IONET_RPC" placeholder:"URL" help:"Solana JSON-RPC; repeat it for more endpoints."`
	Store string   `default:"published" env:"IONET_STORE" placeholder:"DIR" help:"Folder of the published files; made if missing (default: ${default})."`

	Name         string        `default:"ionet" help:"Name of the network, 1..32 of a-z 0-9 -."`
	Policy       string        `type:"existingfile" help:"Policy file of epoch 1; the one that ships with the program when missing."`
	Decimals     int           `default:"8" help:"Decimals of the token, 0..8."`
	Allocation   string        `default:"of_cap" enum:"of_cap,of_genesis" help:"What the published allocation percentages are of: ${enum}."`
	Start        time.Time     `format:"2006-01-02T15:04:05Z07:00" help:"First second of epoch 1, such as 2026-12-01T00:00:00Z."`
	StartIn      time.Duration `default:"1m" help:"First second of epoch 1, from now, when --start is missing."`
	EpochSeconds uint32        `default:"3600" help:"Length of an epoch in seconds, a multiple of the samples."`
	Samples      uint16        `default:"60" help:"Samples of an epoch."`
	PayLanes     int           `default:"4" help:"Lanes for payouts, 1..64."`
	ClaimLanes   int           `default:"4" help:"Lanes for claims, 1..64."`

	Airdrop bool          `help:"Ask the cluster for the lamports that the operator lacks (test clusters only)."`
	Plan    bool          `help:"Change nothing: tell what exists and what would be made. Needs the folder of an earlier run."`
	Timeout time.Duration `default:"10m" help:"Give up after this long; run it again to go on."`
}

// Help is shown below the flags.
func (g *genesisCmd) Help() string {
	return `Makes the token, the vaults, the allocation accounts and the lanes of a network, and mints
the genesis supply in one transaction. Run it again after any trouble: it finishes what is missing and
never mints twice.

Examples:
  ionetd genesis --dir keys --store published --rpc http://127.0.0.1:8899 --airdrop
  ionetd genesis --dir keys --store published --rpc https://api.mainnet-beta.solana.com --start 2026-12-01T00:00:00Z
  ionetd genesis --dir keys --store published --rpc http://127.0.0.1:8899 --plan`
}

// Run prints one line for each thing done or found, the last one "mint <key>".
func (g *genesisCmd) Run(s *stage) error {
	ctx, cancel := context.WithTimeout(s.ctx, g.Timeout)
	defer cancel()
	client, err := rpc.New(rpc.Config{Endpoints: g.RPC})
	if err != nil {
		return err
	}
	defer client.Close()
	prepared, err := g.prepare(ctx, client)
	if err != nil {
		return err
	}
	o := genesis.Options{Chain: client, Airdrop: g.Airdrop, Plan: g.Plan, Log: s.print}
	if !g.Plan {
		if o.Store, err = publish.NewFolder(g.Store); err != nil {
			return err
		}
	}
	if err := genesis.Run(ctx, prepared, o); err != nil {
		return err
	}
	n := prepared.Network
	s.print("network %s, file %s", ionet.Key(n.ID()), filepath.Join(g.Dir, genesis.NetworkFile))
	s.print("start %s", time.Unix(n.Start, 0).UTC().Format(time.RFC3339))
	s.print("mint %s", n.Mint)
	return nil
}

// prepare opens the folder: a plan only reads it.
func (g *genesisCmd) prepare(ctx context.Context, client *rpc.Client) (*genesis.Prepared, error) {
	if g.Plan {
		return genesis.Load(ctx, g.Dir)
	}
	cluster, err := client.GenesisHash(ctx)
	if err != nil {
		return nil, err
	}
	c := genesis.Config{
		Dir: g.Dir, Name: g.Name, Cluster: cluster, Start: g.Start, EpochSeconds: g.EpochSeconds, Samples: g.Samples,
		PayLanes: g.PayLanes, ClaimLanes: g.ClaimLanes, Decimals: &g.Decimals, Reading: g.Allocation, Policy: emissions.DefaultPolicy(),
	}
	if g.Policy != "" {
		if c.Policy, err = os.ReadFile(g.Policy); err != nil {
			return nil, fmt.Errorf("read policy: %w", err)
		}
	}
	if c.Start.IsZero() {
		c.Start = time.Now().Add(g.StartIn)
	}
	if _, err := os.Stat(filepath.Join(g.Dir, genesis.NetworkFile)); errors.Is(err, fs.ErrNotExist) && c.Start.Before(time.Now()) {
		return nil, fmt.Errorf("--start %s is past: the epochs before genesis could never earn; name a time that is to come, or --start-in", c.Start.UTC().Format(time.RFC3339))
	}
	return genesis.Prepare(ctx, c)
}

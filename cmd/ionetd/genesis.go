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
// time: after that the folder's network file decides, also for flags that are
// left out, and flags that contradict it are refused. Only the start can be
// moved, until the genesis transaction is signed.
type genesisCmd struct {
	Dir   string   `default:"keys" env:"IONET_DIR" placeholder:"DIR" help:"Folder of keys, network file and policy; made if missing (default: ${default})."`
	RPC   []string `name:"rpc" required:"" env:"IONET_RPC" placeholder:"URL" help:"Solana JSON-RPC; repeat it for more endpoints."`
	Store string   `default:"published" env:"IONET_STORE" placeholder:"DIR|URL" help:"Published files: a folder, made if missing, or a bucket as s3://BUCKET/PREFIX?endpoint=HOST:PORT&region=REGION (default: ${default})."`

	Name            string   `placeholder:"NAME" help:"Name of the network, 1..32 of a-z 0-9 - (default: ionet)."`
	Policy          string   `placeholder:"FILE" help:"Policy file of epoch 1 (default: the one that ships with the program, which ionetd policy default prints)."`
	Schedule        string   `placeholder:"SCHEDULE" help:"Emission schedule: hourly (default), monthly, or the TOML file of one of your own, emissions/FORMAT.md section 1.3."`
	Decimals        *int     `range:"0..8" placeholder:"N" help:"Decimals of the token, 0..8 (default: 8, or those of the schedule's file)."`
	Allocation      string   `placeholder:"READING" help:"What the published allocation percentages are of: of_cap (default) or of_genesis."`
	Beneficiary     []string `sep:"none" placeholder:"CATEGORY=WALLET[:PARTS]" help:"Who gets a category's tokens as they unlock, with ionetd unlocks release; repeat it for more wallets, up to seven a category. Without it only the key of the category moves them."`
	Unlock          []string `sep:"none" placeholder:"CATEGORY=UNLOCK" help:"When a category of the genesis supply becomes free: immediate, cliff:M, tranches:A..B or linear:A..B, in months of 730 epochs; repeat it for more."`
	MintAuthority   string   `placeholder:"MofN:KEY,..." help:"Who mints: m of n public keys together, such as 2of3:KEY,KEY,KEY, each held by a signer of its own; the word operator is the operator's (default: the operator alone)."`
	RewardAuthority string   `placeholder:"MofN:KEY,..." help:"Who pays from the reward vault (default: the operator alone)."`
	FeeAuthority    string   `placeholder:"MofN:KEY,..." help:"Who pays from the fee vault (default: the key fees.json alone)."`

	AllocationAuthority []string `sep:"none" placeholder:"CATEGORY=MofN:KEY,..." help:"Who owns a category of the genesis supply (default: a key of its own in --dir); repeat it for more."`

	Start        string         `xor:"start" placeholder:"TIME" help:"First second of epoch 1: a date or RFC 3339 time, such as 2026-12-01 or 2026-12-01T12:00:00Z."`
	StartIn      *time.Duration `xor:"start" placeholder:"TIME" help:"First second of epoch 1, from when the network file is written (default: 1m)."`
	EpochSeconds *int           `range:"1..4294967295" placeholder:"N" help:"Length of an epoch in seconds, a multiple of the samples (default: 3600)."`
	Samples      *int           `range:"1..65535" placeholder:"N" help:"Samples of an epoch (default: 60)."`
	PayLanes     *int           `range:"1..64" placeholder:"N" help:"Lanes for payouts, 1..64 (default: 4)."`
	ClaimLanes   *int           `range:"1..64" placeholder:"N" help:"Lanes for claims, 1..64 (default: 4)."`

	Airdrop bool          `help:"Ask the cluster for the lamports that the operator lacks (test clusters only)."`
	Plan    bool          `help:"Change nothing: tell what exists, what would be made, and what it costs to the lamport."`
	Timeout time.Duration `default:"10m" help:"Give up after this long; run it again to go on (default: ${default})."`
}

// Help is shown below the flags.
func (g *genesisCmd) Help() string {
	return `Makes the token, the vaults, the allocation accounts and the lanes of a network, and mints
the genesis supply in one transaction. Run it again after any trouble: it finishes what is missing and
never mints twice. What is in --dir already need not be said again.

Until the genesis transaction is signed the start may still be moved: say another --start or --start-in. One that
has passed meanwhile is moved by itself, as if there were no network file yet. After that it is fixed.

The allocation's unlocks are a promise that the network file makes and that auditors read. Nothing on the chain holds
the tokens back: the keys allocation-*.json in --dir can move them at any time. Keep those apart from the service.
A category with --beneficiary is released by the service, ionetd unlocks release, which needs that category's key;
auditors find whatever else leaves its account.

With --mint-authority, --reward-authority, --fee-authority or --allocation-authority the mint, a vault or a category belongs to an SPL Token multisig. Its
members make their keys with ionet keygen and name their public halves here; their signers (ionetd signer) sign what their
own policy allows. Any m of them suffice: one that is down stops nothing where m is less than n. Members never change.

To know whom to send lamports to before anything else is made, make the operator's key first; --plan names it:
  mkdir -p keys && ionet keygen --out keys/operator.json
  ionetd genesis --dir keys --rpc https://api.mainnet-beta.solana.com --start 2026-12-01 --plan

Examples:
  ionetd genesis --dir keys --store published --rpc http://127.0.0.1:8899 --plan
  ionetd genesis --dir keys --store published --rpc http://127.0.0.1:8899 --airdrop
  ionetd genesis --dir keys --store published --rpc https://api.mainnet-beta.solana.com --start 2026-12-01T00:00:00Z
  ionetd genesis --rpc http://127.0.0.1:8899 --mint-authority 2of3:KEY,KEY,KEY --reward-authority 2of3:operator,KEY,KEY --plan
  ionetd genesis --rpc http://127.0.0.1:8899 --schedule monthly --allocation of_genesis --unlock research=linear:0..48 --plan
  ionetd genesis --rpc http://127.0.0.1:8899 --beneficiary seed=FIRST_WALLET:3 --beneficiary seed=SECOND_WALLET:1 --plan`
}

// Run prints the plan, or does it and prints one line for each thing done or
// found, the last one "mint <key>".
func (g *genesisCmd) Run(s *stage) error {
	if g.Timeout <= 0 {
		return fmt.Errorf("--timeout %s: want more than 0, such as 10m", g.Timeout)
	}
	ctx, cancel := context.WithTimeout(s.ctx, g.Timeout)
	defer cancel()
	err := g.run(ctx, s)
	if errors.Is(err, context.DeadlineExceeded) && s.ctx.Err() == nil {
		return fmt.Errorf("--timeout %s is over: run this again to go on, with a longer one: %w", g.Timeout, err)
	}
	return err
}

func (g *genesisCmd) run(ctx context.Context, s *stage) error {
	if err := errors.Join(checkFolder("--dir", g.Dir), checkFolder("--store", g.Store)); err != nil {
		return err
	}
	config, err := g.config()
	if err != nil {
		return err
	}
	client, err := rpc.New(rpc.Config{Endpoints: g.RPC})
	if err != nil {
		return fmt.Errorf("--rpc: %w", err)
	}
	defer client.Close()
	if config.Cluster, err = client.GenesisHash(ctx); err != nil {
		return fmt.Errorf("--rpc: %w", err)
	}
	config.Chain = client
	if config.Store, err = g.store(ctx); err != nil {
		return err
	}
	draft, err := genesis.NewDraft(ctx, config)
	if err != nil {
		return err
	}
	if g.Plan {
		return g.plan(ctx, s, draft, client, config.Store)
	}
	if told := draft.Start(); told != "" {
		s.print("start: %s", told)
	}
	return g.make(ctx, s, config, client)
}

// store opens the published store, nil where there is none yet.
func (g *genesisCmd) store(ctx context.Context) (publish.Reader, error) {
	if isBucket(g.Store) {
		return newStore(ctx, g.Store)
	}
	store, err := publish.Open(g.Store)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return store, err
}

func (g *genesisCmd) plan(ctx context.Context, s *stage, draft *genesis.Draft, client *rpc.Client, store publish.Reader) error {
	plan, err := draft.Plan(ctx, client, store)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprint(s.out, plan); err != nil {
		return err
	}
	for _, f := range []struct{ flag, dir string }{{"--dir", g.Dir}, {"--store", g.Store}} {
		if _, err := os.Stat(f.dir); errors.Is(err, fs.ErrNotExist) && !isBucket(f.dir) {
			s.print("%s %s is not there yet; whether it can be made was not tried.", f.flag, f.dir)
		}
	}
	if lamports := plan.Airdrop(); g.Airdrop && lamports > 0 {
		s.print("With --airdrop the cluster is asked for %d lamports first.", lamports)
	}
	return nil
}

func (g *genesisCmd) make(ctx context.Context, s *stage, config genesis.Config, client *rpc.Client) error {
	prepared, err := genesis.Prepare(ctx, config)
	if err != nil {
		return err
	}
	store, err := newStore(ctx, g.Store)
	if err != nil {
		return fmt.Errorf("--store: %w", err)
	}
	if err := genesis.Run(ctx, prepared, genesis.Options{Chain: client, Store: store, Airdrop: g.Airdrop, Log: s.print}); err != nil {
		return err
	}
	n := prepared.Network
	s.print("network %s, file %s", ionet.Key(n.ID()), filepath.Join(g.Dir, genesis.NetworkFile))
	s.print("start %s", time.Unix(n.Start, 0).UTC().Format(time.RFC3339))
	s.print("mint %s", n.Mint)
	return nil
}

// config is what the flags say; those left out stay open.
func (g *genesisCmd) config() (genesis.Config, error) {
	c := genesis.Config{Dir: g.Dir, Name: g.Name, Decimals: g.Decimals}
	if g.EpochSeconds != nil {
		c.EpochSeconds = uint32(*g.EpochSeconds)
	}
	if g.Samples != nil {
		c.Samples = uint16(*g.Samples)
	}
	if g.PayLanes != nil {
		c.PayLanes = *g.PayLanes
	}
	if g.ClaimLanes != nil {
		c.ClaimLanes = *g.ClaimLanes
	}
	switch c.Reading = g.Allocation; c.Reading {
	case "", emissions.OfCap, emissions.OfGenesis:
	default:
		return c, fmt.Errorf("--allocation %s: want %s or %s", g.Allocation, emissions.OfCap, emissions.OfGenesis)
	}
	var err error
	if c.Unlocks, err = genesis.ParseUnlocks(g.Unlock); err != nil {
		return c, fmt.Errorf("--unlock: %w", err)
	}
	if c.Beneficiaries, err = genesis.ParseBeneficiaries(g.Beneficiary); err != nil {
		return c, fmt.Errorf("--beneficiary: %w", err)
	}
	if c.Owners, err = genesis.ParseOwners(g.AllocationAuthority); err != nil {
		return c, fmt.Errorf("--allocation-authority: %w", err)
	}
	for _, a := range []struct {
		flag, text string
		to         *genesis.Authority
	}{{"--mint-authority", g.MintAuthority, &c.Mint}, {"--reward-authority", g.RewardAuthority, &c.Reward}, {"--fee-authority", g.FeeAuthority, &c.Fee}} {
		if a.text == "" {
			continue
		}
		if *a.to, err = genesis.ParseAuthority(a.text); err != nil {
			return c, fmt.Errorf("%s: %w", a.flag, err)
		}
	}
	if g.Policy != "" {
		c.PolicyName = "--policy " + g.Policy
		if c.Policy, err = os.ReadFile(g.Policy); err != nil {
			return c, fmt.Errorf("--policy: %w", err)
		}
	}
	if err := g.readStart(&c); err != nil {
		return c, err
	}
	return c, g.readSchedule(&c)
}

// readSchedule puts the profile, or the schedule of a file and its decimals,
// into c.
func (g *genesisCmd) readSchedule(c *genesis.Config) error {
	switch g.Schedule {
	case "":
		return nil
	case emissions.ProfileHourly, emissions.ProfileMonthly:
		c.Profile = g.Schedule
		return nil
	}
	c.ScheduleName = "--schedule " + g.Schedule
	file, err := os.ReadFile(g.Schedule)
	if err != nil {
		return fmt.Errorf("--schedule %s: neither %s nor %s nor a file: %w", g.Schedule, emissions.ProfileHourly, emissions.ProfileMonthly, err)
	}
	schedule, decimals, err := emissions.ParseSchedule(file)
	if err != nil {
		return fmt.Errorf("--schedule %s: %w", g.Schedule, err)
	}
	if g.Decimals != nil && *g.Decimals != decimals {
		return fmt.Errorf("--decimals %d contradicts --schedule %s, which has decimals = %d: leave --decimals out", *g.Decimals, g.Schedule, decimals)
	}
	c.Schedule, c.Decimals = schedule, &decimals
	return nil
}

// readStart puts what is said of the start into c.
func (g *genesisCmd) readStart(c *genesis.Config) (err error) {
	if g.StartIn != nil {
		if c.StartIn = *g.StartIn; c.StartIn <= 0 {
			return fmt.Errorf("--start-in %s: want more than 0, such as 10m", c.StartIn)
		}
	}
	if g.Start == "" {
		return nil
	}
	if c.Start, err = time.Parse(time.DateOnly, g.Start); err == nil {
		return nil
	}
	if c.Start, err = time.Parse(time.RFC3339, g.Start); err != nil {
		return fmt.Errorf("--start %s: want a date such as 2026-12-01 or a time such as 2026-12-01T12:00:00Z", g.Start)
	}
	if c.Start.Nanosecond() != 0 {
		return fmt.Errorf("--start %s: want a whole second", g.Start)
	}
	return nil
}

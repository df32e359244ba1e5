package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/proofs"
)

// faucetLamports pays a wallet's fees and its token account many times over.
const faucetLamports = 1_000_000_000

// accountBudget is enough to make an associated token account.
var accountBudget = chain.Budget{ComputeUnits: 60_000, LoadedBytes: 512 << 10}

type keygenCmd struct {
	Out string `required:"" placeholder:"FILE" help:"Where to write the key; an existing file is never overwritten."`
}

// Help shows an example below the flags.
func (c *keygenCmd) Help() string {
	return `Examples:
  ionet keygen --out wallet.json`
}

// Run makes a key.
func (c *keygenCmd) Run(s *stage) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	if err := chain.WriteKeypair(c.Out, key); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("--out: %s exists: keys are never overwritten, choose another name", c.Out)
	} else if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	s.print("wallet %s in %s", chain.PublicOf(key), c.Out)
	return nil
}

type delegateCmd struct {
	server
	Keypair string      `required:"" placeholder:"FILE" help:"The provider's wallet."`
	Worker  []ionet.Key `required:"" placeholder:"KEY" help:"Worker to delegate to; repeat for many hosts."`
	Payout  ionet.Key   `placeholder:"KEY" help:"Wallet that is paid; the provider's own by default."`
	Days    int         `default:"365" range:"1..400" placeholder:"N" help:"How many days the delegation runs."`
	Out     string      `placeholder:"FILE" help:"Also write the signed delegation here, for ionet-worker's --delegation; an existing file is never overwritten."`
}

// Help shows examples below the flags.
func (c *delegateCmd) Help() string {
	return `Examples:
  ionet delegate --server https://ionetd.example --keypair wallet.json --worker 7Xk...
  ionet delegate --server https://ionetd.example --keypair wallet.json --worker 7Xk... --worker 2Bv... \
    --payout 9aB... --days 30 --out delegation.bin`
}

// backdate lets a delegation count for the sample in which it is signed, and on a
// network whose clock is a little behind this machine's.
const backdate = 600

// Run signs a delegation and hands it in.
func (c *delegateCmd) Run(s *stage) error {
	key, err := readKeypair(c.Keypair)
	if err != nil {
		return err
	}
	if err := c.check(chain.PublicOf(key)); err != nil {
		return err
	}
	api, network, err := c.network(s)
	if err != nil {
		return err
	}
	now := time.Now().Unix() - backdate
	d := proofs.Delegation{
		Provider: chain.PublicOf(key), Payout: c.Payout, Workers: slices.Clone(c.Worker),
		Issued: now, Expires: now + int64(c.Days)*24*3600,
	}
	if d.Payout.IsZero() {
		d.Payout = d.Provider
	}
	slices.SortFunc(d.Workers, func(a, b ionet.Key) int { return bytes.Compare(a[:], b[:]) })
	d.Workers = slices.Compact(d.Workers)
	text, err := d.Text(network.ID())
	if err != nil {
		return err
	}
	e := proofs.Sign(network.ID(), proofs.KindDelegation, key, []byte(text))
	result, err := submit(s, api.ForNetwork(network.ID()), e)
	if err != nil {
		return err
	}
	if result.Problem != nil {
		return result.Problem
	}
	s.print("%s\n\ndelegation %s %s", text, e.ID(), result.Status)
	if c.Out != "" {
		if err := writeNew(c.Out, e.Append(nil)); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
		s.print("written to %s", c.Out)
	}
	s.print("next, on each of these hosts: ionet-worker run --server %s --provider %s", c.Server, d.Provider)
	return nil
}

// check refuses what is wrong before anything is signed or sent.
func (c *delegateCmd) check(wallet ionet.Key) error {
	if slices.Contains(c.Worker, wallet) {
		return fmt.Errorf("--worker %s is the wallet itself: give the worker's own key, which ionet-worker init prints on its host", wallet)
	}
	if c.Out == "" {
		return nil
	}
	if _, err := os.Lstat(c.Out); err == nil {
		return fmt.Errorf("--out: %w", errExists(c.Out))
	}
	return nil
}

func errExists(name string) error {
	return fmt.Errorf("%s exists and is not overwritten: choose another name", name)
}

// writeNew writes a file that is not there yet.
func writeNew(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return errExists(name)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

type accountCmd struct {
	Open openCmd `cmd:"" help:"Open the wallet's token account, if it has none: batch payouts need one."`
}

type openCmd struct {
	Keypair string    `required:"" placeholder:"FILE" help:"The wallet; it pays the account's rent."`
	RPC     []string  `name:"rpc" required:"" env:"IONET_RPC" placeholder:"URL" help:"RPC of the cluster; repeat for more endpoints."`
	Mint    ionet.Key `required:"" env:"IONET_MINT" placeholder:"KEY" help:"The token."`
	Airdrop bool      `help:"Ask the cluster's faucet for lamports first (local and test clusters)."`
}

// Help shows examples below the flags.
func (c *openCmd) Help() string {
	return `Examples:
  ionet account open --keypair wallet.json --rpc https://api.mainnet-beta.solana.com --mint 9xQ...
  ionet account open --keypair wallet.json --rpc http://127.0.0.1:8899 --mint 9xQ... --airdrop`
}

// Run opens the account; it is idempotent.
func (c *openCmd) Run(s *stage) error {
	key, err := readKeypair(c.Keypair)
	if err != nil {
		return err
	}
	cluster, err := openRPC(c.RPC)
	if err != nil {
		return err
	}
	wallet := chain.PublicOf(key)
	if c.Airdrop {
		if err := airdrop(s, cluster, wallet); err != nil {
			return err
		}
	}
	account := chain.TokenAccount(wallet, c.Mint)
	for range 3 { // a blockhash can expire before the cluster takes the transaction
		opened, err := c.try(s, cluster, key, account)
		if err != nil {
			return err
		}
		if opened {
			s.print("token account %s of wallet %s is open", account, wallet)
			return nil
		}
	}
	return errors.New("open token account: the cluster did not take the transaction; try again later")
}

// try sends one transaction and waits until the account is there or the
// transaction can't land any more.
func (c *openCmd) try(s *stage, cluster *rpc.Client, key ed25519.PrivateKey, account ionet.Key) (bool, error) {
	wallet := chain.PublicOf(key)
	hash, err := cluster.LatestBlockhash(s.ctx)
	if err != nil {
		return false, err
	}
	message, err := chain.AccountCreation{
		FeePayer: wallet, Mint: c.Mint, Owners: []ionet.Key{wallet}, Blockhash: hash.Hash, Budget: accountBudget,
	}.Message()
	if err != nil {
		return false, err
	}
	tx, _, err := chain.SignMessage(message, key)
	if err != nil {
		return false, err
	}
	for {
		accounts, _, err := cluster.Accounts(s.ctx, []ionet.Key{account}, rpc.Confirmed, 0)
		if err != nil || accounts[0].Exists() {
			return err == nil, err
		}
		head, err := cluster.FinalizedHead(s.ctx)
		if err != nil || head.BlockHeight > hash.LastValidHeight {
			return false, err
		}
		err = cluster.Send(s.ctx, tx, rpc.SendOptions{MinContextSlot: hash.ContextSlot})
		var refused *rpc.PreflightError
		if errors.As(err, &refused) {
			return false, fmt.Errorf("open token account: %w; has the wallet lamports?", err)
		}
		if err := s.pause(200 * time.Millisecond); err != nil {
			return false, err
		}
	}
}

// airdrop asks for lamports and waits until they are there.
func airdrop(s *stage, cluster *rpc.Client, wallet ionet.Key) error {
	if err := cluster.Airdrop(s.ctx, wallet, faucetLamports); err != nil {
		return fmt.Errorf("ask the faucet: %w", err)
	}
	for {
		accounts, _, err := cluster.Accounts(s.ctx, []ionet.Key{wallet}, rpc.Confirmed, 0)
		if err != nil || accounts[0].Lamports > 0 {
			return err
		}
		if err := s.pause(100 * time.Millisecond); err != nil {
			return err
		}
	}
}

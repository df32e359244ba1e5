package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
)

// maxPriority is the priority fee in lamports that a wallet signs without asking.
const maxPriority = 1_000_000

type claimCmd struct {
	server
	Keypair string   `placeholder:"FILE" help:"The wallet that is paid; it pays the transaction's fee and its own token account."`
	PayURL  bool     `name:"pay-url" help:"Print the Solana Pay URL by which a wallet claims for itself, and end; no key is read. Networks whose rewards several keys sign for have no such claims."`
	RPC     []string `name:"rpc" env:"IONET_RPC" placeholder:"URL" help:"RPC of the cluster; needed for --airdrop only."`
	Airdrop bool     `help:"Ask the cluster's faucet for lamports first (local and test clusters)."`
}

// Help shows examples below the flags.
func (c *claimCmd) Help() string {
	return `The wallet signs one transaction, after it was checked that it moves the amount to the wallet and nothing
else. The wallet pays the transaction's fee, and at first its token account's rent.

Examples:
  ionet claim --server https://ionetd.example --keypair wallet.json
  ionet claim --server http://127.0.0.1:8080 --keypair wallet.json --rpc http://127.0.0.1:8899 --airdrop

A wallet that takes Solana Pay links claims for itself; as a QR code the URL is scanned by a phone:
  ionet claim --server https://ionetd.example --pay-url`
}

// Run claims, and claims again where another claim took the lane's position or another
// instance of the service takes over.
func (c *claimCmd) Run(s *stage) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	if c.PayURL {
		return c.printPayURL(s)
	}
	if c.Keypair == "" {
		return errors.New("--keypair: name the key file of the wallet that is paid, or have --pay-url print a link for a wallet app")
	}
	key, err := readKeypair(c.Keypair)
	if err != nil {
		return err
	}
	network, _, err := api.NetworkFile(s.ctx)
	if err != nil {
		return err
	}
	if c.Airdrop {
		cluster, err := openRPC(c.RPC)
		if err != nil {
			return err
		}
		if err := airdrop(s, cluster, chain.PublicOf(key)); err != nil {
			return err
		}
	}
	for range claimTries {
		done, err := claimOnce(s, api, network, key)
		var later *client.Problem
		if (client.IsProblem(err, client.ClaimPending) || client.IsProblem(err, client.NotLeader)) && errors.As(err, &later) {
			s.print("%s", later.Detail)
			if err := s.pause(max(later.RetryAfter, time.Second)); err != nil {
				return err
			}
			continue
		}
		if done || err != nil {
			return err
		}
	}
	return fmt.Errorf("claim: the lane moved on, an earlier claim was on its way, or no service led, %d times; try again later", claimTries)
}

// claimTries is how often a claim is prepared. An earlier one of the wallet's is over
// when its blockhash is, after about half a minute.
const claimTries = 10

// printPayURL prints the link that a wallet opens or scans. Wallets call https only,
// so that nobody between them and the service can have them sign something else.
func (c *claimCmd) printPayURL(s *stage) error {
	link := strings.TrimSuffix(c.Server, "/") + "/v1/pay/claim"
	u, err := url.Parse(link)
	if err != nil {
		return fmt.Errorf("--server: %w", err)
	}
	s.print("solana:%s", link)
	if u.Scheme != "https" {
		s.print("wallets follow https links only: this one is for trying it out")
	}
	return nil
}

// claimOnce takes one claim to its end. done is false where it can't land any
// more and another may be prepared.
func claimOnce(s *stage, api *client.Client, n *ionet.Network, key ed25519.PrivateKey) (done bool, err error) {
	wallet := chain.PublicOf(key)
	prepared, err := api.PrepareClaim(s.ctx, wallet)
	if err != nil {
		return false, err
	}
	if err := checkClaim(prepared, n, wallet); err != nil {
		return false, fmt.Errorf("the service's transaction is not the claim that was asked for, nothing was signed: %w", err)
	}
	s.print("claim of %s IO on lane %s position %d", prepared.Amount.Tokens(n.Decimals), prepared.Lane, prepared.Position)
	tx, err := chain.CoSign(prepared.Transaction, key)
	if err != nil {
		return false, err
	}
	state, err := api.SubmitClaim(s.ctx, tx)
	if client.IsProblem(err, client.ClaimExpired) || client.IsProblem(err, client.ClaimChanged) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	s.print("signed and sent as %s", state.Signature)
	for {
		if state, err = api.ClaimState(s.ctx, prepared.Message); err != nil {
			return false, err
		}
		switch state.State {
		case client.ClaimIsPaid:
			s.print("paid: final in slot %d, transaction %s", state.Slot, state.Signature)
			return true, nil
		case client.ClaimIsSuperseded, client.ClaimIsExpired:
			s.print("this claim is %s and can't land any more", state.State)
			return false, nil
		}
		if err := s.pause(250 * time.Millisecond); err != nil {
			return false, err
		}
	}
}

// checkClaim reads the bytes that the wallet is asked to sign: they move the
// amount from the reward vault to the wallet's own account and nothing else.
func checkClaim(c client.Claim, n *ionet.Network, wallet ionet.Key) error {
	d, err := chain.Decode(c.Transaction)
	if err != nil {
		return err
	}
	p := d.Plan
	switch {
	case p.Kind != chain.KindClaim:
		return fmt.Errorf("it is a %s", p.Kind)
	case p.FeePayer != wallet:
		return fmt.Errorf("its fee payer is %s", p.FeePayer)
	case d.MessageHash() != c.Message:
		return errors.New("its message is not the one that was named")
	case p.Mint != n.Mint:
		return fmt.Errorf("its token is %s", p.Mint)
	case p.Budget.PriorityLamports > maxPriority:
		return fmt.Errorf("its priority fee is %d lamports, more than %d", p.Budget.PriorityLamports, maxPriority)
	case len(d.Lighthouse) > 0:
		return errors.New("it goes on after its memo")
	}
	want := chain.Movement{Op: chain.Transfer, Source: n.Vaults.Reward, Destination: chain.TokenAccount(wallet, n.Mint), Amount: c.Amount}
	if len(p.Movements) != 1 || p.Movements[0] != want {
		return fmt.Errorf("it moves %v, not %v", p.Movements, want)
	}
	if name, ok := n.LaneName(p.Steps[0].Lane); !ok || name != c.Lane {
		return fmt.Errorf("it steps lane %s", p.Steps[0].Lane)
	}
	return nil
}

package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
)

// maxPriority is the priority fee in lamports that a wallet signs without asking.
const maxPriority = 1_000_000

type claimCmd struct {
	server
	Keypair string   `required:"" placeholder:"FILE" help:"The wallet that is paid; it pays the transaction's fee and its own token account."`
	RPC     []string `name:"rpc" env:"IONET_RPC" placeholder:"URL" help:"RPC of the cluster; needed for --airdrop only."`
	Airdrop bool     `help:"Ask the cluster's faucet for lamports first (local and test clusters)."`
}

// Help shows examples below the flags.
func (c *claimCmd) Help() string {
	return `The wallet signs one transaction, after it was checked that it moves the amount to the wallet and nothing
else. The wallet pays the transaction's fee, and at first its token account's rent.

Examples:
  ionet claim --server https://ionetd.example --keypair wallet.json
  ionet claim --server http://127.0.0.1:8080 --keypair wallet.json --rpc http://127.0.0.1:8899 --airdrop`
}

// Run claims, and claims again where another claim took the lane's position.
func (c *claimCmd) Run(s *stage) error {
	key, err := readKeypair(c.Keypair)
	if err != nil {
		return err
	}
	api, err := c.client()
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
	for range 5 {
		done, err := claimOnce(s, api, network, key)
		if done || err != nil {
			return err
		}
	}
	return errors.New("claim: the lane moved on five times; try again later")
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

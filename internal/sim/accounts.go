package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/system"
	"github.com/gagliardetto/solana-go/programs/token"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

// anybody draws a provider.
func (r *run) anybody() *provider { return r.world.providers[r.rng.IntN(len(r.world.providers))] }

// sendAs sends instructions of a wallet past preflight: what fails, fails on chain.
func (r *run) sendAs(ctx context.Context, key ed25519.PrivateKey, list ...solana.Instruction) (string, chain.Signature, error) {
	data, err := r.world.sign(ctx, list, key)
	if err != nil {
		return "", chain.Signature{}, err
	}
	raw, err := chain.ParseRaw(data, nil, nil)
	if err != nil {
		return "", chain.Signature{}, err
	}
	err = r.world.clean.Send(ctx, data, rpc.SendOptions{})
	r.said(err)
	return class(err), raw.Signature(), nil
}

// held returns what a wallet's token account holds now.
func (r *run) held(ctx context.Context, owner ionet.Key) (uint64, error) {
	n := r.world.net.Network
	a, _, err := r.world.clean.TokenBalance(ctx, chain.TokenAccount(owner, n.Mint), n.Mint, rpc.Confirmed, 0)
	if errors.Is(err, chain.ErrNoAccount) {
		return 0, nil
	}
	return a.Base(), err
}

// move builds a transfer of tokens from a wallet's token account.
func (r *run) move(from, to ionet.Key, amount uint64) solana.Instruction {
	n := r.world.net.Network
	source := chain.TokenAccount(from, n.Mint)
	return token.NewTransferCheckedInstruction(amount, uint8(n.Decimals), solana.PublicKey(source), solana.PublicKey(n.Mint), solana.PublicKey(to), solana.PublicKey(from), nil).Build()
}

// closeAccount lets a payee move his tokens away and close his token account.
func (r *run) closeAccount(ctx context.Context) (string, error) {
	p, n := r.anybody(), r.world.net.Network
	holds, err := r.held(ctx, p.payee())
	if err != nil {
		return "", err
	}
	owner, account := solana.PublicKey(p.payee()), solana.PublicKey(chain.TokenAccount(p.payee(), n.Mint))
	var list []solana.Instruction
	if holds > 0 {
		list = append(list, r.move(p.payee(), chain.TokenAccount(chain.PublicOf(strangerKey()), n.Mint), holds))
	}
	outcome, _, err := r.sendAs(ctx, p.wallet, append(list, token.NewCloseAccountInstruction(account, owner, owner, nil).Build())...)
	return fmt.Sprintf("%d: %s", p.number, outcome), err
}

// openAccount lets a payee open his token account.
func (r *run) openAccount(ctx context.Context) (string, error) {
	p := r.anybody()
	err := r.world.openAccounts(ctx, r.world.net.Network.Mint, p.wallet, p.payee())
	r.said(err)
	return fmt.Sprintf("%d: %s", p.number, class(err)), nil
}

// freezeAccount freezes a payee's token account, or thaws one that is. The token
// has no freeze authority, so it is done past the rules.
func (r *run) freezeAccount(ctx context.Context) (string, error) {
	p := r.anybody()
	key := chain.TokenAccount(p.payee(), r.world.net.Network.Mint)
	list, _, err := r.world.clean.Accounts(ctx, []ionet.Key{key}, rpc.Confirmed, 0)
	if err != nil || !list[0].Exists() {
		return fmt.Sprintf("%d: none", p.number), err
	}
	// What the open slot did to it since must not be undone.
	if err := r.world.tick(0, 1); err != nil {
		return "", err
	}
	if list, _, err = r.world.clean.Accounts(ctx, []ionet.Key{key}, rpc.Confirmed, 0); err != nil || !list[0].Exists() {
		return fmt.Sprintf("%d: gone", p.number), err
	}
	a := localnet.Account{Lamports: list[0].Lamports, Owner: solana.PublicKey(list[0].Owner), Data: slices.Clone(list[0].Data)}
	a.Data[108] = 3 - a.Data[108] // 1 initialized, 2 frozen
	return fmt.Sprintf("%d: %d", p.number, a.Data[108]), r.world.node.SetAccount(solana.PublicKey(key), a)
}

// handOver gives a payee's token account to a stranger.
func (r *run) handOver(ctx context.Context) (string, error) {
	p := r.anybody()
	account := chain.TokenAccount(p.payee(), r.world.net.Network.Mint)
	in := token.NewSetAuthorityInstruction(token.AuthorityAccountOwner, solana.PublicKey(chain.PublicOf(strangerKey())), solana.PublicKey(account), solana.PublicKey(p.payee()), nil).Build()
	outcome, _, err := r.sendAs(ctx, p.wallet, in)
	return fmt.Sprintf("%d: %s", p.number, outcome), err
}

// gift lets a payee who has tokens send some to an account of ours, for no reason.
func (r *run) gift(ctx context.Context) (string, error) {
	for range 10 {
		p := r.anybody()
		holds, err := r.held(ctx, p.payee())
		if err != nil {
			return "", err
		}
		if holds == 0 {
			continue
		}
		amount := 1 + r.rng.Uint64N(holds)
		n := r.world.net.Network
		to := []ionet.Key{n.Vaults.Reward, n.Vaults.Reward, n.Vaults.Fee, n.Allocation[3].Account, n.Allocation[0].Account}[r.rng.IntN(5)]
		outcome, _, err := r.sendAs(ctx, p.wallet, r.move(p.payee(), to, amount))
		return fmt.Sprintf("%d from %d: %s", amount, p.number, outcome), err
	}
	return "nobody has any", nil
}

// giveLamports sends lamports to something that is ours.
func (r *run) giveLamports(ctx context.Context) (string, error) {
	n := r.world.net.Network
	lane := n.Lanes[r.rng.IntN(len(n.Lanes))]
	next := r.oracle.next[lane.Name]
	to := []ionet.Key{n.Vaults.Reward, lane.Address, r.world.net.Keys.Secret.Public(next), n.Mint, n.Keys.Operator}[r.rng.IntN(5)]
	outcome, _, err := r.sendAs(ctx, strangerKey(), system.NewTransferInstruction(1+r.rng.Uint64N(5_000_000), solana.PublicKey(chain.PublicOf(strangerKey())), solana.PublicKey(to)).Build())
	return outcome, err
}

package main

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

// patience is how long a wallet's owner waits for a command while things go wrong.
const patience = 20 * time.Second

// walletBudget is enough for a transfer and the end of an account.
var walletBudget = chain.Budget{ComputeUnits: 60_000, LoadedBytes: 512 << 10}

// An outgo is a transaction by which a provider's tokens leave his account for
// somewhere that the service pays nobody back for. Whether it landed the chain tells
// at the end.
type outgo struct {
	wallet    int
	signature chain.Signature
	amount    ionet.Amount
	gift      bool // to a vault; else to the savings account
}

func (s *stage) savings() string { return filepath.Join(s.dir, "wallets", "savings.json") }

// beneficiary is a wallet that gets unlocked tokens, i = 1..beneficiaries.
func (s *stage) beneficiary(i int) string {
	return filepath.Join(s.dir, "wallets", fmt.Sprintf("beneficiary-%d.json", i))
}

// Two beneficiaries share one category, and one of them has another. Both categories
// are unlocked from the start.
const beneficiaries = 2

// released are the categories that have beneficiaries.
var released = []string{"research", "community"}

// benefits makes the beneficiaries' wallets and returns the flags that name them.
func (s *stage) benefits(ctx context.Context) ([]string, error) {
	var names [beneficiaries]ionet.Key
	for i := range names {
		if err := s.do(ctx, "wallet", "ionet", "keygen", "--out", s.beneficiary(i+1)); err != nil {
			return nil, err
		}
		key, err := chain.ReadKeypair(s.beneficiary(i + 1))
		if err != nil {
			return nil, fmt.Errorf("read a beneficiary's key: %w", err)
		}
		names[i] = chain.PublicOf(key)
	}
	return []string{
		"--beneficiary", fmt.Sprintf("research=%s:3", names[0]), "--beneficiary", fmt.Sprintf("research=%s", names[1]),
		"--beneficiary", fmt.Sprintf("community=%s", names[1]),
	}, nil
}

// openSavings opens the account that providers move their tokens to before they close
// theirs.
func (g *siege) openSavings(ctx context.Context) error {
	if err := g.do(ctx, "wallet", "ionet", "keygen", "--out", g.savings()); err != nil {
		return err
	}
	return g.openAccount(ctx, g.savings())
}

func (g *siege) claimSome(ctx context.Context) error {
	return g.claimSoon(ctx, 1+g.dice.IntN(hosts))
}

func (g *siege) claimSoon(ctx context.Context, provider int) error {
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return g.claim(wait, provider)
}

func (g *siege) claimTwo(ctx context.Context) error {
	first := g.dice.IntN(hosts)
	second := (first + 1 + g.dice.IntN(hosts-1)) % hosts
	var errs [2]error
	var wg sync.WaitGroup
	for i, provider := range []int{1 + first, 1 + second} {
		wg.Go(func() { errs[i] = g.claimSoon(ctx, provider) })
	}
	wg.Wait()
	return errors.Join(errs[:]...)
}

// leaveClaim asks for a claim, which the service has signed or not, and does nothing
// with it.
func (g *siege) leaveClaim(ctx context.Context) error {
	key, err := g.keyOf(1 + g.dice.IntN(hosts))
	if err != nil {
		return err
	}
	if g.dice.IntN(2) == 0 {
		_, err = g.api.OfferClaim(ctx, chain.PublicOf(key))
	} else {
		_, err = g.api.PrepareClaim(ctx, chain.PublicOf(key))
	}
	return err
}

func (g *siege) payoutsSome(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return g.payoutsRun(wait)
}

// tokens draws a small amount, with a fraction.
func (g *siege) tokens() string {
	return fmt.Sprintf("%d.%02d", 1+g.dice.IntN(50), g.dice.IntN(100))
}

func (g *siege) depositSome(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	provider := 1 + g.dice.IntN(hosts)
	err := g.do(wait, "renter", "ionet", "deposit", "--server", g.server, "--rpc", g.rpc,
		"--keypair", g.wallet(provider), "--amount", g.tokens())
	if err == nil {
		g.renter = provider
	}
	return err
}

// withdrawSome asks back some of what was paid in last, perhaps more than that.
func (g *siege) withdrawSome(ctx context.Context) error {
	if g.renter == 0 {
		return g.depositSome(ctx)
	}
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return g.do(wait, "renter", "ionet", "withdraw", "--server", g.server,
		"--keypair", g.wallet(g.renter), "--amount", g.tokens())
}

func (g *siege) releaseSome(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return g.release(wait, released[g.dice.IntN(len(released))])
}

func (s *stage) release(ctx context.Context, category string) error {
	return s.do(ctx, "unlocks", "ionetd", append([]string{"unlocks", "release", "--category", category,
		"--rpc", s.rpc, "--store", s.published(), "--database", s.db.URL()}, s.placeFlags()...)...)
}

func (s *stage) keyOf(provider int) (ed25519.PrivateKey, error) {
	key, err := chain.ReadKeypair(s.wallet(provider))
	if err != nil {
		return nil, fmt.Errorf("read a wallet: %w", err)
	}
	return key, nil
}

// giveSome sends tokens to a vault for no reason.
func (g *siege) giveSome(ctx context.Context) error {
	provider := 1 + g.dice.IntN(hosts)
	vault := g.network.Vaults.Reward
	if g.dice.IntN(2) == 0 {
		vault = g.network.Vaults.Fee
	}
	amount := ionet.MustAmount(1 + g.dice.Uint64N(1_000_000))
	key, err := g.keyOf(provider)
	if err != nil {
		return err
	}
	hash, err := g.cluster.LatestBlockhash(ctx)
	if err != nil {
		return err
	}
	message, err := chain.Deposit{
		Wallet: chain.PublicOf(key), Mint: g.network.Mint, Decimals: uint8(g.network.Decimals), To: vault, Amount: amount,
		Blockhash: hash.Hash, Budget: walletBudget,
	}.Message()
	if err != nil {
		return err
	}
	tx, _, err := chain.SignMessage(message, key)
	if err != nil {
		return err
	}
	return g.sendOut(ctx, outgo{wallet: provider, amount: amount, gift: true}, tx, hash)
}

// Instructions of the SPL Token program that no command of the house has.
const (
	tokenTransferChecked = 12
	tokenCloseAccount    = 9
)

// closeAccount has a provider move his tokens to the savings account and close his own,
// in one transaction. A claim makes him another one; payout runs leave him out meanwhile.
func (g *siege) closeAccount(ctx context.Context) error {
	provider := 1 + g.dice.IntN(hosts)
	key, err := g.keyOf(provider)
	if err != nil {
		return err
	}
	savings, err := chain.ReadKeypair(g.savings())
	if err != nil {
		return err
	}
	wallet, mint := chain.PublicOf(key), g.network.Mint
	account := chain.TokenAccount(wallet, mint)
	amount, _, err := g.cluster.TokenBalance(ctx, account, mint, rpc.Confirmed, 0)
	if err != nil {
		return err
	}
	hash, err := g.cluster.LatestBlockhash(ctx)
	if err != nil {
		return err
	}
	data := append(binary.LittleEndian.AppendUint64([]byte{tokenTransferChecked}, amount.Base()), byte(g.network.Decimals))
	tx, err := solana.NewTransaction([]solana.Instruction{
		token(data, meta(account, true), meta(mint, false), meta(chain.TokenAccount(chain.PublicOf(savings), mint), true), signer(wallet)),
		token([]byte{tokenCloseAccount}, meta(account, true), meta(wallet, true), signer(wallet)),
	}, solana.Hash(hash.Hash), solana.TransactionPayer(solana.PublicKey(wallet)))
	if err != nil {
		return fmt.Errorf("build the end of an account: %w", err)
	}
	message, err := tx.Message.MarshalBinary()
	if err != nil {
		return fmt.Errorf("encode the end of an account: %w", err)
	}
	tx.Signatures = []solana.Signature{solana.Signature(ed25519.Sign(key, message))}
	bytes, err := tx.MarshalBinary()
	if err != nil {
		return fmt.Errorf("encode the end of an account: %w", err)
	}
	return g.sendOut(ctx, outgo{wallet: provider, amount: amount}, bytes, hash)
}

func token(data []byte, accounts ...*solana.AccountMeta) solana.Instruction {
	return solana.NewInstruction(solana.PublicKey(chain.TokenProgram()), accounts, data)
}

func meta(key ionet.Key, writable bool) *solana.AccountMeta {
	return solana.NewAccountMeta(solana.PublicKey(key), writable, false)
}

func signer(key ionet.Key) *solana.AccountMeta {
	return solana.NewAccountMeta(solana.PublicKey(key), true, true)
}

// sendOut remembers the transaction, sends it until the chain shows it as confirmed or it
// is too late for it. What a fork takes away later the end looks up again.
func (g *siege) sendOut(ctx context.Context, o outgo, tx []byte, hash rpc.Blockhash) error {
	raw, err := chain.ParseRaw(tx, nil, nil)
	if err != nil {
		return err
	}
	o.signature = raw.Signature()
	g.outgoes = append(g.outgoes, o)
	last := errors.New("the chain does not show it")
	for end := time.Now().Add(patience / 2); time.Now().Before(end); {
		if err := g.cluster.Send(ctx, tx, rpc.SendOptions{MinContextSlot: hash.ContextSlot}); err != nil {
			last = err
		}
		if states, err := g.cluster.Statuses(ctx, []chain.Signature{o.signature}); err == nil && states[0] != nil {
			if states[0].Err != nil {
				return states[0].Err
			}
			return nil
		}
		if err := pause(ctx, 300*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("send a wallet's transaction: %w", last)
}

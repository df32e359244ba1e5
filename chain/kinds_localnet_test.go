package chain_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

// An unlock makes the accounts of all seven beneficiaries that a category can
// have, also where somebody sent lamports to every one of their addresses first,
// which costs the most instructions; and again, where they are there.
func TestUnlockMakesAccounts(t *testing.T) {
	for name, prefund := range map[string]bool{"fresh": false, "prefunded": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "epoch", "pay-0")
			owner := newKey(t)
			source := chain.TokenAccount(chain.PublicOf(owner), w.mint)
			budget := chain.Budget{ComputeUnits: 400_000, LoadedBytes: 2 << 20}
			w.must(w.build(chain.AccountCreation{FeePayer: w.op(), Mint: w.mint, Owners: []ionet.Key{chain.PublicOf(owner)}, Blockhash: w.hash.Hash, Budget: budget}.Message()), w.operator)
			h := ionet.HashOf(nil)
			mint := w.plan(chain.KindEpoch, fmt.Sprintf("io1 epoch k=0 inputs=%s verdicts=%s count=1 sum=1000 policy=%s prev=%s", h, h, h, h),
				chain.Movement{Op: chain.Mint, Source: w.mint, Destination: source, Amount: ionet.MustAmount(1000)})
			w.step(&mint, w.first("epoch"))
			if err := w.pass(mint, w.first("epoch")); err != nil {
				t.Fatal(err)
			}
			var wallets []ionet.Key
			for range ionet.MaxBeneficiaries {
				wallets = append(wallets, chain.PublicOf(newKey(t)))
				if prefund {
					w.fund(chain.TokenAccount(wallets[len(wallets)-1], w.mint), 900_000)
				}
			}
			at := w.first("pay-0")
			for turn := 1; turn <= 2; turn++ {
				p := w.unlock(source, chain.PublicOf(owner), wallets)
				here := at
				at = w.step(&p, here)
				if err := w.send(w.build(p.Message()), w.operator, owner, w.secret.Key(here.c)); err != nil {
					t.Fatalf("turn %d: %v", turn, err)
				}
				for i, wallet := range wallets {
					if got, want := w.balance(chain.TokenAccount(wallet, w.mint)), uint64(turn*(i+1)); got != want {
						t.Errorf("turn %d: beneficiary %d has %d, want %d", turn, i, got, want)
					}
				}
			}
		})
	}
}

func (w *world) unlock(source, owner ionet.Key, wallets []ionet.Key) chain.Plan {
	w.t.Helper()
	var moves []chain.Movement
	sum := 0
	for i, wallet := range wallets {
		moves = append(moves, chain.Movement{Op: chain.Transfer, Source: source, Destination: chain.TokenAccount(wallet, w.mint), Amount: ionet.MustAmount(uint64(i + 1))})
		sum += i + 1
	}
	p := w.plan(chain.KindUnlock, fmt.Sprintf("io1 unlock category=seed tranche=13 sum=%d", sum), moves...)
	p.Wallets, p.Owners = wallets, map[ionet.Key]ionet.Key{source: owner}
	p.Budget = p.DefaultBudget()
	return p
}

// After a retire nobody can mint: neither as an epoch nor past the lanes. The lane
// goes on.
func TestRetireEndsMinting(t *testing.T) {
	w := newWorld(t, "epoch")
	at := w.first("epoch")
	mint := w.epoch(1, 1000)
	next := w.step(&mint, at)
	if err := w.pass(mint, at); err != nil {
		t.Fatal(err)
	}
	w.refresh()
	p := chain.Plan{Kind: chain.KindRetire, Version: 1, FeePayer: w.op(), Blockhash: w.hash.Hash, Memo: "io1 retire epoch=1 supply=1000",
		Mint: w.mint, Owners: map[ionet.Key]ionet.Key{w.mint: w.op()}}
	p.Budget = p.DefaultBudget()
	after := w.step(&p, next)
	if err := w.pass(p, next); err != nil {
		t.Fatal(err)
	}
	list, _, err := w.client.Accounts(context.Background(), []ionet.Key{w.mint}, rpc.Confirmed, 0)
	if err != nil {
		t.Fatal(err)
	}
	state, err := chain.ParseMint(list[0].Owner, list[0].Data)
	if err != nil || !state.Authority.IsZero() || state.Supply != 1000 {
		t.Errorf("the mint is %+v, %v, want no authority and a supply of 1000", state, err)
	}
	again := w.epoch(2, 1)
	w.step(&again, after)
	if err := w.pass(again, after); err == nil {
		t.Error("an epoch mints after the retire")
	}
	if got := w.balance(w.reward); got != 1000 {
		t.Errorf("the vault has %d, want 1000", got)
	}
	var keys []ed25519.PrivateKey
	keys = append(keys, w.operator, w.secret.Key(after.c))
	skip := w.epoch(3, 0)
	skip.Movements, skip.Owners, skip.Mint, skip.Decimals = nil, nil, ionet.Key{}, 0
	w.step(&skip, after)
	if err := w.send(w.build(skip.Message()), keys...); err != nil {
		t.Errorf("the lane does not go on: %v", err)
	}
}

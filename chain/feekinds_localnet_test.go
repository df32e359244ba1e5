package chain_test

import (
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// As many fees as fit are paid out of the fee vault, whose owner is another than the
// fee payer, within the default budget.
func TestFiftySixFees(t *testing.T) {
	w := newWorld(t, "epoch", "pay-0")
	owner := newKey(t)
	vault := chain.TokenAccount(chain.PublicOf(owner), w.mint)
	budget := chain.Budget{ComputeUnits: 400_000, LoadedBytes: 2 << 20}
	owners := []ionet.Key{chain.PublicOf(owner)}
	var wallets []ionet.Key
	for range 56 {
		wallets = append(wallets, chain.PublicOf(newKey(t)))
	}
	for rest := append(owners, wallets...); len(rest) > 0; rest = rest[min(8, len(rest)):] {
		w.refresh()
		w.must(w.build(chain.AccountCreation{FeePayer: w.op(), Mint: w.mint, Owners: rest[:min(8, len(rest))], Blockhash: w.hash.Hash, Budget: budget}.Message()), w.operator)
	}
	h := ionet.HashOf(nil)
	mint := w.plan(chain.KindEpoch, fmt.Sprintf("io1 epoch k=0 inputs=%s verdicts=%s count=1 sum=10000 policy=%s prev=%s", h, h, h, h),
		chain.Movement{Op: chain.Mint, Source: w.mint, Destination: vault, Amount: ionet.MustAmount(10_000)})
	w.step(&mint, w.first("epoch"))
	if err := w.pass(mint, w.first("epoch")); err != nil {
		t.Fatal(err)
	}
	var moves []chain.Movement
	sum := 0
	for i, wallet := range wallets {
		moves = append(moves, chain.Movement{Op: chain.Transfer, Source: vault, Destination: chain.TokenAccount(wallet, w.mint), Amount: ionet.MustAmount(uint64(i + 1))})
		sum += i + 1
	}
	at := w.first("pay-0")
	p := w.plan(chain.KindFees, fmt.Sprintf("io1 fees batch=%032x count=%d sum=%d", 1, len(moves), sum), moves...)
	p.Owners = map[ionet.Key]ionet.Key{vault: chain.PublicOf(owner)}
	w.step(&p, at)
	if err := w.send(w.build(p.Message()), w.operator, owner, w.secret.Key(at.c)); err != nil {
		t.Fatal(err)
	}
	for i, wallet := range wallets {
		if got := w.balance(chain.TokenAccount(wallet, w.mint)); got != uint64(i+1) {
			t.Errorf("payee %d has %d, want %d", i, got, i+1)
		}
	}
	if got := w.balance(vault); got != uint64(10_000-sum) {
		t.Errorf("the vault has %d, want %d", got, 10_000-sum)
	}
}

// A full memo of receipts passes the seal lane within the default budget.
func TestFullReceiptsMemo(t *testing.T) {
	w := newWorld(t, "seal")
	at := w.first("seal")
	data := make([]byte, 49*56)
	p := w.plan(chain.KindReceipts, fmt.Sprintf("io1 receipts first=1000 count=49 data=%s", base64.RawURLEncoding.EncodeToString(data)))
	next := w.step(&p, at)
	if err := w.pass(p, at); err != nil {
		t.Fatal(err)
	}
	if got := w.state("seal"); got != w.secret.Public(next.c) {
		t.Errorf("the seal lane is at %s, want %s", got, w.secret.Public(next.c))
	}
	again := w.plan(chain.KindReceipts, fmt.Sprintf("io1 receipts first=1000 count=1 data=%s", base64.RawURLEncoding.EncodeToString(data[:56])))
	w.step(&again, at)
	if err := w.pass(again, at); err == nil {
		t.Error("other receipts pass the same position")
	}
}

package audit

import (
	"context"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// checkVaults scans each vault's own history and ties every change of its
// balance to the content that says so, and back. Allocation accounts move
// nothing until unlocks exist.
func (a *auditor) checkVaults(ctx context.Context) error {
	accounts := []ionet.Allocation{{Category: "reward vault", Account: a.network.Vaults.Reward}, {Category: "fee vault", Account: a.network.Vaults.Fee}}
	for _, v := range append(accounts, a.network.Allocation...) {
		if err := a.checkVault(ctx, v.Category, v.Account); err != nil {
			return fmt.Errorf("vault %s: %w", v.Category, err)
		}
		a.Progress("%s: balance explained", v.Category)
	}
	return nil
}

func (a *auditor) checkVault(ctx context.Context, name string, vault ionet.Key) error {
	signatures, err := a.history(ctx, vault)
	if err != nil {
		return fmt.Errorf("read history: %w", err)
	}
	if missing := a.absent(signatures, func(w winner) bool { return touches(w.content, vault) }); missing != "" {
		a.r.skip(Genesis, name, "history", "transaction "+missing, "a history without it: the RPC has pruned it")
	}
	balance := new(big.Int)
	for _, sig := range signatures {
		tx, err := a.transaction(ctx, sig)
		if err != nil {
			return fmt.Errorf("read transaction %s: %w", sig, err)
		}
		if tx.failed {
			continue
		}
		got := tx.change(vault)
		balance.Add(balance, got)
		w, ours := a.known[sig]
		a.explain(name, vault, tx, w, ours, got)
	}
	now, err := a.balance(vault)
	if err != nil {
		a.r.find(Genesis, name, "vault-balance", "a token account", err)
		return nil
	}
	same(a.r, Genesis, name, "vault-balance", balance.String(), now.String())
	return nil
}

// absent returns a winner that belongs into a history and is not there, or "".
func (a *auditor) absent(signatures []string, belongs func(winner) bool) string {
	there := make(map[string]bool, len(signatures))
	for _, s := range signatures {
		there[s] = true
	}
	for _, w := range a.winners() {
		if belongs(w) && !there[w.tx.signature] {
			return w.tx.signature
		}
	}
	return ""
}

func touches(c chain.Content, account ionet.Key) bool {
	return slices.ContainsFunc(c.Movements, func(m chain.Movement) bool { return m.Source == account || m.Destination == account })
}

// explain compares the change that a transaction made to a vault with its content.
func (a *auditor) explain(name string, vault ionet.Key, tx *transaction, w winner, ours bool, got *big.Int) {
	object := fmt.Sprintf("%s, transaction %s", name, tx.signature)
	if ours {
		same(a.r, a.epochOf(w), object, "vault-movement", expectedChange(vault, w.content).String(), got.String())
		return
	}
	if got.Sign() <= 0 || vault != a.network.Vaults.Fee { // deposits are counted as such
		a.r.Foreign++
	}
	switch got.Sign() {
	case -1:
		a.r.find(a.during(tx), object, "vault-debit", "a debit that a lane explains", got)
	case 1:
		if err := a.received(name, vault, tx, got); err != nil {
			a.r.find(a.during(tx), object, "vault-movement", "a sum that can be", err)
		}
	}
	if what := tx.alters(vault); what != "" {
		a.r.find(a.during(tx), object, "vault-authority", "no change of the account itself", what)
	}
}

// received notes what others sent to a vault, and counts it as in suspense. What came
// into the fee vault checkDeposits has looked at.
func (a *auditor) received(name string, vault ionet.Key, tx *transaction, got *big.Int) error {
	if vault == a.network.Vaults.Fee {
		return nil
	}
	a.r.note("%s received %s base units from others in %s", name, got, tx.signature)
	if vault != a.network.Vaults.Reward {
		return nil
	}
	return a.suspend(got.Uint64())
}

// during is the epoch in which a transaction landed, by its block's time; 0
// before the first.
func (a *auditor) during(tx *transaction) uint64 {
	k, _, _ := a.network.Clock().At(time.Unix(tx.time, 0))
	return k
}

// epochOf is the epoch that a finding about w belongs to: the one that it
// seals, or else the one during which it landed.
func (a *auditor) epochOf(w winner) uint64 {
	if w.content.Kind == chain.KindEpoch {
		return w.content.N
	}
	return a.during(w.tx)
}

func expectedChange(vault ionet.Key, c chain.Content) *big.Int {
	sum := new(big.Int)
	for _, m := range c.Movements {
		amount := new(big.Int).SetUint64(m.Amount.Base())
		if m.Destination == vault {
			sum.Add(sum, amount)
		}
		if m.Source == vault {
			sum.Sub(sum, amount)
		}
	}
	return sum
}

// checkSigners scans what our keys signed: every transaction is a lane step or
// one of those that set the network up and move no token.
func (a *auditor) checkSigners(ctx context.Context) error {
	k := a.network.Keys
	for _, signer := range []struct {
		name string
		key  ionet.Key
	}{{"operator", k.Operator}, {"fees", k.Fees}, {"lane key", k.Lane}} {
		signatures, err := a.history(ctx, signer.key)
		if err != nil {
			return fmt.Errorf("read the history of the %s: %w", signer.name, err)
		}
		if missing := a.absent(signatures, func(w winner) bool { return w.tx.signedBy(signer.key) }); missing != "" {
			a.r.skip(Genesis, "signatures of the "+signer.name, "history", "transaction "+missing, "a history without it: the RPC has pruned it")
		}
		for _, sig := range signatures {
			if _, ours := a.known[sig]; ours {
				continue
			}
			tx, err := a.transaction(ctx, sig)
			if err != nil {
				return fmt.Errorf("read transaction %s: %w", sig, err)
			}
			if tx.failed || !tx.signedBy(signer.key) {
				continue
			}
			if what := tx.beyondSetup(); what != "" {
				a.r.find(a.during(tx), "transaction "+sig, "signature-unexplained", "a lane step or set-up by the "+signer.name, what)
			}
		}
		a.Progress("%s: signatures explained", signer.name)
	}
	return nil
}

// checkSupply holds the token's supply against all that was minted. Burns by
// anyone lower it and are reported.
func (a *auditor) checkSupply(context.Context) error {
	m, err := a.mint(a.Mint)
	if err != nil {
		a.r.find(Genesis, "mint", "supply", "a mint", err)
		return nil
	}
	n := a.network
	same(a.r, Genesis, "mint", "mint-authority", a.mintAuthority(n.Authorities.Mint), m.Authority)
	same(a.r, Genesis, "mint", "mint-freeze", ionet.Key{}, m.Freeze)
	same(a.r, Genesis, "mint", "mint-decimals", n.Decimals, int(m.Decimals))
	issued, err := n.Schedule.Genesis.Add(a.r.Minted)
	if err != nil {
		return fmt.Errorf("sum what was issued: %w", err)
	}
	supply, err := ionet.NewAmount(m.Supply)
	if err != nil || supply.Cmp(issued) > 0 {
		a.r.find(Genesis, "mint", "supply", "at most "+issued.String(), m.Supply)
		return nil
	}
	if a.r.Burned, err = issued.Sub(supply); err == nil && !a.r.Burned.IsZero() {
		a.r.note("%s base units were burned", a.r.Burned)
	}
	return nil
}

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
// balance to the content that says so, and back. What is unlocked of a category
// without beneficiaries its owner moves as he likes.
func (a *auditor) checkVaults(ctx context.Context) error {
	accounts := []*held{{name: "reward vault", account: a.network.Vaults.Reward}, {name: "fee vault", account: a.network.Vaults.Fee}}
	for _, al := range a.network.Allocation {
		accounts = append(accounts, &held{name: al.Category, account: al.Account, free: freeOf(al)})
	}
	for _, h := range accounts {
		h.balance = new(big.Int)
		if err := a.checkVault(ctx, h); err != nil {
			return fmt.Errorf("vault %s: %w", h.name, err)
		}
		a.Progress("%s: balance explained", h.name)
	}
	return nil
}

// held is a vault or an allocation account on the walk through its history.
type held struct {
	name    string
	account ionet.Key
	free    *free    // what its owner may move past the lanes; nil: nothing
	balance *big.Int // after the transaction that is looked at
}

func (a *auditor) checkVault(ctx context.Context, h *held) error {
	signatures, err := a.history(ctx, h.account)
	if err != nil {
		return fmt.Errorf("read history: %w", err)
	}
	if missing := a.absent(signatures, func(w winner) bool { return touches(w.content, h.account) }); missing != "" {
		a.r.skip(Genesis, h.name, "history", "transaction "+missing, "a history without it: the RPC has pruned it")
	}
	for _, sig := range signatures {
		tx, err := a.transaction(ctx, sig)
		if err != nil {
			return fmt.Errorf("read transaction %s: %w", sig, err)
		}
		if tx.failed {
			continue
		}
		got := tx.change(h.account)
		h.balance.Add(h.balance, got)
		w, ours := a.known[sig]
		a.explain(h, tx, w, ours, got)
	}
	if h.free != nil {
		h.free.tell(a.r, h.name)
		if a.accounts[h.account].Owner.IsZero() && h.balance.Sign() == 0 {
			return nil // moved away to the last unit, and closed
		}
	}
	now, err := a.balance(h.account)
	if err != nil {
		a.r.find(Genesis, h.name, "vault-balance", "a token account", err)
		return nil
	}
	same(a.r, Genesis, h.name, "vault-balance", h.balance.String(), now.String())
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
func (a *auditor) explain(h *held, tx *transaction, w winner, ours bool, got *big.Int) {
	object := fmt.Sprintf("%s, transaction %s", h.name, tx.signature)
	if ours {
		same(a.r, a.epochOf(w), object, "vault-movement", expectedChange(h.account, w.content).String(), got.String())
		return
	}
	if got.Sign() <= 0 || h.account != a.network.Vaults.Fee { // deposits are counted as such
		a.r.Foreign++
	}
	switch {
	case got.Sign() < 0 && h.free != nil:
		a.ownerMoved(h, tx, object, got)
	case got.Sign() < 0:
		a.r.find(a.during(tx), object, "vault-debit", "a debit that a lane explains", got)
	case got.Sign() > 0:
		if err := a.received(h.name, h.account, tx, got); err != nil {
			a.r.find(a.during(tx), object, "vault-movement", "a sum that can be", err)
		}
	}
	if what := tx.alters(h.account, h.free != nil); what != "" {
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
			if what := tx.beyondSetup(func(in chain.Instruction) bool { return a.asMember(signer.key, in) }); what != "" {
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

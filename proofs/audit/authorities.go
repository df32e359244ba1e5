package audit

import (
	"context"
	"fmt"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// checkAuthorities derives the multisigs and what follows from who owns the
// vaults, and holds what genesis did with the mint against it.
func (a *auditor) checkAuthorities(d *chain.Decoded) {
	n := a.network
	for i, s := range n.Multisigs {
		want := chain.MultisigAddress(n.Keys.Operator, i, chain.MultisigState{M: s.M, Members: s.Members})
		same(a.r, Genesis, fmt.Sprintf("multisig %d", i), "derivation", want, s.Address)
	}
	same(a.r, Genesis, "reward vault", "derivation", chain.TokenAccount(n.Authorities.Reward, n.Mint), n.Vaults.Reward)
	same(a.r, Genesis, "fee vault", "derivation", chain.TokenAccount(n.Authorities.Fee, n.Mint), n.Vaults.Fee)
	var handed ionet.Key
	if n.Authorities.Mint != n.Keys.Operator {
		handed = n.Authorities.Mint
	}
	same(a.r, Genesis, "genesis transaction", "mint-authority", handed, d.Plan.HandMintTo)
}

// checkMultisigs holds the accounts of the snapshot against the network file.
// Nothing can change them after they were made.
func (a *auditor) checkMultisigs() {
	for i, s := range a.network.Multisigs {
		object := fmt.Sprintf("multisig %d", i)
		account := a.accounts[s.Address]
		state, err := chain.ParseMultisig(account.Owner, account.Data)
		if err != nil {
			a.r.find(Genesis, object, "multisig", "a multisig of the token program", err)
			continue
		}
		same(a.r, Genesis, object, "multisig", fmt.Sprintf("%d of %v", s.M, s.Members), fmt.Sprintf("%d of %v", state.M, state.Members))
	}
}

// checkOwners holds the vaults, as they are at the snapshot, against who owns them by
// the network file. That nobody else may move what is in them the history tells too,
// but only where the RPC has all of it.
func (a *auditor) checkOwners() {
	n := a.network
	for _, v := range []struct {
		name           string
		account, owner ionet.Key
	}{{"reward vault", n.Vaults.Reward, n.Authorities.Reward}, {"fee vault", n.Vaults.Fee, n.Authorities.Fee}} {
		account := a.accounts[v.account]
		t, err := chain.ParseTokenAccount(account.Owner, account.Data)
		if err != nil {
			continue // checkVault finds that
		}
		same(a.r, Genesis, v.name, "vault-authority", "owner "+v.owner.String(), "owner "+t.Owner.String())
		same(a.r, Genesis, v.name, "vault-authority", "no delegate, no close authority", others(t))
	}
	if len(n.Multisigs) > 0 {
		a.r.note("who signs: %s mints, %s pays from the reward vault, %s from the fee vault",
			a.whoIs(n.Authorities.Mint), a.whoIs(n.Authorities.Reward), a.whoIs(n.Authorities.Fee))
	}
}

// others tells who beside its owner may move or close a token account.
func others(t chain.TokenState) string {
	delegate, closer := "no delegate", "no close authority"
	if !t.Delegate.IsZero() {
		delegate = "delegate " + t.Delegate.String()
	}
	if !t.CloseAuthority.IsZero() {
		closer = "close authority " + t.CloseAuthority.String()
	}
	return delegate + ", " + closer
}

// whoIs tells an authority of the network.
func (a *auditor) whoIs(authority ionet.Key) string {
	if s, ok := a.network.Multisig(authority); ok {
		return fmt.Sprintf("any %d of %d members", s.M, len(s.Members))
	}
	return "the key " + authority.String()
}

// checkSource returns why who signs for a source of the plan is not its
// authority: nobody else may, nor less than m members of a multisig.
func (a *auditor) checkSource(p chain.Plan, source ionet.Key) error {
	owner, cosigners := p.Owners[source], p.Cosigners[p.Owners[source]]
	want, ok := a.network.AuthorityOf(source)
	if p.Kind == chain.KindGenesis {
		want = a.network.Keys.Operator // who mints before he hands the mint over
	}
	if !ok {
		return fmt.Errorf("its source is %s, neither mint nor vault nor allocation account", source)
	}
	if owner != want {
		return fmt.Errorf("%s signs for %s", owner, source)
	}
	s, multisig := a.network.Multisig(want)
	if !multisig {
		if len(cosigners) > 0 {
			return fmt.Errorf("%s, who signs for %s, is no multisig", owner, source)
		}
		return nil
	}
	if len(cosigners) < s.M {
		return fmt.Errorf("%d members sign for %s, not %d", len(cosigners), source, s.M)
	}
	for _, k := range cosigners {
		if !slices.Contains(s.Members, k) {
			return fmt.Errorf("%s, no member, signs for %s", k, source)
		}
	}
	return nil
}

// checkMultisigUse scans what names the multisigs: as the authority of a token
// instruction they stand in transactions of lanes alone, but for those that own a
// category without beneficiaries, whose account tells what they do.
func (a *auditor) checkMultisigUse(ctx context.Context) error {
	for i, s := range a.network.Multisigs {
		name := fmt.Sprintf("multisig %d", i)
		if a.ownersMultisig(s.Address) {
			continue
		}
		signatures, err := a.history(ctx, s.Address)
		if err != nil {
			return fmt.Errorf("read the history of %s: %w", name, err)
		}
		if missing := a.absent(signatures, func(w winner) bool { return len(w.tx.decoded.Plan.Cosigners[s.Address]) > 0 }); missing != "" {
			a.r.skip(Genesis, name, "history", "transaction "+missing, "a history without it: the RPC has pruned it")
		}
		for _, sig := range signatures {
			if _, ours := a.known[sig]; ours {
				continue
			}
			tx, err := a.transaction(ctx, sig)
			if err != nil {
				return fmt.Errorf("read transaction %s: %w", sig, err)
			}
			if what := tx.authorizedBy(s.Address); what != "" && !tx.failed {
				a.r.find(a.during(tx), "transaction "+sig, "signature-unexplained", "a lane step by the members of "+name, what)
			}
		}
		a.Progress("%s: signatures explained", name)
	}
	return nil
}

// authorityAt is where an instruction of the Token program names its authority.
var authorityAt = map[byte]int{
	tokenTransfer: 2, tokenApprove: 2, tokenRevoke: 1, tokenSetAuthority: 1, tokenMintTo: 2, tokenBurn: 2, tokenCloseAccount: 2,
	tokenFreezeAccount: 2, tokenThawAccount: 2, tokenTransferChecked: 3, tokenApproveChecked: 3, tokenMintToChecked: 2, tokenBurnChecked: 2,
}

// authorizedBy returns what the transaction did in the name of the authority, or
// "". To be named elsewhere, as by a stranger's transfer, takes no signature.
func (t *transaction) authorizedBy(key ionet.Key) string {
	for in := range t.tokens {
		if i, ok := authorityAt[in.Data[0]]; ok && i < len(in.Accounts) && in.Accounts[i].Key == key {
			return fmt.Sprintf("token instruction %d", in.Data[0])
		}
	}
	return ""
}

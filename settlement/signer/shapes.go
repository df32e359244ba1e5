package signer

import (
	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
)

// judgePayload holds what a kind may move, from where to where, and that its memo
// says the same. It sets the entries' amounts.
func (p *Policy) judgePayload(d *chain.Decoded, entries []entry, v view) *Refusal {
	memo, err := proofs.ParseMemo(d.Plan.Memo)
	if err != nil {
		return refuse("memo", "memo", "%v", err)
	}
	if refusal := p.judgeMovements(d.Plan); refusal != nil {
		return refusal
	}
	var sum ionet.Amount
	for _, m := range d.Plan.Movements {
		if sum, err = sum.Add(m.Amount); err != nil {
			return refuse("amount", "movements", "%v", err)
		}
	}
	for i := range entries {
		entries[i].amount = sum
	}
	return p.judgeKind(d, memo, sum, entries[0].n, v)
}

// judgeMovements holds what is the same for every kind: token and owner are the
// network's, and no movement goes to a lane, not even of another transaction.
func (p *Policy) judgeMovements(plan chain.Plan) *Refusal {
	if len(plan.Movements) == 0 {
		return nil
	}
	n := p.Network
	if plan.Mint != n.Mint || int(plan.Decimals) != n.Decimals {
		return refuse("token", "movements", "token %s with %d decimals is not this network's", plan.Mint, plan.Decimals)
	}
	source := plan.Movements[0].Source
	owner, known := p.authority(source)
	if !known {
		return refuse("source", "movements", "%s is neither the mint nor a vault or allocation of this network", source)
	}
	if got := plan.Owners[source]; got != owner {
		return refuse("source", "movements", "%s is moved by %s, its authority is %s", source, got, owner)
	}
	for i, m := range plan.Movements {
		if _, lane := n.LaneName(m.Destination); lane || m.Destination == n.Mint {
			return refuse("destination", "movements", "movement %d goes to a lane or to the mint", i)
		}
	}
	return nil
}

// authority returns who signs for the mint, a vault or an allocation account.
func (p *Policy) authority(source ionet.Key) (ionet.Key, bool) {
	n := p.Network
	switch source {
	case n.Mint, n.Vaults.Reward:
		return n.Keys.Operator, true
	case n.Vaults.Fee:
		return n.Keys.Fees, true
	}
	for _, a := range n.Allocation {
		if a.Account == source {
			return a.Owner, true
		}
	}
	return ionet.Key{}, false
}

// judgeKind holds each kind's own rules.
func (p *Policy) judgeKind(d *chain.Decoded, memo proofs.Memo, sum ionet.Amount, n uint64, v view) *Refusal {
	switch m := memo.(type) {
	case proofs.FenceMemo, proofs.SkipMemo, proofs.SealMemo:
		return nil // they move nothing, which Decode holds
	case proofs.EpochMemo:
		return p.judgeEpoch(d.Plan, m, n, v)
	case proofs.PayoutMemo:
		return p.judgePayout(d.Plan, m, sum)
	case proofs.ClaimMemo:
		return p.judgeClaim(d, m, sum)
	case proofs.WithdrawalMemo:
		return p.judgeWithdrawal(d.Plan, m, sum)
	case proofs.UnlockMemo:
		return p.judgeUnlock(d.Plan, m, sum)
	}
	return refuse("kind", "memo", "this signer signs no %s", d.Plan.Kind)
}

// judgeEpoch: position = epoch, the epoch is over by the signer's own clock, and no
// more than E(k) is minted, to the reward vault.
func (p *Policy) judgeEpoch(plan chain.Plan, m proofs.EpochMemo, n uint64, v view) *Refusal {
	if m.Epoch != n {
		return refuse("epoch", "memo", "the memo is of epoch %d, the position is %d", m.Epoch, n)
	}
	emission, err := p.Schedule.Emission(n)
	if err != nil {
		return refuse("epoch", "memo", "epoch %d: %v", n, err)
	}
	if end := p.Network.Clock().EpochEnd(n); v.now.Unix() < end {
		return refuse("clock", "memo", "epoch %d ends %d seconds from now", n, end-v.now.Unix())
	}
	var minted ionet.Amount
	if len(plan.Movements) > 0 {
		minted = plan.Movements[0].Amount
		if plan.Movements[0].Destination != p.Network.Vaults.Reward {
			return refuse("destination", "movements", "an epoch mints to the reward vault only")
		}
	}
	if m.Sum != minted {
		return refuse("memo", "memo", "the memo's sum is %s, %s is minted", m.Sum, minted)
	}
	if minted.Cmp(emission) > 0 {
		return refuse("emission", "movements", "%s is minted, the emission of epoch %d is %s", minted, n, emission)
	}
	return nil
}

func (p *Policy) judgePayout(plan chain.Plan, m proofs.PayoutMemo, sum ionet.Amount) *Refusal {
	if plan.Movements[0].Source != p.Network.Vaults.Reward {
		return refuse("source", "movements", "a payout comes from the reward vault")
	}
	if m.Count != uint64(len(plan.Movements)) {
		return refuse("memo", "memo", "the memo counts %d transfers, there are %d", m.Count, len(plan.Movements))
	}
	return sumAgrees(m.Sum, sum)
}

func (p *Policy) judgeClaim(d *chain.Decoded, m proofs.ClaimMemo, sum ionet.Amount) *Refusal {
	move := d.Plan.Movements[0]
	switch {
	case move.Source != p.Network.Vaults.Reward:
		return refuse("source", "movements", "a claim comes from the reward vault")
	case m.Wallet != d.FeePayer:
		return refuse("fee-payer", "signers", "the claim is of wallet %s, its fee payer is %s", m.Wallet, d.FeePayer)
	case move.Destination != chain.TokenAccount(m.Wallet, p.Network.Mint):
		return refuse("destination", "movements", "a claim goes to the wallet's own token account")
	}
	return sumAgrees(m.Sum, sum)
}

func (p *Policy) judgeWithdrawal(plan chain.Plan, m proofs.WithdrawalMemo, sum ionet.Amount) *Refusal {
	if plan.Movements[0].Source != p.Network.Vaults.Fee {
		return refuse("source", "movements", "a withdrawal comes from the fee vault")
	}
	if len(plan.Movements) != 1 {
		return refuse("movements", "movements", "a withdrawal is one transfer, not %d", len(plan.Movements))
	}
	return sumAgrees(m.Sum, sum)
}

func (p *Policy) judgeUnlock(plan chain.Plan, m proofs.UnlockMemo, sum ionet.Amount) *Refusal {
	for _, a := range p.Network.Allocation {
		if a.Category == m.Category && a.Account == plan.Movements[0].Source {
			return sumAgrees(m.Sum, sum)
		}
	}
	return refuse("source", "movements", "%s is not the account of category %s", plan.Movements[0].Source, m.Category)
}

func sumAgrees(said, moved ionet.Amount) *Refusal {
	if said != moved {
		return refuse("memo", "memo", "the memo's sum is %s, %s is moved", said, moved)
	}
	return nil
}

package signer

import (
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/emissions"
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
	if m, ok := memo.(proofs.EpochMemo); ok {
		entries[0].memo, entries[0].prev = ionet.HashOf([]byte(d.Plan.Memo)), m.Prev
	}
	return p.judgeKind(d, memo, sum, entries[0].n, v)
}

// judgeMovements holds what is the same for every kind: token and authority are the
// network's, and no movement goes to a lane, not even of another transaction.
func (p *Policy) judgeMovements(plan chain.Plan) *Refusal {
	if len(plan.Owners) == 0 {
		return nil // Decode holds that there are no movements then
	}
	n := p.Network
	if plan.Mint != n.Mint || plan.Kind != chain.KindRetire && int(plan.Decimals) != n.Decimals {
		return refuse("token", "movements", "token %s with %d decimals is not this network's", plan.Mint, plan.Decimals)
	}
	for source, got := range plan.Owners { // exactly one
		authority, known := n.AuthorityOf(source)
		if !known {
			return refuse("source", "movements", "%s is neither the mint nor a vault or allocation of this network", source)
		}
		if got != authority {
			return refuse("source", "movements", "%s is moved by %s, its authority is %s", source, got, authority)
		}
		if refusal := p.judgeCosigners(plan.Cosigners[authority], authority); refusal != nil {
			return refusal
		}
	}
	for i, m := range plan.Movements {
		if _, lane := n.LaneName(m.Destination); lane || m.Destination == n.Mint {
			return refuse("destination", "movements", "movement %d goes to a lane or to the mint", i)
		}
	}
	return nil
}

// judgeCosigners: for a multisig at least m of its members sign, for a key nobody else.
func (p *Policy) judgeCosigners(cosigners []ionet.Key, authority ionet.Key) *Refusal {
	s, isMultisig := p.Network.Multisig(authority)
	if len(cosigners) < s.M {
		return refuse("cosigners", "signers", "%d members sign for %s, want %d", len(cosigners), authority, s.M)
	}
	for _, k := range cosigners {
		if !isMultisig || !slices.Contains(s.Members, k) {
			return refuse("cosigners", "signers", "%s is no member of multisig %s", k, authority)
		}
	}
	return nil
}

// judgeKind holds each kind's own rules.
func (p *Policy) judgeKind(d *chain.Decoded, memo proofs.Memo, sum ionet.Amount, n uint64, v view) *Refusal {
	switch m := memo.(type) {
	case proofs.FenceMemo, proofs.SkipMemo, proofs.SealMemo:
		return nil // they move nothing, which Decode holds
	case proofs.EpochMemo:
		return p.judgeEpoch(d.Plan, m, n, v)
	case proofs.ReceiptsMemo:
		return judgeReceipts(m)
	case proofs.PayoutMemo:
		return p.judgeBatch(d.Plan, p.Network.Vaults.Reward, m.Count, m.Sum, sum)
	case proofs.FeesMemo:
		return p.judgeBatch(d.Plan, p.Network.Vaults.Fee, m.Count, m.Sum, sum)
	case proofs.ClaimMemo:
		return p.judgeClaim(d, m, sum)
	case proofs.WithdrawalMemo:
		return p.judgeWithdrawal(d.Plan, m, sum)
	case proofs.UnlockMemo:
		return p.judgeUnlock(d.Plan, m, sum, v)
	case proofs.RetireMemo:
		return p.judgeRetire(d.Plan, m, n, v)
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
	return p.judgeBook(m)
}

// judgeBook holds what a memo can tell of its book without the book: epoch 1 follows the
// genesis, verdicts are there or not, and some policy judged them. What the epoch after
// another follows is the journal's part.
func (p *Policy) judgeBook(m proofs.EpochMemo) *Refusal {
	n := p.Network
	empty := m.Verdicts == proofs.VerdictsRoot(nil)
	switch {
	case m.Epoch == 1 && m.Prev != ionet.HashOf([]byte(proofs.GenesisMemo{Network: n.ID(), Emission: n.Schedule.Hash}.String())):
		return refuse("epoch", "memo", "epoch 1 does not name the memo of the genesis")
	case empty != (m.Count == 0), m.Count == 0 && !m.Sum.IsZero():
		return refuse("memo", "memo", "the memo counts %d verdicts over %s, its root is another", m.Count, m.Sum)
	case m.Policy.IsZero():
		return refuse("memo", "memo", "the memo names no policy")
	}
	return nil
}

// judgeBatch: a payout comes from the reward vault, fees come from the fee vault, and the
// memo counts and sums the transfers.
func (p *Policy) judgeBatch(plan chain.Plan, vault ionet.Key, count uint64, said, sum ionet.Amount) *Refusal {
	if plan.Movements[0].Source != vault {
		return refuse("source", "movements", "%s come from %s, not from %s", plan.Kind, vault, plan.Movements[0].Source)
	}
	if count != uint64(len(plan.Movements)) {
		return refuse("memo", "memo", "the memo counts %d transfers, there are %d", count, len(plan.Movements))
	}
	return sumAgrees(said, sum)
}

// judgeReceipts holds what a memo of receipts tells of itself: as many leaves as it
// counts, without a gap. What they say is the log's.
func judgeReceipts(m proofs.ReceiptsMemo) *Refusal {
	if m.Count == 0 || m.Count != uint64(len(m.Data))/proofs.CompactSize || len(m.Data)%proofs.CompactSize != 0 {
		return refuse("memo", "memo", "the memo counts %d leaves, its data has %d bytes, %d a leaf", m.Count, len(m.Data), proofs.CompactSize)
	}
	for i := range m.Count {
		leaf, err := proofs.ParseCompact(m.Data[i*proofs.CompactSize:][:proofs.CompactSize])
		if err != nil {
			return refuse("memo", "memo", "leaf %d of the memo: %v", i, err)
		}
		if leaf.Index != m.First+i {
			return refuse("memo", "memo", "leaf %d of the memo is %d of the log, not %d", i, leaf.Index, m.First+i)
		}
	}
	return nil
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

// judgeUnlock: no more than the category's own schedule has unlocked by a month that
// is over by the signer's clock, to the beneficiaries that the network file names,
// each its share. What was released before, the journal's window bounds.
func (p *Policy) judgeUnlock(plan chain.Plan, m proofs.UnlockMemo, sum ionet.Amount, v view) *Refusal {
	i := slices.IndexFunc(p.Network.Allocation, func(a ionet.Allocation) bool { return a.Category == m.Category })
	if i < 0 || p.Network.Allocation[i].Account != plan.Movements[0].Source {
		return refuse("source", "movements", "%s is not the account of category %s", plan.Movements[0].Source, m.Category)
	}
	a := p.Network.Allocation[i]
	if over := emissions.Month(emissions.Passed(p.Network.Clock(), v.now.Unix())); m.Tranche > over {
		return refuse("clock", "memo", "the tranche is of month %d, %d are over", m.Tranche, over)
	}
	unlock, err := emissions.ParseUnlock(a.Unlock)
	if err != nil {
		return refuse("unlock", "memo", "category %s: %v", a.Category, err)
	}
	if free := unlock.ByMonth(a.Amount, m.Tranche); sum.Cmp(free) > 0 {
		return refuse("unlock", "movements", "%s is released, %s of %s are unlocked by month %d", sum, free, a.Category, m.Tranche)
	}
	shares, err := emissions.Divide(sum, a.Beneficiaries)
	if err != nil {
		return refuse("beneficiaries", "movements", "category %s: %v", a.Category, err)
	}
	var want []chain.Movement
	for i, share := range shares {
		if !share.IsZero() {
			to := chain.TokenAccount(a.Beneficiaries[i].Wallet, p.Network.Mint)
			want = append(want, chain.Movement{Op: chain.Transfer, Source: a.Account, Destination: to, Amount: share})
		}
	}
	if !slices.Equal(plan.Movements, want) {
		return refuse("beneficiaries", "movements", "the transfers are not the shares of the beneficiaries of %s", a.Category)
	}
	return sumAgrees(m.Sum, sum)
}

// judgeRetire: the mint is given up at the position after the last epoch, once that is
// over.
func (p *Policy) judgeRetire(plan chain.Plan, m proofs.RetireMemo, n uint64, v view) *Refusal {
	last := p.Schedule.Epochs()
	if n != last+1 || m.Epoch != last {
		return refuse("epoch", "memo", "the mint is given up at position %d after epoch %d, not at %d after %d", last+1, last, n, m.Epoch)
	}
	if end := p.Network.Clock().EpochEnd(last); v.now.Unix() < end {
		return refuse("clock", "memo", "epoch %d ends %d seconds from now", last, end-v.now.Unix())
	}
	if m.Supply.Cmp(p.Network.Schedule.Genesis) < 0 || m.Supply.Cmp(p.Network.Schedule.Cap) > 0 {
		return refuse("memo", "memo", "a supply of %s is not between genesis and cap", m.Supply)
	}
	return nil
}

func sumAgrees(said, moved ionet.Amount) *Refusal {
	if said != moved {
		return refuse("memo", "memo", "the memo's sum is %s, %s is moved", said, moved)
	}
	return nil
}

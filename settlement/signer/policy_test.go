package signer

import (
	"slices"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
)

// Everything that the settle machine sends is signed, and complete but for a claim's
// wallet.
func TestSignsEveryKind(t *testing.T) {
	w := newWorld(t)
	s := w.server(t, journalPath(t))
	pay0, pay1, claim0, claim1 := w.first("pay-0"), w.first("pay-1"), w.first("claim-0"), w.first("claim-1")
	wallet := payee(1)
	epoch := w.at("epoch", 3)
	for name, c := range map[string]struct {
		plan   chain.Plan
		seats  []seat
		others []ionet.Key
	}{
		"fence":       {w.fence(pay1, claim1), []seat{pay1, claim1}, nil},
		"epoch":       {w.epoch(epoch, 100), []seat{epoch}, nil},
		"epoch empty": {w.epoch(epoch, 0), []seat{epoch}, nil},
		"seal":        {w.seal(w.first("seal")), []seat{w.first("seal")}, nil},
		"payout":      {w.payout(pay0, 1, 2, 3), []seat{pay0}, nil},
		"fees":        {w.fees(pay1, 1, 2), []seat{pay1}, nil},
		"receipts":    {w.receipts(w.first("seal"), 7, 3), []seat{w.first("seal")}, nil},
		"claim":       {w.claim(claim0, wallet, 5), []seat{claim0}, []ionet.Key{wallet}},
		"withdrawal":  {w.withdrawal(pay0, 9), []seat{pay0}, nil},
		"unlock":      {w.unlock(pay0, 9), []seat{pay0}, nil},
		"skip":        {w.skip(pay0, claim0), []seat{pay0, claim0}, nil},
	} {
		t.Run(name, func(t *testing.T) { mustSign(t, s, ask(t, c.plan, c.seats...), c.others...) })
	}
}

func TestPolicyRefuses(t *testing.T) {
	w := newWorld(t)
	n := w.Network
	pay, claim, epoch := w.first("pay-0"), w.first("claim-0"), w.at("epoch", 3)
	wallet := payee(1)
	emission, err := w.policy.Schedule.Emission(3)
	if err != nil {
		t.Fatal(err)
	}
	over := emission.Base() + 1
	category := n.Allocation[slices.IndexFunc(n.Allocation, func(a ionet.Allocation) bool { return a.Category == unlocking })]
	// redo gives a changed plan the steps that belong to it.
	redo := func(p chain.Plan, s seat, change func(*chain.Plan)) chain.Plan {
		p.Steps = nil
		change(&p)
		return w.finish(p, s)
	}
	stranger := chain.TokenAccount(payee(5), n.Mint)
	for name, c := range map[string]struct {
		rule  string
		plan  chain.Plan
		seats []seat
	}{
		"an epoch above its emission":       {"emission", w.epoch(epoch, over), []seat{epoch}},
		"an epoch at another position":      {"epoch", redo(w.epoch(epoch, 1), w.at("epoch", 4), func(*chain.Plan) {}), []seat{w.at("epoch", 4)}},
		"an epoch that is not over":         {"clock", w.epoch(w.at("epoch", 11), 1), []seat{w.at("epoch", 11)}},
		"an epoch beyond the schedule":      {"epoch", w.epoch(w.at("epoch", 1001), 1), []seat{w.at("epoch", 1001)}},
		"epoch 0":                           {"epoch", w.epoch(w.first("epoch"), 1), []seat{w.first("epoch")}},
		"an epoch with another sum":         {"memo", redo(w.epoch(epoch, 1), epoch, func(p *chain.Plan) { p.Memo = proofs.EpochMemo{Epoch: 3}.String() }), []seat{epoch}},
		"epoch 1 without the genesis":       {"epoch", w.epoch(w.at("epoch", 1), 1), []seat{w.at("epoch", 1)}},
		"verdicts that nobody counted":      {"memo", redo(w.epoch(epoch, 1), epoch, func(p *chain.Plan) { p.Memo = recount(p.Memo, 0) }), []seat{epoch}},
		"verdicts counted that are none":    {"memo", redo(w.epoch(epoch, 0), epoch, func(p *chain.Plan) { p.Memo = recount(p.Memo, 1) }), []seat{epoch}},
		"an epoch without a policy":         {"memo", redo(w.epoch(epoch, 0), epoch, func(p *chain.Plan) { p.Memo = proofs.EpochMemo{Epoch: 3, Verdicts: proofs.VerdictsRoot(nil)}.String() }), []seat{epoch}},
		"an epoch that mints to a stranger": {"destination", redo(w.epoch(epoch, 1), epoch, func(p *chain.Plan) { p.Movements[0].Destination = stranger }), []seat{epoch}},
		"an epoch on a pay lane":            {"lane", redo(w.epoch(epoch, 1), pay, func(*chain.Plan) {}), []seat{pay}},
		"a payout on the claim lane":        {"lane", w.payout(claim, 1), []seat{claim}},
		"a payout of one more":              {"memo", redo(w.payout(pay, 1), pay, func(p *chain.Plan) { p.Memo = proofs.PayoutMemo{Count: 2, Sum: ionet.MustAmount(1)}.String() }), []seat{pay}},
		"a payout with another sum":         {"memo", redo(w.payout(pay, 1), pay, func(p *chain.Plan) { p.Memo = proofs.PayoutMemo{Count: 1, Sum: ionet.MustAmount(2)}.String() }), []seat{pay}},
		"a payout from the fee vault": {"source", redo(w.withdrawal(pay, 1), pay, func(p *chain.Plan) {
			p.Kind, p.Memo = chain.KindPayout, proofs.PayoutMemo{Count: 1, Sum: ionet.MustAmount(1)}.String()
		}), []seat{pay}},
		"a payout to a lane":           {"destination", redo(w.payout(pay, 1), pay, func(p *chain.Plan) { p.Movements[0].Destination = claim.Lane }), []seat{pay}},
		"a payout paid by somebody":    {"fee-payer", redo(w.payout(pay, 1), pay, func(p *chain.Plan) { p.FeePayer = wallet }), []seat{pay}},
		"a payout of another token":    {"token", redo(w.payout(pay, 1), pay, func(p *chain.Plan) { p.Mint = payee(9) }), []seat{pay}},
		"a payout with other decimals": {"token", redo(w.payout(pay, 1), pay, func(p *chain.Plan) { p.Decimals = 7 }), []seat{pay}},
		"a payout by another owner":    {"source", redo(w.payout(pay, 1), pay, func(p *chain.Plan) { p.Owners = map[ionet.Key]ionet.Key{n.Vaults.Reward: n.Keys.Fees} }), []seat{pay}},
		"a payout from somebody's account": {"source", redo(w.payout(pay, 1), pay, func(p *chain.Plan) {
			p.Movements[0].Source, p.Owners = stranger, map[ionet.Key]ionet.Key{stranger: n.Keys.Operator}
		}), []seat{pay}},
		"a claim of somebody's":           {"fee-payer", redo(w.claim(claim, wallet, 1), claim, func(p *chain.Plan) { p.FeePayer = payee(2) }), []seat{claim}},
		"a claim to another account":      {"destination", redo(w.claim(claim, wallet, 1), claim, func(p *chain.Plan) { p.Movements[0].Destination, p.CreateDestinationFor = stranger, ionet.Key{} }), []seat{claim}},
		"a claim paid by the fee vault's": {"fee-payer", w.claim(claim, n.Keys.Fees, 1), []seat{claim}},
		"a claim with another sum":        {"memo", redo(w.claim(claim, wallet, 1), claim, func(p *chain.Plan) { p.Memo = proofs.ClaimMemo{Wallet: wallet, Sum: ionet.MustAmount(2)}.String() }), []seat{claim}},
		"a withdrawal from the reward vault": {"source", redo(w.payout(pay, 1), pay, func(p *chain.Plan) {
			p.Kind, p.Memo = chain.KindWithdrawal, proofs.WithdrawalMemo{Sum: ionet.MustAmount(1)}.String()
		}), []seat{pay}},
		"fees from the reward vault": {"source", redo(w.payout(pay, 1), pay, func(p *chain.Plan) {
			p.Kind, p.Memo = chain.KindFees, proofs.FeesMemo{Count: 1, Sum: ionet.MustAmount(1)}.String()
		}), []seat{pay}},
		"fees of one more":         {"memo", redo(w.fees(pay, 1), pay, func(p *chain.Plan) { p.Memo = proofs.FeesMemo{Count: 2, Sum: ionet.MustAmount(1)}.String() }), []seat{pay}},
		"fees with another sum":    {"memo", redo(w.fees(pay, 1), pay, func(p *chain.Plan) { p.Memo = proofs.FeesMemo{Count: 1, Sum: ionet.MustAmount(2)}.String() }), []seat{pay}},
		"fees on a claim lane":     {"lane", w.fees(claim, 1), []seat{claim}},
		"fees by the operator":     {"source", redo(w.fees(pay, 1), pay, func(p *chain.Plan) { p.Owners = map[ionet.Key]ionet.Key{n.Vaults.Fee: n.Keys.Operator} }), []seat{pay}},
		"fees paid for by others":  {"fee-payer", redo(w.fees(pay, 1), pay, func(p *chain.Plan) { p.FeePayer = wallet }), []seat{pay}},
		"fees to the mint's lane":  {"destination", redo(w.fees(pay, 1), pay, func(p *chain.Plan) { p.Movements[0].Destination = epoch.Lane }), []seat{pay}},
		"receipts on a pay lane":   {"lane", w.receipts(pay, 0, 1), []seat{pay}},
		"receipts of none":         {"memo", w.receipts(w.first("seal"), 0, 0), []seat{w.first("seal")}},
		"receipts one too few":     {"memo", w.renamed(w.first("seal"), proofs.ReceiptsMemo{First: 5, Count: 3, Data: w.leaves(5, 2)}), []seat{w.first("seal")}},
		"receipts cut short":       {"memo", w.renamed(w.first("seal"), proofs.ReceiptsMemo{First: 5, Count: 2, Data: w.leaves(5, 2)[:111]}), []seat{w.first("seal")}},
		"receipts of other leaves": {"memo", w.renamed(w.first("seal"), proofs.ReceiptsMemo{First: 6, Count: 2, Data: w.leaves(5, 2)}), []seat{w.first("seal")}},
		"an unlock of another category": {"source", redo(w.unlock(pay, 1), pay, func(p *chain.Plan) {
			p.Memo = proofs.UnlockMemo{Category: n.Allocation[1].Category, Tranche: 1, Sum: ionet.MustAmount(1)}.String()
		}), []seat{pay}},
		"a skip of the epoch lane":         {"lane", w.skip(epoch), []seat{epoch}},
		"a fence of the seal lane":         {"lane", w.fence(w.first("seal")), []seat{w.first("seal")}},
		"a priority fee above the ceiling": {"priority-fee", dear(w.payout(pay, 1), func(b *chain.Budget) { b.PriorityLamports = 100_001 }), []seat{pay}},
		"compute units above the ceiling":  {"compute", dear(w.payout(pay, 1), func(b *chain.Budget) { b.ComputeUnits = 400_001 }), []seat{pay}},
		"another position":                 {"lane-key", w.payout(pay, 1), []seat{w.at("pay-0", 1)}},
		"another C(0)":                     {"position", w.payout(pay, 1), []seat{w.at("pay-0", 0)}},
		"the position of another lane":     {"position", w.payout(pay, 1), []seat{w.first("pay-1")}},
		"a position too many":              {"position", w.payout(pay, 1), []seat{pay, w.first("pay-1")}},
		"an unlock above what is free":     {"unlock", w.unlock(pay, category.Amount.Base()+1), []seat{pay}},
		"an unlock of a month to come": {"clock", redo(w.unlock(pay, 9), pay, func(p *chain.Plan) {
			p.Memo = proofs.UnlockMemo{Category: unlocking, Tranche: 1, Sum: ionet.MustAmount(9)}.String()
		}), []seat{pay}},
		"an unlock with another split": {"beneficiaries", redo(w.unlock(pay, 9), pay, func(p *chain.Plan) {
			p.Movements[0].Amount, p.Movements[1].Amount = p.Movements[1].Amount, p.Movements[0].Amount
		}), []seat{pay}},
		"an unlock to a stranger":        {"beneficiaries", redo(w.unlock(pay, 9), pay, func(p *chain.Plan) { p.Wallets[0], p.Movements[0].Destination = payee(5), stranger }), []seat{pay}},
		"a retire before the last epoch": {"epoch", redo(w.retire(epoch), epoch, func(*chain.Plan) {}), []seat{epoch}},
		"a retire that is not due":       {"clock", w.retire(w.at("epoch", 1001)), []seat{w.at("epoch", 1001)}},
		"a retire of a stranger's mint":  {"token", redo(w.retire(epoch), epoch, func(p *chain.Plan) { p.Mint, p.Owners = payee(3), map[ionet.Key]ionet.Key{payee(3): n.Keys.Operator} }), []seat{epoch}},
		"a retire on a pay lane":         {"lane", w.retire(pay), []seat{pay}},
		"no position":                    {"form", w.payout(pay, 1), nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, refusal := w.policy.judge(ask(t, c.plan, c.seats...), w.view())
			if refusal == nil {
				t.Fatalf("allowed: %+v", got.entries)
			}
			if refusal.Rule != c.rule || refusal.Field == "" || refusal.Detail == "" {
				t.Errorf("refused by %q, want rule %s", refusal.Error(), c.rule)
			}
		})
	}
}

func dear(p chain.Plan, change func(*chain.Budget)) chain.Plan {
	change(&p.Budget)
	return p
}

// The mint is given up once the last epoch is over, and its position is fixed.
func TestRetire(t *testing.T) {
	w := newWorld(t)
	last := w.Network.Schedule.Epochs
	w.now = time.Unix(w.Network.Clock().EpochEnd(last), 0)
	s, at := w.server(t, journalPath(t)), w.at("epoch", last+1)
	mustSign(t, s, ask(t, w.retire(at), at))
	p := w.retire(at)
	p.Steps, p.Memo = nil, proofs.RetireMemo{Epoch: last}.String()
	mustRefuse(t, s, "memo", ask(t, w.finish(p, at), at))
}

// A genesis is signed where its keys are made, never by a signer.
func TestNoGenesisIsSigned(t *testing.T) {
	w := newWorld(t)
	n := w.Network
	s := w.first("epoch")
	p := w.plan(chain.KindGenesis, n.Mint, n.Keys.Operator, proofs.GenesisMemo{Network: n.ID(), Emission: n.Schedule.Hash})
	for _, a := range n.Allocation {
		p.Movements = append(p.Movements, chain.Movement{Op: chain.Mint, Source: n.Mint, Destination: a.Account, Amount: a.Amount})
	}
	p.Mint, p.Decimals, p.Owners = n.Mint, uint8(n.Decimals), map[ionet.Key]ionet.Key{n.Mint: n.Keys.Operator}
	p.Reference = chain.GenesisReference(n.Mint)
	mustRefuse(t, w.server(t, journalPath(t)), "lane", ask(t, w.finish(p, s), s))
}

func TestOpeningOfLanes(t *testing.T) {
	w := newWorld(t)
	n := w.Network
	opening := func() chain.Opening {
		o := chain.Opening{FeePayer: n.Keys.Operator, LaneKey: n.Keys.Lane, Blockhash: ionet.Key{9}, Budget: chain.Budget{ComputeUnits: 50_000, LoadedBytes: 1 << 20, PriorityLamports: 77}}
		for i, name := range []string{"pay-0", "claim-1"} {
			s := w.first(name)
			o.Lanes = append(o.Lanes, chain.NewLane{Name: name, First: w.Keys.Secret.Public(s.C), Lamports: uint64(i) * 1_500_000})
		}
		return o
	}
	request := func(o chain.Opening) Request {
		m, err := o.Message()
		if err != nil {
			t.Fatal(err)
		}
		return Request{Message: m}
	}
	s := w.server(t, journalPath(t))
	mustSign(t, s, request(opening()))
	for name, c := range map[string]struct {
		rule   string
		change func(*chain.Opening)
	}{
		"another first key":   {"lane-key", func(o *chain.Opening) { o.Lanes[1].First = payee(1) }},
		"a lane of no name":   {"lane", func(o *chain.Opening) { o.Lanes[0].Name = "pay-9" }},
		"a gift":              {"rent", func(o *chain.Opening) { o.Lanes[0].Lamports = maxRent + 1 }},
		"a priority fee":      {"priority-fee", func(o *chain.Opening) { o.Budget.PriorityLamports = 200_000 }},
		"another fee payer":   {"form", func(o *chain.Opening) { o.FeePayer = payee(1) }},
		"another's lane key":  {"form", func(o *chain.Opening) { o.LaneKey = payee(1) }},
		"the names of others": {"form", func(o *chain.Opening) { o.LaneKey = n.Keys.Fees }},
	} {
		t.Run(name, func(t *testing.T) {
			o := opening()
			c.change(&o)
			mustRefuse(t, s, c.rule, request(o))
		})
	}
	mint, err := chain.MintCreation{FeePayer: n.Keys.Operator, EpochLane: w.first("epoch").Lane, Decimals: 8, Blockhash: ionet.Key{9}, Budget: opening().Budget}.Message()
	if err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, s, "lane", Request{Message: mint})
	noLaneKey := w.server(t, journalPath(t), func(c *ServerConfig) { c.Ring = NewRing(&w.Keys.Secret, w.Keys.Operator) })
	mustRefuse(t, noLaneKey, "position", request(opening()))
}

// The limit of a window counts each position once, with its largest content.
func TestWindow(t *testing.T) {
	w := newWorld(t)
	path := journalPath(t)
	s := w.server(t, path)
	pay, other := w.first("pay-0"), w.first("pay-1")
	small, big := w.payout(pay, 4_000), w.payout(pay, 6_000, 1)
	mustSign(t, s, ask(t, small, pay))
	mustSign(t, s, ask(t, small, pay)) // again, over whatever blockhash
	mustSign(t, s, ask(t, big, pay))   // of the two one lands: 6,001 count
	mustRefuse(t, s, "window", ask(t, w.payout(other, 4_000), other))
	mustSign(t, s, ask(t, w.payout(other, 3_999), other))
	next := pay.next(t, big)
	mustRefuse(t, s, "window", ask(t, w.payout(next, 1), next))
	mustSign(t, s, ask(t, w.skip(next), next)) // moves nothing
	mustSign(t, s, ask(t, w.withdrawal(next, 3_000), next))
	mustRefuse(t, s, "window", ask(t, w.fees(next, 4_000, 1), next)) // each kind has its own limit
	mustSign(t, s, ask(t, w.fees(next, 3_999, 1), next))

	w.now = w.now.Add(59 * time.Minute)
	mustRefuse(t, s, "window", ask(t, w.payout(next, 1), next))
	s.Close()
	s = w.server(t, path) // the journal knows it too
	mustRefuse(t, s, "window", ask(t, w.payout(next, 1), next))
	w.now = w.now.Add(-2 * time.Hour) // a clock set back frees nothing
	mustRefuse(t, s, "window", ask(t, w.payout(next, 1), next))
	w.now = w.now.Add(3*time.Hour + time.Minute)
	mustSign(t, s, ask(t, w.payout(next, 10_000), next))
}

func TestKindsWithoutLimitAreNotSigned(t *testing.T) {
	w := newWorld(t)
	delete(w.policy.Limits, chain.KindPayout)
	pay := w.first("pay-0")
	s := w.server(t, journalPath(t))
	mustRefuse(t, s, "window", ask(t, w.payout(pay, 1), pay))
	mustSign(t, s, ask(t, w.skip(pay), pay))
}

// Whoever asks can't burn the operator's lamports: what fails costs fees too.
func TestLamportsOfAWindow(t *testing.T) {
	w := newWorld(t)
	w.policy.MaxLamports = 25_000
	path := journalPath(t)
	s := w.server(t, path)
	pay := w.first("pay-0")
	another := func(hash string) Request { return ask(t, fresh(w.skip(pay), hash), pay) } // two signatures
	mustSign(t, s, another("a"))
	mustSign(t, s, another("b"))
	mustSign(t, s, another("b")) // the same bytes land once
	mustRefuse(t, s, "window", another("c"))
	claim := w.first("claim-0")
	mustSign(t, s, ask(t, w.claim(claim, payee(1), 1), claim), payee(1)) // paid by its wallet
	s.Close()
	s = w.server(t, path)
	mustRefuse(t, s, "window", another("c"))
	w.now = w.now.Add(time.Hour + time.Second)
	mustSign(t, s, another("c"))
}

// recount is an epoch's memo that counts another number of verdicts.
func recount(memo string, count uint64) string {
	m, err := proofs.ParseMemo(memo)
	if err != nil {
		panic(err)
	}
	e := m.(proofs.EpochMemo)
	e.Count = count
	return e.String()
}

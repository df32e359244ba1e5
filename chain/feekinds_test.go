package chain

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/ionet-settlement/ionet"
)

const longFees = "io1 fees batch=000102030405060708090a0b0c0d0e0f count=57 sum=9223372036854775807"

// feesPaid is a batch of fees: as a payout, from the vault of the fee key.
func (f fixture) feesPaid(t testing.TB, at position, payees int) Plan {
	t.Helper()
	owner := PublicOf(f.fees)
	vault := TokenAccount(owner, f.mint)
	p := f.payout(t, at, payees)
	p.Kind, p.Steps, p.Owners = KindFees, nil, map[ionet.Key]ionet.Key{vault: owner}
	var sum ionet.Amount
	for i := range p.Movements {
		p.Movements[i].Source = vault
		sum, _ = sum.Add(p.Movements[i].Amount)
	}
	p.Memo = fmt.Sprintf("io1 fees batch=000102030405060708090a0b0c0d0e0f count=%d sum=%s", payees, sum)
	p.Budget = p.DefaultBudget()
	f.step(t, &p, at)
	return p
}

// compactForm is the size of one leaf in a receipts memo: index u64, id [32], fee
// u64, after u64.
const compactForm = 8 + 32 + 8 + 8

// receipts carries that many leaves of the log, from leaf 1,000 on.
func (f fixture) receipts(t testing.TB, at position, count int) Plan {
	t.Helper()
	var data []byte
	for i := range uint64(count) {
		id := ionet.HashOf([]byte("receipt"), binary.LittleEndian.AppendUint64(nil, i))
		data = binary.LittleEndian.AppendUint64(data, 1000+i)
		data = append(data, id[:]...)
		data = binary.LittleEndian.AppendUint64(data, 10+i)
		data = binary.LittleEndian.AppendUint64(data, 100*i)
	}
	if len(data) != count*compactForm {
		t.Fatalf("%d leaves take %d bytes", count, len(data))
	}
	p := Plan{Kind: KindReceipts, Version: 1, FeePayer: PublicOf(f.operator), Blockhash: testBlockhash(),
		Memo: fmt.Sprintf("io1 receipts first=1000 count=%d data=%s", count, base64.RawURLEncoding.EncodeToString(data))}
	p.Budget = p.DefaultBudget()
	f.step(t, &p, at)
	return p
}

func TestFeesAndReceiptsRules(t *testing.T) {
	f := newFixture()
	fees := func() Plan { return f.feesPaid(t, f.first("pay-0"), 2) }
	receipts := func() Plan { return f.receipts(t, f.first("seal"), 2) }
	for name, c := range map[string]struct {
		plan Plan
		with func(*Plan)
	}{
		"fees of nobody":            {fees(), func(p *Plan) { p.Movements = nil }},
		"fees that mint":            {fees(), func(p *Plan) { p.Movements[0].Op = Mint }},
		"fees of two vaults":        {fees(), func(p *Plan) { p.Movements[1].Source = f.reward; p.Owners[f.reward] = p.FeePayer }},
		"fees with a payout's memo": {fees(), func(p *Plan) { p.Memo = longMemo }},
		"payout with a fees' memo":  {f.payout(t, f.first("pay-0"), 2), func(p *Plan) { p.Memo = longFees }},
		"fees that make an account": {fees(), func(p *Plan) { p.CreateDestinationFor = publicKey("payee 0") }},
		"fees with wallets":         {fees(), func(p *Plan) { p.Wallets = []ionet.Key{publicKey("payee 0"), publicKey("payee 1")} }},
		"fees on two lanes":         {fees(), func(p *Plan) { f.step(t, p, f.first("pay-1")) }},
		"receipts that move tokens": {receipts(), func(p *Plan) {
			q := fees()
			p.Movements, p.Owners, p.Mint, p.Decimals = q.Movements, q.Owners, q.Mint, q.Decimals
		}},
		"receipts with a mint": {receipts(), func(p *Plan) { p.Mint, p.Owners = f.mint, map[ionet.Key]ionet.Key{f.mint: p.FeePayer} }},
		"receipts with a seal's memo": {receipts(), func(p *Plan) {
			p.Memo = fmt.Sprintf("io1 seal size=1 root=%s fees=1 prev=%s", ionet.Hash{}, ionet.Hash{})
		}},
		"receipts on two lanes": {receipts(), func(p *Plan) { f.step(t, p, f.first("epoch")) }},
	} {
		if err := c.plan.Check(); err != nil {
			t.Fatalf("%s: the plan does not hold before it is changed: %v", name, err)
		}
		c.with(&c.plan)
		if err := c.plan.Check(); err == nil {
			t.Errorf("%s: Check accepts it", name)
		}
	}
}

// How many leaves one transaction carries decides what an inference costs in record
// mode inline.
func TestReceiptsThatFit(t *testing.T) {
	f := newFixture()
	most := 0
	for n := 1; n < 100; n++ {
		if _, err := f.receipts(t, f.first("seal"), n).Message(); errors.Is(err, ErrTooLarge) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		most = n
	}
	if want := 49; most != want {
		t.Errorf("%d leaves fit into one transaction, want %d", most, want)
	}
}

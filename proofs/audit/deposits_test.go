package audit

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"testing"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// reference publishes a deposit reference of a renter.
func (o *operator) reference(renter ionet.Key, nonce byte) ionet.Key {
	o.t.Helper()
	d := proofs.Deposit{Network: o.n.ID(), Wallet: renter, Nonce: [16]byte{nonce}}
	if err := o.store.Put(o.ctx, publish.DepositName(d.Reference()), d.Encode()); err != nil {
		o.t.Fatal(err)
	}
	return d.Reference()
}

// payIn sends tokens of host i to a vault, with references behind the accounts of the
// transfer.
func (o *operator) payIn(i int, vault ionet.Key, amount uint64, references ...ionet.Key) {
	o.t.Helper()
	o.bare(o.hosts[i].provider, o.paysIn(i, vault, amount, references...))
	o.waitFinal()
}

// paysIn is the instruction of payIn.
func (o *operator) paysIn(i int, vault ionet.Key, amount uint64, references ...ionet.Key) solana.Instruction {
	in := transferChecked(o, chain.TokenAccount(key(o, i), o.n.Mint), vault, key(o, i), amount).(*solana.GenericInstruction)
	for _, r := range references {
		in.AccountValues = append(in.AccountValues, solana.NewAccountMeta(solana.PublicKey(r), false, false))
	}
	return in
}

// paying is what an operator does with a withdrawal; a test makes it crooked.
type paying struct {
	statement proofs.Envelope
	memo      proofs.WithdrawalMemo
	to        ionet.Key
	amount    uint64
	hidden    bool // the statement is not published
}

// withdrawal is a statement of a renter over the amount.
func (o *operator) withdrawal(renter ed25519.PrivateKey, id byte, amount uint64, to ionet.Key, life int64) proofs.Envelope {
	o.t.Helper()
	text, err := proofs.Withdrawal{
		Renter: chain.PublicOf(renter), ID: [16]byte{id}, Amount: ionet.MustAmount(amount), To: to, Expires: unixTime.Load() + life,
	}.Text(o.n.ID())
	if err != nil {
		o.t.Fatal(err)
	}
	return proofs.Sign(o.n.ID(), proofs.KindWithdrawal, renter, []byte(text))
}

// withdraw pays a withdrawal out.
func (o *operator) withdraw(renter ed25519.PrivateKey, id byte, amount uint64, to ionet.Key, life int64, crook func(*paying)) string {
	o.t.Helper()
	p := paying{statement: o.withdrawal(renter, id, amount, to, life), to: to, amount: amount}
	p.memo = proofs.WithdrawalMemo{ID: proofs.PaymentID(p.statement.ID()), Sum: ionet.MustAmount(amount)}
	if crook != nil {
		crook(&p)
	}
	if !p.hidden {
		if err := o.store.Put(o.ctx, publish.WithdrawalName(p.memo.ID), p.statement.Append(nil)); err != nil {
			o.t.Fatal(err)
		}
	}
	o.waitFinal()
	return o.step("pay-0", chain.Plan{
		Kind: chain.KindWithdrawal, Version: 1, FeePayer: o.n.Keys.Operator, Memo: p.memo.String(),
		Owners:    map[ionet.Key]ionet.Key{o.n.Vaults.Fee: o.n.Keys.Fees},
		Movements: []chain.Movement{{Op: chain.Transfer, Source: o.n.Vaults.Fee, Destination: chain.TokenAccount(p.to, o.n.Mint), Amount: ionet.MustAmount(p.amount)}},
	}, nil, o.p.Keys.Operator, o.p.Keys.Fees)
}

// rich gives host 0 tokens and lamports, and host 1 an account.
func (o *operator) rich() {
	o.t.Helper()
	o.epoch(crook{})
	o.openAccounts(key(o, 0), key(o, 1))
	o.claim(0)
	o.waitFinal()
}

func TestDeposits(t *testing.T) {
	o := found(t, "deposits")
	o.rich()
	one, two := testKey("renter one"), testKey("renter two")
	first, again, second := o.reference(chain.PublicOf(one), 1), o.reference(chain.PublicOf(one), 2), o.reference(chain.PublicOf(two), 1)
	fee := o.n.Vaults.Fee
	o.payIn(0, fee, 100, first)
	o.payIn(0, fee, 50, again)
	o.payIn(0, fee, 30, second)
	o.payIn(0, fee, 7)
	o.payIn(0, fee, 8, first, second)
	o.payIn(0, fee, 9, ionet.Key{9})
	o.payIn(0, o.n.Vaults.Reward, 10, first)
	// What the transfer to the reward vault names says nothing of the one to the fee vault,
	// which names none: all that the transaction names is its.
	o.bareAll(o.hosts[0].provider, []solana.Instruction{o.paysIn(0, o.n.Vaults.Reward, 5, first), o.paysIn(0, fee, 40)})
	o.waitFinal()
	o.withdraw(one, 1, 150, key(o, 1), 1000, nil)
	o.withdraw(two, 1, 10, key(o, 1), 1000, nil)
	r := o.audit()
	if r.Status() != 0 || r.Deposits != 4 || r.Deposited.Base() != 220 || r.Withdrawals != 2 || r.Withdrawn.Base() != 160 || r.Suspense.Base() != 39 {
		show(t, r)
		t.Errorf("%d deposits of %s, %d withdrawals of %s, %s in suspense; want 4 of 220, 2 of 160, 39", r.Deposits, r.Deposited, r.Withdrawals, r.Withdrawn, r.Suspense)
	}

	// A spoiled statement is a finding, one that is gone is unchecked.
	files, err := filepath.Glob(filepath.Join(o.dir, "withdrawals", "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%d withdrawals are published, %v", len(files), err)
	}
	for _, file := range files {
		good, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		bad := append([]byte(nil), good...)
		bad[len(bad)/2] ^= 1
		replace(t, file, bad)
		if r := o.audit(); len(r.Findings) != 1 || r.Findings[0].Rule != "withdrawal-statement" {
			show(t, r)
			t.Errorf("a spoiled statement: %d findings, want one of rule withdrawal-statement", len(r.Findings))
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if r := o.audit(); r.Status() != 2 {
			show(t, r)
			t.Errorf("a missing statement: status %d, want 2", r.Status())
		}
		replace(t, file, good)
	}
	if err := os.Remove(filepath.Join(o.dir, "deposits", second.String())); err != nil {
		t.Fatal(err)
	}
	if r := o.audit(); len(r.Findings) != 1 || r.Findings[0].Rule != "overdrawn" {
		show(t, r)
		t.Errorf("a withdrawal of one whose reference nobody published: %d findings, want one of rule overdrawn", len(r.Findings))
	}
}

// What a dishonest operator can do with deposits.
func TestCrookedWithdrawals(t *testing.T) {
	o := found(t, "crooked-withdrawals")
	o.rich()
	one, two := testKey("renter one"), testKey("renter two")
	o.payIn(0, o.n.Vaults.Fee, 100, o.reference(chain.PublicOf(one), 1))
	o.payIn(0, o.n.Vaults.Fee, 100, o.reference(chain.PublicOf(two), 1))
	o.payIn(0, o.n.Vaults.Fee, 1000) // what is in suspense is nobody's
	var want []string
	var former proofs.Envelope
	for _, c := range []struct {
		name   string
		amount uint64
		crook  func(*paying)
		rules  []string
	}{
		{"honest", 10, func(p *paying) { former = p.statement }, nil},
		{"the same statement again", 10, func(p *paying) {
			p.statement, p.memo.ID = former, proofs.PaymentID(former.ID())
		}, []string{"withdrawal-twice"}},
		{"the same id again", 10, func(p *paying) {
			p.statement = o.withdrawal(one, 1, 10, key(o, 1), 500)
			p.memo.ID = proofs.PaymentID(p.statement.ID())
		}, []string{"withdrawal-twice"}},
		{"more than the statement says", 10, func(p *paying) { p.amount, p.memo.Sum = 11, ionet.MustAmount(11) }, []string{"withdrawal-amount"}},
		{"the memo says less", 10, func(p *paying) { p.memo.Sum = ionet.MustAmount(9) }, []string{"payment-memo"}},
		{"to another wallet", 10, func(p *paying) { p.to = key(o, 0) }, []string{"withdrawal-recipient"}},
		{"signed by nobody", 10, func(p *paying) { p.statement.Signature[3] ^= 1 }, []string{"withdrawal-statement"}},
		{"long after it expired", 10, func(p *paying) {
			p.statement = o.withdrawal(one, 77, 10, key(o, 1), -1000)
			p.memo.ID = proofs.PaymentID(p.statement.ID())
		}, []string{"withdrawal-late"}},
		{"more than is left", 90, nil, []string{"overdrawn"}},
	} {
		id := byte(1)
		if len(want) > 0 || c.rules != nil {
			id = byte(10 + len(want))
		}
		o.withdraw(one, id, c.amount, key(o, 1), 1000, c.crook)
		want = append(want, c.rules...)
		t.Logf("%s: %v", c.name, c.rules)
	}
	r := o.audit()
	var got []string
	for _, f := range r.Findings {
		got = append(got, f.Rule)
	}
	checkRules(t, r, got, want)
}

func checkRules(t *testing.T, r *Report, got, want []string) {
	t.Helper()
	count := map[string]int{}
	for _, g := range got {
		count[g]++
	}
	for _, w := range want {
		count[w]--
	}
	for rule, n := range count {
		if n != 0 {
			show(t, r)
			t.Errorf("rule %s: %d findings more than expected", rule, n)
		}
	}
}

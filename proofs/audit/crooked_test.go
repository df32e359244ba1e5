package audit

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
)

// expected is a finding that an epoch's crookedness must lead to.
type expected struct {
	epoch uint64
	rule  string
}

// checkFound compares the rules found, epoch by epoch, with those expected: no
// more, no fewer.
func checkFound(t *testing.T, r *Report, want []expected) {
	t.Helper()
	var got []expected
	for _, f := range r.Findings {
		got = append(got, expected{f.Epoch, f.Rule})
	}
	order := func(a, b expected) int {
		return strings.Compare(fmt.Sprintf("%4d %s", a.epoch, a.rule), fmt.Sprintf("%4d %s", b.epoch, b.rule))
	}
	slices.SortFunc(got, order)
	slices.SortFunc(want, order)
	got = slices.Compact(got)
	if !slices.Equal(got, want) {
		show(t, r)
		t.Errorf("got findings %v, want %v", got, want)
	}
}

// first returns the index of the first statement of that kind.
func first(in *proofs.Inputs, kind proofs.Kind) int {
	return slices.IndexFunc(in.Statements, func(s proofs.Statement) bool { return s.Envelope.Kind == kind })
}

// Each epoch is crooked in its own way, and the audit says which.
func TestCrookedEpochs(t *testing.T) {
	other := ionet.HashOf([]byte("another"))
	crooked := []struct {
		name  string
		crook crook
		rules []string
	}{
		{"honest", crook{}, nil},
		{"one verdict gets a base unit more, and it is minted", crook{verdicts: func(v []proofs.Verdict) { v[1].Amount = ionet.MustAmount(v[1].Amount.Base() + 1) }},
			[]string{"emission", "split"}},
		{"a base unit moves from one verdict to another", crook{verdicts: func(v []proofs.Verdict) {
			v[0].Amount, v[1].Amount = ionet.MustAmount(v[0].Amount.Base()-1), ionet.MustAmount(v[1].Amount.Base()+1)
		}}, []string{"split"}},
		{"another payee", crook{verdicts: func(v []proofs.Verdict) { v[2].Payee = v[0].Payee }}, []string{"verdict"}},
		{"a refusal without a reason", crook{verdicts: func(v []proofs.Verdict) {
			v[0].Rule, v[0].Weight, v[0].Amount = proofs.TooFewSamples, 0, ionet.Amount{}
		}}, []string{"split", "verdict"}},
		{"less is minted than the memo says", crook{mint: func(sum uint64) uint64 { return sum - 1 }}, []string{"mint"}},
		{"the memo says less than the verdicts", crook{memo: func(m *proofs.EpochMemo) { m.Sum = ionet.MustAmount(m.Sum.Base() - 1) }}, []string{"split", "sum"}},
		{"the chain of seals is broken", crook{memo: func(m *proofs.EpochMemo) { m.Prev = other }}, []string{"seal-chain"}},
		{"the memo is of another epoch", crook{memo: func(m *proofs.EpochMemo) { m.Epoch++ }}, []string{"epoch-memo"}},
		{"the memo counts wrong", crook{memo: func(m *proofs.EpochMemo) { m.Count++ }}, []string{"verdicts-count"}},
		{"the memo names another policy", crook{memo: func(m *proofs.EpochMemo) { m.Policy = other }}, []string{"policy"}},
		{"closed within the grace", crook{early: true}, []string{"early-close"}},
		{"a stored statement changed after it was signed", crook{inputs: func(in *proofs.Inputs) {
			u := &in.Statements[first(in, proofs.KindUptime)].Envelope
			u.Body = slices.Clone(u.Body)
			u.Body[len(u.Body)-1] ^= 1
		}}, []string{"signature"}},
		{"a signature changed", crook{inputs: func(in *proofs.Inputs) { in.Statements[0].Envelope.Signature[5] ^= 4 }}, []string{"signature"}},
		{"a statement arrived twice", crook{inputs: func(in *proofs.Inputs) { in.Statements[0].Arrival = proofs.Arrival{Epoch: 2} }}, []string{"arrival"}},
		{"a statement arrived after the seal", crook{inputs: func(in *proofs.Inputs) {
			in.Statements[len(in.Statements)-1].Arrival.Epoch = 1000
		}}, []string{"statement"}},
		{"a beacon with another time", crook{inputs: func(in *proofs.Inputs) { in.Beacons[3].Time++ }}, []string{"beacon"}},
		{"a beacon left out", crook{inputs: func(in *proofs.Inputs) { in.Beacons = slices.Delete(in.Beacons, 2, 3) }}, []string{"beacon"}},
		{"a beacon that nobody names", crook{inputs: func(in *proofs.Inputs) {
			in.Beacons = append(in.Beacons, proofs.Beacon{Slot: 1, Hash: ionet.Key(other), Time: 1})
		}}, []string{"beacon"}},
		{"a binding that does not follow", crook{inputs: func(in *proofs.Inputs) {
			in.Bindings[0].Worker = ionet.Key(other)
		}}, []string{"bindings"}},
		{"a binding left out", crook{inputs: func(in *proofs.Inputs) { in.Bindings = in.Bindings[1:] }}, []string{"bindings"}},
		{"a delegation left out", crook{inputs: func(in *proofs.Inputs) { in.Statements = in.Statements[1:] }}, []string{"statement"}},
		{"a statement taken away after judging", crook{hidden: func(in *proofs.Inputs) {
			in.Statements = slices.Delete(in.Statements, len(in.Statements)-1, len(in.Statements))
		}}, []string{"split", "verdict"}},
		{"a worker left out", crook{inputs: func(in *proofs.Inputs) {
			signer := in.Statements[first(in, proofs.KindUptime)].Envelope.Signer
			in.Statements = slices.DeleteFunc(in.Statements, func(s proofs.Statement) bool { return s.Envelope.Signer == signer })
		}}, []string{"left-out"}},
		{"a policy of its own", crook{inputs: func(in *proofs.Inputs) { in.Policy = append(slices.Clone(in.Policy), "# \n"...) }}, []string{"policy"}},
		{"the published content differs", crook{content: func(b []byte) []byte { b[0] ^= 1; return b }}, []string{"content"}},
		{"honest again", crook{}, nil},
		{"the inputs of another network", crook{hidden: func(in *proofs.Inputs) { in.Network[0] ^= 1 }}, []string{"inputs-header", "judge", "statement"}},
	}
	o := found(t, "crooked")
	var want []expected
	for i, c := range crooked {
		o.epoch(c.crook)
		for _, rule := range c.rules {
			want = append(want, expected{uint64(i + 1), rule})
		}
		t.Logf("epoch %d: %s", i+1, c.name)
	}
	r := o.audit()
	if r.Epochs != len(crooked) || r.Status() != 1 || len(r.Unchecked) != 0 {
		t.Errorf("%d epochs, status %d, %d unchecked; want %d, 1, 0", r.Epochs, r.Status(), len(r.Unchecked), len(crooked))
	}
	checkFound(t, r, want)
}

// A book that is not published leaves its epoch unchecked, and the next one's
// bindings; a spoiled one is a finding.
func TestLostBooks(t *testing.T) {
	o := found(t, "lost-books")
	o.epoch(crook{file: func([]byte) []byte { return nil }})
	o.epoch(crook{})
	r := o.audit()
	if r.Status() != 2 || len(r.Unchecked) != 2 || r.Unchecked[0].Rule != "published" || r.Unchecked[1].Rule != "bindings" {
		show(t, r)
		t.Errorf("status %d, want 2 with book and bindings unchecked", r.Status())
	}
	o.epoch(crook{file: func(b []byte) []byte { return b[:len(b)/2] }})
	checkFound(t, o.audit(), []expected{{3, "book"}})
}

// What a dishonest operator can do with the vaults.
func TestCrookedPayments(t *testing.T) {
	o := found(t, "crooked-payments")
	o.epoch(crook{})
	o.openAccounts(key(o, 0), key(o, 1), key(o, 2))
	o.waitFinal()
	over := o.balance[key(o, 1)] + 1
	o.pay(map[int]uint64{0: 7, 1: over}, nil)
	o.epoch(crook{})
	o.pay(map[int]uint64{2: 9}, func(m *proofs.PayoutMemo) { m.Count = 2 })
	o.pay(map[int]uint64{2: 10}, func(m *proofs.PayoutMemo) { m.Sum = ionet.MustAmount(11) })
	o.epoch(crook{})
	stranger := chain.PublicOf(testKey("stranger"))
	o.openAccounts(stranger)
	o.waitFinal()
	o.step("pay-0", chain.Plan{
		Kind: chain.KindPayout, Version: 1, FeePayer: o.n.Keys.Operator, Owners: map[ionet.Key]ionet.Key{o.n.Vaults.Reward: o.n.Keys.Operator},
		Movements: []chain.Movement{{Op: chain.Transfer, Source: o.n.Vaults.Reward, Destination: chain.TokenAccount(stranger, o.n.Mint), Amount: ionet.MustAmount(5)}},
		Memo:      proofs.PayoutMemo{Count: 1, Sum: ionet.MustAmount(5)}.String(),
	}, nil, o.p.Keys.Operator)
	r := o.audit()
	if r.Payouts != 4 {
		t.Errorf("%d payouts, want 4: what a stranger got is none", r.Payouts)
	}
	checkFound(t, r, []expected{{2, "overpaid"}, {3, "payment-memo"}, {4, "payment-reason"}})
}

// Tokens that move without a lane step: out of a vault, into one, minted and
// burned.
func TestMovementsWithoutALane(t *testing.T) {
	o := found(t, "without-a-lane")
	o.epoch(crook{})
	o.openAccounts(key(o, 0), key(o, 1))
	o.waitFinal()
	o.pay(map[int]uint64{0: 1000}, nil)
	o.waitFinal()
	// A payee sends some back, and burns some: others may do that.
	payee, account := o.hosts[0].provider, chain.TokenAccount(key(o, 0), o.n.Mint)
	if err := o.chain.Airdrop(o.ctx, key(o, 0), 1_000_000_000); err != nil {
		t.Fatal(err)
	}
	o.waitFinal()
	o.bare(payee, transferChecked(o, account, o.n.Vaults.Reward, key(o, 0), 30))
	o.bare(payee, burn(o, account, key(o, 0), 12))
	r := o.audit()
	if r.Status() != 0 || r.Burned != ionet.MustAmount(12) || r.Foreign == 0 || !slices.ContainsFunc(r.Notes, func(n string) bool {
		return strings.Contains(n, "received 30 base units from others")
	}) {
		show(t, r)
		t.Errorf("status %d, burned %s, %d foreign: want 0, 12 and a note of 30 received", r.Status(), r.Burned, r.Foreign)
	}
	// The operator moves tokens past the lanes.
	other := chain.TokenAccount(key(o, 1), o.n.Mint)
	o.bare(o.p.Keys.Operator, transferChecked(o, o.n.Vaults.Reward, other, o.n.Keys.Operator, 3))
	checkFound(t, o.audit(), []expected{{2, "signature-unexplained"}, {2, "vault-debit"}})
	o.epoch(crook{})
	o.bare(o.p.Keys.Operator, mintTo(o, other, 4))
	r = o.audit()
	checkFound(t, r, []expected{{2, "signature-unexplained"}, {2, "vault-debit"}, {3, "signature-unexplained"}})
	// Once what was burned is less than what was minted too much, the supply tells.
	o.bare(o.p.Keys.Operator, mintTo(o, other, 100))
	checkFound(t, o.audit(), []expected{{0, "supply"}, {2, "signature-unexplained"}, {2, "vault-debit"}, {3, "signature-unexplained"}})
}

// An allocation without beneficiaries may not move, whatever a lane says.
func TestCrookedLanes(t *testing.T) {
	o := found(t, "crooked-lanes")
	o.epoch(crook{})
	al := o.n.Allocation[len(o.n.Allocation)-1]
	o.openAccounts(key(o, 0))
	o.waitFinal()
	o.step("pay-0", chain.Plan{
		Kind: chain.KindUnlock, Version: 1, FeePayer: o.n.Keys.Operator, Owners: map[ionet.Key]ionet.Key{al.Account: al.Owner},
		Movements: []chain.Movement{{Op: chain.Transfer, Source: al.Account, Destination: chain.TokenAccount(key(o, 0), o.n.Mint), Amount: ionet.MustAmount(5)}},
		Memo:      proofs.UnlockMemo{Category: al.Category, Tranche: 1, Sum: ionet.MustAmount(5)}.String(),
		Wallets:   []ionet.Key{key(o, 0)},
	}, nil, o.p.Keys.Operator, o.p.Keys.Allocation[al.Category])
	checkFound(t, o.audit(), []expected{{2, "unlock-category"}})
}

func TestNoSuchNetwork(t *testing.T) {
	o := found(t, "no-such")
	r, err := Run(t.Context(), Config{Chain: o.chain, Store: o.store, Mint: chain.PublicOf(testKey("no mint"))})
	if err != nil || r.Status() != 2 || len(r.Unchecked) == 0 || r.Unchecked[0].Rule != "genesis" {
		t.Errorf("got %+v, %v, want genesis unchecked", r, err)
	}
}

// Allocation of_cap sums like the schedule says; here only that audit and
// emissions agree on the default.
func TestAllocationReading(t *testing.T) {
	o := found(t, "reading")
	shares, err := emissions.Allocate(emissions.OfCap, o.n.Schedule.Genesis, o.n.Schedule.Cap)
	if err != nil || !equalShares(shares, o.n.Allocation) {
		t.Errorf("allocation is not of_cap: %v", err)
	}
	o.n.Allocation[0].Amount, o.n.Allocation[1].Amount = o.n.Allocation[1].Amount, o.n.Allocation[0].Amount
	if equalShares(shares, o.n.Allocation) {
		t.Error("swapped amounts pass as of_cap")
	}
}

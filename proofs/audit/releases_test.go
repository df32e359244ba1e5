package audit

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/genesis"
)

func beneficiary(name string, parts uint64) ionet.Beneficiary {
	return ionet.Beneficiary{Wallet: chain.PublicOf(testKey(name)), Parts: parts}
}

// managed makes a network whose seed unlocks month by month for three, and whose
// community is free for one.
func managed(t testing.TB, name string) *operator {
	t.Helper()
	return managedFor(t, name, 40)
}

// managedFor is managed with an unlock of seed over that many months.
func managedFor(t testing.TB, name string, months uint64) *operator {
	t.Helper()
	return foundWith(t, name, []byte(testPolicy), func(c *genesis.Config) {
		var err error
		if c.Schedule, err = c.Schedule.Shorten(1000); err != nil { // to hash it is what takes time
			t.Fatal(err)
		}
		c.Unlocks = map[string]emissions.Unlock{"seed": {Kind: emissions.UnlockTranches, From: 1, To: months}}
		c.Beneficiaries = map[string][]ionet.Beneficiary{
			"seed":      {beneficiary(name+" a", 1), beneficiary(name+" b", 2), beneficiary(name+" c", 4)},
			"community": {beneficiary(name+" d", 1)},
		}
	})
}

// release is what an operator says and does in an unlock; a test makes it crooked.
type release struct {
	memo   proofs.UnlockMemo
	shares []ionet.Amount
	from   string // category whose account pays; "": the memo's
}

// release unlocks what is due by the month, less what was released before.
func (o *operator) release(category string, month, before uint64, crook func(*release)) {
	o.t.Helper()
	al, ok := o.n.AllocationOf(category)
	if !ok {
		o.t.Fatalf("no category %s", category)
	}
	u, err := emissions.ParseUnlock(al.Unlock)
	if err != nil {
		o.t.Fatal(err)
	}
	sum := ionet.MustAmount(u.ByMonth(al.Amount, month).Base() - before)
	r := release{memo: proofs.UnlockMemo{Category: category, Tranche: month, Sum: sum}}
	if r.shares, err = emissions.Divide(sum, al.Beneficiaries); err != nil {
		o.t.Fatal(err)
	}
	if crook != nil {
		crook(&r)
	}
	if r.from != "" {
		al.Account = mustAllocation(o, r.from).Account
		al.Owner = mustAllocation(o, r.from).Owner
		category = r.from
	}
	plan := chain.Plan{Kind: chain.KindUnlock, Version: 1, FeePayer: o.n.Keys.Operator, Memo: r.memo.String(), Owners: map[ionet.Key]ionet.Key{al.Account: al.Owner}}
	for i, b := range al.Beneficiaries {
		if r.shares[i].IsZero() {
			continue
		}
		plan.Wallets = append(plan.Wallets, b.Wallet)
		plan.Movements = append(plan.Movements, chain.Movement{Op: chain.Transfer, Source: al.Account, Destination: chain.TokenAccount(b.Wallet, o.n.Mint), Amount: r.shares[i]})
	}
	o.waitFinal()
	o.step("pay-0", plan, nil, o.p.Keys.Operator, o.p.Keys.Allocation[category])
}

func mustAllocation(o *operator, category string) ionet.Allocation {
	o.t.Helper()
	al, ok := o.n.AllocationOf(category)
	if !ok {
		o.t.Fatalf("no category %s", category)
	}
	return al
}

// byMonth is what of a category is unlocked by the end of a month.
func (o *operator) byMonth(category string, month uint64) uint64 {
	al := mustAllocation(o, category)
	u, err := emissions.ParseUnlock(al.Unlock)
	if err != nil {
		o.t.Fatal(err)
	}
	return u.ByMonth(al.Amount, month).Base()
}

// monthOver moves the chain's clock to the first second after a month.
func (o *operator) monthOver(month uint64) {
	o.t.Helper()
	o.waitTime(o.n.Clock().EpochEnd(month * emissions.EpochsPerMonth))
}

func TestHonestReleases(t *testing.T) {
	o := managedFor(t, "releases", 4)
	o.release("community", 0, 0, nil)
	o.monthOver(1)
	o.release("seed", 1, 0, nil)
	o.monthOver(3)
	o.release("seed", 3, o.byMonth("seed", 1), nil) // two months at once
	o.monthOver(5)
	o.release("seed", 4, o.byMonth("seed", 3), nil) // a month after it could have been
	r := o.audit()
	al := mustAllocation(o, "seed")
	if r.Status() != 0 || r.Released.Base() != al.Amount.Base()+mustAllocation(o, "community").Amount.Base() {
		show(t, r)
		t.Errorf("status %d, released %s, want 0 and all of seed and community", r.Status(), r.Released)
	}
	if !slices.ContainsFunc(r.Notes, func(n string) bool {
		return strings.Contains(n, "seed: "+al.Amount.String()+" of "+al.Amount.String()+" base units are released")
	}) {
		t.Errorf("no note tells what was released: %q", r.Notes)
	}
	if money := r.Money(); !strings.Contains(money, r.Released.Tokens(8)+" of the genesis supply released") {
		t.Errorf("the report of money does not tell what was released: %s", money)
	}
}

// Each release is crooked in its own way and in a month of its own, and the audit says
// which. What was moved wrongly counts for those that follow.
func TestCrookedReleases(t *testing.T) {
	o := managed(t, "crooked-releases")
	one := ionet.MustAmount(1)
	say := func(r *release, month, sum uint64) {
		r.memo.Tranche, r.memo.Sum = month, ionet.MustAmount(sum)
		r.shares, _ = emissions.Divide(r.memo.Sum, mustAllocation(o, "seed").Beneficiaries)
	}
	var want []expected
	var moved uint64 // that counts as released of seed
	for i, c := range []struct {
		name  string
		crook func(r *release)
		rules []string
	}{
		{"before anything is unlocked", func(r *release) { say(r, 2, o.byMonth("seed", 2)) }, []string{"unlock-early"}},
		{"honest", nil, nil},
		{"a month too early", func(r *release) { say(r, r.memo.Tranche+1, o.byMonth("seed", r.memo.Tranche+1)-moved) }, []string{"unlock-early"}},
		{"a base unit too much", func(r *release) { say(r, r.memo.Tranche, r.memo.Sum.Base()+1) }, []string{"unlock-due"}},
		{"a base unit too little", func(r *release) { say(r, r.memo.Tranche, r.memo.Sum.Base()-1) }, []string{"unlock-due"}},
		{"a base unit from one to another", func(r *release) {
			r.shares[0], r.shares[1] = ionet.MustAmount(r.shares[0].Base()-1), ionet.MustAmount(r.shares[1].Base()+1)
		}, []string{"unlock-share"}},
		{"one is left out", func(r *release) { r.shares[1] = ionet.Amount{} }, []string{"unlock-share"}},
		{"more is moved than it says", func(r *release) { r.shares[2], _ = r.shares[2].Add(one) }, []string{"unlock-share"}},
		{"from another category's account", func(r *release) { r.from = "core" }, []string{"unlock-share"}},
		{"of a category without beneficiaries", func(r *release) { r.memo.Category = "core" }, []string{"unlock-category"}},
		{"of a category that is none", func(r *release) { r.memo.Category = "nobody" }, []string{"unlock-category"}},
		{"honest again", nil, nil},
	} {
		month := uint64(3 * i)
		if month > 0 {
			o.monthOver(month)
		}
		o.release("seed", month, min(moved, o.byMonth("seed", month)), func(r *release) {
			if c.crook != nil {
				c.crook(r)
			}
			for _, share := range r.shares {
				if r.memo.Category == "seed" {
					moved += share.Base()
				}
			}
		})
		o.waitFinal()
		epoch, _, _ := o.n.Clock().At(time.Unix(unixTime.Load(), 0))
		for _, rule := range c.rules {
			want = append(want, expected{epoch, rule})
		}
		t.Logf("epoch %d: %s", epoch, c.name)
	}
	checkFound(t, o.audit(), want)
}

// A month that was released is not released again, and what leaves past the lanes is
// found.
func TestReleasedTwiceAndPastTheLanes(t *testing.T) {
	o := managed(t, "released-twice")
	o.monthOver(1)
	o.release("seed", 1, 0, nil)
	o.release("seed", 1, 0, nil)
	al := mustAllocation(o, "seed")
	r := o.audit()
	if len(r.Findings) != 1 || r.Findings[0].Rule != "unlock-due" {
		show(t, r)
		t.Errorf("released twice: %d findings, want one of rule unlock-due", len(r.Findings))
	}
	owner := o.p.Keys.Allocation["seed"]
	if err := o.chain.Airdrop(o.ctx, al.Owner, 1_000_000_000); err != nil {
		t.Fatal(err)
	}
	o.waitFinal()
	o.bare(owner, transferChecked(o, al.Account, chain.TokenAccount(al.Beneficiaries[0].Wallet, o.n.Mint), al.Owner, 7))
	r = o.audit()
	if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Rule == "vault-debit" && f.Found == "-7" }) {
		show(t, r)
		t.Error("what left the account past the lanes is not found")
	}
}

// retired makes a network of two epochs and lives through them.
func retired(t *testing.T, name string) *operator {
	t.Helper()
	o := foundWith(t, name, []byte(testPolicy), func(c *genesis.Config) {
		var err error
		if c.Schedule, err = c.Schedule.Shorten(2); err != nil {
			t.Fatal(err)
		}
	})
	o.epoch(crook{})
	o.epoch(crook{})
	return o
}

func (o *operator) retire(crook func(*proofs.RetireMemo)) {
	o.t.Helper()
	minted, err := o.schedule.Cumulative(2)
	if err != nil {
		o.t.Fatal(err)
	}
	m := proofs.RetireMemo{Epoch: 2, Supply: ionet.MustAmount(o.n.Schedule.Genesis.Base() + minted.Base())}
	if crook != nil {
		crook(&m)
	}
	o.step("epoch", chain.Plan{Kind: chain.KindRetire, Version: 1, FeePayer: o.n.Keys.Operator, Memo: m.String(),
		Mint: o.n.Mint, Owners: map[ionet.Key]ionet.Key{o.n.Mint: o.n.Keys.Operator}}, nil, o.p.Keys.Operator)
}

func TestRetire(t *testing.T) {
	o := retired(t, "retire")
	r := o.audit()
	if r.Status() != 0 || r.Epochs != 2 {
		show(t, r)
		t.Errorf("before the retire: status %d, %d epochs, want 0 and 2", r.Status(), r.Epochs)
	}
	o.retire(nil)
	r = o.audit()
	if r.Status() != 0 || r.Epochs != 2 || !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "nothing can be minted any more") }) {
		show(t, r)
		t.Errorf("after the retire: status %d, %d epochs, want 0, 2 and a note", r.Status(), r.Epochs)
	}
	// Payments go on.
	o.openAccounts(key(o, 1))
	o.pay(map[int]uint64{1: 1000}, nil)
	if r := o.audit(); r.Status() != 0 {
		show(t, r)
		t.Errorf("a payout after the retire: status %d", r.Status())
	}
}

func TestCrookedRetires(t *testing.T) {
	o := retired(t, "crooked-retire")
	o.retire(func(m *proofs.RetireMemo) { m.Epoch, m.Supply = 3, ionet.MustAmount(m.Supply.Base()-1) })
	r := o.audit()
	if len(r.Findings) != 2 || r.Findings[0].Rule != "retire" || r.Findings[1].Rule != "retire" {
		show(t, r)
		t.Errorf("a retire that says else: %d findings, want two of rule retire", len(r.Findings))
	}
	early := found(t, "early-retire")
	early.epoch(crook{})
	early.retire(nil)
	r = early.audit()
	rules := map[string]bool{}
	for _, f := range r.Findings {
		rules[f.Rule] = true
	}
	if !rules["lane-kind"] || !rules["retire"] {
		show(t, r)
		t.Errorf("a retire before the last epoch: rules %v, want lane-kind and retire", rules)
	}
}

// The mint authority may be given up by a retire alone.
func TestMintGivenUpPastTheLanes(t *testing.T) {
	o := found(t, "given-up")
	o.epoch(crook{})
	o.bare(o.p.Keys.Operator, giveUp(o))
	checkFound(t, o.audit(), []expected{{0, "mint-authority"}, {2, "signature-unexplained"}})
}

func TestReceiptSeals(t *testing.T) {
	o := found(t, "receipt-seals")
	hash := func(s string) ionet.Hash { return ionet.HashOf([]byte(s)) }
	var prev ionet.Hash
	seal := func(m proofs.SealMemo) {
		if m.Prev.IsZero() {
			m.Prev = prev
		}
		o.waitFinal()
		o.step("seal", chain.Plan{Kind: chain.KindSeal, Version: 1, FeePayer: o.n.Keys.Operator, Memo: m.String()}, nil, o.p.Keys.Operator)
		prev = ionet.HashOf([]byte(m.String()))
	}
	seal(proofs.SealMemo{Size: 3, Root: hash("3"), Fees: ionet.MustAmount(30)})
	seal(proofs.SealMemo{Size: 3, Root: hash("3"), Fees: ionet.MustAmount(30)})
	seal(proofs.SealMemo{Size: 5, Root: hash("5"), Fees: ionet.MustAmount(30)})
	r := o.audit()
	if r.Status() != 2 || len(r.Unchecked) != 3 || r.Unchecked[0].Rule != "receipts" {
		show(t, r)
		t.Errorf("honest seals: status %d, %d unchecked, want 2 and 3 of rule receipts", r.Status(), len(r.Unchecked))
	}
	seal(proofs.SealMemo{Size: 6, Root: hash("6"), Fees: ionet.MustAmount(60), Prev: hash("another")})
	seal(proofs.SealMemo{Size: 4, Root: hash("4"), Fees: ionet.MustAmount(60)})
	seal(proofs.SealMemo{Size: 6, Root: hash("6"), Fees: ionet.MustAmount(59)})
	seal(proofs.SealMemo{Size: 6, Root: hash("other"), Fees: ionet.MustAmount(59)})
	seal(proofs.SealMemo{Size: 6, Root: hash("other"), Fees: ionet.MustAmount(70)})
	r = o.audit()
	var rules []string
	for _, f := range r.Findings {
		rules = append(rules, f.Rule)
	}
	slices.Sort(rules)
	if want := []string{"receipt-chain", "receipt-fees", "receipt-fees", "receipt-size", "receipt-size"}; !slices.Equal(rules, want) {
		show(t, r)
		t.Errorf("crooked seals: got %v, want %v", rules, want)
	}
}

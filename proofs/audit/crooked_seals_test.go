package audit

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// sealsOf makes a network with a log that is sealed twice, at 5 and 8 records, and
// publishes what the test makes of it.
func sealsOf(t *testing.T, name string, policy string, change func(d *feeDesk)) *Report {
	t.Helper()
	o := foundUnder(t, name, []byte(policy))
	o.rich()
	renter := testKey("renter one")
	o.payIn(0, o.n.Vaults.Fee, 10_000, o.reference(chain.PublicOf(renter), 1))
	d := o.desk()
	offer := d.offer(0)
	c := d.session(renter, "one", 6_000).channel(0, offer, 1_000)
	c.serve(2)
	c.serve(2)
	d.seal()
	c.serve(2)
	c.serve(2)
	c.serve(2)
	change(d)
	d.publish()
	return o.audit()
}

// What a seal commits to is the published log, record by record.
func TestCrookedSeals(t *testing.T) {
	for _, c := range []struct {
		name  string
		crook func(d *feeDesk)
		rules []string
	}{
		{"honest", func(d *feeDesk) { d.seal() }, nil},
		{"a root that is not the entries'", func(d *feeDesk) {
			d.seal(func(m *proofs.SealMemo) { m.Root = ionet.HashOf([]byte("another")) })
		}, []string{"log-root"}},
		{"fees that are not the receipts'", func(d *feeDesk) {
			d.seal(func(m *proofs.SealMemo) { m.Fees = ionet.MustAmount(m.Fees.Base() + 1) })
		}, []string{"log-fees"}},
		{"a receipt left out between two seals", func(d *feeDesk) {
			d.seal()
			d.records = slices.Delete(d.records, 6, 7)
			d.offer(1)
			for i := 6; i < len(d.records); i++ { // numbered anew: the worker's before can't be
				r, err := proofs.ParseRecord(d.records[i])
				if err != nil {
					d.o.t.Fatal(err)
				}
				r.Index = uint64(i)
				if receipt, ok := r.Entry.(proofs.Receipt); ok {
					receipt.TotalFees, receipt.TotalJobs = ionet.MustAmount(receipt.TotalFees.Base()-3), receipt.TotalJobs-1
					r.Entry = receipt
				}
				if d.records[i], err = r.Encode(); err != nil {
					d.o.t.Fatal(err)
				}
			}
		}, []string{"fee-order", "log-fees", "log-root"}},
		{"a receipt that is another after its seal", func(d *feeDesk) {
			d.seal()
			other := slices.Clone(d.records[3])
			other[len(other)-1] ^= 1 // of the voucher
			d.records[3] = other
		}, []string{"fee-signature", "fee-voucher", "log-root"}},
		{"records accepted after their seal", func(d *feeDesk) {
			d.accepted += skew + 60
			d.offer(1)
			d.seal()
		}, []string{"log-time"}},
		{"a seal names another before it", func(d *feeDesk) {
			d.seal(func(m *proofs.SealMemo) { m.Prev = ionet.Hash{1} })
		}, []string{"receipt-chain"}},
		{"a memo though the policy says root", func(d *feeDesk) {
			d.inline(5, 3)
			d.seal()
		}, []string{"inline-mode"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := sealsOf(t, "crooked-seals", feesPolicy, c.crook)
			checkReport(t, r, c.rules)
		})
	}
}

// checkReport compares the rules found with those expected, each once or more.
func checkReport(t *testing.T, r *Report, want []string) {
	t.Helper()
	var got []string
	for _, f := range r.Findings {
		got = append(got, f.Rule)
	}
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, want) || len(r.Unchecked) > 0 {
		show(t, r)
		t.Errorf("got %v and %d unchecked, want %v", got, len(r.Unchecked), want)
	}
}

// Under a policy that says so, memos carry each record before its seal.
func TestCrookedMemos(t *testing.T) {
	policy := feesPolicy + "record = \"inline\"\n"
	for _, c := range []struct {
		name  string
		crook func(d *feeDesk)
		rules []string
	}{
		{"honest, and beyond the next seal", func(d *feeDesk) {
			d.inline(0, 4)
			d.inline(4, 4)
			d.seal(func(m *proofs.SealMemo) { m.Size, m.Root, m.Fees = 6, d.root(6), ionet.MustAmount(9) })
			d.seal()
		}, nil},
		{"a form that says less", func(d *feeDesk) {
			d.inline(0, 4)
			d.inline(4, 4, func(list []proofs.Compact) { list[2].Fee = ionet.MustAmount(2) })
			d.seal()
		}, []string{"inline-form"}},
		{"a leaf that no memo has", func(d *feeDesk) {
			d.inline(0, 4)
			d.inline(5, 3)
			d.seal()
		}, []string{"inline-missing"}},
		{"a leaf in two memos", func(d *feeDesk) {
			d.inline(0, 4)
			d.inline(3, 5)
			d.seal()
		}, []string{"inline-order"}},
		{"leaves whose memo comes after the seal", func(d *feeDesk) {
			d.inline(0, 6)
			d.seal()
			d.inline(6, 2)
		}, []string{"inline-missing", "inline-order"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := memosOf(t, policy, c.crook)
			checkReport(t, r, c.rules)
		})
	}
}

// memosOf is sealsOf without a first seal.
func memosOf(t *testing.T, policy string, change func(d *feeDesk)) *Report {
	t.Helper()
	o := foundUnder(t, "crooked-memos", []byte(policy))
	o.rich()
	renter := testKey("renter one")
	o.payIn(0, o.n.Vaults.Fee, 10_000, o.reference(chain.PublicOf(renter), 1))
	d := o.desk()
	offer := d.offer(0)
	c := d.session(renter, "one", 6_000).channel(0, offer, 1_000)
	for range 5 {
		c.serve(2)
	}
	change(d)
	d.publish()
	return o.audit()
}

// What is paid of fees, and withdrawn beside them.
func TestCrookedFeePayments(t *testing.T) {
	o := foundUnder(t, "crooked-fee-payments", []byte(feesPolicy))
	o.rich()
	o.openAccounts(key(o, 2))
	renter := testKey("renter one")
	o.payIn(0, o.n.Vaults.Fee, 10_000, o.reference(chain.PublicOf(renter), 1))
	o.payIn(0, o.n.Vaults.Fee, 10_000)
	d := o.desk()
	offer, other := d.offer(0), d.offer(1)
	l := d.session(renter, "one", 6_000)
	l.channel(0, offer, 1_000).serve(200)
	l.channel(1, other, 1_000).serve(200)
	d.publish()
	d.seal()
	d.pay(map[ionet.Key]uint64{key(o, 0): 100, key(o, 1): 285})
	d.pay(map[ionet.Key]uint64{key(o, 0): 185})
	checkReport(t, o.audit(), nil)
	d.pay(map[ionet.Key]uint64{key(o, 0): 1})
	checkReport(t, o.audit(), []string{"fee-overpaid"})
	d.pay(map[ionet.Key]uint64{key(o, 2): 1})
	checkReport(t, o.audit(), []string{"fee-overpaid", "payment-reason"})
	o.waitTime(unixTime.Load() + 300) // what was paid before these receipts was paid too early
	l.channel(0, offer, 1_000).serve(20)
	d.publish()
	d.pay(map[ionet.Key]uint64{key(o, 0): 10}, func(m *proofs.FeesMemo) { m.Sum = ionet.MustAmount(9) })
	checkReport(t, o.audit(), []string{"fee-overpaid", "payment-memo", "payment-reason"})
	o.withdraw(renter, 1, 4_001, key(o, 1), 1000, nil)
	checkReport(t, o.audit(), []string{"fee-overpaid", "overdrawn", "payment-memo", "payment-reason"})
}

// tamperLog spoils and takes away each file of the log that an audit reads. Spoiled it is
// a finding, gone it is unchecked, and what it may explain nobody is blamed for.
func tamperLog(t *testing.T, d *feeDesk) {
	size := len(d.records)
	full, part := publish.EntriesName(0, proofs.TileWidth), publish.EntriesName(1, size-proofs.TileWidth)
	for name, rules := range map[string][]string{publish.CheckpointName: {"checkpoint"}, full: {"log-root"}, part: {"log-root"}} {
		file := filepath.Join(d.o.dir, filepath.FromSlash(name))
		good, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		bad := slices.Clone(good)
		bad[len(bad)/2] ^= 1
		replace(t, file, bad)
		r := d.o.audit()
		for _, rule := range rules {
			if r.Status() != 1 || !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Rule == rule }) {
				show(t, r)
				t.Errorf("%s changed: status %d, want 1 with rule %s", name, r.Status(), rule)
			}
		}
		checkNobodyBlamed(t, r, name+" changed")
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if r = d.o.audit(); r.Status() != 2 {
			show(t, r)
			t.Errorf("%s missing: status %d, want 2", name, r.Status())
		}
		replace(t, file, good)
	}
}

func checkNobodyBlamed(t *testing.T, r *Report, what string) {
	t.Helper()
	for _, f := range r.Findings {
		if f.Rule == "overdrawn" || f.Rule == "fee-overpaid" || strings.HasPrefix(f.Rule, "payment") {
			show(t, r)
			t.Errorf("%s: the payments are blamed: %s", what, f)
		}
	}
}

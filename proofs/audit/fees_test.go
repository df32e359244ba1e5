package audit

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
)

// An honest network with fees: sessions, channels, a top-up, jobs and batches, closes and
// ends; two seals; what is paid, and what is withdrawn of what came back.
func TestHonestFees(t *testing.T) {
	o := foundUnder(t, "honest-fees", []byte(feesPolicy))
	o.rich()
	renter := testKey("renter one")
	wallet := chain.PublicOf(renter)
	o.payIn(0, o.n.Vaults.Fee, 10_000, o.reference(wallet, 1))
	d := o.desk()
	offer, other := d.offer(0), d.offer(1)
	l := d.session(renter, "one", 6_000)
	c, z := l.channel(0, offer, 1_000), l.channel(1, other, 500)
	for range 300 { // more than a bundle holds
		c.serve(2)
	}
	z.serve(5)
	d.receipt(z, z.batch(4, 10))
	d.publish()
	d.seal()
	c.text.Limit = ionet.MustAmount(1_500)
	c.open()
	c.serve(200)
	z.close()
	d.publish()
	d.seal()
	d.pay(map[ionet.Key]uint64{key(o, 0): 1_100, key(o, 1): 60})
	o.waitTime(unixTime.Load() + 10)
	z.over()
	l.closeAll()
	o.waitTime(unixTime.Load() + 10)
	c.over()
	l.overAll(6_000 - c.spent - z.spent)
	d.publish()
	d.seal()
	o.withdraw(renter, 1, 10_000-c.spent-z.spent, key(o, 1), 1000, nil)
	d.session(renter, "not sealed", 1)
	d.publish()
	r := o.audit()
	if r.Status() != 0 || r.Seals != 3 || r.Records != len(d.records) || r.Receipts != 303 || r.Jobs != 306 || r.Fees != d.fees || r.FeePayments != 2 || r.FeesPaid.Base() != 1_160 {
		show(t, r)
		t.Errorf("status %d, %d seals, %d records, %d receipts, %d jobs, fees %s, %d payments of %s", r.Status(), r.Seals, r.Records, r.Receipts, r.Jobs, r.Fees, r.FeePayments, r.FeesPaid)
	}
	if got, want := r.Summary(), "1 epoch, 3 verdicts, 1 payout, 303 receipts: all hold"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := r.Money(), fmt.Sprintf("fees of 0.00001268 in 303 receipts for 306 jobs, %d records in 3 seals, 0.00001160 paid to payees in 2 transfers", len(d.records)); !strings.Contains(got, want) {
		t.Errorf("got %q, want %q in it", got, want)
	}
	t.Run("files", func(t *testing.T) { tamperLog(t, d) })
}

// A top-up may bring another payee, who is paid from then on; the network's part is owed
// to the wallet that the policy names.
func TestPayeesOfFees(t *testing.T) {
	network := chain.PublicOf(testKey("wallet of the network"))
	o := foundUnder(t, "payees-of-fees", []byte(feesPolicy+"network_wallet = \""+network.String()+"\"\n"))
	o.rich()
	o.openAccounts(key(o, 2), network)
	renter := testKey("renter one")
	o.payIn(0, o.n.Vaults.Fee, 10_000, o.reference(chain.PublicOf(renter), 1))
	d := o.desk()
	c := d.session(renter, "one", 6_000).channel(0, d.offer(0), 1_000)
	c.serve(200)
	moved := proofs.Delegation{
		Provider: key(o, 0), Payout: key(o, 2), Workers: []ionet.Key{chain.PublicOf(o.hosts[0].worker)}, Issued: o.n.Start, Expires: o.n.Start + 100_000,
	}
	text, err := moved.Text(o.n.ID())
	other := d.sign(proofs.KindDelegation, o.hosts[0].provider, []byte(text), err)
	c.text.Limit, c.payee = ionet.MustAmount(1_500), key(o, 2)
	c.open(func(e *proofs.ChannelEntry, _ *proofs.ChannelOpen) { e.Delegation = other })
	c.serve(400)
	d.publish()
	d.pay(map[ionet.Key]uint64{key(o, 0): 285, key(o, 2): 570, network: 45})
	checkReport(t, o.audit(), nil)
	d.pay(map[ionet.Key]uint64{network: 1})
	checkReport(t, o.audit(), []string{"fee-overpaid"})
}

// A delegation that its provider revoked, in a book, brings no payee any more.
func TestRevokedDelegationOfFees(t *testing.T) {
	o := foundUnder(t, "revoked-of-fees", []byte(feesPolicy))
	text, err := proofs.Revocation{Provider: key(o, 0), Delegation: o.hosts[0].delegation.Envelope.ID(), Issued: o.n.Start}.Text(o.n.ID())
	if err != nil {
		t.Fatal(err)
	}
	revoked := o.sign(proofs.KindRevocation, o.hosts[0].provider, []byte(text))
	hear := crook{inputs: func(in *proofs.Inputs) { in.Statements = append(in.Statements, revoked) }}
	renter := testKey("renter one")
	o.epoch(hear) // it arrives
	o.openAccounts(key(o, 0), key(o, 1))
	o.claim(0)
	o.waitFinal()
	o.payIn(0, o.n.Vaults.Fee, 10_000, o.reference(chain.PublicOf(renter), 1))
	d := o.desk()
	l, offer := d.session(renter, "one", 6_000), d.offer(0)
	l.channel(0, offer, 100).serve(2) // while it begins to count
	o.epoch(hear)
	o.waitTime(o.n.Clock().EpochStart(3) + 1)
	l.channel(0, offer, 100).serve(2)
	d.publish()
	d.seal()
	r := o.audit()
	checkReport(t, r, []string{"fee-delegation"})
	if len(r.Findings) != 1 {
		t.Errorf("%d findings, want 1: of the channel opened in epoch 3", len(r.Findings))
	}
}

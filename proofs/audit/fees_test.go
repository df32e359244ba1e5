package audit

import (
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
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
	if got, want := r.Summary(), "1 epochs, 3 verdicts, 1 payouts, 303 receipts: all hold"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := r.Money(), "fees of 0.00001268 in 303 receipts for 306 jobs, 0.00001160 paid to payees"; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q in it", got, want)
	}
	t.Run("files", func(t *testing.T) { tamperLog(t, d) })
}

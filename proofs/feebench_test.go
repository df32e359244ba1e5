package proofs

import (
	"testing"

	"github.com/ionet-settlement/ionet"
)

// BenchmarkReceipt does what a receipt costs beside signatures and the database: a job is
// parsed and checked, its record made and hashed; metrics are per receipt.
func BenchmarkReceipt(b *testing.B) {
	c := newFeeCase()
	body := must[[]byte](b)(c.job.Encode())
	e := Sign(testNetwork, KindJob, key("worker"), body)
	renter, payee := public("renter"), public("payout")
	var log Frontier
	var buf []byte
	for b.Loop() {
		bill, err := ParseBill(e.Kind, e.Body)
		if err != nil || c.terms.Check(c.worker, bill, c.offer, c.accepted) != FeeHolds {
			b.Fatal(err)
		}
		r, err := NewReceipt(e, bill, renter, payee, 250, ionet.Amount{}, 0)
		if err != nil {
			b.Fatal(err)
		}
		if buf, err = (Record{Accepted: feeTime, Entry: r}).Append(buf[:0]); err != nil {
			b.Fatal(err)
		}
		log.Append(buf)
	}
}

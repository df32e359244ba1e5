package signer

import (
	"fmt"
	"testing"
)

// BenchmarkSign signs payouts of 57 in batches, journal and sync included.
func BenchmarkSign(b *testing.B) {
	for _, size := range []int{1, 16, MaxRequests} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			w := newWorld(b)
			w.policy.MaxLamports = 1 << 50
			s := w.server(b, journalPath(b))
			amounts := make([]uint64, 57)
			for i := range amounts {
				amounts[i] = 1
			}
			at := w.first("pay-0")
			var list []Request
			for range size {
				list = append(list, ask(b, w.payout(at, amounts...), at))
			}
			for b.Loop() {
				for _, a := range sign(b, s, list...) {
					if a.Refused != nil {
						b.Fatal(a.Refused)
					}
				}
			}
			b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "transactions/s")
		})
	}
}

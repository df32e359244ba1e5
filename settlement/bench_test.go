package settlement

import (
	"fmt"
	"testing"

	"github.com/ionet-settlement/ionet/proofs"
)

// BenchmarkSubmit takes in one sample of many workers: signatures, look-ups,
// storing and acks, by requests of 1,000 on one connection.
func BenchmarkSubmit(b *testing.B) {
	const workers = MaxSubmitted
	s := newBooks(b)
	hosts := make([]*host, workers)
	for i := range hosts {
		hosts[i] = s.newHost(fmt.Sprint("host ", i), fmt.Sprint("gpu ", i))
		s.register(hosts[i])
	}
	n := uint64(0)
	for b.Loop() {
		b.StopTimer()
		k, sample := 1+n/testSamples, uint16(n%testSamples)
		s.toSample(k, sample)
		beacon := s.beacon(k, sample)
		all := make([]Submitted, workers)
		for i, h := range hosts {
			u := proofs.Uptime{
				Epoch: k, Sample: sample, BeaconSlot: beacon.Slot, BeaconHash: beacon.Hash,
				Delegation: h.delegation.ID(), Inventory: h.inventory.ID(), Devices: make([]proofs.UptimeDevice, 1),
			}
			body, err := u.Encode()
			if err != nil {
				b.Fatal(err)
			}
			all[i].Envelope = proofs.Sign(s.net.Network.ID(), proofs.KindUptime, h.key, body)
		}
		b.StartTimer()
		results, err := s.Submit(b.Context(), all)
		if err != nil || results[0].Status != Accepted || results[workers-1].Status != Accepted {
			b.Fatalf("submit: %+v, %v", results[0].Problem, err)
		}
		n++
	}
	b.ReportMetric(float64(n*workers)/b.Elapsed().Seconds(), "statements/s")
}

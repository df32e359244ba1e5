package settlement

import (
	"testing"

	"github.com/ionet-settlement/ionet/proofs"
)

// Of three statements of one sample in one request the same two are kept on either way,
// whatever their order: which, is drawn by their ids.
func TestThreeOfOneSample(t *testing.T) {
	fast := newBooks(t)
	h := fast.newHost("a", "gpu 0")
	fast.register(h)
	fast.toSample(1, 0)
	fast.accept(h.uptime(1, 0, nil)) // what the short way needs is known now
	slow := fast.on(fast.copyDatabase())
	for sample := uint16(1); sample < testSamples; sample++ {
		fast.toSample(1, sample)
		if _, err := fast.Beacon(t.Context(), 1, sample); err != nil {
			t.Fatal(err)
		}
		var three []proofs.Envelope
		for i := range uint16(3) {
			three = append(three, h.uptime(1, sample, func(u *proofs.Uptime) { u.Devices[0].PowerW = i }))
		}
		together, alone := fast.submit(plain(three...)...), slow.submitSlowly(plain(three...)...)
		kept := 0
		for i := range three {
			if together[i].Status != alone[i].Status {
				t.Errorf("sample %d, statement %d is %s together and %s alone", sample, i, together[i].Status, alone[i].Status)
			}
			if together[i].Status == Accepted {
				kept++
			}
		}
		if kept != perSample {
			t.Errorf("sample %d: %d statements are kept, want %d", sample, kept, perSample)
		}
	}
}

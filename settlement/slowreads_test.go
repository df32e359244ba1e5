package settlement

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ionet-settlement/ionet/proofs"
)

// nearby makes statements of the hosts for the sample, each with a slot of its own near
// the block that is handed out, which is not in the table.
func (b *books) nearby(k uint64, sample uint16, slot *uint64, hosts ...*host) (list []proofs.Envelope) {
	b.t.Helper()
	for _, h := range hosts {
		*slot++
		u := proofs.Uptime{Epoch: k, Sample: sample, BeaconSlot: *slot, Delegation: h.delegation.ID(), Inventory: h.inventory.ID(), Devices: make([]proofs.UptimeDevice, h.devices)}
		body, err := u.Encode()
		if err != nil {
			b.t.Fatal(err)
		}
		list = append(list, proofs.Sign(b.net.Network.ID(), proofs.KindUptime, h.key, body))
	}
	return list
}

// A few hosts name blocks that are near the sample's and not in the table, in requests
// that are filled up with statements of nobody, while the chain does not answer. So few
// of them are slow at once, and so little of each counts as in hand, that the others
// notice nothing; what we acked finds a turn beside them.
func TestSlowReadsKeepNobodyOut(t *testing.T) {
	b := newBooks(t)
	var hosts []*host
	for i := range 4 {
		hosts = append(hosts, b.newHost(fmt.Sprint("slow ", i), fmt.Sprint("gpu ", i)))
	}
	honest := b.newHost("honest", "gpu x")
	b.register(append(hosts, honest)...)
	b.toSample(1, 0)
	ours, err := b.Beacon(t.Context(), 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	good, acked := honest.uptime(1, 0, nil), honest.uptime(1, 0, func(u *proofs.Uptime) { u.BeaconSlot = ours.Slot + 60 })
	w, answers := &wires{}, make(chan struct{})
	w.before(func(method string) {
		if method == "getBlock" {
			<-answers
		}
	})
	b.Service.cfg.Chain = w.client(t, b.node.URL())
	slot := ours.Slot
	var wg sync.WaitGroup
	var slow, busy atomic.Int64
	for range 13 { // 52 slots of the 64 that are near
		list := plain(b.nearby(1, 0, &slot, hosts...)...)
		for i := len(list); i < MaxSubmitted; i++ {
			list = append(list, statement(proofs.Envelope{Kind: proofs.KindUptime, Body: []byte{byte(i)}}))
		}
		slow.Add(1)
		wg.Go(func() {
			defer slow.Add(-1)
			results, err := b.Submit(t.Context(), list)
			for i := range results[:min(4, len(results))] {
				if p := results[i].Problem; p != nil && p.Type == ProblemBusy {
					busy.Add(1)
				}
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "all but a few are answered", func() bool { return slow.Load() == maxStrangeReaders })
	if n := busy.Load(); n != 4*(13-maxStrangeReaders) {
		t.Errorf("%d statements found no turn, want all of %d requests", n, 13-maxStrangeReaders)
	}
	if n := b.intake.admission.statements.Load(); n > 4*maxStrangeReaders {
		t.Errorf("%d statements are in hand while the chain is read", n)
	}
	b.accept(good)
	wg.Go(func() {
		if _, err := b.Submit(t.Context(), []Submitted{{acked, ptr(b.ack(acked, proofs.Arrival{Epoch: 1}))}}); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "what was acked waits for the chain", func() bool { return b.intake.beacons.readers.Load() == maxStrangeReaders+1 })
	close(answers)
	wg.Wait()
	if n, in := b.intake.beacons.readers.Load(), b.intake.admission.statements.Load(); n != 0 || in != 0 {
		t.Errorf("%d requests still count as reading, %d statements as in hand", n, in)
	}
}

// A look-up counts also where it found no turn: one request waits once, not for each slot
// that it names.
func TestLookupsThatWaitAreBounded(t *testing.T) {
	b := newBooks(t)
	b.toSample(1, 5)
	ours, err := b.Beacon(t.Context(), 1, 5)
	if err != nil {
		t.Fatal(err)
	}
	c := &b.intake.beacons
	for range maxReading { // others read
		if err := c.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	l := b.newLookups()
	for n := range uint64(maxLookups + 3) {
		_, p, err := l.block(t.Context(), &item{body: &proofs.Uptime{Epoch: 1, Sample: 5, BeaconSlot: ours.Slot + 1 + n}})
		if err != nil || p == nil || p.Type != ProblemBusy || p.Retry == 0 {
			t.Fatalf("look-up %d: %v, %v", n, p, err)
		}
	}
	if !l.tired || l.read != maxLookups {
		t.Errorf("%d look-ups count", l.read)
	}
	l.leave()
	for range maxReading {
		c.leave()
	}
	if n := c.readers.Load(); n != 0 {
		t.Errorf("%d requests still count as reading", n)
	}
}

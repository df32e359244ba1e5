package audit

import (
	"crypto/ed25519"
	"fmt"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
)

// host is a worker with one device and its provider.
type host struct {
	provider, worker      ed25519.PrivateKey
	delegation, inventory proofs.Statement
	previous              ionet.Hash
}

func testKey(name string) ed25519.PrivateKey {
	seed := ionet.HashOf([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func (o *operator) host(i int) *host {
	name := fmt.Sprint(o.n.Name, " host ", i)
	h := &host{provider: testKey(name + " provider"), worker: testKey(name + " worker")}
	d := proofs.Delegation{
		Provider: chain.PublicOf(h.provider), Payout: chain.PublicOf(h.provider), Workers: []ionet.Key{chain.PublicOf(h.worker)},
		Issued: o.n.Start, Expires: o.n.Start + 100_000,
	}
	text, err := d.Text(o.n.ID())
	if err != nil {
		o.t.Fatal(err)
	}
	h.delegation = o.sign(proofs.KindDelegation, h.provider, []byte(text))
	inv := proofs.Inventory{Delegation: h.delegation.Envelope.ID(), Simulated: true, Devices: []proofs.InventoryDevice{{
		UUID: ionet.UUID{byte(i + 1)}, Name: "NVIDIA H100 80GB HBM3", MemoryMiB: 81559, PCI: "00000000:01:00.0", CCMajor: 9, Driver: "580.65.06", VBIOS: "96.00.89.00.01", ECC: proofs.ModeOn,
	}}}
	body, err := inv.Encode()
	if err != nil {
		o.t.Fatal(err)
	}
	h.inventory = o.sign(proofs.KindInventory, h.worker, body)
	return h
}

func (o *operator) sign(kind proofs.Kind, key ed25519.PrivateKey, body []byte) proofs.Statement {
	return proofs.Statement{Arrival: proofs.Arrival{Epoch: 1}, Envelope: proofs.Sign(o.n.ID(), kind, key, body)}
}

func (h *host) uptime(o *operator, k uint64, s uint16, b proofs.Beacon) proofs.Statement {
	u := proofs.Uptime{
		Epoch: k, Sample: s, BeaconSlot: b.Slot, BeaconHash: b.Hash, Previous: h.previous,
		Delegation: h.delegation.Envelope.ID(), Inventory: h.inventory.Envelope.ID(),
		Devices: []proofs.UptimeDevice{{Utilization: 97, MemoryMiB: 70000, Temperature: 60, PowerW: 650, SMMHz: 1755, MemoryMHz: 2619, Processes: 1}},
	}
	body, err := u.Encode()
	if err != nil {
		o.t.Fatal(err)
	}
	st := o.sign(proofs.KindUptime, h.worker, body)
	st.Arrival = proofs.Arrival{Epoch: k, Sample: s}
	h.previous = st.Envelope.ID()
	return st
}

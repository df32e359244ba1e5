package settlement

import (
	"bytes"
	"crypto/ed25519"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
)

// host is a worker with its provider.
type host struct {
	b          *books
	key        ed25519.PrivateKey
	provider   ed25519.PrivateKey
	payout     ionet.Key
	delegation proofs.Envelope
	inventory  proofs.Envelope
	devices    int
	previous   ionet.Hash
}

// keyOf makes a key from a name, so that a failing case can be told.
func keyOf(name string) ed25519.PrivateKey {
	seed := ionet.HashOf([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func uuidOf(name string) ionet.UUID {
	h := ionet.HashOf([]byte(name))
	return ionet.UUID(h[:16])
}

// newHost makes a host of one provider whose devices have these names; even ones
// are H100s, odd ones RTX 4090s.
func (b *books) newHost(name string, devices ...string) *host {
	b.t.Helper()
	h := &host{b: b, key: keyOf("worker " + name), provider: keyOf("provider " + name), payout: chain.PublicOf(keyOf("payout " + name)), devices: len(devices)}
	h.delegation = h.delegate(func(*proofs.Delegation) {})
	h.inventory = h.list(func(v *proofs.Inventory) {}, devices...)
	return h
}

func (h *host) worker() ionet.Key { return chain.PublicOf(h.key) }

func (h *host) delegate(change func(*proofs.Delegation)) proofs.Envelope {
	h.b.t.Helper()
	d := proofs.Delegation{Provider: chain.PublicOf(h.provider), Payout: h.payout, Workers: []ionet.Key{h.worker()}, Issued: h.b.first - 1000, Expires: h.b.first + 100_000}
	change(&d)
	text, err := d.Text(h.b.net.Network.ID())
	return h.b.signText(proofs.KindDelegation, h.provider, text, err)
}

func (b *books) signText(kind proofs.Kind, key ed25519.PrivateKey, text string, err error) proofs.Envelope {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	return proofs.Sign(b.net.Network.ID(), kind, key, []byte(text))
}

func (h *host) list(change func(*proofs.Inventory), devices ...string) proofs.Envelope {
	h.b.t.Helper()
	v := proofs.Inventory{Delegation: h.delegation.ID(), Simulated: true}
	for i, name := range devices {
		product := []string{"NVIDIA H100 80GB HBM3", "NVIDIA GeForce RTX 4090"}[i%2]
		v.Devices = append(v.Devices, proofs.InventoryDevice{UUID: uuidOf(name), Name: product, MemoryMiB: 81559, PCI: "00000000:01:00.0", CCMajor: 9, Driver: "580.95.05", VBIOS: "96.00.89.00.01", ECC: proofs.ModeOn})
	}
	slices.SortFunc(v.Devices, func(a, b proofs.InventoryDevice) int { return bytes.Compare(a.UUID[:], b.UUID[:]) })
	change(&v)
	body, err := v.Encode()
	if err != nil {
		h.b.t.Fatal(err)
	}
	return proofs.Sign(h.b.net.Network.ID(), proofs.KindInventory, h.key, body)
}

// beacon returns the first finalized block of a sample that has begun.
func (b *books) beacon(k uint64, sample uint16) proofs.Beacon {
	b.t.Helper()
	start := b.clock.SampleStart(k, sample)
	block, err := b.rpc.BlockAt(b.t.Context(), start, start+testSample)
	if err != nil {
		b.t.Fatalf("block of sample %d of epoch %d: %v", sample, k, err)
	}
	return proofs.Beacon{Slot: block.Slot, Hash: block.Hash, Time: block.Time}
}

// uptime signs a statement for a sample; change may spoil it.
func (h *host) uptime(k uint64, sample uint16, change func(*proofs.Uptime)) proofs.Envelope {
	h.b.t.Helper()
	beacon := h.b.beacon(k, sample)
	u := proofs.Uptime{
		Epoch: k, Sample: sample, BeaconSlot: beacon.Slot, BeaconHash: beacon.Hash, Previous: h.previous,
		Delegation: h.delegation.ID(), Inventory: h.inventory.ID(), Devices: make([]proofs.UptimeDevice, h.devices),
	}
	for i := range u.Devices {
		u.Devices[i] = proofs.UptimeDevice{Utilization: 50, MemoryMiB: 1024, Temperature: 60, PowerW: 300, SMMHz: 1755, MemoryMHz: 2619, Processes: 1}
	}
	if change != nil {
		change(&u)
	}
	body, err := u.Encode()
	if err != nil {
		h.b.t.Fatal(err)
	}
	e := proofs.Sign(h.b.net.Network.ID(), proofs.KindUptime, h.key, body)
	h.previous = e.ID()
	return e
}

// move registers the host anew under a changed delegation.
func (b *books) move(h *host, change func(*proofs.Delegation)) {
	b.t.Helper()
	h.delegation = h.delegate(change)
	h.inventory = h.list(func(*proofs.Inventory) {}, "gpu 0", "gpu 1")
	b.register(h)
}

func (h *host) revoke(delegation ionet.Hash) proofs.Envelope {
	h.b.t.Helper()
	text, err := proofs.Revocation{Provider: chain.PublicOf(h.provider), Delegation: delegation, Issued: h.b.now().Unix()}.Text(h.b.net.Network.ID())
	return h.b.signText(proofs.KindRevocation, h.provider, text, err)
}

func (h *host) release(worker ionet.Key, device string) proofs.Envelope {
	h.b.t.Helper()
	text, err := proofs.Release{Provider: chain.PublicOf(h.provider), Worker: worker, Device: uuidOf(device), Issued: h.b.now().Unix()}.Text(h.b.net.Network.ID())
	return h.b.signText(proofs.KindRelease, h.provider, text, err)
}

// ack makes the service's ack of a statement.
func (b *books) ack(e proofs.Envelope, at proofs.Arrival) proofs.Envelope {
	return proofs.SignAcks(b.net.Network.ID(), b.net.Keys.Service, at, []ionet.Hash{e.ID()})[0]
}

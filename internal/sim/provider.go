package main

import (
	"crypto/ed25519"
	"fmt"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
)

// provider is a wallet with one worker and a few GPUs, whose payouts go to a
// wallet of their own.
type provider struct {
	number     int
	worker     ed25519.PrivateKey
	wallet     ed25519.PrivateKey // that it is paid to
	delegation proofs.Envelope
	inventory  proofs.Envelope
	devices    int
	previous   ionet.Hash // of its last uptime statement
}

// keyOf makes a key from a name: every run of the program has the same ones.
func keyOf(name string) ed25519.PrivateKey {
	seed := ionet.HashOf([]byte("io/sim/"), []byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// payee is the public half of the wallet that is paid.
func (p *provider) payee() ionet.Key { return chain.PublicOf(p.wallet) }

// newProvider makes the provider of that number with its registrations. Every
// third has H100s, of which one earns eight times as much as another GPU.
func newProvider(n *ionet.Network, number int) (*provider, error) {
	name := fmt.Sprint(number)
	p := &provider{number: number, worker: keyOf("worker " + name), wallet: keyOf("wallet " + name), devices: 1 + number%2}
	owner := keyOf("provider " + name)
	d := proofs.Delegation{
		Provider: chain.PublicOf(owner), Payout: p.payee(), Workers: []ionet.Key{chain.PublicOf(p.worker)},
		Issued: n.Start - 1000, Expires: n.Start + 1_000_000,
	}
	text, err := d.Text(n.ID())
	if err != nil {
		return nil, fmt.Errorf("make provider %d: %w", number, err)
	}
	p.delegation = proofs.Sign(n.ID(), proofs.KindDelegation, owner, []byte(text))
	product := "NVIDIA GeForce RTX 4090"
	if number%3 == 0 {
		product = "NVIDIA H100 80GB HBM3"
	}
	v := proofs.Inventory{Delegation: p.delegation.ID(), Simulated: true}
	for i := range p.devices {
		h := ionet.HashOf([]byte("io/sim/gpu/"), []byte(name))
		uuid := ionet.UUID(h[:16])
		uuid[15] = byte(i) // ascending, as inventories are
		v.Devices = append(v.Devices, proofs.InventoryDevice{UUID: uuid, Name: product, MemoryMiB: 24_564, PCI: "00000000:01:00.0", CCMajor: 9, Driver: "580.95.05", VBIOS: "95.02.3c.00.a1", MIG: proofs.ModeUntold})
	}
	body, err := v.Encode()
	if err != nil {
		return nil, fmt.Errorf("make provider %d: %w", number, err)
	}
	p.inventory = proofs.Sign(n.ID(), proofs.KindInventory, p.worker, body)
	return p, nil
}

// uptime signs a statement for a sample.
func (p *provider) uptime(n *ionet.Network, k uint64, sample uint16, b proofs.Beacon) (proofs.Envelope, error) {
	u := proofs.Uptime{
		Epoch: k, Sample: sample, BeaconSlot: b.Slot, BeaconHash: b.Hash, Previous: p.previous,
		Delegation: p.delegation.ID(), Inventory: p.inventory.ID(), Devices: make([]proofs.UptimeDevice, p.devices),
	}
	for i := range u.Devices {
		u.Devices[i] = proofs.UptimeDevice{Utilization: 50, MemoryMiB: 1024, Temperature: 60, PowerW: 300, SMMHz: 2520, MemoryMHz: 10501, Processes: 1}
	}
	body, err := u.Encode()
	if err != nil {
		return proofs.Envelope{}, fmt.Errorf("sign an uptime statement: %w", err)
	}
	e := proofs.Sign(n.ID(), proofs.KindUptime, p.worker, body)
	p.previous = e.ID()
	return e, nil
}

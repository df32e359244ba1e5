package settlement

import (
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// Whatever the order, the repetitions and the requests in which the same
// statements come, the inputs are the same.
func TestInputsDoNotDependOnOrder(t *testing.T) {
	b := newBooks(t)
	a, c := b.newHost("a", "gpu 0", "gpu 1"), b.newHost("c", "gpu 2")
	b.toClose(1)
	all := []proofs.Envelope{a.delegation, a.inventory, c.delegation, c.inventory, c.revoke(c.delegation.ID()), a.list(func(*proofs.Inventory) {}, "gpu 0", "gpu 1", "gpu 7")}
	for sample := range uint16(testSamples) {
		all = append(all, a.uptime(1, sample, nil), c.uptime(1, sample, nil))
	}
	all = append(all, a.uptime(1, 2, func(u *proofs.Uptime) { u.Previous = ionet.Hash{3} }))
	want := b.inputsOf(all, rand.New(rand.NewPCG(1, 1)), 1)
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		perRequest := rapid.IntRange(1, 12).Draw(rt, "statements of a request")
		if got := b.inputsOf(all, rand.New(rand.NewPCG(seed, 0)), perRequest); got != want {
			rt.Fatalf("inputs root is %s, want %s", got, want)
		}
	})
}

// inputsOf forgets all statements, brings these in a random order, some twice,
// until all are in, and returns the root of epoch 1's inputs.
func (b *books) inputsOf(all []proofs.Envelope, r *rand.Rand, perRequest int) ionet.Hash {
	b.t.Helper()
	for _, table := range []string{"inventory_devices", "inventories", "workers", "releases", "revocations", "delegation_workers", "delegations", "beacons", "statements", "uptimes"} {
		b.exec(`DELETE FROM ` + table)
	}
	in := map[ionet.Hash]bool{}
	for len(in) < len(all) {
		var next []proofs.Envelope
		for range perRequest {
			next = append(next, all[r.IntN(len(all))])
		}
		for _, res := range b.submit(plain(next...)...) {
			if res.Status != Refused {
				in[res.ID] = true
			} else if !strings.HasPrefix(res.Problem.Type, "unknown-") {
				b.t.Fatal(res.Problem)
			}
		}
	}
	inputs, err := b.gather(b.t.Context(), 1)
	if err != nil {
		b.t.Fatal(err)
	}
	return inputs.Root()
}

package settlement

import (
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// A device goes to the first worker that proves it, stays with it, is released,
// and then belongs to the next.
func TestBindingsThroughEpochs(t *testing.T) {
	b := newBooks(t)
	a, c := b.newHost("a", "gpu 0"), b.newHost("c", "gpu 0")
	b.register(a)
	b.epochs(1, 1, a)
	p := b.refuseAfter(ProblemDeviceBound, c.delegation, c.inventory)
	if p.Field != "body.devices[0].uuid" || !strings.Contains(p.Detail, uuidOf("gpu 0").String()) {
		t.Errorf("problem is %+v", p)
	}
	b.accept(a.release(a.worker(), "gpu 0"))
	b.epochs(2, 2, a)
	if n := b.count(`SELECT count(*) FROM bindings`); n != 0 {
		t.Fatalf("%d bindings after the release", n)
	}
	b.accept(c.inventory)
	b.epochs(3, 3, c)
	verdicts, err := b.Verdicts(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	if v := verdictOf(t, verdicts, c, "gpu 0"); v.Rule != proofs.Accepted {
		t.Errorf("the new worker's verdict is %s", v.Rule.Name())
	}
	var worker []byte
	if err := b.pool.QueryRow(t.Context(), `SELECT worker FROM bindings`).Scan(&worker); err != nil || ionet.Key(worker) != c.worker() {
		t.Errorf("the device is bound to %x (%v)", worker, err)
	}
}

// refuseAfter accepts all but the last statement, which must be refused.
func (b *books) refuseAfter(kind string, envelopes ...proofs.Envelope) *Problem {
	b.t.Helper()
	last := len(envelopes) - 1
	b.accept(envelopes[:last]...)
	return b.refuse(kind, statement(envelopes[last]))
}

func TestTwoFirstClaims(t *testing.T) {
	b := newBooks(t)
	a, c := b.newHost("a", "gpu 0"), b.newHost("c", "gpu 0")
	b.register(a, c)
	b.epochs(1, 1, a, c)
	verdicts, err := b.Verdicts(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []*host{a, c} {
		if v := verdictOf(t, verdicts, h, "gpu 0"); v.Rule != proofs.TwoFirstClaims {
			t.Errorf("rule is %s", v.Rule.Name())
		}
	}
	if found, err := b.DeviceVerdicts(t.Context(), uuidOf("gpu 0"), 1); err != nil || len(found) != 2 {
		t.Errorf("verdicts on the device: %v, %v", found, err)
	}
}

// A silent worker stays in the books for as long as FORMAT.md says, and no longer.
func TestSilentWorkerLeavesTheInputs(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu 0")
	b.register(h)
	b.epochs(1, 1, h)
	for _, k := range []uint64{2, 1 + reach, 2 + reach} {
		in, err := b.gather(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := in.Has(proofs.KindInventory, h.inventory.ID()), k <= 1+reach; got != want {
			t.Errorf("inventory in the inputs of epoch %d: %t, want %t", k, got, want)
		}
	}
}

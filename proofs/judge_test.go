package proofs

import (
	"slices"
	"testing"

	"github.com/ionet-settlement/ionet"
)

// ruleCase is one way to be judged. build returns the statements that the
// verdict of device 1 of worker "w" must name as evidence.
type ruleCase struct {
	name    string
	rule    Rule
	samples uint16
	build   func(w *world) []ionet.Hash
}

var ruleCases = []ruleCase{
	{"accepted", Accepted, 5, func(w *world) []ionet.Hash {
		return w.honest("p", "w", gpu{1, h100}).work(0, 1, 2, 3, 4)
	}},
	{"accepted-at-minimum", Accepted, 3, func(w *world) []ionet.Hash {
		return w.honest("p", "w", gpu{1, h100}).work(1, 2, 4)
	}},
	{"accepted-device-gone-in-two-samples", Accepted, 3, func(w *world) []ionet.Hash {
		h := w.honest("p", "w", gpu{1, h100}, gpu{2, h100})
		var ids []ionet.Hash
		for s := range uint16(5) {
			u := h.statement(s)
			if s == 1 || s == 3 {
				u.Devices[0] = UptimeDevice{Status: DeviceGone}
				h.say(u, 0)
				continue
			}
			ids = append(ids, h.say(u, 0))
		}
		return ids
	}},
	{"accepted-one-late", Accepted, 3, func(w *world) []ionet.Hash {
		h := w.honest("p", "w", gpu{1, h100})
		return []ionet.Hash{h.say(h.statement(0), 1), h.say(h.statement(1), 2), h.say(h.statement(2), 1)}
	}},
	{"accepted-bound-here", Accepted, 3, func(w *world) []ionet.Hash {
		w.in.Bindings = []Binding{{UUID: device(1), Worker: public("w"), Since: 2, Last: 5}}
		ids := w.honest("p", "w", gpu{1, h100}).work(0, 1, 2)
		w.honest("q", "other", gpu{1, h100}).work(0, 1, 2, 3)
		return ids
	}},
	{"equivocation-one-sample", Equivocation, 5, func(w *world) []ionet.Hash {
		h := w.honest("p", "w", gpu{1, h100})
		h.work(0, 1)
		u := h.statement(2)
		a := h.say(u, 0)
		u.Devices[0].PowerW, u.Previous = 1, a
		b := h.say(u, 0)
		h.work(3)
		if string(b[:]) < string(a[:]) {
			a, b = b, a
		}
		return []ionet.Hash{a, b}
	}},
	{"equivocation-one-previous", Equivocation, 4, func(w *world) []ionet.Hash {
		h := w.honest("p", "w", gpu{1, h100})
		first := h.work(0)[0]
		a := h.say(h.statement(1), 0)
		h.work(2)
		h.previous = first
		return []ionet.Hash{a, h.say(h.statement(3), 0)}
	}},
	{"two-losses-of-state-are-none", Accepted, 3, func(w *world) []ionet.Hash {
		h := w.honest("p", "w", gpu{1, h100})
		var ids []ionet.Hash
		for s := range uint16(3) {
			h.previous = ionet.Hash{}
			ids = append(ids, h.say(h.statement(s), 0))
		}
		return ids
	}},
	{"no-delegation", NoDelegation, 0, func(w *world) []ionet.Hash {
		h := w.host("w", ionet.HashOf([]byte("nowhere")), gpu{1, h100})
		h.work(0, 1, 2)
		return []ionet.Hash{h.inventory}
	}},
	{"no-delegation-of-this-worker", NoDelegation, 0, func(w *world) []ionet.Hash {
		issued, expires := always()
		h := w.host("w", w.delegate("p", issued, expires, "another"), gpu{1, h100})
		h.work(0, 1, 2)
		return []ionet.Hash{h.inventory}
	}},
	{"delegation-expired", DelegationExpired, 0, func(w *world) []ionet.Hash {
		d := w.delegate("p", testClock.Start, testClock.EpochStart(worldEpoch), "w")
		w.host("w", d, gpu{1, h100}).work(0, 1, 2)
		return []ionet.Hash{d}
	}},
	{"delegation-not-yet-issued", DelegationExpired, 0, func(w *world) []ionet.Hash {
		d := w.delegate("p", testClock.SampleStart(worldEpoch, 4)+1, testClock.EpochEnd(worldEpoch), "w")
		w.host("w", d, gpu{1, h100}).work(0, 1, 2)
		return []ionet.Hash{d}
	}},
	{"delegation-expires-inside", TooFewSamples, 2, func(w *world) []ionet.Hash {
		d := w.delegate("p", testClock.Start, testClock.SampleStart(worldEpoch, 2), "w")
		return w.host("w", d, gpu{1, h100}).work(0, 1, 2, 3, 4)
	}},
	{"delegation-revoked", DelegationRevoked, 0, func(w *world) []ionet.Hash {
		issued, expires := always()
		d := w.delegate("p", issued, expires, "w")
		w.host("w", d, gpu{1, h100}).work(0, 1, 2)
		return []ionet.Hash{w.revoke("p", d, Arrival{worldEpoch - 1, 4})}
	}},
	{"revocation-in-the-epoch-counts-later", Accepted, 3, func(w *world) []ionet.Hash {
		issued, expires := always()
		d := w.delegate("p", issued, expires, "w")
		w.revoke("p", d, Arrival{worldEpoch, 0})
		return w.host("w", d, gpu{1, h100}).work(0, 1, 2)
	}},
	{"revocation-by-a-stranger", Accepted, 3, func(w *world) []ionet.Hash {
		issued, expires := always()
		d := w.delegate("p", issued, expires, "w")
		w.revoke("stranger", d, Arrival{2, 0})
		return w.host("w", d, gpu{1, h100}).work(0, 1, 2)
	}},
	{"simulated", Simulated, 3, func(w *world) []ionet.Hash {
		issued, expires := always()
		h := w.hostAt("w", w.delegate("p", issued, expires, "w"), Arrival{worldEpoch, 0}, true, gpu{1, h100})
		h.work(0, 1, 2)
		return []ionet.Hash{h.inventory}
	}},
	{"unknown-model", UnknownModel, 3, func(w *world) []ionet.Hash {
		h := w.honest("p", "w", gpu{1, "nvidia h100 80gb hbm3"})
		h.work(0, 1, 2)
		return []ionet.Hash{h.inventory}
	}},
	{"zero-multiplier", ZeroMultiplier, 3, func(w *world) []ionet.Hash {
		h := w.honest("p", "w", gpu{1, a10})
		h.work(0, 1, 2)
		return []ionet.Hash{h.inventory}
	}},
	{"bound-elsewhere", BoundElsewhere, 3, func(w *world) []ionet.Hash {
		w.in.Bindings = []Binding{{UUID: device(1), Worker: public("owner"), Since: 2, Last: 6}}
		h := w.honest("p", "w", gpu{1, h100})
		h.work(0, 1, 2)
		return []ionet.Hash{h.inventory}
	}},
	{"inventory-changed", InventoryChanged, 0, func(w *world) []ionet.Hash {
		h := w.honest("p", "w", gpu{9, h100})
		h.work(0, 1, 2)
		later := w.hostAt("w", h.delegation, Arrival{worldEpoch, 3}, false, gpu{1, h100}, gpu{9, h100})
		later.say(later.statement(3), 0)
		return []ionet.Hash{later.inventory}
	}},
	{"no-samples", NoSamples, 0, func(w *world) []ionet.Hash {
		h := w.honest("p", "w", gpu{1, h100})
		return []ionet.Hash{h.inventory}
	}},
	{"no-samples-latest-inventory", NoSamples, 0, func(w *world) []ionet.Hash {
		h := w.honest("p", "w", gpu{8, h100})
		return []ionet.Hash{w.hostAt("w", h.delegation, Arrival{worldEpoch, 3}, false, gpu{1, h100}).inventory}
	}},
	{"wrong-delegation", WrongDelegation, 2, func(w *world) []ionet.Hash {
		h := w.honest("p", "w", gpu{1, h100})
		h.work(0, 1)
		u := h.statement(2)
		u.Delegation = ionet.HashOf([]byte("another"))
		return []ionet.Hash{h.say(u, 0)}
	}},
	{"beacon-of-another-sample", ForeignBeacon, 2, func(w *world) []ionet.Hash {
		h := w.honest("p", "w", gpu{1, h100})
		h.work(0, 1)
		u := h.statement(2)
		u.BeaconSlot, u.BeaconHash = h.beacon(1).Slot, h.beacon(1).Hash
		return []ionet.Hash{h.say(u, 0)}
	}},
	{"beacon-with-a-false-hash", ForeignBeacon, 2, func(w *world) []ionet.Hash {
		h := w.honest("p", "w", gpu{1, h100})
		h.work(0, 1)
		u := h.statement(2)
		u.BeaconHash[0] ^= 1
		return []ionet.Hash{h.say(u, 0)}
	}},
	{"sample-beyond-the-epoch", ForeignBeacon, 2, func(w *world) []ionet.Hash {
		h := w.honest("p", "w", gpu{1, h100})
		h.work(0, 1)
		u := h.statement(4)
		u.Sample = 5
		return []ionet.Hash{h.say(u, 0)}
	}},
	{"late", Late, 1, func(w *world) []ionet.Hash {
		h := w.honest("p", "w", gpu{1, h100})
		h.say(h.statement(0), 2)
		return []ionet.Hash{h.say(h.statement(1), 2), h.say(h.statement(2), 30)}
	}},
	{"arrival-before-its-sample", Late, 2, func(w *world) []ionet.Hash {
		h := w.honest("p", "w", gpu{1, h100})
		h.work(0, 1)
		return []ionet.Hash{h.say(h.statement(2), -1)}
	}},
	{"too-few-samples", TooFewSamples, 2, func(w *world) []ionet.Hash {
		return w.honest("p", "w", gpu{1, h100}).work(0, 4)
	}},
	{"too-few-samples-wrong-number-of-devices", TooFewSamples, 2, func(w *world) []ionet.Hash {
		h := w.honest("p", "w", gpu{1, h100})
		ids := h.work(0, 1)
		u := h.statement(2)
		u.Devices = append(u.Devices, u.Devices[0])
		return append(ids, h.say(u, 0))
	}},
	{"two-first-claims", TwoFirstClaims, 3, func(w *world) []ionet.Hash {
		a, b := w.honest("p", "w", gpu{1, h100}), w.honest("q", "rival", gpu{1, h100})
		a.work(0, 1, 2)
		b.work(1, 2, 3, 4)
		idle := w.honest("r", "idle", gpu{1, h100}) // refused: no party to the quarrel
		_ = idle
		if x, y := public("w"), public("rival"); string(x[:]) > string(y[:]) {
			a, b = b, a
		}
		return []ionet.Hash{a.inventory, b.inventory}
	}},
}

func TestRules(t *testing.T) {
	covered := map[Rule]bool{}
	for _, c := range slices.Concat(ruleCases, idleCases) {
		covered[c.rule] = true
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			evidence := c.build(w)
			j := w.judge()
			i := slices.IndexFunc(j.Verdicts, func(v Verdict) bool { return v.UUID == device(1) && v.Worker == public("w") })
			if i < 0 {
				t.Fatal("no verdict for the device")
			}
			v := j.Verdicts[i]
			if v.Rule != c.rule || v.Samples != c.samples {
				t.Fatalf("got rule %s with %d samples, want %s with %d", v.Rule.Name(), v.Samples, c.rule.Name(), c.samples)
			}
			if v.Evidence != evidenceOf(evidence) {
				t.Errorf("evidence is not of %v", evidence)
			}
			if isAccepted := v.Rule == Accepted; isAccepted == v.Amount.IsZero() || isAccepted == (v.Weight == 0) {
				t.Errorf("rule %s with weight %d and amount %s", v.Rule.Name(), v.Weight, v.Amount)
			}
			checkTotals(t, j)
		})
	}
	for _, r := range Rules() {
		if !covered[r] {
			t.Errorf("no case for rule %s", r.Name())
		}
	}
}

func checkTotals(t interface{ Errorf(string, ...any) }, j *Judgement) {
	var sum ionet.Amount
	var err error
	for _, v := range j.Verdicts {
		if sum, err = sum.Add(v.Amount); err != nil {
			t.Errorf("%v", err)
		}
	}
	if total, err := sum.Add(j.Unissued); err != nil || total != testEmission || sum != j.Sum {
		t.Errorf("amounts %s, sum %s, unissued %s: not the emission %s", sum, j.Sum, j.Unissued, testEmission)
	}
}

func TestSplitOverPools(t *testing.T) {
	w := newWorld(t)
	w.honest("p", "w", gpu{1, h100}, gpu{2, rtx4090}, gpu{3, h100}).work(0, 1, 2, 3, 4)
	w.honest("q", "v", gpu{4, h100}).work(0, 1, 2)
	j := w.judge()
	// community: floor(1000003*500/10000) = 50000 to device 2;
	// enterprise: 950003 at weights 50000, 50000, 30000.
	want := "1 w accepted 5 365386\n2 w accepted 5 50000\n3 w accepted 5 365386\n4 v accepted 3 219231\n"
	if got := summary([]string{"w", "v"}, j.Verdicts); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if !j.Unissued.IsZero() {
		t.Errorf("unissued %s, want 0", j.Unissued)
	}
}

func TestEmptyPoolIsUnissued(t *testing.T) {
	w := newWorld(t)
	w.honest("p", "w", gpu{1, h100}).work(0, 1, 2)
	j := w.judge()
	if j.Sum != ionet.MustAmount(950_003) || j.Unissued != ionet.MustAmount(50_000) {
		t.Errorf("sum %s, unissued %s, want 950003 and 50000", j.Sum, j.Unissued)
	}
	if j = newWorld(t).judge(); !j.Sum.IsZero() || j.Unissued != testEmission || len(j.Verdicts) != 0 {
		t.Errorf("nobody: sum %s, unissued %s, %d verdicts", j.Sum, j.Unissued, len(j.Verdicts))
	}
}

func TestPayeeComesFromTheInventorysDelegation(t *testing.T) {
	w := newWorld(t)
	w.honest("p", "w", gpu{1, h100}).work(0, 1, 2)
	w.host("orphan", ionet.HashOf([]byte("nowhere")), gpu{2, h100})
	v := w.judge().Verdicts
	if v[0].Provider != public("p") || v[0].Payee != public("p payout") {
		t.Errorf("provider %s, payee %s", v[0].Provider, v[0].Payee)
	}
	if !v[1].Provider.IsZero() || !v[1].Payee.IsZero() {
		t.Errorf("without a delegation: provider %s, payee %s, want zeros", v[1].Provider, v[1].Payee)
	}
}

func TestJudgeRefusesBadInputs(t *testing.T) {
	for name, spoil := range map[string]func(w *world){
		"policy":                 func(w *world) { w.in.Policy = []byte("version = 1") },
		"epoch 0":                func(w *world) { w.in.Epoch = 0 },
		"another epoch's uptime": func(w *world) { w.in.Epoch = 8 },
		"epoch out of range":     func(w *world) { w.in.Epoch = 1 << 60 },
		"order": func(w *world) {
			w.in.Statements[0], w.in.Statements[1] = w.in.Statements[1], w.in.Statements[0]
		},
		"repetition":     func(w *world) { w.in.Statements = append(w.in.Statements, w.in.Statements[len(w.in.Statements)-1]) },
		"arrival sample": func(w *world) { w.in.Statements[3].Arrival.Sample = 5 },
		"arrival epoch":  func(w *world) { w.in.Statements[3].Arrival.Epoch = 1 << 40 },
		"kind": func(w *world) {
			w.add(KindOffer, "w", []byte("x"), Arrival{1, 0})
		},
		"another network's delegation": func(w *world) { w.in.Network[0] ^= 1 },
		"delegation of another signer": func(w *world) { w.in.Statements[0].Envelope.Signer = public("q") },
		"cut inventory":                func(w *world) { w.in.Statements[1].Envelope.Body = w.in.Statements[1].Envelope.Body[:40] },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.honest("p", "w", gpu{1, h100}).work(0, 1, 2)
			if err := w.in.Sort(); err != nil {
				t.Fatal(err)
			}
			if _, err := Judge(w.in, testTerms); err != nil {
				t.Fatalf("before: %v", err)
			}
			spoil(w)
			if _, err := Judge(w.in, testTerms); err == nil {
				t.Error("judged")
			}
		})
	}
}

package settlement

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
)

func TestSubmitInOneRequest(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu 0", "gpu 1")
	b.toSample(1, 0)
	u := h.uptime(1, 0, nil)
	// In any order: kinds are taken in theirs.
	results := b.accept(u, h.inventory, h.delegation)
	for i, e := range []proofs.Envelope{u, h.inventory, h.delegation} {
		if got, want := b.checkAck(e, results[i]), (proofs.Arrival{Epoch: 1, Sample: 0}); got != want {
			t.Errorf("%s arrived %v, want %v", e.Kind, got, want)
		}
	}
	b.toSample(1, 3)
	again := b.submit(plain(u, h.inventory, h.delegation, u)...)
	for i, r := range again {
		first, e := results[i%3], []proofs.Envelope{u, h.inventory, h.delegation}[i%3]
		if r.Status != Duplicate || b.checkAck(e, r) != b.checkAck(e, first) {
			t.Errorf("copy %d is %s (%v), or has another arrival than at first", i, r.Status, r.Problem)
		}
	}
	w, err := b.WorkerStatus(t.Context(), h.worker())
	if err != nil {
		t.Fatal(err)
	}
	want := WorkerStatus{Worker: h.worker(), Provider: chain.PublicOf(h.provider), Payee: h.payout, Delegation: h.delegation.ID(), Inventory: h.inventory.ID(), Devices: 2, LastStatement: u.ID(), LastEpoch: 1}
	if w != want {
		t.Errorf("worker is %+v, want %+v", w, want)
	}
}

func TestCopiesInOneRequest(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu 0")
	results := b.submit(plain(h.delegation, h.delegation, h.delegation)...)
	for i, want := range []Status{Accepted, Duplicate, Duplicate} {
		if results[i].Status != want {
			t.Errorf("copy %d is %s (%v), want %s", i, results[i].Status, results[i].Problem, want)
		}
		b.checkAck(h.delegation, results[i])
	}
}

// problemCase spoils one thing and names the problem and field that must result.
type problemCase struct {
	problem string
	field   string
	make    func(b *books, h *host) Submitted
}

func statement(e proofs.Envelope) Submitted { return Submitted{Envelope: e} }

// Each way to be refused, through Submit. The host is registered and has proven
// sample 0 of epoch 1; the clock is at the end of sample 1.
func TestSubmitProblems(t *testing.T) {
	for name, c := range map[string]problemCase{
		"a kind of a later issue": {ProblemUnknownKind, "kind", func(b *books, h *host) Submitted {
			return statement(proofs.Sign(b.net.Network.ID(), proofs.KindDispute, h.key, []byte{1}))
		}},
		"a kind that is not in the format": {ProblemUnknownKind, "kind", func(b *books, h *host) Submitted {
			return statement(proofs.Envelope{Kind: 99, Signer: h.worker()})
		}},
		"an ack by itself": {ProblemUnknownKind, "kind", func(b *books, h *host) Submitted {
			return statement(proofs.SignAcks(b.net.Network.ID(), h.key, proofs.Arrival{}, []ionet.Hash{h.delegation.ID()})[0])
		}},
		"a changed body": {ProblemWrongSignature, "signature", func(b *books, h *host) Submitted {
			e := h.uptime(1, 1, nil)
			e.Body = bytes.Clone(e.Body)
			e.Body[len(e.Body)-1] ^= 1
			return statement(e)
		}},
		"a statement of another network": {ProblemWrongSignature, "signature", func(b *books, h *host) Submitted {
			e := h.uptime(1, 1, nil)
			return statement(proofs.Sign(ionet.Hash{9}, proofs.KindUptime, h.key, e.Body))
		}},
		"a text of another network": {ProblemWrongNetwork, "body.network", func(b *books, h *host) Submitted {
			d := proofs.Delegation{Provider: chain.PublicOf(h.provider), Payout: h.payout, Workers: []ionet.Key{h.worker()}, Issued: 1, Expires: 2}
			text, err := d.Text(ionet.Hash{9})
			return statement(b.signText(proofs.KindDelegation, h.provider, text, err))
		}},
		"a delegation signed by another than its provider": {ProblemWrongSignature, "body.provider", func(b *books, h *host) Submitted {
			return statement(proofs.Sign(b.net.Network.ID(), proofs.KindDelegation, h.key, h.delegation.Body))
		}},
		"a text that is not its template": {ProblemMalformedStatement, "body", func(b *books, h *host) Submitted {
			return statement(b.signText(proofs.KindDelegation, h.provider, string(h.delegation.Body)+" ", nil))
		}},
		"trailing bytes": {ProblemMalformedStatement, "body", func(b *books, h *host) Submitted {
			return statement(proofs.Sign(b.net.Network.ID(), proofs.KindInventory, h.key, append(bytes.Clone(h.inventory.Body), 0)))
		}},
		"a small-order signer": {ProblemWeakKey, "signer", func(b *books, h *host) Submitted {
			return statement(proofs.Envelope{Kind: proofs.KindInventory, Signer: ionet.Key{1}, Body: h.inventory.Body})
		}},
		"a small-order worker": {ProblemWeakKey, "body.workers[0]", func(b *books, h *host) Submitted {
			return statement(h.delegate(func(d *proofs.Delegation) { d.Workers = []ionet.Key{{1}} }))
		}},
		"an expired delegation": {ProblemDelegationExpired, "body.expires", func(b *books, h *host) Submitted {
			return statement(h.delegate(func(d *proofs.Delegation) { d.Expires = b.now().Unix() }))
		}},
		"a revocation of nothing": {ProblemUnknownDelegation, "body.delegation", func(b *books, h *host) Submitted {
			return statement(h.revoke(ionet.Hash{1}))
		}},
		"somebody else's revocation": {ProblemForeignDelegation, "body.delegation", func(b *books, h *host) Submitted {
			return statement(b.newHost("other", "gpu 9").revoke(h.delegation.ID()))
		}},
		"a release by a stranger": {ProblemForeignDelegation, "body.worker", func(b *books, h *host) Submitted {
			return statement(b.newHost("other", "gpu 9").release(h.worker(), "gpu 0"))
		}},
		"a release of an unbound device": {ProblemDeviceNotBound, "body.device", func(b *books, h *host) Submitted {
			return statement(h.release(h.worker(), "gpu 0"))
		}},
		"an inventory under an unknown delegation": {ProblemUnknownDelegation, "body.delegation", func(b *books, h *host) Submitted {
			return statement(h.list(func(v *proofs.Inventory) { v.Delegation = ionet.Hash{1} }, "gpu 0"))
		}},
		"an inventory under somebody else's delegation": {ProblemForeignDelegation, "body.delegation", func(b *books, h *host) Submitted {
			return statement(b.newHost("other", "gpu 9").list(func(v *proofs.Inventory) { v.Delegation = h.delegation.ID() }, "gpu 9"))
		}},
		"a device bound to another": {ProblemDeviceBound, "body.devices[0].uuid", func(b *books, h *host) Submitted {
			uuid, other := uuidOf("gpu 0"), chain.PublicOf(keyOf("someone"))
			b.exec(`INSERT INTO bindings VALUES ($1, $2, 1, 1)`, uuid[:], other[:])
			return statement(h.list(func(*proofs.Inventory) {}, "gpu 0"))
		}},
		"an unknown worker": {ProblemUnknownWorker, "signer", func(b *books, h *host) Submitted {
			return statement(b.newHost("other", "gpu 9").uptime(1, 1, nil))
		}},
		"an unknown inventory": {ProblemUnknownInventory, "body.inventory", func(b *books, h *host) Submitted {
			return statement(h.uptime(1, 1, func(u *proofs.Uptime) { u.Inventory = ionet.Hash{1} }))
		}},
		"somebody else's inventory": {ProblemUnknownInventory, "body.inventory", func(b *books, h *host) Submitted {
			other := b.newHost("other", "gpu 9", "gpu 10")
			b.register(other)
			return statement(h.uptime(1, 1, func(u *proofs.Uptime) { u.Inventory = other.inventory.ID() }))
		}},
		"another delegation than the inventory's": {ProblemForeignDelegation, "body.delegation", func(b *books, h *host) Submitted {
			return statement(h.uptime(1, 1, func(u *proofs.Uptime) { u.Delegation = ionet.Hash{1} }))
		}},
		"a device too few": {ProblemWrongDeviceCount, "body.devices", func(b *books, h *host) Submitted {
			return statement(h.uptime(1, 1, func(u *proofs.Uptime) { u.Devices = u.Devices[1:] }))
		}},
		"a sample that no epoch has": {ProblemMalformedStatement, "body.sample", func(b *books, h *host) Submitted {
			return statement(h.uptime(1, 1, func(u *proofs.Uptime) { u.Sample = testSamples }))
		}},
		"an epoch after the last": {ProblemEpochClosed, "body.epoch", func(b *books, h *host) Submitted {
			return statement(h.uptime(1, 1, func(u *proofs.Uptime) { u.Epoch = 1001 }))
		}},
		"an epoch beyond any number of SQL": {ProblemEpochClosed, "body.epoch", func(b *books, h *host) Submitted {
			return statement(h.uptime(1, 1, func(u *proofs.Uptime) { u.Epoch = 1<<64 - 1 }))
		}},
		"a sample in the future": {ProblemFutureSample, "body.sample", func(b *books, h *host) Submitted {
			return statement(h.uptime(1, 1, func(u *proofs.Uptime) { u.Sample = 2 }))
		}},
		"a closed epoch": {ProblemEpochClosed, "body.epoch", func(b *books, h *host) Submitted {
			b.exec(`UPDATE intake SET frozen_through = 1`)
			return statement(h.uptime(1, 1, nil))
		}},
		"the former sample's beacon": {ProblemStaleBeacon, "body.beacon_slot", func(b *books, h *host) Submitted {
			old := b.beacon(1, 0)
			return statement(h.uptime(1, 1, func(u *proofs.Uptime) { u.BeaconSlot, u.BeaconHash = old.Slot, old.Hash }))
		}},
		"another block's hash": {ProblemForeignBeacon, "body.beacon_hash", func(b *books, h *host) Submitted {
			return statement(h.uptime(1, 1, func(u *proofs.Uptime) { u.BeaconHash[0] ^= 1 }))
		}},
		"a slot that is not finalized": {ProblemForeignBeacon, "body.beacon_slot", func(b *books, h *host) Submitted {
			return statement(h.uptime(1, 1, func(u *proofs.Uptime) { u.BeaconSlot = b.node.Slot() + 100 }))
		}},
		"a slot beyond any number of SQL": {ProblemForeignBeacon, "body.beacon_slot", func(b *books, h *host) Submitted {
			return statement(h.uptime(1, 1, func(u *proofs.Uptime) { u.BeaconSlot = 1<<63 + 5 }))
		}},
		"before the delegation was issued": {ProblemDelegationExpired, "body.delegation", func(b *books, h *host) Submitted {
			b.move(h, func(d *proofs.Delegation) { d.Issued = b.now().Unix() + 5 })
			return statement(h.uptime(1, 1, nil))
		}},
		"after the delegation was revoked": {ProblemDelegationRevoked, "body.delegation", func(b *books, h *host) Submitted {
			b.accept(h.revoke(h.delegation.ID()))
			b.toSample(2, 0)
			return statement(h.uptime(2, 0, nil))
		}},
		"an inventory after the delegation was revoked": {ProblemDelegationRevoked, "body.delegation", func(b *books, h *host) Submitted {
			b.accept(h.revoke(h.delegation.ID()))
			b.accept(h.list(func(*proofs.Inventory) {}, "gpu 4")) // it counts until the epoch ends
			b.toSample(2, 0)
			return statement(h.list(func(*proofs.Inventory) {}, "gpu 5"))
		}},
		"an inventory after the delegation expired": {ProblemDelegationExpired, "body.delegation", func(b *books, h *host) Submitted {
			b.move(h, func(d *proofs.Delegation) { d.Expires = b.now().Unix() + 5 })
			b.toSample(1, 2)
			return statement(h.list(func(*proofs.Inventory) {}, "gpu 5"))
		}},
		"a third statement of a sample": {ProblemTooManyStatements, "body.sample", func(b *books, h *host) Submitted {
			for n := range byte(2) {
				b.accept(h.uptime(1, 1, func(u *proofs.Uptime) { u.Previous = ionet.Hash{n} }))
			}
			return statement(h.uptime(1, 1, func(u *proofs.Uptime) { u.Previous = ionet.Hash{7} }))
		}},
		"an ack of another statement": {ProblemWrongAck, "ack.statement", func(b *books, h *host) Submitted {
			ack := b.ack(h.inventory, proofs.Arrival{Epoch: 1})
			return Submitted{h.uptime(1, 1, nil), &ack}
		}},
		"an ack by a stranger": {ProblemWrongAck, "ack.signer", func(b *books, h *host) Submitted {
			u := h.uptime(1, 1, nil)
			ack := proofs.SignAcks(b.net.Network.ID(), h.key, proofs.Arrival{Epoch: 1, Sample: 1}, []ionet.Hash{u.ID()})[0]
			return Submitted{u, &ack}
		}},
		"a forged ack": {ProblemWrongAck, "ack.signature", func(b *books, h *host) Submitted {
			u := h.uptime(1, 1, nil)
			ack := b.ack(u, proofs.Arrival{Epoch: 1})
			ack.Signature[40] ^= 1
			return Submitted{u, &ack}
		}},
		"something else as an ack": {ProblemWrongAck, "ack", func(b *books, h *host) Submitted {
			return Submitted{h.uptime(1, 1, nil), &h.inventory}
		}},
		"an ack from before the sample": {ProblemFutureSample, "body.sample", func(b *books, h *host) Submitted {
			u := h.uptime(1, 1, nil)
			ack := b.ack(u, proofs.Arrival{Epoch: 1, Sample: 0})
			return Submitted{u, &ack}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBooks(t)
			h := b.newHost("a", "gpu 0", "gpu 1")
			b.register(h)
			b.toSample(1, 0)
			b.accept(h.uptime(1, 0, nil))
			b.toSample(1, 1)
			p := b.refuse(c.problem, c.make(b, h))
			if p.Field != c.field {
				t.Errorf("field is %q, want %q", p.Field, c.field)
			}
			if want := problemTypes[c.problem]; p.Status != want.status || p.Title != want.title || p.Status < 400 || len(p.Detail) < 20 {
				t.Errorf("problem is %+v", p)
			}
			// What was refused hurt nothing: an honest statement still passes.
			if c.problem != ProblemEpochClosed && c.problem != ProblemDelegationRevoked && c.problem != ProblemTooManyStatements && name != "before the delegation was issued" {
				b.accept(h.uptime(1, 1, nil))
			}
		})
	}
}

func TestTooManyInOneRequest(t *testing.T) {
	b := newBooks(t)
	_, err := b.Submit(t.Context(), make([]Submitted, MaxSubmitted+1))
	var p *Problem
	if !errors.As(err, &p) || p.Type != ProblemTooManyStatements {
		t.Errorf("submit: %v, want %s", err, ProblemTooManyStatements)
	}
}

// One wrong signature in a batch refuses one statement.
func TestOneBadSignatureAmongMany(t *testing.T) {
	b := newBooks(t)
	var all []proofs.Envelope
	for i := range 40 {
		all = append(all, b.newHost(fmt.Sprint("host ", i), fmt.Sprint("gpu ", i)).delegation)
	}
	all[17].Signature[3] ^= 4
	for i, r := range b.submit(plain(all...)...) {
		if want := i != 17; (r.Status == Accepted) != want {
			t.Errorf("statement %d is %s: %v", i, r.Status, r.Problem)
		}
	}
}

// After the database was put back, a worker's ack gives its statement the arrival
// that it had, even for a delegation that has expired since.
func TestPresentedAckKeepsArrival(t *testing.T) {
	b := newBooks(t)
	before, second := b.copyDatabase(), b.copyDatabase()
	h := b.newHost("a", "gpu 0")
	h.delegation = h.delegate(func(d *proofs.Delegation) { d.Expires = b.clock.SampleStart(1, 2) })
	h.inventory = h.list(func(*proofs.Inventory) {}, "gpu 0")
	b.toSample(1, 0)
	all := []proofs.Envelope{h.delegation, h.inventory, h.uptime(1, 0, nil)}
	acks := b.accept(all...)
	b.toSample(1, 4)
	restored := b.on(before)
	var again []Submitted
	for i := range all {
		again = append(again, Submitted{all[i], &acks[i].Ack})
	}
	for i, r := range restored.submit(again...) {
		if r.Status != Accepted || b.checkAck(all[i], r) != b.checkAck(all[i], acks[i]) {
			t.Errorf("%s is %s (%v), or has another arrival than before", all[i].Kind, r.Status, r.Problem)
		}
	}
	for _, table := range []string{"statements", "delegations", "inventories"} {
		if n := restored.count(`SELECT count(*) FROM ` + table + ` WHERE arrival_epoch <> 1`); n != 0 {
			t.Errorf("%d %s arrived in another epoch", n, table)
		}
	}
	// On a second copy, without the ack, the delegation is too late by now.
	b.on(second).refuse(ProblemDelegationExpired, statement(h.delegation))
}

// Nothing new arrives in an epoch whose inputs are fixed, even by a clock that is
// behind.
func TestArrivalAfterTheFreeze(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu 0")
	b.exec(`UPDATE intake SET frozen_through = 3`)
	r := b.accept(h.delegation)[0]
	if got, want := b.checkAck(h.delegation, r), (proofs.Arrival{Epoch: 4}); got != want {
		t.Errorf("arrival is %v, want %v", got, want)
	}
}

func TestArrivalBeforeTheFirstEpoch(t *testing.T) {
	b := newBooks(t)
	now := b.cfg.Now
	b.cfg.Now = func() time.Time { return time.Unix(b.first-500, 0) }
	h := b.newHost("a", "gpu 0")
	r := b.accept(h.delegation)[0]
	b.cfg.Now = now
	if got, want := b.checkAck(h.delegation, r), (proofs.Arrival{Epoch: 1}); got != want {
		t.Errorf("arrival is %v, want %v", got, want)
	}
}

// Both statements of an equivocation are kept and come into the book.
func TestEquivocationIsKept(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("a", "gpu 0")
	b.register(h)
	b.play(1, h)
	one, two := h.previous, ionet.Hash{5}
	second := h.uptime(1, 5, func(u *proofs.Uptime) { u.Previous = two })
	b.accept(second)
	book := b.book(b.closeDue(1))
	for _, id := range []ionet.Hash{one, second.ID()} {
		if !book.Inputs.Has(proofs.KindUptime, id) {
			t.Errorf("statement %s is not in the book", id)
		}
	}
	if v := verdictOf(t, book.Verdicts, h, "gpu 0"); v.Rule != proofs.Equivocation {
		t.Errorf("rule is %s, want equivocation", v.Rule.Name())
	}
}

func TestEvents(t *testing.T) {
	b := newBooks(t)
	var got []Event
	b.cfg.Events = func(e Event) { e.Time = time.Time{}; got = append(got, e) }
	h := b.newHost("a", "gpu 0", "gpu 1")
	b.register(h)
	b.toSample(1, 0)
	u := h.uptime(1, 0, nil)
	b.accept(u)
	b.submit(plain(u, h.delegation)...) // duplicates tell nothing
	want := []Event{
		{Kind: EventDelegation, Payee: h.payout, Count: 1}, {Kind: EventInventory, Worker: h.worker(), Count: 2}, {Kind: EventStatements, Epoch: 1, Count: 1},
	}
	if len(got) != len(want) {
		t.Fatalf("events are %+v, want %+v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("event %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

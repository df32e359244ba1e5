package settlement

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/proofs"
)

// These tests of prices run the whole machine: databases that are put back, and
// policies that change who observes.

// priced submits a price for the current epoch and returns what was said.
func (m *machine) priced(microUSD uint64) Result {
	m.t.Helper()
	k, _, _ := m.clock.At(m.now())
	return m.submit(plain(m.price(k, microUSD))...)[0]
}

// used returns the price that a sealed epoch was judged by.
func (m *machine) used(k uint64) (of, microUSD uint64) {
	m.t.Helper()
	e, err := m.Epoch(m.t.Context(), k)
	if err != nil || e.State != EpochSealed {
		m.t.Fatalf("epoch %d is %s: %v", k, e.State, err)
	}
	return e.PriceEpoch, e.MicroUSD
}

// next moves on to the beginning of the next epoch and returns it.
func (m *machine) next() uint64 {
	m.t.Helper()
	k, _, _ := m.clock.At(m.now())
	m.goTo(m.clock.EpochEnd(k))
	return k + 1
}

// proves plays the current epoch from its second sample on.
func (m *machine) proves(k uint64) {
	m.t.Helper()
	for sample := uint16(1); sample < testSamples; sample++ {
		m.toSample(k, sample)
		m.accept(m.alice.uptime(k, sample, nil), m.bob.uptime(k, sample, nil))
	}
}

// The process dies between a price and the closing of its epoch, and the database
// is put back to before the price, while and after the chain seals by it.
func TestPriceOutlivesTheDatabase(t *testing.T) {
	m := newMachineUnder(t, targetPolicy)
	m.fenceUp()
	k := m.next()
	before := m.backup()
	if r := m.priced(73_100); r.Status != Accepted {
		t.Fatalf("price is %s: %v", r.Status, r.Problem)
	}
	m.reopen()
	m.fenceUp()
	between := m.backup()
	m.proves(k)
	m.toClose(k)
	m.untilSealed(k)
	if of, microUSD := m.used(k); of != k || microUSD != 73_100 {
		t.Fatalf("epoch %d was judged by %d of epoch %d", k, microUSD, of)
	}
	for _, c := range []struct{ what, database string }{{"before the price", before}, {"between price and closing", between}} {
		what := c.what
		m.onDatabase(c.database)
		// It does not know yet that the epoch is sealed.
		m.refuse(ProblemBusy, Submitted{Envelope: m.price(k, 80_000)})
		m.fenceUp()
		if of, microUSD := m.used(k); of != k || microUSD != 73_100 {
			t.Errorf("put back to %s: epoch %d was judged by %d of epoch %d", what, k, microUSD, of)
		}
		p, err := m.Price(t.Context(), k)
		if e := m.price(k, 73_100); err != nil || p.ID != e.ID() {
			t.Errorf("put back to %s: the price is %+v: %v", what, p, err)
		}
	}
	k = m.next()
	if r := m.priced(50_000); r.Status != Accepted {
		t.Fatalf("price is %s: %v", r.Status, r.Problem)
	}
	m.proves(k)
	m.toClose(k)
	m.untilSealed(k)
	if of, microUSD := m.used(k); of != k || microUSD != 50_000 {
		t.Errorf("epoch %d was judged by %d of epoch %d", k, microUSD, of)
	}
	m.settleAll()
	m.audited()
}

// An observation that was acked and then lost with the database comes again with
// its ack, and the epoch draws by it.
func TestPriceComesAgain(t *testing.T) {
	m := newMachineUnder(t, targetPolicy)
	m.fenceUp()
	k := m.next()
	old := m.backup()
	r := m.priced(73_100)
	if r.Status != Accepted {
		t.Fatalf("price is %s: %v", r.Status, r.Problem)
	}
	m.onDatabase(old)
	m.fenceUp()
	again := m.submit(Submitted{Envelope: m.price(k, 73_100), Ack: &r.Ack})[0]
	if again.Status != Accepted || cmp.Diff(again.Ack, r.Ack) != "" {
		t.Errorf("the price again is %s: %v", again.Status, again.Problem)
	}
	m.toClose(k)
	m.untilSealed(k)
	if of, microUSD := m.used(k); of != k || microUSD != 73_100 {
		t.Errorf("epoch %d was judged by %d of epoch %d", k, microUSD, of)
	}
}

// A seal that the restored database forgot lands after a price was taken for its
// epoch, and a policy announced in it: the sealed book has neither, so no later epoch
// draws by that price, and a person is told that the policy never counts.
func TestForgottenSealHasNoPrice(t *testing.T) {
	m := newMachineUnder(t, targetPolicy)
	m.fenceUp()
	m.finishEpoch(m.alice)
	k := m.current()
	m.play(k, m.alice)
	old := m.backup()
	m.toClose(k)
	m.wires.dropping(true)
	var live []attempt
	for range 20 {
		m.pass()
		var err error
		if live, err = m.liveAttempts(t.Context()); err != nil || len(live) > 0 {
			break
		}
	}
	m.wires.dropping(false)
	if len(live) != 1 {
		t.Fatalf("%d seals of epoch %d were signed, want one", len(live), k)
	}
	m.onDatabase(old)
	m.accept(m.price(k, 73_100))
	c := m.config(m.pool)
	c.Now = func() time.Time { return time.Unix(m.clock.EpochEnd(k)-1, 0) } // a little behind
	slow, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	file := observedBy("other oracle", 2, k+2)
	if a, err := slow.AnnouncePolicy(t.Context(), file); err != nil || a.Arrival.Epoch != k {
		t.Fatalf("announced in epoch %d, want %d: %v", a.Arrival.Epoch, k, err)
	}
	if err := m.clean.Send(t.Context(), live[0].tx, rpc.SendOptions{}); err != nil {
		t.Fatal(err)
	}
	m.advance(3)
	m.fenceUp()
	if of, _ := m.used(k); of != 0 {
		t.Fatalf("epoch %d was judged by the price of epoch %d", k, of)
	}
	if _, err := m.Price(t.Context(), k); !isProblem(err, ProblemUnknownPrice) {
		t.Errorf("the price that the sealed book left out: %v", err)
	}
	if !slices.ContainsFunc(m.events, func(e Event) bool {
		return e.Kind == EventPolicy && e.Epoch == k && strings.Contains(e.Line(8), "version 2 for epoch") && strings.Contains(e.Line(8), "announce it again with a higher version")
	}) {
		t.Error("no event tells of the announcement that was overtaken")
	}
	m.wantStates("after the forgotten seal", "1:in force 2:missed")
	m.finishEpoch(m.alice)
	if of, _ := m.used(k + 1); of != 0 {
		t.Errorf("epoch %d was judged by a price that is not in the book of epoch %d", k+1, of)
	}
	m.settleAll()
	m.audited()
}

// observedBy is targetPolicy with another observer.
func observedBy(observer string, version, first uint64) []byte {
	file := strings.Replace(targetPolicy, targetOf("oracle"), targetOf(observer), 1)
	return []byte(strings.NewReplacer("version = 1\n", fmt.Sprintf("version = %d\n", version), "first_epoch = 1\n", fmt.Sprintf("first_epoch = %d\n", first)).Replace(file))
}

// An epoch begins before it is known whether a policy with another observer counts:
// until then no price is taken for it, and no other statement has to wait.
func TestNobodyKnowsWhoObserves(t *testing.T) {
	m := newMachineUnder(t, targetPolicy)
	m.fenceUp()
	k := m.current()
	m.announce(observedBy("other oracle", 2, k+2))
	m.toSample(k+2, 1)
	theirs, ours := m.priceBy("other oracle", k+2, 5), m.price(k+2, 73_100)
	for _, e := range []proofs.Envelope{theirs, ours} {
		if p := m.refuse(ProblemBusy, Submitted{Envelope: e}); p.Retry == 0 || p.Field != "body.epoch" {
			t.Errorf("problem says not of what or when to ask again: %+v", p)
		}
	}
	together := m.submit(plain(ours, m.alice.uptime(k+2, 1, nil))...)
	if together[0].Problem == nil || together[0].Problem.Type != ProblemBusy || together[1].Status != Accepted {
		t.Errorf("a price and a statement together are %s and %s: %v", together[0].Status, together[1].Status, together[1].Problem)
	}
	m.untilSealed(k) // too late: the policy never counts
	m.until("the policy is missed", func() bool { return strings.Contains(m.states(), "2:missed") })
	m.refuse(ProblemForeignPrice, Submitted{Envelope: theirs})
	m.accept(ours)
	m.finishEpoch(m.alice)
	if of, microUSD := m.used(k + 2); of != k+2 || microUSD != 73_100 {
		t.Errorf("epoch %d was judged by %d of epoch %d", k+2, microUSD, of)
	}
	m.settleAll()
	m.audited()
}

// From the first epoch of a policy with another observer on, prices of the former
// are taken no more, and those that it gave draw for no epoch. A database that was
// put back to before the announcement takes no price before it knows who observes.
func TestObserverChanges(t *testing.T) {
	m := newMachineUnder(t, targetPolicy)
	m.fenceUp()
	old := m.backup()
	k := m.current()
	m.announce(observedBy("other oracle", 2, k+2))
	m.finishEpoch(m.alice)
	m.refuse(ProblemForeignPrice, Submitted{Envelope: m.priceBy("other oracle", k+1, 5)})
	m.accept(m.price(k+1, 73_100))
	m.toClose(k + 1)
	m.untilSealed(k + 1)
	m.refuse(ProblemForeignPrice, Submitted{Envelope: m.price(k+2, 73_100)})
	m.finishEpoch(m.alice)
	if of, _ := m.used(k + 1); of != k+1 {
		t.Errorf("epoch %d was judged by the price of epoch %d", k+1, of)
	}
	if of, _ := m.used(k + 2); of != 0 {
		t.Errorf("epoch %d was judged by the price of epoch %d, whose observer is no more", k+2, of)
	}
	m.accept(m.priceBy("other oracle", k+3, 50_000))
	m.finishEpoch(m.alice)
	if of, microUSD := m.used(k + 3); of != k+3 || microUSD != 50_000 {
		t.Errorf("epoch %d was judged by %d of epoch %d", k+3, microUSD, of)
	}
	m.onDatabase(old)
	now := m.current()
	// The same under a running service, which knew where the chain was: the former key
	// is that of the database's policy.
	m.intake.current.Store(true)
	m.refuse(ProblemBusy, Submitted{Envelope: m.price(now, 5)})
	if m.intake.current.Load() {
		t.Error("the service goes on as if its database were current")
	}
	late := Submitted{Envelope: m.priceBy("other oracle", now, 60_000)}
	m.refuse(ProblemBusy, late)
	m.fenceUp()
	m.until("it is known who observes", func() bool { return m.submit(late)[0].Problem == nil })
	m.finishEpoch(m.alice)
	if of, microUSD := m.used(now); of != now || microUSD != 60_000 {
		t.Errorf("epoch %d was judged by %d of epoch %d", now, microUSD, of)
	}
	m.settleAll()
	m.audited()
}

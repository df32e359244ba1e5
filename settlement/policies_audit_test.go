package settlement

import (
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs/audit"
)

// audited runs the auditor on all that happened: nothing may be found or stay open.
func (m *machine) audited() {
	m.t.Helper()
	r, err := audit.Run(m.t.Context(), audit.Config{Chain: m.clean, Store: m.store, Mint: m.net.Network.Mint})
	if err != nil {
		m.t.Fatal(err)
	}
	for _, f := range append(r.Findings, r.Unchecked...) {
		m.t.Error(f)
	}
	if sealed := m.sealedBy(lane{position: m.position(epochLane)}); r.Epochs != int(sealed) {
		m.t.Errorf("the auditor saw %d epochs, sealed are %d", r.Epochs, sealed)
	}
}

// The auditor, which shares no code with this package but the rules, finds the same
// policies in force: over a change, one that came too late, two in one book, a draw by
// target and back, on this database and on one that starts from nothing.
func TestAuditorAgreesOnPolicies(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	both := []*host{m.alice, m.bob}
	m.finishEpoch(both...)
	k := m.current()
	m.announce(policyOf(2, k+2, h100Earns, h100IsNothing, graceIs20, "grace_seconds = 10"))
	m.finishEpoch(both...)
	m.finishEpoch(both...)
	m.finishEpoch(both...)

	k = m.current()
	m.announce(policyOf(3, k+2, h100Earns, "multiplier_milli = 5000")) // too late
	m.play(k, both...)
	m.goTo(m.clock.EpochStart(k + 2))
	m.untilSealed(k)
	m.finishEpoch(both...)
	m.settleAll()

	k = m.current()
	_, target, _ := strings.Cut(targetPolicy, "[target]")
	m.announce(append(policyOf(4, k+2, `draw = "schedule"`, `draw = "target"`), "[target]"+target...))
	m.announce(policyOf(5, k+5, "minimum = 3", "minimum = 4"))
	m.finishEpoch(both...)
	m.finishEpoch(both...)
	for _, price := range []uint64{73_100, 91_000, 0} { // the third epoch has none of its own
		if price > 0 {
			if r := m.priced(price); r.Status != Accepted {
				t.Fatalf("the price is %s: %v", r.Status, r.Problem)
			}
		}
		m.finishEpoch(both...)
	}
	m.finishEpoch(both...)
	if got, want := m.states(), "1:superseded 2:superseded 3:missed 4:superseded 5:in force"; got != want {
		t.Fatalf("the policies are %q, want %q", got, want)
	}
	m.settleAll()
	m.audited()

	m.onDatabase(pgtest.NewURL(t))
	m.settleAll()
	m.announce(policyOf(6, m.current()+3))
	for range 4 {
		m.finishEpoch(both...)
	}
	m.settleAll()
	m.audited()
}

// Two announcements of one version, of which this database knew one and the chain sealed
// the other: the sealed one counts, the other never does.
func TestAnnouncementThatNoBookHas(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.finishEpoch(m.alice)
	k := m.current()
	before := m.backup()
	ours := policyOf(2, k+2, h100Earns, h100IsNothing)
	forgotten := m.announce(ours)
	knows := m.backup()
	m.onDatabase(before)
	m.fenceUp()
	theirs := policyOf(2, k+3, "minimum = 3", "minimum = 2")
	m.announce(theirs)
	m.finishEpoch(m.alice)
	m.finishEpoch(m.alice)
	m.onDatabase(knows)
	m.fenceUp()
	m.wantStates("after the recovery", "1:in force 2:counts 2:missed")
	if again := m.announce(ours); again.New || again.Ack.Signature != forgotten.Ack.Signature {
		t.Errorf("announced again it is %+v, was %+v", again, forgotten)
	}
	for m.current() < k+5 {
		m.finishEpoch(m.alice)
	}
	m.settleAll()
	m.wantStates("at the end", "1:superseded 2:in force 2:missed")
	m.audited()
}

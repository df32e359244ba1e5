package settlement

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// While the chain does not tell when an announcement was sealed, the epoch that it may
// rule stays open: nothing is guessed.
func TestUnknownSealTimeHoldsTheClosing(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	k := m.current()
	second := policyOf(2, k+2, h100Earns, h100IsNothing)
	m.announce(second)
	m.wires.silence("getTransaction")
	m.finishEpoch(m.alice)
	m.play(k+1, m.alice)
	m.toClose(k + 1)
	m.untilSealed(k + 1) // it does not depend on that
	m.play(k+2, m.alice)
	m.toClose(k + 2)
	for range 5 {
		m.pass()
	}
	if n := m.count(`SELECT frozen_through FROM intake`); n != int(k+1) {
		t.Errorf("intake is frozen through %d although the policy of epoch %d was not known", n, k+2)
	}
	m.wantStates("without the time of the seal", "1:in force 2:announced")
	// The signature is for display only: a database that lacks it reads the history.
	m.exec(`UPDATE contents SET signature = NULL, slot = NULL WHERE lane = 'epoch'`)
	m.exec(`UPDATE epochs SET signature = NULL, slot = NULL`)
	m.wires.silence("")
	m.untilSealed(k + 2)
	m.ruledBy(k+1, []byte(testPolicy), proofs.Accepted)
	m.ruledBy(k+2, second, proofs.ZeroMultiplier)
	if !m.saw(EventPolicy) {
		t.Error("no event told what became of the announcement")
	}
}

// The process dies at any step from an announcement to the seal of its epoch: at every
// second one before it took effect, at the others after, and at the announcement's own
// both ways. The file announced again has the answer that it had, and rules exactly its
// epochs.
func TestKillAnnouncement(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	version := uint64(1)
	for _, f := range []fault{lost, unheard} {
		for n := 1; ; n += 2 {
			if f == unheard && n == 3 {
				n = 2
			}
			k := m.current()
			version++
			line := h100IsNothing
			if version%2 == 1 {
				line = h100Earns
			}
			file := policyOf(version, k+3, h100Earns, line)
			m.wires.arm(n, f, true)
			var first Announcement
			heard := m.mayFail("announce", func() (err error) {
				first, err = m.AnnouncePolicy(t.Context(), file)
				return err
			})
			m.toClose(k)
			m.until("epoch is sealed", func() bool { return m.wires.isCut() || m.position(epochLane) > k })
			m.pass()
			step := m.wires.disarm()
			if step != "" {
				m.reopen()
			}
			m.fenceUp()
			if again := m.announce(file); heard && (again.New || again.ID != first.ID || again.Arrival != first.Arrival) {
				t.Errorf("announced again it is %+v, was %+v", again, first)
			}
			for m.current() < k+4 {
				m.finishEpoch(m.alice)
			}
			policy := func(epoch uint64) ionet.Hash {
				e, err := m.Epoch(t.Context(), epoch)
				if err != nil {
					t.Fatal(err)
				}
				return e.Policy
			}
			if policy(k+2) == ionet.HashOf(file) || policy(k+3) != ionet.HashOf(file) {
				t.Errorf("version %d rules from epoch %d on: epoch %d was judged by %s, epoch %d by %s", version, k+3, k+2, policy(k+2), k+3, policy(k+3))
			}
			m.settleAll()
			if t.Failed() {
				t.Fatalf("after step %d, %q, was %s", n, step, f)
			}
			if step == "" {
				t.Logf("%d steps", n-1)
				break
			}
		}
	}
}

// A database that is put back to before the announcement, to between announcement and
// seal, or that is empty, ends with the same policies.
func TestPoliciesAreRecovered(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.finishEpoch(m.alice)
	before := m.backup()
	k := m.current()
	second, missed, last := policyOf(2, k+2, h100Earns, h100IsNothing), policyOf(3, k+3), policyOf(4, k+40)
	m.announce(second)
	between := m.backup()
	m.finishEpoch(m.alice)
	m.announce(missed)
	m.play(k+1, m.alice)
	m.goTo(m.clock.EpochStart(k + 3))
	m.untilSealed(k + 1)
	m.announce(last)
	m.finishEpoch(m.alice)
	m.finishEpoch(m.alice)
	m.settleAll()
	want, err := m.Policies(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := m.states(); got != "1:superseded 2:in force 3:missed 4:counts" {
		t.Fatalf("the policies are %q", got)
	}
	next := m.current()
	for _, c := range []struct{ name, url string }{{"before", before}, {"between", between}, {"empty", pgtest.NewURL(t)}} {
		m.onDatabase(c.url)
		m.fenceUp()
		got, err := m.Policies(t.Context())
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Fatalf("%s: %v\n%s", c.name, err, diff)
		}
		m.settleAll()
	}
	m.finishEpoch(m.alice)
	m.ruledBy(max(next, m.position(epochLane)-1), second, proofs.ZeroMultiplier)
}

// All files of policies are lost with the database. A policy that never counted is not
// needed, that of a sealed epoch is in its book; one that is still to rule is asked for,
// by name, before its first epoch closes. Put back or announced again it is there.
func TestRecoveryWithoutPolicyFiles(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	k := m.current()
	missed := policyOf(2, k+2)
	m.announce(missed)
	m.goTo(m.clock.EpochStart(k+2) + 25)
	m.untilSealed(k)
	m.finishEpoch(m.alice)
	k = m.current()
	ruled, next, last := policyOf(3, k+2, h100Earns, h100IsNothing), policyOf(4, k+5), policyOf(5, k+7, "minimum = 3", "minimum = 2")
	m.announce(ruled)
	m.announce(next)
	m.announce(last)
	for m.current() < k+4 {
		m.finishEpoch(m.alice)
	}
	m.ruledBy(k+2, ruled, proofs.ZeroMultiplier)
	for _, file := range [][]byte{missed, ruled, next, last} {
		m.moveFile(publish.PolicyName(ionet.HashOf(file)), "", ".hidden")
	}
	m.onDatabase(pgtest.NewURL(t))
	m.settleAll()
	if file, err := m.PolicyFile(t.Context()); err != nil || string(file) != string(ruled) {
		t.Errorf("the policy in force, which a book has: %q, %v", file, err)
	}
	for _, c := range []struct {
		before uint64 // epoch before the policy's first
		file   []byte
		mend   func()
	}{
		{k + 4, next, func() { m.moveFile(publish.PolicyName(ionet.HashOf(next)), ".hidden", "") }},
		{k + 6, last, func() { m.announce(last) }},
	} {
		m.mustBe(c.before)
		m.play(c.before, m.alice)
		m.toClose(c.before)
		var err error
		for range 20 {
			err = m.Settle(t.Context())
			m.advance(2)
		}
		if name := publish.PolicyName(ionet.HashOf(c.file)); err == nil || !strings.Contains(err.Error(), name) || m.position(epochLane) != c.before+1 {
			t.Fatalf("a pass in which the policy of epoch %d is lost says %v, want %s", c.before+1, err, name)
		}
		c.mend()
		m.ruledBy(m.finishEpoch(m.alice), c.file, proofs.Accepted)
	}
	if file, err := m.store.Get(t.Context(), publish.PolicyName(ionet.HashOf(last))); err != nil || string(file) != string(last) {
		t.Errorf("the policy that was announced again is not published: %v", err)
	}
	m.settleAll()
}

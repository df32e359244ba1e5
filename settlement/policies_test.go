package settlement

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// policyOf is the test network's policy with another version, first epoch and
// replaced lines.
func policyOf(version, first uint64, replace ...string) []byte {
	replace = append(replace, "version = 1\n", fmt.Sprintf("version = %d\n", version), "first_epoch = 1\n", fmt.Sprintf("first_epoch = %d\n", first))
	return []byte(strings.NewReplacer(replace...).Replace(testPolicy))
}

// Lines of the test network's policy, and what changes them.
var (
	h100Earns     = "multiplier_milli = 10000"
	h100IsNothing = "multiplier_milli = 0"
	graceIs20     = "grace_seconds = 20"
)

func (b *books) announce(file []byte) Announcement {
	b.t.Helper()
	a, err := b.AnnouncePolicy(b.t.Context(), file)
	if err != nil {
		b.t.Fatalf("announce policy: %v", err)
	}
	ack, err := proofs.ParseAck(a.Ack.Body)
	if err != nil || ack.Statement != a.ID || ack.Arrival != a.Arrival || a.Ack.Signer != b.net.Network.Keys.Service || a.Ack.Verify(b.net.Network.ID()) != nil {
		b.t.Fatalf("ack of the announcement is not a valid one: %v", err)
	}
	return a
}

// current is the epoch of the test's clock.
func (m *machine) current() uint64 {
	k, _, _ := m.clock.At(time.Unix(handTime.Load(), 0))
	return k
}

// finishEpoch lets hosts prove what is left of the current epoch, moves to where it is
// due and makes passes until it is sealed. The next epoch has begun then.
func (m *machine) finishEpoch(hosts ...*host) uint64 {
	m.t.Helper()
	k, first, _ := m.clock.At(time.Unix(handTime.Load(), 0))
	for sample := first; sample < testSamples; sample++ {
		m.toSample(k, sample)
		for _, h := range hosts {
			m.accept(h.uptime(k, sample, nil))
		}
	}
	m.toClose(k)
	m.untilSealed(k)
	return k
}

func (m *machine) untilSealed(k uint64) {
	m.t.Helper()
	m.until(fmt.Sprintf("epoch %d is sealed", k), func() bool { return m.position(epochLane) > k })
}

// ruledBy checks by which policy the sealed epoch k was judged: its memo, its book, and
// the verdict on alice's device.
func (m *machine) ruledBy(k uint64, policy []byte, rule proofs.Rule) {
	m.t.Helper()
	e, err := m.Epoch(m.t.Context(), k)
	if err != nil {
		m.t.Fatal(err)
	}
	memo, err := proofs.ParseMemo(e.Memo)
	if err != nil {
		m.t.Fatal(err)
	}
	want := ionet.HashOf(policy)
	if e.Policy != want || memo.(proofs.EpochMemo).Policy != want {
		m.t.Errorf("epoch %d was judged by policy %s, its memo says %s, want %s", k, e.Policy, memo, want)
	}
	book := m.book(&Closing{Memo: e.Memo})
	if string(book.Inputs.Policy) != string(policy) {
		m.t.Errorf("the book of epoch %d has another policy:\n%s", k, book.Inputs.Policy)
	}
	if v := verdictOf(m.t, book.Verdicts, m.alice, "gpu a"); v.Rule != rule {
		m.t.Errorf("epoch %d: the verdict on alice's device is %s, want %s", k, v.Rule.Name(), rule.Name())
	}
}

// states lists the policies as version:state.
func (m *machine) states() string {
	m.t.Helper()
	list, err := m.Policies(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	var out []string
	for _, p := range list {
		out = append(out, fmt.Sprintf("%d:%s", p.Version, p.State))
	}
	return strings.Join(out, " ")
}

func (m *machine) wantStates(when, want string) {
	m.t.Helper()
	if got := m.states(); got != want {
		m.t.Errorf("%s the policies are %q, want %q", when, got, want)
	}
}

// A device earns up to the last epoch before the change, and not from the first on
// that the change rules. The device that earns again shows that a third policy does too.
func TestPolicyTakesEffectAtItsEpoch(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	genesis := []byte(testPolicy)
	m.finishEpoch(m.alice)
	k := m.current()
	second := policyOf(2, k+2, h100Earns, h100IsNothing)
	a := m.announce(second)
	if !a.New || a.Version != 2 || a.FirstEpoch != k+2 || a.Arrival.Epoch != k {
		t.Errorf("announcement is %+v, want version 2 for epoch %d, arrived in epoch %d", a, k+2, k)
	}
	m.wantStates("after the announcement", "1:in force 2:announced")
	m.finishEpoch(m.alice)
	m.pass() // the time of the seal is read before the next closing is thought of
	m.wantStates("after the seal", "1:in force 2:counts")
	third := policyOf(3, k+4)
	m.announce(third)
	if file, err := m.PolicyFile(t.Context()); err != nil || string(file) != testPolicy {
		t.Errorf("the policy in epoch %d is %q (%v), want that of the genesis", m.current(), file, err)
	}
	m.finishEpoch(m.alice)
	m.wantStates("in the first epoch of the change", "1:superseded 2:in force 3:counts")
	if file, err := m.PolicyFile(t.Context()); err != nil || string(file) != string(second) {
		t.Errorf("the policy in epoch %d is %q (%v), want the second", m.current(), file, err)
	}
	for range 3 {
		m.finishEpoch(m.alice)
	}
	m.ruledBy(k, genesis, proofs.Accepted)
	m.ruledBy(k+1, genesis, proofs.Accepted)
	m.ruledBy(k+2, second, proofs.ZeroMultiplier)
	m.ruledBy(k+3, second, proofs.ZeroMultiplier)
	m.ruledBy(k+4, third, proofs.Accepted)
	m.wantStates("at the end", "1:superseded 2:superseded 3:in force")
	for _, file := range [][]byte{genesis, second, third} {
		got, err := m.store.Get(t.Context(), publish.PolicyName(ionet.HashOf(file)))
		if err != nil || string(got) != string(file) {
			t.Errorf("published policy: %v\n%s", err, got)
		}
	}
	m.settleAll()
}

// Of two that count the greater version rules, from its own first epoch on, whichever
// was to begin first; two in one book stand in the order of their versions.
func TestTwoPolicies(t *testing.T) {
	for _, c := range []struct {
		name          string
		second, third uint64 // first epochs, counted from the announcement's
		apart         bool   // announced in two epochs
		want          [4]int // versions that rule the epochs from the announcement's + 2 on
	}{
		{"in turn, one book", 3, 4, false, [4]int{1, 2, 3, 3}},
		{"in turn, two books", 3, 4, true, [4]int{1, 2, 3, 3}},
		{"the greater first, one book", 4, 3, false, [4]int{1, 3, 3, 3}},
		{"the greater first, two books", 5, 3, true, [4]int{1, 3, 3, 3}},
		{"at once", 3, 3, false, [4]int{1, 3, 3, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.fenceUp()
			m.finishEpoch(m.alice)
			k := m.current()
			files := map[int][]byte{1: []byte(testPolicy), 2: policyOf(2, k+c.second, h100Earns, h100IsNothing), 3: policyOf(3, k+c.third, h100Earns, h100IsNothing)}
			m.announce(files[2])
			if c.apart {
				m.finishEpoch(m.alice)
			}
			m.announce(files[3])
			for m.current() < k+6 {
				m.finishEpoch(m.alice)
			}
			for i, version := range c.want {
				rule := proofs.ZeroMultiplier
				if version == 1 {
					rule = proofs.Accepted
				}
				m.ruledBy(k+2+uint64(i), files[version], rule)
			}
		})
	}
}

// A change of the grace holds from its epoch on, not before.
func TestPolicyChangesGrace(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	k := m.current()
	m.announce(policyOf(2, k+2, graceIs20, "grace_seconds = 40"))
	m.finishEpoch(m.alice)
	m.finishEpoch(m.alice)
	m.play(k+2, m.alice)
	due := m.dueTimes(t.Context())
	for epoch, grace := range map[uint64]int64{k + 1: 20, k + 2: 40, k + 3: 40} {
		if got, want := due(epoch).Unix(), m.clock.EpochEnd(epoch)+grace; got != want {
			t.Errorf("epoch %d may close at %d, want %d", epoch, got, want)
		}
	}
	m.goTo(m.clock.EpochEnd(k+2) + 39)
	for range 5 {
		m.pass()
	}
	if n := m.count(`SELECT count(*) FROM epochs WHERE epoch = $1`, int64(k+2)); n != 0 {
		t.Error("the epoch was closed before its grace was over")
	}
	m.goTo(m.clock.EpochEnd(k+2) + 40)
	m.untilSealed(k + 2)
}

// What the file says of payouts and bindings holds at the epoch of now.
func TestPolicyOfTheMoment(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	k := m.current()
	m.announce(policyOf(2, k+2, `minimum = "0"`+"\n[[", `minimum = "1000000000000000"`+"\n[[", "idle_epochs = 3", "idle_epochs = 7"))
	m.finishEpoch(m.bob)
	thief := m.newHost("thief", "gpu b")
	m.accept(thief.delegation)
	if p := m.refuse(ProblemDeviceBound, Submitted{Envelope: thief.inventory}); !strings.Contains(p.Detail, "for 3 epochs") {
		t.Errorf("before the change: %s", p.Detail)
	}
	if due, err := m.duePayees(t.Context(), m.now(), 10); err != nil || len(due) != 1 {
		t.Errorf("before the change %d payees are due: %v", len(due), err)
	}
	m.finishEpoch(m.bob)
	if p := m.refuse(ProblemDeviceBound, Submitted{Envelope: thief.inventory}); !strings.Contains(p.Detail, "for 7 epochs") {
		t.Errorf("after the change: %s", p.Detail)
	}
	if due, err := m.duePayees(t.Context(), m.now(), 10); err != nil || len(due) != 0 {
		t.Errorf("after the change %d payees are due: %v", len(due), err)
	}
	if p, err := m.Policy(t.Context()); err != nil || p.BindingIdleEpochs != 7 {
		t.Errorf("policy in force is %+v, %v", p, err)
	}
}

// The first policy of a network is in the published store like the later ones.
func TestGenesisPolicyIsPublished(t *testing.T) {
	m := newMachine(t)
	file, err := m.store.Get(t.Context(), publish.PolicyName(m.net.Network.Policy))
	if err != nil {
		t.Fatal(err)
	}
	if p, err := emissions.ParsePolicy(file); err != nil || p.Hash() != m.net.Policy.Hash() {
		t.Errorf("published genesis policy: %v", err)
	}
}

// A policy that was sealed one second before its first epoch counts; a second later it
// never does, and neither does a second announcement of it.
func TestPolicySealedTooLate(t *testing.T) {
	for late, want := range map[int64]string{-1: "2:in force", 0: "2:missed", 25: "2:missed"} {
		t.Run(fmt.Sprint(late), func(t *testing.T) {
			m := newMachine(t)
			m.fenceUp()
			m.finishEpoch(m.alice)
			k := m.current()
			file := policyOf(2, k+2, h100Earns, h100IsNothing)
			first := m.announce(file)
			m.play(k, m.alice)
			m.goTo(m.clock.EpochStart(k+2) + late)
			m.untilSealed(k)
			for m.current() < k+2 || m.position(epochLane) <= k+2 {
				m.finishEpoch(m.alice)
			}
			rule, ruled := proofs.Accepted, []byte(testPolicy)
			if late < 0 {
				rule, ruled = proofs.ZeroMultiplier, file
			}
			m.ruledBy(k+2, ruled, rule)
			if got := m.states(); !strings.HasSuffix(got, want) {
				t.Errorf("the policies are %q, want %q at the end", got, want)
			}
			if again := m.announce(file); again.New || again.ID != first.ID || again.Arrival != first.Arrival {
				t.Errorf("announced again it is %+v, was %+v", again, first)
			}
			// What was missed is announced anew, with a version and an epoch of its own.
			if late >= 0 {
				m.announce(policyOf(3, m.current()+2, h100Earns, h100IsNothing))
				k = m.finishEpoch(m.alice)
				m.finishEpoch(m.alice)
				m.finishEpoch(m.alice)
				m.ruledBy(k+1, []byte(testPolicy), proofs.Accepted)
				m.ruledBy(k+2, policyOf(3, k+2, h100Earns, h100IsNothing), proofs.ZeroMultiplier)
			}
		})
	}
}

// A change to draw by target asks for prices from its first epoch on. While it is not
// known yet whether a change holds, no price is taken by the rules of either.
func TestPolicyChangesDraw(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	k := m.current()
	_, target, _ := strings.Cut(targetPolicy, "[target]")
	draws := policyOf(2, k+2, `draw = "schedule"`, `draw = "target"`)
	m.announce(append(draws, "[target]"+target...))
	m.finishEpoch(m.alice)
	if r := m.priced(73_100); r.Status != Refused || r.Problem.Type != ProblemNoPriceAsked {
		t.Errorf("a price before the change is %s: %v", r.Status, r.Problem)
	}
	m.finishEpoch(m.alice)
	if r := m.priced(73_100); r.Status != Accepted {
		t.Errorf("a price of the first epoch is %s: %v", r.Status, r.Problem)
	}
	m.announce(policyOf(3, k+4))
	m.finishEpoch(m.alice)
	if of, _ := m.used(k + 2); of != k+2 {
		t.Errorf("epoch %d was judged by the price of epoch %d", k+2, of)
	}
	m.finishEpoch(m.alice)
	if r := m.priced(80_000); r.Status != Refused || r.Problem.Type != ProblemNoPriceAsked {
		t.Errorf("a price after the draw ended is %s: %v", r.Status, r.Problem)
	}
	if of, _ := m.used(k + 3); of != k+2 {
		t.Errorf("epoch %d was judged by the price of epoch %d, want that of epoch %d", k+3, of, k+2)
	}
	k = m.current()
	draws = policyOf(4, k+2, `draw = "schedule"`, `draw = "target"`)
	m.announce(append(draws, "[target]"+target...))
	m.goTo(m.clock.EpochStart(k + 2)) // no pass is made: nobody knows when epoch k is sealed
	if r := m.priced(73_100); r.Status != Refused || r.Problem.Type != ProblemBusy {
		t.Errorf("a price while the policy is not known is %s: %v", r.Status, r.Problem)
	}
	m.untilSealed(k)
	if r := m.priced(73_100); r.Status != Refused || r.Problem.Type != ProblemNoPriceAsked {
		t.Errorf("a price under the policy that was sealed too late is %s: %v", r.Status, r.Problem)
	}
}

// The moments at which passes are woken are those at which epochs may close: epoch 5
// has no grace, but waits for epoch 4.
func TestClosingsAreWokenByTheirPolicy(t *testing.T) {
	clock := ionet.Clock{Start: 1000, Length: 60, Samples: 6}
	graces := map[uint64]int64{1: 20, 2: 20, 3: 90, 4: 90, 5: 0}
	c := closings{clock, func() func(uint64) time.Time {
		return func(k uint64) time.Time { return time.Unix(clock.EpochEnd(k)+graces[k], 0) }
	}}
	for at, want := range map[int64]int64{0: 1080, 1000: 1080, 1079: 1080, 1080: 1140, 1139: 1140, 1140: 1270, 1269: 1270, 1270: 1330, 1299: 1330, 1330: 1360} {
		if got := c.Next(time.Unix(at, 0)).Unix(); got != want {
			t.Errorf("after %d the next is %d, want %d", at, got, want)
		}
	}
}

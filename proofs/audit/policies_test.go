package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// policyOf is testPolicy with another version and first epoch, and with each old
// text replaced by the new one that follows it.
func policyOf(version, first int, oldNew ...string) []byte {
	numbers := []string{"version = 1", fmt.Sprintf("version = %d", version), "first_epoch = 1", fmt.Sprintf("first_epoch = %d", first)}
	return []byte(strings.NewReplacer(append(numbers, oldNew...)...).Replace(testPolicy))
}

// idle lets nobody earn.
var idle = []string{"multiplier_milli = 10000", "multiplier_milli = 0"}

// announcement is the statement that announces a policy file in the epoch that
// comes next; the file is published.
func (o *operator) announcement(file []byte) proofs.Statement {
	o.t.Helper()
	p, err := emissions.ParsePolicy(file)
	if err != nil {
		o.t.Fatal(err)
	}
	if err := o.store.Put(o.ctx, publish.PolicyName(p.Hash()), file); err != nil {
		o.t.Fatal(err)
	}
	return o.change(proofs.PolicyChange{Version: p.Version, FirstEpoch: p.FirstEpoch, Policy: p.Hash()})
}

func (o *operator) change(c proofs.PolicyChange) proofs.Statement {
	o.t.Helper()
	body, err := c.Encode()
	if err != nil {
		o.t.Fatal(err)
	}
	s := o.sign(proofs.KindPolicy, o.p.Keys.Service, body)
	s.Arrival = proofs.Arrival{Epoch: o.lanes["epoch"].n, Sample: 1}
	return s
}

// with adds statements to the inputs.
func with(list ...proofs.Statement) func(*proofs.Inputs) {
	return func(in *proofs.Inputs) { in.Statements = append(in.Statements, list...) }
}

// under lets one epoch follow another policy than the operator's present one.
func under(policy []byte) func(*proofs.Inputs) {
	return func(in *proofs.Inputs) { in.Policy = policy }
}

// after adds statements once the epoch is judged.
func (o *operator) after(list ...proofs.Statement) func(*proofs.Inputs) {
	return func(in *proofs.Inputs) {
		in.Statements = append(in.Statements, list...)
		if err := in.Sort(); err != nil {
			o.t.Fatal(err)
		}
	}
}

// emitted sums the schedule over these epochs.
func (o *operator) emitted(epochs ...uint64) ionet.Amount {
	o.t.Helper()
	var sum ionet.Amount
	for _, k := range epochs {
		e, err := o.schedule.Emission(k)
		if err == nil {
			sum, err = sum.Add(e)
		}
		if err != nil {
			o.t.Fatal(err)
		}
	}
	return sum
}

func hasNote(r *Report, parts ...string) bool {
	return slices.ContainsFunc(r.Notes, func(n string) bool {
		return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(n, p) })
	})
}

// Two policies take effect at their epochs, one is announced too late and one
// with a version that was there: the honest operator follows neither.
func TestPolicyChanges(t *testing.T) {
	o := found(t, "policies")
	second, third := policyOf(2, 4, idle...), policyOf(4, 7)
	late, stale := policyOf(3, 6), policyOf(2, 7, "grace_seconds = 4", "grace_seconds = 3")
	o.epoch(crook{inputs: with(o.announcement(second))})
	o.epoch(crook{})
	o.epoch(crook{})
	o.policy = second
	o.epoch(crook{})
	o.epoch(crook{inputs: with(o.announcement(third), o.announcement(late), o.announcement(stale))})
	o.epoch(crook{})
	o.policy = third
	o.epoch(crook{})
	o.epoch(crook{})
	r := o.audit()
	if got, want := r.Summary(), "8 epochs, 24 verdicts, 0 payouts: all hold"; got != want {
		show(t, r)
		t.Fatalf("got %q, want %q", got, want)
	}
	if got, want := r.Minted, o.emitted(1, 2, 3, 7, 8); got != want || r.Unissued != o.emitted(4, 5, 6) {
		t.Errorf("minted %s, want %s; unissued %s, want %s", got, want, r.Unissued, o.emitted(4, 5, 6))
	}
	for _, parts := range [][]string{
		{"from epoch 4 on", "version 2", ionet.HashOf(second).String()},
		{"from epoch 7 on", "version 4", ionet.HashOf(third).String()},
		{"never counts", "announced in epoch 5", ionet.HashOf(late).String(), "its first epoch began at"},
		{"never counts", "announced in epoch 5", ionet.HashOf(stale).String(), "version 2 was there before"},
	} {
		if !hasNote(r, parts...) {
			t.Errorf("no note with %q in %q", parts, r.Notes)
		}
	}
	if n := len(r.Notes); n != 7 {
		t.Errorf("%d notes %q, want allocation, unlocks, epochs and these four", n, r.Notes)
	}
}

// Each epoch breaks the rules of policy changes in its own way, or makes ready
// for the next that does.
func TestCrookedPolicies(t *testing.T) {
	o := found(t, "crooked-policies")
	second := policyOf(2, 4)
	stale := policyOf(1, 3, "grace_seconds = 4", "grace_seconds = 3")
	late := policyOf(3, 6)
	again := policyOf(3, 9)
	foreign := policyOf(4, 12)
	forged := policyOf(5, 13)
	other := policyOf(6, 14)
	former := o.announcement(second)
	var want []expected
	epoch := func(name string, c crook, rules ...string) {
		o.t.Helper()
		k := o.lanes["epoch"].n
		o.epoch(c)
		t.Logf("epoch %d: %s", k, name)
		for _, rule := range rules {
			want = append(want, expected{k, rule})
		}
	}
	epoch("a policy is announced, and one with genesis's version", crook{inputs: with(former, o.announcement(stale))})
	epoch("a policy before its first epoch", crook{inputs: under(second)}, "policy")
	epoch("genesis's version is used again", crook{inputs: under(stale)}, "policy")
	epoch("announced in time and not used", crook{}, "policy")
	o.policy = second
	epoch("a policy is announced too late", crook{inputs: with(o.announcement(late))})
	epoch("and used", crook{inputs: under(late)}, "policy")
	epoch("its version is announced again", crook{inputs: with(o.announcement(again))})
	epoch("the former announcement stands in this book too", crook{hidden: o.after(former)}, "judge", "statement")
	epoch("the version that was there before is used", crook{inputs: under(again)}, "policy")
	stranger := o.announcement(foreign)
	stranger.Envelope = proofs.Sign(o.n.ID(), proofs.KindPolicy, o.p.Keys.Operator, stranger.Envelope.Body)
	broken := o.announcement(forged)
	broken.Envelope.Signature[7] ^= 1
	epoch("announced by another key, and with a bad signature", crook{inputs: with(stranger, broken)}, "signature", "statement")
	epoch("the announced file says another version and epoch", crook{inputs: with(o.change(proofs.PolicyChange{
		Version: 7, FirstEpoch: 15, Policy: o.published(other),
	}))}, "policy")
	epoch("what another key announced is used", crook{inputs: under(foreign)}, "policy")
	epoch("what was announced with a bad signature is used", crook{inputs: under(forged)}, "policy")
	epoch("beyond the schedule", crook{inputs: with(o.change(proofs.PolicyChange{
		Version: 7, FirstEpoch: o.n.Schedule.Epochs + 1, Policy: ionet.HashOf(second),
	}))}, "statement")
	epoch("the file that says another version and epoch is used", crook{inputs: under(other)}, "policy")
	o.policy = other
	epoch("and goes on", crook{}, "policy")
	epoch("the seal names the policy in force, the book has another", crook{inputs: under(second), memo: func(m *proofs.EpochMemo) {
		m.Policy = ionet.HashOf(other)
	}}, "policy")
	epoch("a policy that nobody announced, and no book", crook{inputs: under(policyOf(9, 2)), file: func([]byte) []byte { return nil }}, "policy")
	r := o.audit()
	if len(r.Unchecked) != 1 || r.Unchecked[0].Rule != "published" {
		show(t, r)
		t.Errorf("%d unchecked, want the last book alone", len(r.Unchecked))
	}
	checkFound(t, r, want)
}

// published puts a policy file into the store under its hash.
func (o *operator) published(file []byte) ionet.Hash {
	o.t.Helper()
	hash := ionet.HashOf(file)
	if err := o.store.Put(o.ctx, publish.PolicyName(hash), file); err != nil {
		o.t.Fatal(err)
	}
	return hash
}

// A published policy file that is spoiled, no policy or not for this network is
// a finding about the announcement; one that is missing is unchecked.
func TestPolicyFiles(t *testing.T) {
	o := found(t, "policy-files")
	good := policyOf(2, 9)
	tooMany := policyOf(3, 9, "minimum = 3", "minimum = 6")
	noPolicy := []byte("version = 4\n")
	o.epoch(crook{inputs: with(o.announcement(good))})
	o.epoch(crook{inputs: with(o.announcement(tooMany))})
	o.epoch(crook{inputs: with(o.change(proofs.PolicyChange{Version: 4, FirstEpoch: 9, Policy: o.published(noPolicy)}))})
	r := o.audit()
	checkFound(t, r, []expected{{2, "policy"}, {3, "policy"}})
	path := filepath.Join(o.dir, filepath.FromSlash(publish.PolicyName(ionet.HashOf(good))))
	replace(t, path, append(slices.Clone(good), "# more\n"...))
	checkFound(t, o.audit(), []expected{{1, "policy"}, {2, "policy"}, {3, "policy"}})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r = o.audit()
	checkFound(t, r, []expected{{2, "policy"}, {3, "policy"}})
	if len(r.Unchecked) != 1 || r.Unchecked[0].Rule != "published" || r.Unchecked[0].Epoch != 1 {
		show(t, r)
		t.Errorf("unchecked %v, want the file announced in epoch 1", r.Unchecked)
	}
}

// A lost book leaves open what it may have announced, and no more.
func TestLostAnnouncement(t *testing.T) {
	o := found(t, "lost-announcement")
	second, third := policyOf(2, 3), policyOf(3, 8)
	o.epoch(crook{inputs: with(o.announcement(second)), file: func([]byte) []byte { return nil }})
	o.epoch(crook{})
	o.policy = second
	o.epoch(crook{})
	o.epoch(crook{inputs: with(o.announcement(third))})
	o.epoch(crook{inputs: under(policyOf(9, 2))}) // began before the lost book was sealed
	o.epoch(crook{inputs: under(policyOf(9, 7))}) // not its epoch yet
	o.epoch(crook{inputs: under(policyOf(1, 3))}) // not above the first
	o.policy = third
	o.epoch(crook{})
	o.epoch(crook{inputs: under([]byte(testPolicy))}) // the lost book may have announced version 3 as well
	r := o.audit()
	checkFound(t, r, []expected{{5, "policy"}, {6, "policy"}, {7, "policy"}})
	var unchecked []expected
	for _, f := range r.Unchecked {
		unchecked = append(unchecked, expected{f.Epoch, f.Rule})
	}
	want := []expected{{1, "published"}, {2, "bindings"}, {3, "policy"}, {4, "policy"}, {9, "policy"}}
	if !slices.Equal(unchecked, want) {
		show(t, r)
		t.Errorf("got unchecked %v, want %v", unchecked, want)
	}
}

// What a network file says of unlocks and of its schedule.
func TestNetworkFile(t *testing.T) {
	params, err := emissions.Hourly(8)
	if err != nil {
		t.Fatal(err)
	}
	schedule, err := emissions.New(params)
	if err != nil {
		t.Fatal(err)
	}
	n := ionet.Network{
		Schedule:   params.Info(schedule.Hash()),
		Allocation: []ionet.Allocation{{Category: "seed", Unlock: "tranches:13..36"}, {Category: "community", Unlock: "immediate"}},
	}
	for _, c := range []struct {
		name  string
		spoil func(n *ionet.Network)
		want  []expected
	}{
		{"good", func(*ionet.Network) {}, nil},
		{"no unlock", func(n *ionet.Network) { n.Allocation[1].Unlock = "some day" }, []expected{{Genesis, "allocation"}}},
		{"an unlock in other words", func(n *ionet.Network) { n.Allocation[0].Unlock = "tranches:013..36" }, []expected{{Genesis, "allocation"}}},
		{"never at its cap", func(n *ionet.Network) { n.Schedule.Epochs-- }, []expected{{Genesis, "schedule"}}},
		{"another hash", func(n *ionet.Network) { n.Schedule.Hash[0] ^= 1 }, []expected{{Genesis, "schedule"}}},
		{"another decay", func(n *ionet.Network) { n.Schedule.Decay = "0.00001388695239597" }, []expected{{Genesis, "schedule"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			spoiled := n
			spoiled.Allocation = slices.Clone(n.Allocation)
			c.spoil(&spoiled)
			a := &auditor{r: &Report{}, network: &spoiled}
			a.checkUnlocks()
			if err := a.checkSchedule(); err != nil && len(a.r.Findings) == 0 {
				t.Error(err)
			}
			checkFound(t, a.r, c.want)
			if c.want == nil && !hasNote(a.r, "seed tranches:13..36", "community immediate") {
				t.Errorf("notes %q, want the unlocks", a.r.Notes)
			}
		})
	}
}

package settlement

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

func TestAnnouncementRefused(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.finishEpoch()
	k := m.current()
	m.announce(policyOf(7, k+9))
	last := m.intake.schedule.Epochs()
	weak := bytes.Replace(observedBy("oracle", 8, k+2), []byte(chain.PublicOf(keyOf("oracle")).String()), []byte(ionet.Key{1}.String()), 1)
	for _, c := range []struct {
		name, problem, field, detail string
		file                         []byte
	}{
		{"no policy", ProblemMalformedPolicy, "file", "version", []byte("draw = 1")},
		{"a key that is unknown", ProblemMalformedPolicy, "file", "samples.most", policyOf(8, k+2, "minimum = 3", "minimum = 3\nmost = 4")},
		{"a draw that is unknown", ProblemMalformedPolicy, "file", "draw", policyOf(8, k+2, `draw = "schedule"`, `draw = "all"`)},
		{"more samples than there are", ProblemMalformedPolicy, "file", "samples.minimum: 7 is more than the 6", policyOf(8, k+2, "minimum = 3", "minimum = 7")},
		{"the genesis policy", ProblemPolicyVersion, "version", "which is 7", []byte(testPolicy)},
		{"a version that was announced", ProblemPolicyVersion, "version", "which is 7", policyOf(7, k+3)},
		{"a lower version", ProblemPolicyVersion, "version", "which is 7", policyOf(6, k+3)},
		{"a version that leaves few", ProblemPolicyVersion, "version", "at most 1000 above", policyOf(1008, k+2)},
		{"the last version", ProblemPolicyVersion, "version", "at most 1000 above", policyOf(math.MaxUint32, k+2)},
		{"an observer whose key is weak", ProblemWeakKey, "target.key", "no statement by it", weak},
		{"the current epoch", ProblemPolicyEpoch, "first_epoch", fmt.Sprintf("must be %d or later", k+2), policyOf(8, k)},
		{"the next epoch", ProblemPolicyEpoch, "first_epoch", fmt.Sprintf("must be %d or later", k+2), policyOf(8, k+1)},
		{"beyond the schedule", ProblemPolicyEpoch, "first_epoch", fmt.Sprintf("last epoch is %d", last), policyOf(8, last+1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := m.count(`SELECT count(*) FROM statements`)
			_, err := m.AnnouncePolicy(t.Context(), c.file)
			var p *Problem
			if !errors.As(err, &p) || p.Type != c.problem || p.Field != c.field || !strings.Contains(p.Detail, c.detail) {
				t.Fatalf("got %v, want %s of %s with %q", err, c.problem, c.field, c.detail)
			}
			if after := m.count(`SELECT count(*) FROM statements`); after != before {
				t.Error("the refused announcement is stored")
			}
			if _, err := m.store.Get(t.Context(), publish.PolicyName(ionet.HashOf(c.file))); err == nil && string(c.file) != testPolicy {
				t.Error("the refused file is published")
			}
		})
	}
	for _, first := range []uint64{k + 2, last} {
		if a := m.announce(policyOf(7+first, first)); !a.New {
			t.Errorf("announcement for epoch %d is not new", first)
		}
	}
	// A book takes so many and no more; the next epoch takes others.
	for n := uint64(3); n < maxOpenPolicies; n++ {
		m.announce(policyOf(last+10+n, k+2))
	}
	more := policyOf(last+100, k+5)
	_, err := m.AnnouncePolicy(t.Context(), more)
	if !isProblem(err, ProblemTooManyStatements) {
		t.Errorf("one announcement more than %d: %v", maxOpenPolicies, err)
	}
	m.finishEpoch()
	m.announce(more)
}

// Where the grace is longer than an epoch, a policy that would be sealed after it
// was to begin is not taken; the first one that is taken counts.
func TestAnnouncementWaitsOutTheGrace(t *testing.T) {
	const grace = "grace_seconds = 200"
	m := newMachineUnder(t, strings.Replace(testPolicy, graceIs20, grace, 1))
	m.fenceUp()
	k := m.current()
	_, err := m.AnnouncePolicy(t.Context(), policyOf(2, k+4, graceIs20, grace))
	var p *Problem
	if !errors.As(err, &p) || p.Type != ProblemPolicyEpoch || !strings.Contains(p.Detail, fmt.Sprintf("must be %d or later", k+5)) {
		t.Fatalf("a policy for epoch %d, which begins before epoch %d may be sealed: %v", k+4, k, err)
	}
	m.announce(policyOf(2, k+5))
	m.goTo(m.clock.EpochEnd(k) + 200)
	m.untilSealed(k)
	m.until("it is known when", func() bool { return !strings.Contains(m.states(), "announced") })
	m.wantStates("at the seal", "1:in force 2:counts")
}

// The clock of the machine that announces gives the epoch of arrival, before which
// nobody can announce any more: where it is not the chain's, nothing is taken.
func TestAnnouncementByAWrongClock(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	k := m.current()
	for _, off := range []int64{500 * testSamples * testSample, testSamples*testSample + 10, -testSamples*testSample - 10} {
		c := m.config(m.pool)
		c.Now = func() time.Time { return time.Unix(handTime.Load()+off, 0) }
		laptop, err := New(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if a, err := laptop.AnnouncePolicy(t.Context(), policyOf(2, k+900)); !isProblem(err, ProblemWrongClock) {
			t.Errorf("a clock that is wrong by %d seconds: announced in epoch %d, %v", off, a.Arrival.Epoch, err)
		}
	}
	if a := m.announce(policyOf(2, k+2)); a.Arrival.Epoch != k {
		t.Errorf("announced in epoch %d, want %d", a.Arrival.Epoch, k)
	}
}

// Nobody announces by POST: not another key, nor somebody who has a statement of ours
// that this database does not know. One that it knows has its ack again.
func TestSubmittedAnnouncement(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	change := proofs.PolicyChange{Version: 2, FirstEpoch: m.current() + 2, Policy: ionet.HashOf([]byte("rules"))}
	body, err := change.Encode()
	if err != nil {
		t.Fatal(err)
	}
	foreign := proofs.Sign(m.net.Network.ID(), proofs.KindPolicy, keyOf("somebody"), body)
	ours := proofs.Sign(m.net.Network.ID(), proofs.KindPolicy, m.net.Keys.Service, body)
	if p := m.refuse(ProblemWrongSignature, Submitted{Envelope: foreign}); p.Field != "signer" {
		t.Errorf("another signer: field %q", p.Field)
	}
	m.refuse(ProblemForeignPolicy, Submitted{Envelope: ours})
	ack := m.ack(ours, proofs.Arrival{Epoch: 1})
	m.refuse(ProblemForeignPolicy, Submitted{Envelope: ours, Ack: &ack})
	forged := ours
	forged.Signature[5] ^= 1
	m.refuse(ProblemWrongSignature, Submitted{Envelope: forged})

	a := m.announce(policyOf(2, m.current()+2))
	body, err = a.PolicyChange.Encode()
	if err != nil {
		t.Fatal(err)
	}
	known := proofs.Sign(m.net.Network.ID(), proofs.KindPolicy, m.net.Keys.Service, body)
	r := m.submit(Submitted{Envelope: known})[0]
	if r.Status != Duplicate || r.ID != a.ID || !cmp.Equal(r.Ack, a.Ack) {
		t.Errorf("the announcement handed in is %s with ack %v, want a duplicate with %v: %v", r.Status, r.Ack, a.Ack, r.Problem)
	}
}

// Announcements of one version at once: one is taken. Meanwhile epochs are frozen:
// whichever gets its ack is in the book of the epoch that its ack names.
func TestAnnouncementsAtOnce(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	for round := range uint64(3) {
		k := m.current()
		m.toClose(k)
		var wg sync.WaitGroup
		var taken atomic.Pointer[Announcement]
		for n := range uint64(6) {
			wg.Go(func() {
				file := policyOf(2+round, k+10+n)
				for {
					a, err := m.AnnouncePolicy(context.Background(), file)
					var p *Problem
					switch {
					case err == nil:
						if !taken.CompareAndSwap(nil, &a) {
							t.Errorf("version %d was taken twice", 2+round)
						}
					case errors.As(err, &p) && p.Type == ProblemBusy:
						time.Sleep(time.Millisecond)
						continue
					case !errors.As(err, &p) || p.Type != ProblemPolicyVersion:
						t.Errorf("announce: %v", err)
					}
					return
				}
			})
		}
		m.untilSealed(k)
		wg.Wait()
		a := taken.Load()
		if a == nil {
			t.Fatal("none was taken")
		}
		for m.position(epochLane) <= a.Arrival.Epoch {
			m.finishEpoch()
		}
		e, err := m.Epoch(t.Context(), a.Arrival.Epoch)
		if err != nil {
			t.Fatal(err)
		}
		book := m.book(&Closing{Memo: e.Memo})
		changes, err := book.Inputs.PolicyChanges()
		if err != nil || len(changes) != 1 || changes[0] != a.PolicyChange || !book.Inputs.Has(proofs.KindPolicy, a.ID) {
			t.Errorf("the book of epoch %d announces %+v (%v), want %+v", a.Arrival.Epoch, changes, err, a.PolicyChange)
		}
	}
}

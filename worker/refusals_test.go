package worker

import (
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// TestSealTellsWhy: a host whose devices were refused reads by which rules, and that another
// process has its key.
func TestSealTellsWhy(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	other := ionet.Key{9}
	book := &proofs.Book{Inputs: &proofs.Inputs{}, Verdicts: []proofs.Verdict{
		{Worker: s.w.self, Rule: proofs.Idle}, {Worker: s.w.self, Rule: proofs.Equivocation}, {Worker: s.w.self, Rule: proofs.Equivocation},
		{Worker: s.w.self, Rule: proofs.Accepted, Amount: ionet.MustAmount(5)}, {Worker: other, Rule: proofs.Late},
	}}
	must(t, s.w.checkBook(35, book))
	sealed := s.saw(EventSealed)
	if len(sealed) != 1 || !strings.HasPrefix(sealed[0].String(), "epoch 35 sealed: 1 of 4 devices accepted: 2 equivocation, 1 idle; ") {
		t.Errorf("sealed: %v", sealed)
	}
	if got := s.saw(EventTrouble); len(got) != 1 || !strings.Contains(got[0].Text, "signed by another process with this key") || !strings.Contains(got[0].Text, "ionet why") {
		t.Errorf("trouble: %v", got)
	}
	wantValues(t, "after the seal", scrape(t, s.w), map[string]float64{
		`devices_refused_total{rule="equivocation"}`: 2, `devices_refused_total{rule="idle"}`: 1,
	})
	if got := (EpochEarned{Devices: 2, Accepted: 2}).AcceptedLine(); got != "2 of 2 devices accepted" {
		t.Errorf("all accepted: %q", got)
	}
}

package audit

import (
	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// reach is for how many epochs a worker that was heard stays in the books;
// FORMAT.md, section 6.
const reach = 24

// checkReach finds workers whose inventory was left out of epoch k though an
// earlier book heard them: their devices would have no verdict.
func (a *auditor) checkReach(k uint64, in *proofs.Inputs) {
	present := map[ionet.Key]bool{}
	for i := range in.Statements {
		s := &in.Statements[i]
		switch s.Envelope.Kind {
		case proofs.KindInventory:
			present[s.Envelope.Signer] = true
		case proofs.KindUptime:
			a.heard[s.Envelope.Signer] = k
		}
	}
	for worker, last := range a.heard {
		if last+reach >= k && !present[worker] {
			a.r.find(k, "worker "+worker.String(), "left-out", "its inventory among the inputs", "none")
		}
	}
}

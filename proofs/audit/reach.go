package audit

import (
	"bytes"
	"maps"
	"slices"

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
	byKey := func(x, y ionet.Key) int { return bytes.Compare(x[:], y[:]) }
	for _, worker := range slices.SortedFunc(maps.Keys(a.heard), byKey) {
		if a.heard[worker]+reach >= k && !present[worker] {
			a.r.find(k, "worker "+worker.String(), "left-out", "its inventory among the inputs", "none")
		}
	}
}

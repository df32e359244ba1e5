package audit

import (
	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// revocation is what a provider takes back.
type revocation struct {
	delegation ionet.Hash
	provider   ionet.Key
}

// hearRevocations notes the revocations of a book.
func (a *auditor) hearRevocations(list []proofs.Statement) {
	for i := range list {
		e := &list[i].Envelope
		r, err := proofs.ParseRevocation(a.network.ID(), e.Signer, e.Body)
		if err != nil {
			continue // told
		}
		of := revocation{r.Delegation, r.Provider}
		if first, known := a.revoked[of]; !known || list[i].Arrival.Epoch < first {
			a.revoked[of] = list[i].Arrival.Epoch
		}
	}
}

// isRevoked reports whether a delegation surely counts no more in epoch k. A revocation
// counts from the epoch after its arrival on; one epoch more is left to a record that was
// written while it arrived.
func (a *auditor) isRevoked(delegation ionet.Hash, provider ionet.Key, k uint64) bool {
	first, known := a.revoked[revocation{delegation, provider}]
	return known && k > first+1
}

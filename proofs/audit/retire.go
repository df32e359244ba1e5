package audit

import (
	"fmt"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// checkRetire checks the end of the epoch lane: after the last epoch the mint
// authority is given up, and what its memo says was ever minted is what was. That
// it stands at that position and nowhere else is the lane's rule (allowed); that
// nobody mints after it is the Token program's.
func (a *auditor) checkRetire(w winner) {
	a.retired = true
	object := "retire " + w.tx.signature
	memo, err := proofs.ParseMemo(w.content.Memo)
	m, ok := memo.(proofs.RetireMemo)
	if !ok {
		a.r.find(a.epochOf(w), object, "memo", "the memo of a retire", fmt.Sprintf("%q: %v", w.content.Memo, err))
		return
	}
	same(a.r, a.epochOf(w), object, "retire", a.network.Schedule.Epochs, m.Epoch)
	supply, err := a.network.Schedule.Genesis.Add(a.r.Minted)
	if err != nil {
		a.r.find(a.epochOf(w), object, "retire", "a sum that can be", err)
		return
	}
	same(a.r, a.epochOf(w), object, "retire", supply, m.Supply)
	a.r.note("the mint authority was given up after epoch %d: nothing can be minted any more", m.Epoch)
}

// mintAuthority is who may mint at the end of the walk, as the lanes tell: nobody
// after a retire.
func (a *auditor) mintAuthority(before ionet.Key) ionet.Key {
	if a.retired {
		return ionet.Key{}
	}
	if a.sealed == a.network.Schedule.Epochs {
		a.r.note("the last epoch is sealed, the mint authority is not given up yet")
	}
	return before
}

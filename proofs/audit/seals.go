package audit

import (
	"context"
	"fmt"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
)

// checkSeals walks the seals of the receipt log in order: each names the one before
// it, and neither the log nor its fees ever get less. What the log says is not
// checked yet.
func (a *auditor) checkSeals(context.Context) error {
	var last proofs.SealMemo
	var prev ionet.Hash
	for _, w := range a.lanes["seal"] {
		if w.content.Kind != chain.KindSeal {
			continue
		}
		epoch, object := a.epochOf(w), fmt.Sprintf("%s %s", w.content.Kind, w.tx.signature)
		memo, err := proofs.ParseMemo(w.content.Memo)
		m, ok := memo.(proofs.SealMemo)
		if !ok {
			a.r.find(epoch, object, "memo", "the memo of a receipt seal", fmt.Sprintf("%q: %v", w.content.Memo, err))
			continue
		}
		same(a.r, epoch, object, "receipt-chain", prev, m.Prev)
		if m.Size < last.Size || m.Size == last.Size && !prev.IsZero() && m.Root != last.Root {
			a.r.find(epoch, object, "receipt-size", fmt.Sprintf("a log of more than %d receipts, or the same root %s", last.Size, last.Root), fmt.Sprintf("%d, root %s", m.Size, m.Root))
		}
		if m.Fees.Cmp(last.Fees) < 0 || m.Size == last.Size && m.Fees != last.Fees {
			a.r.find(epoch, object, "receipt-fees", "at least "+last.Fees.String()+", more only with more receipts", m.Fees)
		}
		a.r.skip(epoch, object, "receipts", "receipts that this version can check", w.content.Memo)
		last, prev = m, ionet.HashOf([]byte(w.content.Memo))
	}
	return nil
}

package audit

import (
	"context"
	"fmt"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
)

// checkSeals walks the seals of the receipt log in order: each names the one before it,
// and neither the log nor its fees ever get less. What a seal commits to is replayed
// from the published records, one by one; in record mode inline the memos of receipts
// carry each of them before.
func (a *auditor) checkSeals(ctx context.Context) error {
	log, err := a.openFeeLog(ctx)
	if err != nil {
		return err
	}
	a.fees = log.ledger
	w := sealWalk{log: log}
	for _, step := range a.lanes["seal"] {
		switch step.content.Kind {
		case chain.KindSeal:
			err = w.seal(ctx, step)
		case chain.KindReceipts:
			w.inline(step)
		}
		if err != nil {
			return err
		}
	}
	return log.finish(ctx, w.last.Size)
}

// sealWalk is where the walk over the seal lane stands.
type sealWalk struct {
	log  *feeLog
	last proofs.SealMemo
	prev ionet.Hash
	next uint64 // the record behind the last one that a memo has
}

func (w *sealWalk) seal(ctx context.Context, step winner) error {
	a := w.log.a
	epoch, object := a.epochOf(step), fmt.Sprintf("%s %s", step.content.Kind, step.tx.signature)
	memo, err := proofs.ParseMemo(step.content.Memo)
	m, ok := memo.(proofs.SealMemo)
	if !ok {
		a.r.find(epoch, object, "memo", "the memo of a receipt seal", fmt.Sprintf("%q: %v", step.content.Memo, err))
		return nil
	}
	same(a.r, epoch, object, "receipt-chain", w.prev, m.Prev)
	if m.Size < w.last.Size || m.Size == w.last.Size && !w.prev.IsZero() && m.Root != w.last.Root {
		a.r.find(epoch, object, "receipt-size", fmt.Sprintf("a log of more than %d receipts, or the same root %s", w.last.Size, w.last.Root), fmt.Sprintf("%d, root %s", m.Size, m.Root))
	}
	if m.Fees.Cmp(w.last.Fees) < 0 || m.Size == w.last.Size && m.Fees != w.last.Fees {
		a.r.find(epoch, object, "receipt-fees", "at least "+w.last.Fees.String()+", more only with more receipts", m.Fees)
	}
	former := w.last.Size
	w.last, w.prev = m, ionet.HashOf([]byte(step.content.Memo))
	a.r.Seals++
	if m.Size < former {
		return nil // said
	}
	w.log.sealing, w.log.gap = m.Size, false
	there, err := w.log.replay(ctx, m.Size)
	if err != nil {
		return err
	}
	if !there {
		a.feesLost = true
		a.r.skip(epoch, object, "receipts", fmt.Sprintf("%d published records", m.Size), fmt.Sprintf("%d", w.log.frontier.Size()))
		return nil
	}
	if !same(a.r, epoch, object, "log-root", w.log.frontier.Root(), m.Root) {
		a.feesLost = true // what is published is not what was sealed, which may explain payments
	}
	if last := w.log.ledger.accepted; last > step.tx.time+skew { // else a grace could be made to pass
		a.r.find(epoch, object, "log-time", fmt.Sprintf("records accepted by %d, when they were sealed", step.tx.time), last)
	}
	same(a.r, epoch, object, "log-fees", w.log.ledger.told.TotalFees, m.Fees)
	w.log.ledger.renters.seal(step.tx.time, epoch)
	return nil
}

// inline notes the compact forms in a memo of receipts: they are compared when the seal
// leads there, for a memo may have records beyond the next seal.
func (w *sealWalk) inline(step winner) {
	a := w.log.a
	epoch, object := a.epochOf(step), fmt.Sprintf("%s %s", step.content.Kind, step.tx.signature)
	memo, err := proofs.ParseMemo(step.content.Memo)
	m, ok := memo.(proofs.ReceiptsMemo)
	if !ok {
		a.r.find(epoch, object, "memo", "the memo of receipts", fmt.Sprintf("%q: %v", step.content.Memo, err))
		return
	}
	list, err := m.Compacts()
	if err != nil {
		a.r.find(epoch, object, "inline-form", "compact forms", err)
		return
	}
	if from := max(w.next, w.last.Size); m.First < from {
		a.r.find(epoch, object, "inline-order", fmt.Sprintf("records from %d on: each in one memo, in order, before its seal", from), m.First)
	}
	for _, c := range list {
		if c.Index >= max(w.next, w.last.Size) {
			w.log.carried[c.Index] = carried{c, epoch, object}
		}
	}
	w.next = max(w.next, m.First+m.Count)
	a.r.Inline += len(list)
}

package audit

import (
	"context"
	"fmt"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/emissions"
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
			err = w.inline(ctx, step)
		}
		if err != nil {
			return err
		}
	}
	return log.finish(ctx, w.last.Size)
}

// sealWalk is where the walk over the seal lane stands.
type sealWalk struct {
	log     *feeLog
	last    proofs.SealMemo
	prev    ionet.Hash
	carried map[uint64]bool // leaves that memos carried
	looked  uint64          // leaves of which it is known whether a memo carried them
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
	there, err := w.log.replay(ctx, m.Size)
	if err != nil {
		return err
	}
	if !there {
		a.r.skip(epoch, object, "receipts", fmt.Sprintf("%d published records", m.Size), fmt.Sprintf("%d", w.log.frontier.Size()))
		return nil
	}
	same(a.r, epoch, object, "log-root", w.log.frontier.Root(), m.Root)
	same(a.r, epoch, object, "log-fees", w.log.ledger.fees, m.Fees)
	w.log.ledger.renters.seal(step.tx.time, epoch)
	w.checkCarried(ctx, epoch, object, m.Size)
	return nil
}

// inline compares the compact forms in a memo of receipts with the records.
func (w *sealWalk) inline(ctx context.Context, step winner) error {
	a := w.log.a
	epoch, object := a.epochOf(step), fmt.Sprintf("%s %s", step.content.Kind, step.tx.signature)
	memo, err := proofs.ParseMemo(step.content.Memo)
	m, ok := memo.(proofs.ReceiptsMemo)
	if !ok {
		a.r.find(epoch, object, "memo", "the memo of receipts", fmt.Sprintf("%q: %v", step.content.Memo, err))
		return nil
	}
	list, err := m.Compacts()
	if err != nil {
		a.r.find(epoch, object, "inline-form", "compact forms", err)
		return nil
	}
	there, err := w.log.replay(ctx, m.First+m.Count)
	if err != nil {
		return err
	}
	if !there {
		a.r.skip(epoch, object, "receipts", fmt.Sprintf("%d published records", m.First+m.Count), fmt.Sprintf("%d", w.log.frontier.Size()))
		return nil
	}
	if w.carried == nil {
		w.carried = map[uint64]bool{}
	}
	for _, c := range list {
		same(a.r, epoch, object, "inline-form", w.log.compact[c.Index], c)
		if w.carried[c.Index] || c.Index < w.looked {
			a.r.find(epoch, object, "inline-twice", "each leaf in one memo", c.Index)
		}
		w.carried[c.Index] = true
	}
	a.r.Inline += len(list)
	return nil
}

// checkCarried holds the memos against the record mode of each leaf's epoch, up to a seal.
func (w *sealWalk) checkCarried(ctx context.Context, epoch uint64, object string, size uint64) {
	a := w.log.a
	for ; w.looked < size; w.looked++ {
		policy := a.policyAt(ctx, w.log.epochs[w.looked])
		if policy == nil {
			continue // said
		}
		wanted, carried := policy.Fees.Record == emissions.RecordInline, w.carried[w.looked]
		if wanted && !carried {
			a.r.find(epoch, object, "inline-missing", "a memo of receipts with each leaf before its seal", fmt.Sprintf("none with leaf %d", w.looked))
			w.looked = size // one such says enough of a seal
			return
		}
		if !wanted && carried {
			a.r.find(epoch, object, "inline-mode", "no leaf in a memo: the policy of its epoch says root", fmt.Sprintf("leaf %d", w.looked))
		}
		delete(w.carried, w.looked)
	}
}

package web

import (
	"context"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement"
)

type inclusionInput struct {
	Index uint64 `query:"index" required:"true" doc:"Of the leaf, from 0"`
	Size  uint64 `query:"size" required:"true" minimum:"1" doc:"Of the log, published"`
}

type consistencyInput struct {
	From uint64 `query:"from" required:"true" doc:"Size of the smaller log"`
	To   uint64 `query:"to" required:"true" doc:"Size of the larger one, published"`
}

func (h *handler) logState(ctx context.Context, _ *nothing) (client.Log, error) {
	n := h.service.Network()
	key, err := proofs.LogVerifierKey(n.ID(), n.Keys.Service)
	if err != nil {
		return client.Log{}, err
	}
	st, err := h.service.Log(ctx)
	if err != nil {
		return client.Log{}, err
	}
	out := client.Log{
		Origin: proofs.LogOrigin(n.ID()), Key: key, Decimals: n.Decimals, Size: st.Size, Fees: st.Fees, Jobs: st.Jobs, Root: st.Root, Halted: st.Halted,
	}
	if st.Note != nil {
		out.Published = &client.PublishedLog{Size: st.Published.Size, Root: st.Published.Root, Note: string(st.Note)}
	}
	if st.Sealed != nil {
		seal := wireSeal(*st.Sealed)
		out.Sealed = &seal
	}
	return out, nil
}

func wireSeal(s settlement.SealedLog) client.LogSeal {
	out := client.LogSeal{Size: s.Size, Root: s.Root, Fees: s.Fees, Position: s.Position, Memo: s.Memo, Slot: s.Slot}
	if !s.Signature.IsZero() {
		out.Signature = s.Signature.String()
	}
	return out
}

func (h *handler) inclusion(ctx context.Context, in *inclusionInput) (client.InclusionProof, error) {
	proof, err := h.service.Inclusion(ctx, in.Index, in.Size)
	return client.InclusionProof{Index: in.Index, Size: in.Size, Proof: listed(proof)}, err
}

func (h *handler) consistency(ctx context.Context, in *consistencyInput) (client.ConsistencyProof, error) {
	proof, err := h.service.Consistency(ctx, in.From, in.To)
	return client.ConsistencyProof{From: in.From, To: in.To, Proof: listed(proof)}, err
}

// receipt returns a receipt with the proofs that there are by now.
func (h *handler) receipt(ctx context.Context, in *receiptInput) (client.Receipt, error) {
	r, err := h.service.Receipt(ctx, in.ID)
	if err != nil {
		return client.Receipt{}, err
	}
	out := client.Receipt{Index: r.Index, Record: r.Record, State: client.ReceiptLogged, Ack: r.Ack.Append(nil)}
	log, err := h.service.Log(ctx)
	if err != nil || log.Published.Size <= r.Index {
		return out, err
	}
	proof, err := h.service.Inclusion(ctx, r.Index, log.Published.Size)
	if err != nil {
		return out, err
	}
	out.State = client.ReceiptPublished
	out.Published = &client.PublishedReceipt{Size: log.Published.Size, Root: log.Published.Root, Proof: listed(proof), Note: string(log.Note)}
	seal, err := h.service.SealOf(ctx, r.Index)
	if err != nil || seal == nil || seal.Size > log.Published.Size { // our view of what is published may be a second old
		return out, err
	}
	if proof, err = h.service.Inclusion(ctx, r.Index, seal.Size); err != nil {
		return out, err
	}
	out.State = client.ReceiptSealed
	out.Sealed = &client.SealedReceipt{LogSeal: wireSeal(*seal), Proof: listed(proof)}
	return out, nil
}

// listed is a proof as JSON has it: none is an empty list.
func listed(proof []ionet.Hash) []ionet.Hash {
	if proof == nil {
		return []ionet.Hash{}
	}
	return proof
}

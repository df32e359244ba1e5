package web

import (
	"context"

	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/settlement"
)

func (h *handler) prepareClaim(ctx context.Context, in *claimInput) (client.Claim, error) {
	p, err := h.service.PrepareClaim(ctx, in.Body.Wallet)
	return client.Claim{
		Transaction: p.Transaction, Message: p.Message, Lane: p.Lane, Position: p.Position, Amount: p.Amount, LastHeight: p.LastValidHeight,
	}, err
}

func (h *handler) submitClaim(ctx context.Context, in *submissionInput) (client.ClaimState, error) {
	c, err := h.service.SubmitClaim(ctx, in.Body.Transaction)
	return wireClaim(c), err
}

func (h *handler) claim(ctx context.Context, in *messageInput) (client.ClaimState, error) {
	c, err := h.service.ClaimStatus(ctx, in.Message)
	return wireClaim(c), err
}

func wireClaim(c settlement.Claim) client.ClaimState {
	w := client.ClaimState{Message: c.Message, State: c.State, Slot: c.Slot, Reason: c.Reason}
	if !c.Signature.IsZero() {
		w.Signature = c.Signature.String()
	}
	return w
}

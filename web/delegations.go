package web

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

type delegationsInput struct {
	Key      ionet.Key `path:"key" doc:"The worker, base58"`
	Provider ionet.Key `query:"provider" doc:"Only those that this wallet signed, base58"`
}

type delegationInput struct{ Body client.DelegationAsk }

// delegating registers what workers and their providers need to come together.
func (h *handler) delegating(api huma.API) {
	get(h, api, "/v1/workers/{key}/delegations", "The unexpired delegations that name a worker, the one issued last first", h.delegations)
	register(h, api, http.MethodPost, "/v1/delegations/text", "The text of a delegation for a wallet to sign", h.delegationText)
}

func (h *handler) delegations(ctx context.Context, in *delegationsInput) (client.Delegations, error) {
	list, err := h.service.DelegationsOf(ctx, in.Key, in.Provider)
	out := client.Delegations{Delegations: make([]client.Delegation, len(list))}
	for i, d := range list {
		out.Delegations[i] = client.Delegation{ID: d.Envelope.ID(), Provider: d.Envelope.Signer, Envelope: d.Envelope.Append(nil), Revoked: d.Revoked}
	}
	return out, err
}

func (h *handler) delegationText(_ context.Context, in *delegationInput) (client.DelegationText, error) {
	b := in.Body
	d, text, err := h.service.DelegationText(proofs.Delegation{Provider: b.Provider, Payout: b.Payout, Workers: b.Workers, Issued: b.Issued, Expires: b.Expires})
	if err != nil {
		return client.DelegationText{}, err
	}
	e := proofs.Envelope{Kind: proofs.KindDelegation, Signer: d.Provider, Body: []byte(text)}
	return client.DelegationText{
		Network: ionet.Key(h.service.Network().ID()), Provider: d.Provider, Payout: d.Payout, Workers: d.Workers,
		Issued: d.Issued, Expires: d.Expires, Text: text, ID: e.ID(),
	}, nil
}

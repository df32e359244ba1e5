package web

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement"
)

type disputeInput struct{ Body client.DisputeSubmission }

type answerInput struct {
	ID   ionet.Hash `path:"id" doc:"Id of the dispute, 64 hexadecimal digits"`
	Body client.DisputeAnswer
}

// disputes registers how a worker's two words about one job are made public.
func (h *handler) disputes(api huma.API) {
	register(h, api, http.MethodPost, "/v1/disputes", "Hand in a dispute with the worker's statement that the renter holds", h.submitDispute)
	get(h, api, "/v1/disputes/{id}", "A dispute, and where its evidence is published", h.dispute)
	register(h, api, http.MethodPost, "/v1/disputes/{id}/answer", "Show where a disputed job stands in its batch", h.answerDispute)
}

func (h *handler) submitDispute(ctx context.Context, in *disputeInput) (client.Dispute, error) {
	dispute, err := oneEnvelope("dispute", in.Body.Dispute)
	if err != nil {
		return client.Dispute{}, err
	}
	response, err := oneEnvelope("response", in.Body.Response)
	if err != nil {
		return client.Dispute{}, err
	}
	d, err := h.service.SubmitDispute(ctx, dispute, response)
	return wireDispute(d), err
}

func (h *handler) dispute(ctx context.Context, in *hashInput) (client.Dispute, error) {
	d, err := h.service.Dispute(ctx, in.ID)
	return wireDispute(d), err
}

func (h *handler) answerDispute(ctx context.Context, in *answerInput) (client.Dispute, error) {
	d, err := h.service.AnswerDispute(ctx, in.ID, proofs.Placed{Index: in.Body.Index, Leaf: in.Body.Leaf, Path: in.Body.Path})
	return wireDispute(d), err
}

func wireDispute(d settlement.DisputeState) client.Dispute {
	return client.Dispute{
		ID: d.ID, Renter: d.Renter, Worker: d.Worker, Job: d.Job, Response: d.Response, Receipt: d.Receipt, State: string(d.State),
		Time: d.CreatedAt.Unix(), File: d.File, Answer: d.Answer, Statement: d.Envelope,
	}
}

// oneEnvelope parses a field that holds exactly one envelope.
func oneEnvelope(field string, b []byte) (proofs.Envelope, error) {
	e, rest, err := proofs.ParseEnvelope(b)
	if err != nil || len(rest) > 0 {
		return e, settlement.NewProblem(settlement.ProblemMalformedEnvelope, field, "%s is not one envelope: %v, %d bytes follow", field, err, len(rest))
	}
	return e, nil
}

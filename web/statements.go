package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement"
)

// statements takes envelopes back to back. An ack directly after a statement
// presents the one that the service once gave for it.
func (h *handler) statements(w http.ResponseWriter, r *http.Request) {
	submitted, p := h.readStatements(w, r)
	if p != nil {
		p.write(w)
		return
	}
	results, err := h.service.Submit(r.Context(), submitted)
	if err != nil {
		h.unavailable(err).write(w)
		return
	}
	if len(results) == 1 && results[0].Problem != nil {
		wireProblem(results[0].Problem).write(w)
		return
	}
	out := client.Results{Results: make([]client.Result, len(results))}
	for i, res := range results {
		out.Results[i] = wireResult(res)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // the connection may be gone: the sender asks again
}

// unavailable answers a submission that the service could not take: nobody is
// refused because of it, the sender keeps its statements and asks again.
func (h *handler) unavailable(err error) *problem {
	p := asProblem(h.log, err)
	if p.Kind() == client.Internal {
		p.Status, p.headers = http.StatusServiceUnavailable, http.Header{"Retry-After": {"1"}}
	}
	return p
}

func wireResult(r settlement.Result) client.Result {
	w := client.Result{ID: r.ID, Status: string(r.Status)}
	if r.Problem != nil {
		p := wireProblem(r.Problem)
		w.Problem = &p.Problem
		return w
	}
	w.Ack = r.Ack.Append(nil)
	return w
}

// readStatements checks what concerns the request as a whole.
func (h *handler) readStatements(w http.ResponseWriter, r *http.Request) ([]settlement.Submitted, *problem) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != client.StatementsMediaType {
		return nil, newProblem(http.StatusUnsupportedMediaType, client.WrongMediaType, "The Content-Type is not accepted", "Content-Type",
			"Content-Type must be "+client.StatementsMediaType)
	}
	named, err := ionet.ParseKey(r.Header.Get(client.NetworkHeader))
	if err != nil || ionet.Hash(named) != h.service.Network().ID() {
		return nil, wireProblem(settlement.NewProblem(settlement.ProblemWrongNetwork, client.NetworkHeader,
			"header %s is %q, this service settles network %s", client.NetworkHeader, r.Header.Get(client.NetworkHeader), client.NetworkText(h.service.Network().ID())))
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, client.MaxBody))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, wireProblem(settlement.NewProblem(settlement.ProblemBodyTooLarge, "body", "the body has more than %d bytes", large.Limit))
	}
	if err != nil {
		return nil, wireProblem(settlement.NewProblem(settlement.ProblemMalformedEnvelope, "body", "the body ended early: %v", err))
	}
	submitted, err := parseStatements(body)
	if err != nil {
		return nil, wireProblem(settlement.NewProblem(settlement.ProblemMalformedEnvelope, "body", "%v", err))
	}
	if len(submitted) > client.MaxStatements {
		return nil, wireProblem(settlement.NewProblem(settlement.ProblemTooManyStatements, "body",
			"the body has %d statements, at most %d are taken at once", len(submitted), client.MaxStatements))
	}
	return submitted, nil
}

// parseStatements splits a body into statements, each with the ack that follows it.
func parseStatements(body []byte) ([]settlement.Submitted, error) {
	var list []settlement.Submitted
	for n := 0; len(body) > 0; n++ {
		e, rest, err := proofs.ParseEnvelope(body)
		if err != nil {
			return nil, fmt.Errorf("envelope %d: %w", n, err)
		}
		body = rest
		if e.Kind != proofs.KindAck {
			list = append(list, settlement.Submitted{Envelope: e})
			continue
		}
		if len(list) == 0 || list[len(list)-1].Ack != nil {
			return nil, fmt.Errorf("envelope %d is an ack that follows no statement", n)
		}
		list[len(list)-1].Ack = &e
	}
	if len(list) == 0 {
		return nil, errors.New("the body holds no envelope")
	}
	return list, nil
}

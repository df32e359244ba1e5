package web

import (
	"context"

	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/settlement"
)

func (h *handler) payouts(ctx context.Context, in *limitInput) (client.Payouts, error) {
	p, err := h.service.Payouts(ctx, in.Limit)
	if err != nil {
		return client.Payouts{}, err
	}
	out := WirePayouts(p, false) // who is held is told to whoever asks for the provider
	next, err := h.service.NextPayout(ctx)
	if err == nil && !next.IsZero() {
		out.Next = next.Unix()
	}
	return out, err
}

// WirePayouts is p as the API has it, with the held payees by name or without.
func WirePayouts(p settlement.Payouts, names bool) client.Payouts {
	out := client.Payouts{Minimum: p.Minimum, Waiting: p.Waiting, Due: p.Due, Held: len(p.Held), Runs: []client.PayoutRun{}, Outgoing: []client.Outgoing{}}
	for _, r := range p.Runs {
		run := client.PayoutRun{ID: client.ID(r.ID), Asked: r.Asked.Unix()}
		if !r.Ended.IsZero() {
			run.Ended = r.Ended.Unix()
		}
		out.Runs = append(out.Runs, run)
	}
	if names {
		for _, h := range p.Held {
			out.HeldPayees = append(out.HeldPayees, client.HeldPayee{Payee: h.Payee, Held: wireHeld(h)})
		}
	}
	for _, o := range p.Outgoing {
		w := client.Outgoing{
			Kind: o.Kind.String(), Lane: o.Lane, Position: o.Position, State: string(o.State), Payees: o.Payees, Amount: o.Amount,
			Since: o.Since.Unix(), Attempts: o.Attempts, Slot: o.Slot, Reason: o.Reason,
		}
		if !o.Signature.IsZero() {
			w.Signature = o.Signature.String()
		}
		out.Outgoing = append(out.Outgoing, w)
	}
	return out
}

func wireHeld(h settlement.HeldPayee) client.Held {
	return client.Held{Owed: h.Owed, Reason: h.Reason, RetryAt: h.RetryAt.Unix()}
}

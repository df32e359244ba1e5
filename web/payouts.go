package web

import (
	"context"
	"sync"
	"time"

	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/settlement"
)

// payoutsFor is how long an answer of /v1/payouts is given again: it sums over all
// payees, and each status page that is open asks every other second.
const payoutsFor = 2 * time.Second

// payoutsCache holds answers by their limit; one is made at a time.
type payoutsCache struct {
	mu   sync.Mutex
	made map[int]madePayouts
}

type madePayouts struct {
	at  time.Time
	out client.Payouts
}

type payoutsInput struct {
	Limit int `query:"limit" default:"24" minimum:"1" maximum:"100" doc:"How many that ended, the latest first; open ones are listed always"`
}

func (h *handler) payouts(ctx context.Context, in *payoutsInput) (client.Payouts, error) {
	c := &h.outgoing
	c.mu.Lock()
	defer c.mu.Unlock()
	if m, ok := c.made[in.Limit]; ok && h.now().Sub(m.at) < payoutsFor {
		return m.out, nil
	}
	p, err := h.service.Payouts(ctx, in.Limit)
	if err != nil {
		return client.Payouts{}, err
	}
	out := WirePayouts(p, false) // who is held is told to whoever asks for the provider
	next, err := h.service.NextPayout(ctx)
	if err != nil {
		return client.Payouts{}, err
	}
	if !next.IsZero() {
		out.Next = next.Unix()
	}
	if c.made == nil {
		c.made = map[int]madePayouts{}
	}
	c.made[in.Limit] = madePayouts{h.now(), out}
	return out, nil
}

// WirePayouts is p as the API has it, with the held payees and the withdrawals that wait by name, or without.
func WirePayouts(p settlement.Payouts, names bool) client.Payouts {
	out := client.Payouts{Minimum: p.Minimum, Waiting: p.Waiting, Due: p.Due, WaitingFees: p.WaitingFees, DueFees: p.DueFees, Held: len(p.Held), Runs: []client.PayoutRun{}, Outgoing: []client.Outgoing{}}
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
		for _, w := range p.Withdrawals {
			out.Withdrawals = append(out.Withdrawals, client.WaitingWithdrawal{
				ID: client.ID(w.Payment), Renter: w.Renter, To: w.To, Amount: w.Amount,
				Asked: w.Since.Unix(), Expires: w.Expires.Unix(), RetryAt: w.RetryAt.Unix(), Reason: w.Reason,
			})
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
	return client.Held{Owed: h.Owed, Fees: h.Fees, Reason: h.Reason, RetryAt: h.RetryAt.Unix()}
}

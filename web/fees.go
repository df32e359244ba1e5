package web

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement"
)

type offersInput struct {
	Model string `query:"model" maxLength:"64" doc:"Only of this model; of all where absent"`
	Limit int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"How many, the cheapest of each model and unit first"`
}

type hashInput struct {
	ID ionet.Hash `path:"id" doc:"Id of a statement, 64 hexadecimal digits"`
}

// fees registers what renters and workers ask of offers, sessions and channels.
func (h *handler) fees(api huma.API) {
	get(h, api, "/v1/offers", "What workers offer, by model, unit and price", h.offers)
	get(h, api, "/v1/sessions/text", "The text of a session for a wallet to sign", h.sessionText)
	get(h, api, "/v1/sessions/{id}", "A session, what became of its reserve, and its channels", h.session)
	get(h, api, "/v1/keys/{key}/sessions", "The sessions of a renter's wallet or of a session key", h.sessions)
	get(h, api, "/v1/channels/{key}", "A channel", h.channel)
	get(h, api, "/v1/rules/fees", "The rules by which jobs and channels are refused", h.feeRules)
}

func (h *handler) offers(ctx context.Context, in *offersInput) (client.Offers, error) {
	list, err := h.service.Offers(ctx, settlement.OfferQuery{Model: in.Model, Limit: in.Limit})
	out := client.Offers{Decimals: h.service.Network().Decimals, Offers: make([]client.ListedOffer, len(list))}
	for i, o := range list {
		out.Offers[i] = client.ListedOffer{
			Offer: o.Offer, Worker: o.Worker, Endpoint: o.Endpoint, Capacity: o.Capacity, Expires: o.Expires,
			Model: o.Model, Unit: o.Unit.String(), Price: o.Price, Per: o.Per, Statement: o.Envelope,
		}
	}
	return out, err
}

func (h *handler) session(ctx context.Context, in *hashInput) (client.Session, error) {
	s, err := h.service.Session(ctx, in.ID)
	return wireSession(s), err
}

func (h *handler) sessions(ctx context.Context, in *keyInput) (client.Sessions, error) {
	list, err := h.service.SessionsOf(ctx, in.Key)
	return client.Sessions{Sessions: wireSessions(list)}, err
}

func (h *handler) channel(ctx context.Context, in *keyInput) (client.Channel, error) {
	c, err := h.service.Channel(ctx, in.Key)
	return wireChannel(c), err
}

func (h *handler) feeRules(context.Context, *nothing) (client.Rules, error) {
	var out client.Rules
	for _, r := range proofs.FeeRules() {
		out.Rules = append(out.Rules, client.Rule{Rule: uint16(r), Name: r.Name(), Text: r.Text(), Evidence: r.Evidence()})
	}
	return out, nil
}

func wireSessions(list []settlement.SessionState) []client.Session {
	out := make([]client.Session, len(list))
	for i, s := range list {
		out[i] = wireSession(s)
	}
	return out
}

func wireSession(s settlement.SessionState) client.Session {
	out := client.Session{
		ID: s.ID, Renter: s.Renter, Key: s.Key, Reserve: s.Reserve, Free: s.Free, Spent: s.Spent, Caps: wireCaps(s.Caps), Issued: s.Issued, Accepted: s.Accepted, Expires: s.Expires,
		State: s.State, ClosingAt: s.ClosingAt, Index: s.Index, Statement: s.Envelope, Channels: make([]client.Channel, len(s.Channels)),
	}
	for i, c := range s.Channels {
		out.Channels[i] = wireChannel(c)
	}
	return out
}

func wireChannel(c settlement.ChannelState) client.Channel {
	return client.Channel{
		Channel: c.Channel, Session: c.Session, Worker: c.Worker, Renter: c.Renter, Key: c.Key, Provider: c.Provider, Payee: c.Payee,
		Limit: c.Limit, Spent: c.Spent, Jobs: c.Jobs, Waiting: c.Waiting, Expires: c.Expires, State: c.State, ClosingAt: c.ClosingAt,
		Index: c.Index, Open: c.Open, Statement: c.Envelope,
	}
}

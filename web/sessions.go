package web

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// sessionLife is how long a session runs where nobody says: a session key lies on the
// renter's machine, and what is left of the reserve comes back when its time is over.
const sessionLife = 7 * 24 * 3600

type sessionTextInput struct {
	Renter  ionet.Key `query:"renter" required:"true" doc:"The wallet that will sign, base58"`
	Key     ionet.Key `query:"key" required:"true" doc:"The session key, base58"`
	Reserve string    `query:"reserve" required:"true" doc:"What the key may spend in all, base units"`
	Caps    []string  `query:"cap,explode" maxItems:"64" doc:"The most that a model may cost, as <model>=<base units>/<units>; may be repeated; none: any price"`
	Issued  int64     `query:"issued" minimum:"0" doc:"Unix seconds; now where absent"`
	Expires int64     `query:"expires" minimum:"0" doc:"Unix seconds; seven days after issued where absent"`
}

// sessionText renders the text of a session for a wallet to sign.
func (h *handler) sessionText(_ context.Context, in *sessionTextInput) (client.SessionText, error) {
	s := proofs.Session{Renter: in.Renter, Key: in.Key, Issued: cmp.Or(in.Issued, h.now().Unix())}
	s.Expires = cmp.Or(in.Expires, s.Issued+sessionLife)
	var err error
	if s.Reserve, err = ionet.ParseBase(in.Reserve); err != nil {
		return client.SessionText{}, invalid("reserve", err)
	}
	if s.Reserve.IsZero() {
		return client.SessionText{}, invalid("reserve", fmt.Errorf("nothing is to be spent"))
	}
	for _, k := range []struct {
		field string
		key   ionet.Key
	}{{"renter", s.Renter}, {"key", s.Key}} {
		if err := proofs.CheckKey(k.key); err != nil {
			return client.SessionText{}, newProblem(http.StatusUnprocessableEntity, client.WeakKey, "The key is not fit for signing", k.field, k.field+": "+err.Error())
		}
	}
	if s.Caps, err = parseCaps(in.Caps); err != nil {
		return client.SessionText{}, invalid("cap", err)
	}
	network := h.service.Network().ID()
	text, err := s.Text(network)
	if err != nil {
		return client.SessionText{}, invalid(fieldOf(s), err)
	}
	e := proofs.Envelope{Kind: proofs.KindSession, Signer: s.Renter, Body: []byte(text)}
	return client.SessionText{
		Network: ionet.Key(network), Renter: s.Renter, Key: s.Key, Reserve: s.Reserve, Caps: wireCaps(s.Caps),
		Issued: s.Issued, Expires: s.Expires, Text: text, ID: e.ID(),
	}, nil
}

// fieldOf names the parameter for which a session has no text.
func fieldOf(s proofs.Session) string {
	if s.Issued >= s.Expires {
		return "expires"
	}
	bare := s
	bare.Caps = nil
	if _, err := bare.Text(ionet.Hash{}); err != nil {
		return "issued"
	}
	return "cap"
}

// parseCaps parses <model>=<base units>/<units>, in any order.
func parseCaps(texts []string) ([]proofs.PriceCap, error) {
	caps := make([]proofs.PriceCap, 0, len(texts))
	for _, text := range texts {
		model, price, _ := strings.Cut(text, "=")
		amount, per, ok := strings.Cut(price, "/")
		most := proofs.PriceCap{Model: model}
		var err error
		if most.Price, err = ionet.ParseBase(amount); err == nil {
			most.Per, err = strconv.ParseUint(per, 10, 64)
		}
		if err != nil || !ok {
			return nil, fmt.Errorf("%q is not of the form <model>=<base units>/<units>", text)
		}
		caps = append(caps, most)
	}
	slices.SortFunc(caps, func(a, b proofs.PriceCap) int { return strings.Compare(a.Model, b.Model) })
	return caps, nil
}

func wireCaps(caps []proofs.PriceCap) []client.PriceCap {
	out := make([]client.PriceCap, len(caps))
	for i, c := range caps {
		out[i] = client.PriceCap{Model: c.Model, Price: c.Price, Per: c.Per}
	}
	return out
}

// invalid refuses a parameter.
func invalid(field string, err error) *problem {
	return newProblem(http.StatusUnprocessableEntity, client.InvalidParameter, "A parameter is not valid", field, field+": "+err.Error())
}

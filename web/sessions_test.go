package web

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// problemOf parses a problem.
func problemOf(t *testing.T, body []byte) *client.Problem {
	t.Helper()
	var p client.Problem
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return &p
}

// The text that the service renders is the one that a wallet would, and what can have no
// text is refused by the parameter's name.
func TestSessionText(t *testing.T) {
	h := open(t)
	api, err := client.New(client.Config{Server: h.url})
	check(t, err)
	want := proofs.Session{
		Renter: chain.PublicOf(keyOf("renter")), Key: chain.PublicOf(keyOf("session")), Reserve: ionet.MustAmount(12_000),
		Caps: []proofs.PriceCap{{Model: "a/b:c", Price: ionet.MustAmount(3), Per: 1000}, {Model: "z", Price: ionet.MustAmount(0), Per: 1}}, Issued: 1_700_000_000, Expires: 1_700_100_000,
	}
	got, err := api.SessionText(t.Context(), client.SessionAsk{
		Renter: want.Renter, Key: want.Key, Reserve: want.Reserve, Issued: want.Issued, Expires: want.Expires,
		Caps: []client.PriceCap{{Model: "z", Price: ionet.MustAmount(0), Per: 1}, {Model: "a/b:c", Price: ionet.MustAmount(3), Per: 1000}},
	})
	check(t, err)
	text, err := want.Text(h.network.ID())
	check(t, err)
	e := proofs.Envelope{Kind: proofs.KindSession, Signer: want.Renter, Body: []byte(text)}
	if got.Text != text || got.ID != e.ID() || len(got.Caps) != 2 || got.Caps[0].Model != "a/b:c" {
		t.Errorf("text %+v, want %q with id %s", got, text, e.ID())
	}
	if got, err = api.SessionText(t.Context(), client.SessionAsk{Renter: want.Renter, Key: want.Key, Reserve: want.Reserve}); err != nil || got.Expires-got.Issued != sessionLife {
		t.Errorf("without times: %+v, %v", got, err)
	}

	good := url.Values{"renter": {want.Renter.String()}, "key": {want.Key.String()}, "reserve": {"5"}}
	weak := ionet.Key{}.String()
	for _, c := range []struct{ field, value, kind string }{
		{"renter", "", client.InvalidParameter}, {"renter", "x", client.InvalidParameter}, {"renter", weak, client.WeakKey}, {"key", weak, client.WeakKey},
		{"reserve", "", client.InvalidParameter}, {"reserve", "0", client.InvalidParameter}, {"reserve", "-1", client.InvalidParameter}, {"reserve", "1.5", client.InvalidParameter},
		{"cap", "m", client.InvalidParameter}, {"cap", "m=1", client.InvalidParameter}, {"cap", "m=1/0", client.InvalidParameter}, {"cap", "m m=1/1", client.InvalidParameter}, {"cap", "m=01/1", client.InvalidParameter},
		{"issued", "-1", client.InvalidParameter}, {"issued", "253402300799", client.InvalidParameter}, {"expires", "1", client.InvalidParameter}, {"expires", "x", client.InvalidParameter},
	} {
		q := url.Values{}
		for k, v := range good {
			q[k] = v
		}
		q.Set(c.field, c.value)
		answer, b := h.send(request{method: http.MethodGet, path: "/v1/sessions/text?" + q.Encode()})
		p := problemOf(t, b)
		if answer.StatusCode != http.StatusUnprocessableEntity || p.Kind() != c.kind || p.Field != c.field || !strings.Contains(p.Detail, c.field) {
			t.Errorf("%s=%s: status %d, %+v; want %s", c.field, c.value, answer.StatusCode, p, c.kind)
		}
	}
	double := good.Encode() + "&cap=m%3D1%2F1&cap=m%3D2%2F1"
	if _, b := h.send(request{method: http.MethodGet, path: "/v1/sessions/text?" + double}); problemOf(t, b).Field != "cap" {
		t.Errorf("two caps of one model: %s", b)
	}
	many := good.Encode() + strings.Repeat("&cap=m%3D1%2F1", 65)
	if _, b := h.send(request{method: http.MethodGet, path: "/v1/sessions/text?" + many}); problemOf(t, b).Field != "cap" {
		t.Errorf("65 caps: %s", b)
	}
}

package web

import (
	"crypto/ed25519"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

func asked(path string) request { return request{method: http.MethodGet, path: path} }

// What renters ask for wrongly is refused by the field's name.
func TestFeeDoors(t *testing.T) {
	h := open(t)
	id, key := ionet.HashOf([]byte("none")).String(), chain.PublicOf(keyOf("none")).String()
	h.refuseAll([]doorCase{
		{"unknown session", asked("/v1/sessions/" + id), 404, client.UnknownSession, id},
		{"half an id of a session", asked("/v1/sessions/" + id[:32]), 422, client.InvalidParameter, `id`},
		{"sessions of no key", asked("/v1/keys/xyz/sessions"), 422, client.InvalidParameter, `key`},
		{"unknown channel", asked("/v1/channels/" + key), 404, client.UnknownChannel, key},
		{"no key of a channel", asked("/v1/channels/0OIl"), 422, client.InvalidParameter, `key`},
		{"too many offers", asked("/v1/offers?limit=1001"), 422, client.InvalidParameter, `limit`},
		{"no offers", asked("/v1/offers?limit=0"), 422, client.InvalidParameter, `limit`},
		{"offers of a long name", asked("/v1/offers?model=" + strings.Repeat("m", 65)), 422, client.InvalidParameter, `model`},
		{"unknown receipt", asked("/v1/receipts/" + id), 404, client.UnknownReceipt, id},
		{"unknown job", asked("/v1/receipts/" + id[:32]), 404, client.UnknownReceipt, id[:32]},
		{"an id of 33 digits", asked("/v1/receipts/" + id[:33]), 422, client.InvalidParameter, `id`},
		{"an id of other signs", asked("/v1/receipts/" + strings.Repeat("G", 32)), 422, client.InvalidParameter, `id`},
		{"receipts unsigned", asked("/v1/renters/" + key + "/receipts"), 401, client.Unauthorized, proofs.ReadHeader},
		{"too many receipts", asked("/v1/renters/" + key + "/receipts?limit=1001"), 422, client.InvalidParameter, `limit`},
		{"receipts after what can't be", asked("/v1/renters/" + key + "/receipts?after=-1"), 422, client.InvalidParameter, `after`},
		{"a leaf of no log", asked("/v1/log/inclusion?index=0&size=1"), 404, client.UnknownReceipt, `size|published`},
		{"a leaf beyond the log", asked("/v1/log/inclusion?index=5&size=5"), 404, client.UnknownReceipt, `index|no record 5`},
		{"a leaf of nothing", asked("/v1/log/inclusion?index=0&size=0"), 422, client.InvalidParameter, `size`},
		{"a leaf without a place", asked("/v1/log/inclusion?size=1"), 422, client.InvalidParameter, `index`},
		{"a log that shrinks", asked("/v1/log/consistency?from=2&to=1"), 404, client.UnknownReceipt, `from|begin`},
		{"a log that is not there yet", asked("/v1/log/consistency?from=1&to=2"), 404, client.UnknownReceipt, `published`},
		{"a log without an end", asked("/v1/log/consistency?from=1"), 422, client.InvalidParameter, `to`},
		{"unknown dispute", asked("/v1/disputes/" + id), 404, client.UnknownDispute, id},
		{"a dispute of nothing", asJSON("/v1/disputes", `{}`), 400, client.MalformedJSON, `dispute|response`},
		{"a dispute of no envelope", asJSON("/v1/disputes", `{"dispute":"AAAA","response":"AAAA"}`), 400, client.MalformedEnvelope, `dispute`},
		{"an answer to no dispute", asJSON("/v1/disputes/"+id+"/answer", `{"index":0,"leaf":"AAAA","path":[]}`), 404, client.UnknownDispute, id},
		{"an answer of a long path", asJSON("/v1/disputes/"+id+"/answer", `{"index":0,"leaf":"AAAA","path":["`+strings.Repeat(id+`","`, 32)+id+`"]}`), 400, client.MalformedJSON, `path`},
		{"receipts by DELETE", request{method: "DELETE", path: "/v1/renters/" + key + "/receipts"}, 405, client.WrongMethod, `GET`},
	})
}

// A list of receipts is for who signed the request for it, for that list alone, now.
func TestSignedReads(t *testing.T) {
	h := open(t)
	renter, now := keyOf("renter"), time.Now()
	path := "/v1/renters/" + chain.PublicOf(renter).String() + "/receipts"
	sign := func(key ed25519.PrivateKey, at time.Time, method, target string) string {
		return proofs.SignRead(h.network.ID(), key, at, method, target)
	}
	good := sign(renter, now, http.MethodGet, path+"?limit=7")
	_, others, _ := strings.Cut(sign(keyOf("other"), now, http.MethodGet, path), ".")
	for _, c := range []struct {
		name, header, target string
		status               int
	}{
		{"the wallet", good, path + "?limit=7", 200},
		{"a client with the clock behind", sign(renter, now.Add(-4*time.Minute), http.MethodGet, path), path, 200},
		{"another query", good, path + "?limit=8", 401},
		{"no query", good, path, 401},
		{"another's list", good, "/v1/renters/" + chain.PublicOf(keyOf("other")).String() + "/receipts?limit=7", 401},
		{"another method", sign(renter, now, http.MethodPost, path), path, 401},
		{"an old request", sign(renter, now.Add(-6*time.Minute), http.MethodGet, path), path, 401},
		{"a request to come", sign(renter, now.Add(6*time.Minute), http.MethodGet, path), path, 401},
		{"a stranger", sign(keyOf("other"), now, http.MethodGet, path), path, 401},
		{"another network", proofs.SignRead(ionet.Hash{1}, renter, now, http.MethodGet, path), path, 401},
		{"another's name", chain.PublicOf(renter).String() + "." + others, path, 401},
		{"no form", "hello", path, 401},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.url+c.target, nil)
		check(t, err)
		req.Header.Set(proofs.ReadHeader, c.header)
		res, err := http.DefaultClient.Do(req)
		check(t, err)
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		check(t, err)
		if res.StatusCode != c.status {
			t.Errorf("%s: status %d, want %d; %s", c.name, res.StatusCode, c.status, body)
		}
		if c.status == http.StatusUnauthorized {
			if p := problemOf(t, body); p.Kind() != client.Unauthorized || p.Field != proofs.ReadHeader || !strings.Contains(p.Detail, proofs.ReadHeader) {
				t.Errorf("%s: %s", c.name, body)
			}
		}
	}
	api, err := client.New(client.Config{Server: h.url, Network: h.network.ID()})
	check(t, err)
	if p, err := api.ReceiptsPage(t.Context(), client.ReceiptsAsk{Renter: chain.PublicOf(renter), Reader: renter, After: 3, Limit: 9}); err != nil || len(p.Receipts) != 0 || p.Next != 0 {
		t.Errorf("page %+v, %v", p, err)
	}
	if _, err := api.ReceiptsPage(t.Context(), client.ReceiptsAsk{Renter: chain.PublicOf(renter)}); err == nil {
		t.Error("a request without a key was made")
	}
}

// Before the first record there is a log of nothing, and its key.
func TestEmptyLog(t *testing.T) {
	h := open(t)
	api, err := client.New(client.Config{Server: h.url, Network: h.network.ID()})
	check(t, err)
	l, err := api.Log(t.Context())
	check(t, err)
	key, err := proofs.LogVerifierKey(h.network.ID(), h.network.Keys.Service)
	check(t, err)
	if l.Size != 0 || !l.Fees.IsZero() || l.Published != nil || l.Sealed != nil || l.Key != key || !strings.HasPrefix(key, l.Origin+"+") {
		t.Errorf("log %+v", l)
	}
	if want := ionet.HashOf(nil); l.Root != want {
		t.Errorf("root %s, want %s", l.Root, hex.EncodeToString(want[:]))
	}
	rules, err := api.FeeRules(t.Context())
	check(t, err)
	if len(rules) != len(proofs.FeeRules()) || rules[9].Name != client.Expired || rules[9].Text == "" {
		t.Errorf("rules %+v", rules)
	}
}

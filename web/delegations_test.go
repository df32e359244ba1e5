package web

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// backdated is how long ago a delegation is issued where nothing is said of it.
const backdated = 600

func public(name string) ionet.Key { return chain.PublicOf(keyOf(name)) }

// delegate makes and hands in a delegation that was issued so long ago.
func (h *house) delegate(provider string, ago, life int64, workers ...ionet.Key) proofs.Envelope {
	h.t.Helper()
	now := time.Now().Unix()
	d := proofs.Delegation{Provider: public(provider), Payout: public(provider), Workers: workers, Issued: now - ago, Expires: now - ago + life}
	text, err := d.Text(h.network.ID())
	check(h.t, err)
	e := h.sign(proofs.KindDelegation, provider, []byte(text))
	h.accept(e)
	return e
}

// A worker finds the delegations that name it: the one issued last first, its provider's
// also behind a crowd of strangers', none that expired, and the revoked ones marked.
func TestDelegationsOfAWorker(t *testing.T) {
	h := open(t)
	ctx := t.Context()
	c, err := client.New(client.Config{Server: h.url, Network: h.network.ID()})
	check(t, err)
	host := public("host")
	if list, err := c.Delegations(ctx, host); err != nil || len(list) != 0 {
		t.Fatalf("a worker that nobody named has %v, %v", list, err)
	}
	old := h.delegate("ann", 500, 9000, host)
	later := h.delegate("ann", 400, 8000, host)
	h.delegate("ann", 300, 8000, public("other host"))
	short := h.delegate("ann", 200, 201, host) // expires in a second
	list, err := c.Delegations(ctx, host)
	check(t, err)
	ids := func(list []client.Delegation) (all []ionet.Hash) {
		for _, d := range list {
			all = append(all, d.ID)
		}
		return all
	}
	if got, want := ids(list), []ionet.Hash{short.ID(), later.ID(), old.ID()}; !slices.Equal(got, want) {
		if want = want[1:]; !slices.Equal(got, want) { // that second is over
			t.Errorf("delegations %v, want %v", got, want)
		}
	}
	for _, d := range list {
		e, rest, err := proofs.ParseEnvelope(d.Envelope)
		if err != nil || len(rest) > 0 || e.Verify(h.network.ID()) != nil || e.ID() != d.ID || e.Signer != d.Provider || d.Provider != public("ann") || d.Revoked != 0 {
			t.Errorf("delegation %+v does not hold its signed statement: %v", d, err)
		}
	}
	text, err := proofs.Revocation{Provider: public("ann"), Delegation: later.ID(), Issued: time.Now().Unix()}.Text(h.network.ID())
	check(t, err)
	h.accept(h.sign(proofs.KindRevocation, "ann", []byte(text)))
	for i := range 3 {
		crowd := make([]client.Presented, 40)
		for j := range crowd {
			by := fmt.Sprint("stranger ", 40*i+j)
			d := proofs.Delegation{Provider: public(by), Payout: public(by), Workers: []ionet.Key{host}, Issued: time.Now().Unix(), Expires: time.Now().Unix() + 900}
			text, err := d.Text(h.network.ID())
			check(t, err)
			crowd[j].Statement = h.sign(proofs.KindDelegation, by, []byte(text))
		}
		_, err := c.Submit(ctx, crowd)
		check(t, err)
	}
	list, err = c.Delegations(ctx, host)
	check(t, err)
	if len(list) != 100 || slices.ContainsFunc(list, func(d client.Delegation) bool { return d.Provider == public("ann") }) {
		t.Errorf("in a crowd there are %d, want 100 strangers'", len(list))
	}
	list, err = c.DelegationsBy(ctx, host, public("ann"))
	check(t, err)
	got := ids(list)
	got = slices.DeleteFunc(got, func(id ionet.Hash) bool { return id == short.ID() })
	if want := []ionet.Hash{later.ID(), old.ID()}; !slices.Equal(got, want) {
		t.Errorf("of its provider there are %v, want %v", got, want)
	}
	for _, d := range list {
		if (d.Revoked == 1) != (d.ID == later.ID()) {
			t.Errorf("delegation %s was revoked in epoch %d", d.ID, d.Revoked)
		}
	}
}

// The text that the service renders is the one that proofs render: signed, it is taken.
func TestDelegationText(t *testing.T) {
	h := open(t)
	ctx := t.Context()
	c, err := client.New(client.Config{Server: h.url, Network: h.network.ID()})
	check(t, err)
	workers := []ionet.Key{public("b"), public("a"), public("c"), public("a")}
	before := time.Now().Unix()
	got, err := c.DelegationText(ctx, client.DelegationAsk{Provider: public("ann"), Workers: workers})
	check(t, err)
	sorted := slices.Clone(workers[:3])
	slices.SortFunc(sorted, func(a, b ionet.Key) int { return bytes.Compare(a[:], b[:]) })
	if got.Payout != public("ann") || !slices.Equal(got.Workers, sorted) || got.Issued < before-backdated || got.Issued > time.Now().Unix()-backdated || got.Expires != got.Issued+365*24*3600 {
		t.Errorf("completed to %+v", got)
	}
	d := proofs.Delegation{Provider: got.Provider, Payout: got.Payout, Workers: got.Workers, Issued: got.Issued, Expires: got.Expires}
	if text, err := d.Text(h.network.ID()); err != nil || text != got.Text {
		t.Errorf("text %q, want %q; %v", got.Text, text, err)
	}
	e := h.sign(proofs.KindDelegation, "ann", []byte(got.Text))
	if h.accept(e) != got.ID {
		t.Errorf("signed, it has id %s, want %s", e.ID(), got.ID)
	}
	chosen, err := c.DelegationText(ctx, client.DelegationAsk{Provider: public("ann"), Payout: public("bank"), Workers: workers[:1], Issued: before, Expires: before + 50})
	check(t, err)
	if chosen.Payout != public("bank") || chosen.Issued != before || chosen.Expires != before+50 || !strings.Contains(chosen.Text, "Payout wallet: "+public("bank").String()) {
		t.Errorf("as asked: %+v", chosen)
	}
	ask := func(more string) request {
		return asJSON("/v1/delegations/text", `{"provider":"`+public("ann").String()+`"`+more+`}`)
	}
	worker := `,"workers":["` + public("a").String() + `"]`
	h.refuseAll([]doorCase{
		{"no workers", ask(``), 400, client.MalformedJSON, `workers`},
		{"none of them", ask(`,"workers":[]`), 400, client.MalformedJSON, `workers`},
		{"too many workers", ask(`,"workers":["` + strings.Repeat(public("a").String()+`","`, 256) + public("b").String() + `"]`), 400, client.MalformedJSON, `workers`},
		{"not a worker", ask(`,"workers":["me"]`), 400, client.MalformedJSON, `workers|key`},
		{"no provider", asJSON("/v1/delegations/text", `{"workers":["`+public("a").String()+`"]}`), 400, client.MalformedJSON, `provider`},
		{"too long", ask(worker + fmt.Sprintf(`,"issued":%d,"expires":%d`, before, before+401*24*3600)), 422, client.MalformedStatement, `400 days`},
		{"over before it began", ask(worker + fmt.Sprintf(`,"issued":%d,"expires":%d`, before, before)), 422, client.MalformedStatement, `expires`},
		{"over already", ask(worker + `,"issued":1000,"expires":2000`), 403, client.DelegationExpired, `expires`},
		{"before time began", ask(worker + `,"issued":-5`), 400, client.MalformedJSON, `issued`},
		{"not a provider", request{method: "GET", path: "/v1/workers/" + public("a").String() + "/delegations?provider=me"}, 422, client.InvalidParameter, `provider`},
		{"not a worker in the path", request{method: "GET", path: "/v1/workers/me/delegations"}, 422, client.InvalidParameter, `key`},
	})
}

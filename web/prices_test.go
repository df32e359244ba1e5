package web

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
)

func (h *house) price(by string, p proofs.Price) proofs.Envelope {
	h.t.Helper()
	body, err := p.Encode()
	check(h.t, err)
	return h.sign(proofs.KindPrice, by, body)
}

// TestPriceDoors: one observation an epoch enters, by the observer alone, and is
// read back as it was acked.
func TestPriceDoors(t *testing.T) {
	oracle := chain.PublicOf(keyOf("oracle"))
	policy := strings.Replace(string(emissions.DefaultPolicy()), `draw = "schedule"`, `draw = "target"`, 1) + fmt.Sprintf("\n[target]\nkey = %q\nmicro_usd = 500000\n", oracle)
	h := openUnder(t, []byte(policy))
	start := h.network.Clock().EpochStart(1)
	good := proofs.Price{Epoch: 1, Observed: start + 1, MicroUSD: 73_100}
	forged := h.price("oracle", good)
	forged.Signature[40] ^= 1
	h.refuseAll([]doorCase{
		{"by another key", statement(h.price("host", good)), 403, client.ForeignPrice, `signer.*` + oracle.String()},
		{"forged", statement(forged), 403, client.WrongSignature, `signature`},
		{"without a price", statement(h.sign(proofs.KindPrice, "oracle", append(h.price("oracle", good).Body[:16], make([]byte, 8)...))), 422, client.MalformedStatement, `micro_usd is 0`},
		{"cut short", statement(h.sign(proofs.KindPrice, "oracle", h.price("oracle", good).Body[:23])), 422, client.MalformedStatement, `body`},
		{"observed before the epoch", statement(h.price("oracle", proofs.Price{Epoch: 1, Observed: start - 1, MicroUSD: 5})), 422, client.MalformedStatement, `body\.observed.*epoch 1 begins at`},
		{"epoch to come", statement(h.price("oracle", proofs.Price{Epoch: 2, Observed: start + 3601, MicroUSD: 5})), 425, client.FutureSample, `body\.epoch.*epoch 2 has not begun`},
		{"no epoch of the schedule", statement(h.price("oracle", proofs.Price{Epoch: 1 << 30, Observed: start, MicroUSD: 5})), 422, client.MalformedStatement, `body\.epoch.*1\.\.175319`},
		{"no price yet", request{method: "GET", path: "/v1/prices/1"}, 404, client.UnknownPrice, `epoch 1`},
		{"price of an epoch to come", request{method: "GET", path: "/v1/prices/2"}, 404, client.UnknownPrice, `epoch 2`},
	})
	if n := h.rows(); n != "[0 0 0 0 0]" {
		t.Errorf("the refused left rows behind: %s", n)
	}
	ctx := t.Context()
	c, err := client.New(client.Config{Server: h.url, Network: h.network.ID()})
	check(t, err)
	e := h.price("oracle", good)
	results, err := c.Submit(ctx, []client.Presented{{Statement: e}})
	check(t, err)
	if results[0].Status != client.Accepted {
		t.Fatalf("price is %s: %v", results[0].Status, results[0].Problem)
	}
	p, err := c.Price(ctx, 1)
	check(t, err)
	if p.ID != e.ID() || p.Observer != oracle || p.Observed != good.Observed || p.MicroUSD != good.MicroUSD || string(p.Ack) != string(results[0].Ack) {
		t.Errorf("price is %+v, acked was %x", p, results[0].Ack)
	}
	h.refuseAll([]doorCase{
		{"a second price", statement(h.price("oracle", proofs.Price{Epoch: 1, Observed: start + 2, MicroUSD: 80_000})), 409, client.OnePriceAnEpoch, `body\.epoch.*0\.073100 dollars by statement ` + e.ID().String()},
	})
}

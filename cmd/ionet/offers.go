package main

import (
	"fmt"
	"math/big"
	"strings"
	"text/tabwriter"

	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

type offersCmd struct {
	server
	Model string `placeholder:"NAME" help:"Only this model."`
	Limit int    `default:"100" range:"1..1000" placeholder:"N" help:"How many at most."`
	JSON  bool   `name:"json" help:"Print as JSON; prices are base units."`
}

// Help explains the columns below the flags.
func (c *offersCmd) Help() string {
	return `What workers serve, and at what price, the cheapest of each model first. A price for tokens is shown per million of
them, one for seconds of a GPU also per hour; what an hour costs that is priced by tokens is not known before. Only offers
that their workers have signed are shown.

Examples:
  ionet offers --server https://ionetd.example
  ionet offers --server https://ionetd.example --model llama-3.3-70b --json`
}

// Run lists offers.
func (c *offersCmd) Run(s *stage) error {
	api, network, err := c.network(s)
	if err != nil {
		return err
	}
	list, err := api.Offers(s.ctx, c.Model, c.Limit)
	if err != nil {
		return err
	}
	for _, o := range list {
		e, rest, err := proofs.ParseEnvelope(o.Statement)
		if err == nil && (len(rest) > 0 || e.Kind != proofs.KindOffer || e.Signer != o.Worker || e.ID() != o.Offer) {
			err = fmt.Errorf("it is a %s by %s", e.Kind, e.Signer)
		}
		if err == nil {
			err = e.Verify(network.ID())
		}
		if err == nil {
			err = isIn(o, e.Body)
		}
		if err != nil {
			return fmt.Errorf("the service shows an offer of worker %s that it did not sign: %w", o.Worker, err)
		}
	}
	if c.JSON {
		return s.json(list)
	}
	if len(list) == 0 {
		if c.Model != "" {
			s.print("nobody offers %s just now", c.Model)
		} else {
			s.print("nobody offers anything just now")
		}
		return nil
	}
	t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "model\tIO\tper\tIO per GPU-hour\tcapacity\tworker\tendpoint")
	for _, o := range list {
		price, per, hour := priceOf(o, network.Decimals)
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", o.Model, price, per, hour, o.Capacity, o.Worker, o.Endpoint)
	}
	return t.Flush()
}

// isIn checks that a listed price is the one that the worker signed.
func isIn(o client.ListedOffer, body []byte) error {
	offer, err := proofs.ParseOffer(body)
	if err != nil {
		return err
	}
	for _, m := range offer.Models {
		if m.Name == o.Model && m.Unit.String() == o.Unit && m.Price == o.Price && m.Per == o.Per && offer.Endpoint == o.Endpoint && offer.Capacity == o.Capacity {
			return nil
		}
	}
	return fmt.Errorf("%s at %s per %d %ss is not in it", o.Model, o.Price, o.Per, o.Unit)
}

// priceOf is a price for people: for how many of what, and for an hour of a GPU.
func priceOf(o client.ListedOffer, decimals int) (price, per, hour string) {
	hour = "-"
	switch o.Unit {
	case proofs.UnitToken.String():
		return scaled(o, 1_000_000, decimals), "1,000,000 tokens", hour
	case proofs.UnitSecond.String():
		hour = scaled(o, 3600, decimals)
	}
	return scaled(o, 1, decimals), o.Unit, hour
}

// scaled is what n units cost in tokens: exact, or with ~ where the decimals do not reach.
func scaled(o client.ListedOffer, n int64, decimals int) string {
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(decimals)), nil)
	r := new(big.Rat).SetFrac(new(big.Int).Mul(new(big.Int).SetUint64(o.Price.Base()), big.NewInt(n)), new(big.Int).Mul(big.NewInt(int64(o.Per)), unit))
	places := max(decimals, 2) + 4
	text := r.FloatString(places)
	if exact, ok := new(big.Rat).SetString(text); !ok || exact.Cmp(r) != 0 {
		return "~" + text
	}
	whole, part, _ := strings.Cut(text, ".")
	for part = strings.TrimRight(part, "0"); len(part) < 2; {
		part += "0"
	}
	return whole + "." + part
}

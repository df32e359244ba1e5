package client

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math/bits"
	"net/http"
	"slices"
	"strings"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// candidates returns offers for a request, the best first: by standing (purse_rest.go), by
// unit as the path prefers them, by price, those with a channel first.
func (p *Purse) candidates(ctx context.Context, in *Inference) ([]workerOffer, error) {
	all, err := p.offers(ctx, in.Model)
	if err != nil {
		return nil, &PurseError{Status: http.StatusServiceUnavailable, Code: CodeNoOffers, Message: "list offers: " + err.Error()}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.cfg.Now()
	var good []workerOffer
	var why []string
	owing := ""
	for _, o := range all {
		reason, owes := p.unfit(in, o), p.owes(o.worker, now)
		switch {
		case reason == "" && owes == "":
			good = append(good, o)
		case reason == "":
			owing = fmt.Sprintf("worker %s %s", o.worker, owes)
		case !slices.Contains(why, reason):
			why = append(why, reason)
		}
	}
	if len(good) == 0 && owing != "" {
		p.wake()
		return nil, &PurseError{Status: http.StatusServiceUnavailable, Code: CodeWorkers, Message: owing, RetryAfter: quiet}
	}
	if len(good) == 0 && len(why) > 0 {
		return nil, &PurseError{Status: http.StatusPaymentRequired, Code: CodeNoOffers, Message: "no offer of " + in.Model + " can be used: " + strings.Join(why, "; ")}
	}
	if len(good) == 0 {
		return nil, &PurseError{Status: http.StatusNotFound, Code: CodeUnknownModel, Message: fmt.Sprintf("nobody offers the model %q; GET /v1/models lists those that are", in.Model)}
	}
	slices.SortStableFunc(good, func(a, b workerOffer) int {
		return cmp.Or(p.standing(a.worker, now).compare(p.standing(b.worker, now)), cmp.Compare(in.preference(a.model.Unit), in.preference(b.model.Unit)), comparePrices(a.model, b.model),
			-cmp.Compare(btoi(p.channelOf(a.worker) != nil), btoi(p.channelOf(b.worker) != nil)), bytes.Compare(a.worker[:], b.worker[:]))
	})
	// One worker is tried once, by its best price.
	seen := map[ionet.Key]bool{}
	good = slices.DeleteFunc(good, func(o workerOffer) bool { again := seen[o.worker]; seen[o.worker] = true; return again })
	p.explore(in, good, now)
	return good, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// unfit returns why an offer can't be used for a request, "" where it can. The caller
// holds p.mu.
func (p *Purse) unfit(in *Inference, o workerOffer) string {
	switch {
	case in.preference(o.model.Unit) < 0:
		return fmt.Sprintf("its price is by the %s", o.model.Unit)
	case len(p.cfg.Workers) > 0 && !slices.Contains(p.cfg.Workers, o.worker):
		return "its worker is none of those that were chosen"
	case p.left[o.worker] != "":
		return fmt.Sprintf("worker %s is used no more: %s", o.worker, p.left[o.worker])
	}
	return p.tooDear(o.model)
}

// tooDear returns which cap a price is above, "" for none. A session with caps allows no
// model without one, as the service does. What costs nothing is no offer: the service pays
// for no such job, and it would stand before all others.
func (p *Purse) tooDear(m proofs.OfferModel) string {
	if m.Price.IsZero() {
		return "its price is 0"
	}
	if caps := p.session.Caps; len(caps) > 0 {
		i := slices.IndexFunc(caps, func(c proofs.PriceCap) bool { return c.Model == m.Name })
		if i < 0 {
			return fmt.Sprintf("the session has price caps and none for %s", m.Name)
		}
		if isAbove(m, caps[i].Price, caps[i].Per) {
			return fmt.Sprintf("its price of %s per %d is above the session's cap of %s per %d", m.Price, m.Per, caps[i].Price, caps[i].Per)
		}
	}
	for _, c := range p.cfg.Caps {
		if c.Model == m.Name && isAbove(m, c.Price, c.Per) {
			return fmt.Sprintf("its price of %s per %d is above the cap of %s per %d", m.Price, m.Per, c.Price, c.Per)
		}
	}
	return ""
}

// isAbove reports whether m.Price/m.Per > price/per.
func isAbove(m proofs.OfferModel, price ionet.Amount, per uint64) bool {
	return compareProducts(m.Price.Base(), per, price.Base(), uint64(m.Per)) > 0
}

// comparePrices compares the prices of one unit.
func comparePrices(a, b proofs.OfferModel) int {
	return compareProducts(a.Price.Base(), uint64(b.Per), b.Price.Base(), uint64(a.Per))
}

// compareProducts compares a*b with c*d.
func compareProducts(a, b, c, d uint64) int {
	hi1, lo1 := bits.Mul64(a, b)
	hi2, lo2 := bits.Mul64(c, d)
	return cmp.Or(cmp.Compare(hi1, hi2), cmp.Compare(lo1, lo2))
}

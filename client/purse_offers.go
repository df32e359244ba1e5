package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/bits"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// workerOffer is a worker's signed offer, and what it has of one model.
type workerOffer struct {
	worker    ionet.Key
	id        ionet.Hash
	offer     proofs.Offer
	statement []byte
	model     proofs.OfferModel // the price by which it is chosen
}

// market is what workers offer, as the service lists it. A list that is old is used while
// a new one is fetched: requests go on while the service is away.
type market struct {
	mu       sync.Mutex
	lists    map[string]*offerList // by model; "" is all
	verified map[ionet.Hash]workerOffer
}

type offerList struct {
	at       time.Time
	fetching bool
	offers   []workerOffer
}

// offerLife is how long a list of offers is fresh, listTimeout how long the service is
// waited for where there is none, maxOffers how many of a model are looked at, maxVerified how many offers are remembered as verified.
const (
	offerLife   = 30 * time.Second
	listTimeout = 5 * time.Second
	maxOffers   = 1000
	maxVerified = 10_000
)

// Offers returns what workers offer of a model, or of all with "": those whose own
// signature says so, that have not expired, in the order of the service's list.
func (p *Purse) Offers(ctx context.Context, model string) ([]ListedOffer, error) {
	list, err := p.offers(ctx, model)
	if err != nil {
		return nil, err
	}
	out := make([]ListedOffer, len(list))
	for i, o := range list {
		out[i] = ListedOffer{
			Offer: o.id, Worker: o.worker, Endpoint: o.offer.Endpoint, Capacity: o.offer.Capacity, Expires: o.offer.Expires,
			Model: o.model.Name, Unit: o.model.Unit.String(), Price: o.model.Price, Per: o.model.Per, Statement: o.statement,
		}
	}
	return out, nil
}

func (p *Purse) offers(ctx context.Context, model string) ([]workerOffer, error) {
	now := p.cfg.Now()
	m := &p.market
	m.mu.Lock()
	list := m.lists[model]
	if list != nil && len(list.offers) > 0 {
		if now.Sub(list.at) > offerLife && !list.fetching {
			list.fetching = true
			go p.refetch(model)
		}
		m.mu.Unlock()
		return slices.DeleteFunc(slices.Clone(list.offers), func(o workerOffer) bool { return o.offer.Expires <= now.Unix() }), nil
	}
	m.mu.Unlock()
	return p.fetchOffers(ctx, model)
}

// refetch renews a list that is old.
func (p *Purse) refetch(model string) {
	ctx, cancel := context.WithTimeout(context.Background(), offerLife)
	defer cancel()
	_, err := p.fetchOffers(ctx, model)
	if err == nil {
		return
	}
	p.log.Warn("list offers", "error", err)
	p.market.mu.Lock()
	defer p.market.mu.Unlock()
	if list := p.market.lists[model]; list != nil {
		list.fetching, list.at = false, p.cfg.Now().Add(-offerLife/2) // again in a while
	}
}

// fetchOffers asks the service. Where that does not answer, the workers of the purse's
// own channels are asked for theirs.
func (p *Purse) fetchOffers(ctx context.Context, model string) ([]workerOffer, error) {
	limited, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	listed, err := p.cfg.Service.Offers(limited, model, maxOffers)
	var offers []workerOffer
	if err == nil {
		for _, l := range listed {
			if o, err := p.readOffer(l.Statement, l.Model, l.Unit); err == nil && o.worker == l.Worker && (model == "" || l.Model == model) {
				offers = append(offers, o)
			} else {
				p.log.Warn("the service lists what is no offer", "worker", l.Worker.String(), "error", err)
			}
		}
	} else if offers = p.ownOffers(ctx, model); len(offers) == 0 {
		return nil, err
	}
	m := &p.market
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lists == nil {
		m.lists = map[string]*offerList{}
	}
	if len(m.lists) >= maxOffers && m.lists[model] == nil {
		clear(m.lists) // names that nobody offers, most likely
	}
	m.lists[model] = &offerList{at: p.cfg.Now(), offers: offers}
	return offers, nil
}

// ownOffers asks the workers of the purse's channels what they offer.
func (p *Purse) ownOffers(ctx context.Context, model string) (offers []workerOffer) {
	for _, ch := range p.Channels() {
		if ch.Closing || ch.Left != "" {
			continue
		}
		var w WorkerOffer
		if err := p.workerCall(ctx, http.MethodGet, ch.Endpoint, "/ionet/v1/offer", nil, &w); err != nil {
			continue
		}
		e, err := oneStatement(w.Statement)
		if err != nil || e.Signer != ch.Worker {
			continue
		}
		offer, err := proofs.ParseOffer(e.Body)
		if err != nil {
			continue
		}
		for _, m := range offer.Models {
			if o, err := p.readOffer(w.Statement, m.Name, m.Unit.String()); err == nil && (model == "" || m.Name == model) {
				offers = append(offers, o)
			}
		}
	}
	return offers
}

// readOffer returns what an offer's statement has of a model. An empty unit is any.
func (p *Purse) readOffer(statement []byte, model, unit string) (workerOffer, error) {
	e, err := oneStatement(statement)
	if err != nil {
		return workerOffer{}, err
	}
	m := &p.market
	m.mu.Lock()
	o, known := m.verified[e.ID()]
	m.mu.Unlock()
	if !known {
		if e.Kind != proofs.KindOffer {
			return o, fmt.Errorf("it is a %s", e.Kind)
		}
		if err := e.Verify(p.cfg.Network.ID()); err != nil {
			return o, err
		}
		o = workerOffer{worker: e.Signer, id: e.ID(), statement: bytes.Clone(statement)}
		if o.offer, err = proofs.ParseOffer(e.Body); err != nil {
			return o, err
		}
		if err := checkEndpoint(o.offer.Endpoint); err != nil {
			return o, err
		}
		m.mu.Lock()
		if m.verified == nil || len(m.verified) >= maxVerified {
			m.verified = map[ionet.Hash]workerOffer{}
		}
		m.verified[o.id] = o
		m.mu.Unlock()
	}
	i := slices.IndexFunc(o.offer.Models, func(m proofs.OfferModel) bool { return m.Name == model && (unit == "" || m.Unit.String() == unit) })
	if i < 0 {
		return o, fmt.Errorf("it has no price of %s for a %s", model, unit)
	}
	o.model = o.offer.Models[i]
	return o, nil
}

func checkEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return fmt.Errorf("endpoint %q is not an http(s) URL without query", endpoint)
	}
	return nil
}

// candidates returns offers for a request, the best first: workers that failed lately come
// last, else by unit as the path prefers them, by price, those with a channel first.
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
	for _, o := range all {
		reason := p.unfit(in, o)
		switch {
		case reason == "":
			good = append(good, o)
		case !slices.Contains(why, reason):
			why = append(why, reason)
		}
	}
	if len(good) == 0 && len(why) > 0 {
		return nil, &PurseError{Status: http.StatusPaymentRequired, Code: CodeNoOffers, Message: "no offer of " + in.Model + " can be used: " + strings.Join(why, "; ")}
	}
	if len(good) == 0 {
		return nil, &PurseError{Status: http.StatusNotFound, Code: CodeUnknownModel, Message: fmt.Sprintf("nobody offers the model %q; GET /v1/models lists those that are", in.Model)}
	}
	slices.SortStableFunc(good, func(a, b workerOffer) int {
		return cmp.Or(cmp.Compare(btoi(p.rests(a.worker, now)), btoi(p.rests(b.worker, now))), cmp.Compare(in.preference(a.model.Unit), in.preference(b.model.Unit)), comparePrices(a.model, b.model),
			-cmp.Compare(btoi(p.channelOf(a.worker) != nil), btoi(p.channelOf(b.worker) != nil)), bytes.Compare(a.worker[:], b.worker[:]))
	})
	// One worker is tried once, by its best price.
	seen := map[ionet.Key]bool{}
	return slices.DeleteFunc(good, func(o workerOffer) bool { again := seen[o.worker]; seen[o.worker] = true; return again }), nil
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
		return fmt.Sprintf("its price is for a %s", o.model.Unit)
	case len(p.cfg.Workers) > 0 && !slices.Contains(p.cfg.Workers, o.worker):
		return "its worker is none of those that were chosen"
	case p.left[o.worker] != "":
		return fmt.Sprintf("worker %s is used no more: %s", o.worker, p.left[o.worker])
	}
	return p.tooDear(o.model)
}

// rests reports whether a worker failed lately. The caller holds p.mu.
func (p *Purse) rests(worker ionet.Key, now time.Time) bool {
	r := p.resting[worker]
	return r != nil && now.Before(r.until)
}

// tooDear returns which cap a price is above, "" for none. A session with caps allows no
// model without one, as the service does.
func (p *Purse) tooDear(m proofs.OfferModel) string {
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

// rest is how long a worker that failed comes after others.
type rest struct {
	until time.Time
	pause time.Duration
}

// setBack puts a worker behind others for a while, longer each time.
func (p *Purse) setBack(worker ionet.Key, least time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.resting[worker]
	if r == nil {
		r = &rest{pause: time.Second / 2}
		p.resting[worker] = r
	}
	r.pause = min(2*r.pause, time.Minute)
	r.until = p.cfg.Now().Add(max(r.pause, min(least, time.Minute)))
}

// answers ends that.
func (p *Purse) answers(worker ionet.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.resting, worker)
}

// workerCall calls a worker's own API.
func (p *Purse) workerCall(ctx context.Context, method, endpoint, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, workerTimeout)
	defer cancel()
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(endpoint, "/")+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := readAtMost(resp.Body, maxWorkerAnswer)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return meterProblem(resp, answer)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s %s: answer has another form than expected: %w", method, path, err)
	}
	return nil
}

// workerTimeout is of one call of a worker's own API, maxWorkerAnswer bounds its answer.
const (
	workerTimeout   = 15 * time.Second
	maxWorkerAnswer = 1 << 20
)

func (p *Purse) workerOpens(ctx context.Context, endpoint string, ask ChannelOpening) (w WorkerChannel, err error) {
	return w, p.workerCall(ctx, http.MethodPost, endpoint, "/ionet/v1/channels", ask, &w)
}

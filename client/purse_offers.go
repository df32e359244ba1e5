package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
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
		return o, fmt.Errorf("it has no price of %s by the %s", model, unit)
	}
	o.model = o.offer.Models[i]
	return o, nil
}

// workerCall calls a worker's own API. The call is signed by the session key: what shows a
// voucher is shown to nobody else.
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
	req.Header.Set(proofs.ReadHeader, proofs.SignRead(p.cfg.Network.ID(), p.cfg.Key, time.Now(), method, path)) // by the true time, as Client.read
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

package settlement

import (
	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet/proofs"
)

// takeOffer keeps an offer. Of a worker's offers the one with the greatest sequence is
// listed; earlier ones stay, because jobs were served under them.
func (j *journal) takeOffer(it *item, o proofs.Offer) error {
	if row := j.offers[it.id]; row != nil {
		it.stored, it.arrival = true, row.arrival
		return nil
	}
	worker := it.envelope.Signer
	of := j.counted[worker]
	switch {
	case j.workers[worker] == nil:
		it.problem = refusal(proofs.UnknownWorker, "signer", "worker %s has no delegation in force that its inventory names: register first", worker)
	case j.head.accepted >= j.openUntil(it, o.Expires):
		it.problem = refusal(proofs.Expired, "body.expires", "the offer expired at %d, it is %d now", o.Expires, j.head.accepted)
	case of.any && o.Sequence <= of.sequence && !it.acked:
		it.problem = NewProblem(ProblemOfferPassed, "body.sequence", "worker %s has an offer with sequence %d: a newer one has a greater sequence than that", worker, of.sequence)
	case of.recent >= offersAnEpoch:
		it.problem = NewProblem(ProblemRateLimited, "signer", "worker %s has brought %d offers in this epoch, no more are taken", worker, of.recent).
			after(max(beaconRetry, j.s.until(it.arrival.Epoch+1, 0)))
	}
	if it.problem != nil {
		return nil
	}
	it.inserted = true
	j.counted[worker] = offersOf{sequence: max(of.sequence, o.Sequence), any: true, recent: of.recent + 1}
	row := &offerRow{fact: &offerFact{id: it.id, envelope: it.envelope, offer: o}, arrival: it.arrival, fresh: true}
	j.offers[it.id] = row
	return nil
}

const insertOfferRows = `
INSERT INTO offers (id, worker, ordinal, expires, endpoint, capacity, envelope, logged, arrival_epoch, arrival_sample)
SELECT t.id, t.worker, t.ordinal, t.expires, t.endpoint, t.capacity, t.envelope, nullif(t.logged, -1), t.arrival_epoch, t.arrival_sample
FROM unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::bytea[], $8::bigint[], $9::integer[], $10::smallint[])
    AS t (id, worker, ordinal, expires, endpoint, capacity, envelope, logged, arrival_epoch, arrival_sample)`

const insertOfferModels = `
INSERT INTO offer_models (offer, name, unit, price, per)
SELECT t.offer, t.name, t.unit, t.price, t.per
FROM unnest($1::bytea[], $2::text[], $3::smallint[], $4::bigint[], $5::bigint[]) AS t (offer, name, unit, price, per)`

const markLogged = `
UPDATE offers o SET logged = t.index FROM unnest($1::bytea[], $2::bigint[]) AS t (id, index) WHERE o.id = t.id`

func (j *journal) queueOffers(b *pgx.Batch) {
	var ids, workers, envelopes, named, offers [][]byte
	var ordinals, expires, capacities, logged, namedAt, prices, pers []int64
	var endpoints, names []string
	var epochs []int32
	var samples, units []int16
	for _, r := range j.offers {
		if r.named && !r.fresh {
			named, namedAt = append(named, r.fact.id[:]), append(namedAt, int64(r.index))
		}
		if !r.fresh {
			continue
		}
		o, at := &r.fact.offer, int64(-1)
		if r.named {
			at = int64(r.index)
		}
		ids, workers, envelopes = append(ids, r.fact.id[:]), append(workers, r.fact.envelope.Signer[:]), append(envelopes, r.fact.envelope.Append(nil))
		ordinals, expires, capacities, logged = append(ordinals, int64(o.Sequence)), append(expires, o.Expires), append(capacities, int64(o.Capacity)), append(logged, at)
		endpoints, epochs, samples = append(endpoints, o.Endpoint), append(epochs, int32(r.arrival.Epoch)), append(samples, int16(r.arrival.Sample))
		for _, m := range o.Models {
			offers, names, units = append(offers, r.fact.id[:]), append(names, m.Name), append(units, int16(m.Unit))
			prices, pers = append(prices, m.Price.Int64()), append(pers, int64(m.Per))
		}
	}
	if len(ids) > 0 {
		b.Queue(insertOfferRows, ids, workers, ordinals, expires, endpoints, capacities, envelopes, logged, epochs, samples)
		b.Queue(insertOfferModels, offers, names, units, prices, pers)
	}
	if len(named) > 0 {
		b.Queue(markLogged, named, namedAt)
	}
}

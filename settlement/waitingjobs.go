package settlement

import (
	"context"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// waitingRow is a job that waits for those before it.
type waitingRow struct {
	channel  ionet.Key
	before   ionet.Amount
	after    ionet.Amount
	id       ionet.Hash
	envelope []byte
	arrival  proofs.Arrival
}

const selectWaited = `
SELECT t.n, w.arrival_epoch, w.arrival_sample
FROM unnest($1::integer[], $2::bytea[], $3::bigint[], $4::bytea[]) AS t (n, channel, before, id)
JOIN waiting_jobs w ON w.channel = t.channel AND w.before = t.before AND w.id = t.id`

// queueWaited looks for the statements that are to wait among those that do.
func (j *journal) queueWaited(b *pgx.Batch, queues []*jobQueue) {
	var list []*candidate
	var places []int32
	var channels, ids [][]byte
	var befores []int64
	for _, q := range queues {
		if q.c.waiting == 0 {
			continue
		}
		for _, x := range q.list {
			if x.it == nil || x.asked || x.fate != waits && x.fate != tooMany {
				continue
			}
			x.asked = true
			places, channels, befores, ids = append(places, int32(len(list))), append(channels, q.c.channel[:]), append(befores, x.bill.Before.Int64()), append(ids, x.id[:])
			list = append(list, x)
		}
	}
	if len(list) == 0 {
		return
	}
	b.Queue(selectWaited, places, channels, befores, ids).Query(func(rows pgx.Rows) error {
		var place, epoch int32
		var sample int16
		_, err := pgx.ForEachRow(rows, []any{&place, &epoch, &sample}, func() error {
			list[place].waited = true
			list[place].it.arrival = proofs.Arrival{Epoch: uint64(epoch), Sample: uint16(sample)}
			return nil
		})
		return err
	})
}

// What follows is a chain: each begins where the one before it ends. Jobs that begin at one
// place fork it; there are as many chains as there are such, and no job is in two.
const selectFollowing = `
WITH RECURSIVE chain AS (
    SELECT w.channel, w.before, w.after, w.id
    FROM unnest($1::bytea[], $2::bigint[]) AS t (channel, spent) JOIN waiting_jobs w ON w.channel = t.channel AND w.before = t.spent
    UNION
    SELECT w.channel, w.before, w.after, w.id FROM chain c JOIN waiting_jobs w ON w.channel = c.channel AND w.before = c.after
)
SELECT w.channel, w.id, w.envelope, w.arrival_epoch, w.arrival_sample
FROM chain c JOIN waiting_jobs w ON w.channel = c.channel AND w.before = c.before AND w.id = c.id`

// queueFollowing reads the jobs that waited for where channels get to. A channel that has
// more of them than this transaction has room for is moved on by a later one.
func (j *journal) queueFollowing(b *pgx.Batch, queues []*jobQueue) {
	var channels [][]byte
	var spent []int64
	of := map[ionet.Key]*jobQueue{}
	for _, q := range queues {
		if q.c.waiting == 0 || q.later || q.reached == q.c.spent && !q.stuck || q.followed && q.fetched == q.reached {
			continue
		}
		if !q.followed && j.following > 0 && j.following+q.c.waiting > j.s.logbook.most() {
			q.later = true
			continue
		}
		if !q.followed {
			j.following += q.c.waiting
		}
		q.followed, q.fetched = true, q.reached
		channels, spent = append(channels, q.c.channel[:]), append(spent, q.reached.Int64())
		of[q.c.channel] = q
	}
	if len(channels) == 0 {
		return
	}
	b.Queue(selectFollowing, channels, spent).Query(func(rows pgx.Rows) error {
		var channel, id, envelope []byte
		var epoch int32
		var sample int16
		_, err := pgx.ForEachRow(rows, []any{&channel, &id, &envelope, &epoch, &sample}, func() error {
			x, err := waitedCandidate(ionet.Hash(id), envelope)
			if err != nil {
				return err
			}
			x.arrival = proofs.Arrival{Epoch: uint64(epoch), Sample: uint16(sample)}
			of[ionet.Key(channel)].join(x)
			return nil
		})
		if err != nil {
			return err
		}
		for _, q := range of {
			q.sort()
		}
		return nil
	})
}

func waitedCandidate(id ionet.Hash, stored []byte) (*candidate, error) {
	e, err := storedEnvelope(stored)
	if err != nil {
		return nil, err
	}
	b, err := proofs.ParseBill(e.Kind, e.Body)
	if err != nil {
		return nil, err
	}
	return &candidate{id: id, bill: &b, envelope: &e}, nil
}

// join adds a job that waited. Where the same came in again, that was taken before.
func (q *jobQueue) join(x *candidate) {
	if q.ids == nil {
		q.ids = make(map[ionet.Hash]*candidate, len(q.list))
		for _, o := range q.list {
			q.ids[o.id] = o
		}
	}
	o, ok := q.ids[x.id]
	switch {
	case ok && o.it == nil:
		return // it was read before
	case ok:
		o.waited, o.it.arrival = true, x.arrival
	}
	q.ids[x.id] = x
	q.list = append(q.list, x)
}

const selectOffersOfWaiting = `
SELECT id, logged, arrival_epoch, arrival_sample, envelope FROM offers WHERE id = ANY ($1::bytea[])`

// offersOfWaiting gives jobs that waited the offers that they name.
func (j *journal) offersOfWaiting(ctx context.Context, queues []*jobQueue) error {
	var missing set[ionet.Hash]
	for _, q := range queues {
		for _, x := range q.list {
			if x.it == nil && (j.offers[x.bill.Offer] == nil || j.offers[x.bill.Offer].fact == nil) {
				missing.add(x.bill.Offer)
			}
		}
	}
	if len(missing) > 0 {
		if err := j.readOffers(ctx, missing); err != nil {
			return err
		}
	}
	for _, q := range queues {
		for _, x := range q.list {
			if x.offer == nil {
				x.offer = j.offers[x.bill.Offer]
			}
		}
	}
	return nil
}

func (j *journal) readOffers(ctx context.Context, missing set[ionet.Hash]) error {
	rows, err := j.tx.Query(ctx, selectOffersOfWaiting, byteas(missing))
	if err != nil {
		return err
	}
	var id, envelope []byte
	var logged *int64
	var epoch int32
	var sample int16
	_, err = pgx.ForEachRow(rows, []any{&id, &logged, &epoch, &sample, &envelope}, func() error {
		e, err := storedEnvelope(envelope)
		if err != nil {
			return err
		}
		o, err := proofs.ParseOffer(e.Body)
		if err != nil {
			return err
		}
		row := &offerRow{fact: &offerFact{id: ionet.Hash(id), envelope: e, offer: o}, stored: true, logged: logged != nil}
		if row.arrival = (proofs.Arrival{Epoch: uint64(epoch), Sample: uint16(sample)}); row.logged {
			row.index = uint64(*logged)
		}
		j.offers[row.fact.id] = row
		return nil
	})
	return err
}

const insertWaiting = `
INSERT INTO waiting_jobs (channel, before, after, id, envelope, arrival_epoch, arrival_sample)
SELECT t.channel, t.before, t.after, t.id, t.envelope, t.arrival_epoch, t.arrival_sample
FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[], $6::integer[], $7::smallint[])
    AS t (channel, before, after, id, envelope, arrival_epoch, arrival_sample)`

// What a channel has passed waits no more: it applied, or another took its place. So does
// what was refused when its turn came, and all of a channel that is over.
const deletePassed = `
WITH gone AS (
    DELETE FROM waiting_jobs w USING unnest($1::bytea[], $2::bigint[]) AS t (channel, spent)
    WHERE w.channel = t.channel AND w.before < t.spent RETURNING w.channel),
counted AS (SELECT channel, count(*) AS n FROM gone GROUP BY channel),
updated AS (UPDATE channels c SET waiting = c.waiting - n.n FROM counted n WHERE c.channel = n.channel)
SELECT coalesce(sum(n), 0) FROM counted`

const deleteDropped = `
WITH gone AS (
    DELETE FROM waiting_jobs w USING unnest($1::bytea[], $2::bigint[], $3::bytea[]) AS t (channel, before, id)
    WHERE w.channel = t.channel AND w.before = t.before AND w.id = t.id RETURNING w.channel),
counted AS (SELECT channel, count(*) AS n FROM gone GROUP BY channel)
UPDATE channels c SET waiting = c.waiting - n.n FROM counted n WHERE c.channel = n.channel`

func (j *journal) queueWaiting(b *pgx.Batch) {
	if n := len(j.waits); n > 0 {
		channels, ids, envelopes := make([][]byte, n), make([][]byte, n), make([][]byte, n)
		befores, afters, epochs, samples := make([]int64, n), make([]int64, n), make([]int32, n), make([]int16, n)
		for i := range j.waits {
			w := &j.waits[i]
			channels[i], ids[i], envelopes[i], befores[i], afters[i] = w.channel[:], w.id[:], w.envelope, w.before.Int64(), w.after.Int64()
			epochs[i], samples[i] = int32(w.arrival.Epoch), int16(w.arrival.Sample)
		}
		b.Queue(insertWaiting, channels, befores, afters, ids, envelopes, epochs, samples)
	}
	if n := len(j.dropped); n > 0 {
		channels, ids, befores := make([][]byte, n), make([][]byte, n), make([]int64, n)
		for i := range j.dropped {
			w := &j.dropped[i]
			channels[i], ids[i], befores[i] = w.channel[:], w.id[:], w.before.Int64()
		}
		b.Queue(deleteDropped, channels, befores, ids)
	}
	var channels [][]byte
	var spent []int64
	for _, c := range j.channels {
		switch {
		case c.waiting == 0:
		case c.state == stateOver:
			channels, spent = append(channels, c.channel[:]), append(spent, math.MaxInt64)
		case c.moved:
			channels, spent = append(channels, c.channel[:]), append(spent, c.spent.Int64())
		}
	}
	if len(channels) > 0 {
		b.Queue(deletePassed, channels, spent).QueryRow(func(row pgx.Row) error { return row.Scan(&j.passed) })
	}
}

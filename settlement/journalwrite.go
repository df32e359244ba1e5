package settlement

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// write stores all that was decided in one round trip: records, sessions, channels,
// offers, jobs that wait, the ledger and the new head.
func (j *journal) write(ctx context.Context) error {
	j.payAll()
	var b pgx.Batch
	j.queueSessions(&b)
	j.queueChannels(&b)
	j.queueOffers(&b)
	j.queueWaiting(&b)
	j.queueServed(&b)
	bundle, err := j.queueLog(&b)
	if err != nil || b.Len() == 0 {
		return err
	}
	if err := j.tx.SendBatch(ctx, &b).Close(); err != nil {
		return err
	}
	if bundle == nil {
		return nil
	}
	if posted, err := bundle.Finish(ctx, j.tx); err != nil || !posted {
		return errorOr(err, "the ledger has an entry of record %d already: log and ledger differ", j.first)
	}
	return nil
}

func errorOr(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return fmt.Errorf(format, args...)
}

const insertEntriesOfLog = `
INSERT INTO log_entries (index, tag, key, channel, arrival_epoch, arrival_sample, record, root)
SELECT $1 + t.n - 1, t.tag, t.key, nullif(t.channel, 0), t.arrival_epoch, t.arrival_sample, t.record, CASE WHEN t.n = cardinality($2::smallint[]) THEN $8::bytea END
FROM unnest($2::smallint[], $3::bytea[], $4::integer[], $5::integer[], $6::smallint[], $7::bytea[])
    WITH ORDINALITY AS t (tag, key, channel, arrival_epoch, arrival_sample, record, n)`

const moveHead = `
UPDATE log_head SET size = $2, fees = $3, jobs = $4, accepted = $5, channels = $6, frontier = $7 WHERE size = $1`

// queueLog stores the records with the entry of the ledger that they mean, and the head.
func (j *journal) queueLog(b *pgx.Batch) (*ledger.Bundle, error) {
	n := len(j.entries)
	if n == 0 {
		return nil, nil
	}
	tags, samples := make([]int16, n), make([]int16, n)
	channels, epochs := make([]int32, n), make([]int32, n)
	keys, records := make([][]byte, n), make([][]byte, n)
	for i := range j.entries {
		e := &j.entries[i]
		tags[i], keys[i], channels[i], records[i] = int16(e.tag), e.key[:], e.channel, e.record
		epochs[i], samples[i] = int32(e.arrival.Epoch), int16(e.arrival.Sample)
	}
	root := j.head.frontier.Root()
	b.Queue(insertEntriesOfLog, int64(j.first), tags, keys, channels, epochs, samples, records, root[:])
	frontier, err := encodeFrontier(&j.head.frontier)
	if err != nil {
		return nil, err
	}
	h := &j.head
	b.Queue(moveHead, int64(j.first), int64(h.size), int64(h.fees), int64(h.jobs), h.accepted, h.channels, frontier)
	if len(j.transfers) == 0 {
		return nil, nil
	}
	bundle, err := ledger.NewBundle(bundleID(j.first), "log", j.transfers)
	if err != nil {
		return nil, err
	}
	bundle.Queue(b, time.Unix(h.accepted, 0))
	return bundle, nil
}

const insertSessionRows = `
INSERT INTO sessions (id, renter, key, reserve, issued, expires, envelope, state, closing_at, index, arrival_epoch, arrival_sample, channels, opening_epoch, openings)
SELECT t.id, t.renter, t.key, t.reserve, t.issued, t.expires, t.envelope, t.state, t.closing_at, t.index, t.arrival_epoch, t.arrival_sample, t.channels, t.opening_epoch, t.openings
FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[], $8::text[], $9::bigint[], $10::bigint[], $11::integer[], $12::smallint[],
    $13::integer[], $14::bigint[], $15::integer[])
    AS t (id, renter, key, reserve, issued, expires, envelope, state, closing_at, index, arrival_epoch, arrival_sample, channels, opening_epoch, openings)`

const updateSessionRows = `
UPDATE sessions s SET state = t.state, closing_at = t.closing_at, channels = t.channels, opening_epoch = t.opening_epoch, openings = t.openings
FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::integer[], $5::bigint[], $6::integer[]) AS t (id, state, closing_at, channels, opening_epoch, openings) WHERE s.id = t.id`

func (j *journal) queueSessions(b *pgx.Batch) {
	var ids, renters, keys, envelopes [][]byte
	var reserves, issued, expires, indexes []int64
	var epochs []int32
	var samples []int16
	var states, changes sessionTable
	for _, r := range j.opened {
		ids, renters, keys, envelopes = append(ids, r.fact.id[:]), append(renters, r.fact.Renter[:]), append(keys, r.fact.Key[:]), append(envelopes, r.envelope)
		reserves, issued, expires = append(reserves, r.fact.Reserve.Int64()), append(issued, r.fact.Issued), append(expires, r.fact.Expires)
		indexes, epochs, samples = append(indexes, int64(r.index)), append(epochs, int32(r.arrival.Epoch)), append(samples, int16(r.arrival.Sample))
		states.add(r)
		r.changed = false // the row is new
	}
	if len(ids) > 0 {
		b.Queue(insertSessionRows, ids, renters, keys, reserves, issued, expires, envelopes, states.states, states.closings, indexes, epochs, samples,
			states.channels, states.openingEpochs, states.openings)
	}
	var changed [][]byte
	for id, r := range j.sessions {
		if r.changed {
			changed = append(changed, append([]byte(nil), id[:]...))
			changes.add(r)
		}
	}
	if len(changed) > 0 {
		b.Queue(updateSessionRows, changed, changes.states, changes.closings, changes.channels, changes.openingEpochs, changes.openings)
	}
}

// sessionTable is what changes of sessions, by column.
type sessionTable struct {
	states                  []string
	closings, openingEpochs []int64
	channels, openings      []int32
}

func (t *sessionTable) add(r *sessionRow) {
	t.states, t.closings = append(t.states, r.state), append(t.closings, r.closing)
	t.channels, t.openingEpochs, t.openings = append(t.channels, int32(r.channels)), append(t.openingEpochs, int64(r.opening)), append(t.openings, int32(r.openings))
}

const insertChannelRows = `
INSERT INTO channels (number, channel, session, worker, renter, key, provider, payee, open, envelope, limit_, expires, state, closing_at, index)
SELECT t.number, t.channel, t.session, t.worker, t.renter, t.key, t.provider, t.payee, t.open, t.envelope, t.limit_, t.expires, t.state, t.closing_at, t.index
FROM unnest($1::integer[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[], $8::bytea[], $9::bytea[], $10::bytea[], $11::bigint[], $12::bigint[], $13::text[], $14::bigint[], $15::bigint[])
    AS t (number, channel, session, worker, renter, key, provider, payee, open, envelope, limit_, expires, state, closing_at, index)`

const topUpChannelRows = `
UPDATE channels c SET provider = t.provider, payee = t.payee, open = t.open, envelope = t.envelope, limit_ = t.limit_, expires = t.expires
FROM unnest($1::integer[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bigint[], $7::bigint[])
    AS t (number, provider, payee, open, envelope, limit_, expires) WHERE c.number = t.number`

const shutChannelRows = `
UPDATE channels c SET state = t.state, closing_at = t.closing_at
FROM unnest($1::integer[], $2::text[], $3::bigint[]) AS t (number, state, closing_at) WHERE c.number = t.number`

const moveChannelRows = `
UPDATE channels c SET spent = t.spent, jobs = t.jobs, waiting = c.waiting + t.joined
FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::integer[]) AS t (number, spent, jobs, joined) WHERE c.number = t.number`

func (j *journal) queueChannels(b *pgx.Batch) {
	var fresh, changed, shut, moved channelTable
	for _, c := range j.channels {
		switch {
		case c.fresh:
			fresh.add(c)
		case c.changed:
			changed.add(c)
		}
		if c.shut && !c.fresh {
			shut.add(c)
		}
		if c.moved {
			moved.add(c)
		}
	}
	if len(fresh.numbers) > 0 {
		b.Queue(insertChannelRows, fresh.numbers, fresh.channels, fresh.sessions, fresh.workers, fresh.renters, fresh.keys, fresh.providers, fresh.payees,
			fresh.opens, fresh.envelopes, fresh.limits, fresh.expires, fresh.states, fresh.closings, fresh.indexes)
	}
	if len(changed.numbers) > 0 {
		b.Queue(topUpChannelRows, changed.numbers, changed.providers, changed.payees, changed.opens, changed.envelopes, changed.limits, changed.expires)
	}
	if len(moved.numbers) > 0 {
		b.Queue(moveChannelRows, moved.numbers, moved.spent, moved.jobs, moved.joined)
	}
	if len(shut.numbers) > 0 {
		b.Queue(shutChannelRows, shut.numbers, shut.states, shut.closings)
	}
}

// channelTable are rows of channels, by column.
type channelTable struct {
	numbers, joined                                                                 []int32
	channels, sessions, workers, renters, keys, providers, payees, opens, envelopes [][]byte
	limits, expires, closings, indexes, spent, jobs                                 []int64
	states                                                                          []string
}

func (t *channelTable) add(c *channelRow) {
	t.numbers, t.joined = append(t.numbers, c.number), append(t.joined, int32(c.joined))
	t.spent, t.jobs = append(t.spent, c.spent.Int64()), append(t.jobs, int64(c.jobs))
	t.states, t.closings = append(t.states, c.state), append(t.closings, c.closing)
	if !c.changed {
		return
	}
	t.channels, t.sessions, t.workers, t.renters = append(t.channels, c.channel[:]), append(t.sessions, c.session[:]), append(t.workers, c.worker[:]), append(t.renters, c.renter[:])
	t.keys, t.providers, t.payees, t.opens = append(t.keys, c.key[:]), append(t.providers, c.provider[:]), append(t.payees, c.payee[:]), append(t.opens, c.open[:])
	t.envelopes, t.limits, t.expires, t.indexes = append(t.envelopes, c.envelope), append(t.limits, c.limit.Int64()), append(t.expires, c.expires), append(t.indexes, int64(c.index))
}

// committed remembers what the transaction made true.
func (j *journal) committed() {
	s := j.s
	s.logbook.saw(j.head.size, j.head.frontier.Root())
	life := s.intake.fees.nowLife()
	for _, o := range j.offers {
		if o.logged && o.fact != nil {
			o.fact.logged.Store(life)
		}
	}
	for _, c := range j.channels {
		if c.fresh {
			s.intake.fees.addChannel(c.fact)
		}
	}
	if lost := j.passed - j.followed; lost > 0 {
		s.log.Warn("jobs that waited can never apply: others spent their part of the channel, or it is over; they are dropped", "jobs", lost)
	}
	s.metrics.receipts.Add(float64(j.receipts))
	s.metrics.receiptJobs.Add(float64(j.jobs))
	s.metrics.records.Set(float64(j.head.size))
	s.metrics.receiptFees.Add(float64(j.head.fees - j.formerFees))
}

package settlement

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// parseFrontier parses the head's column, which leaves the size out.
func parseFrontier(size uint64, hashes []byte) (proofs.Frontier, error) {
	return proofs.ParseFrontier(append(binary.LittleEndian.AppendUint64(nil, size), hashes...))
}

// encodeFrontier returns the head's column.
func encodeFrontier(f *proofs.Frontier) ([]byte, error) {
	b, err := f.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return b[8:], nil
}

// journalNames is what items name, as far as it must be read under the lock.
type journalNames struct {
	sessions, offers set[ionet.Hash]
	channels         set[ionet.Key]
	renters          set[ionet.Key]
	beginning        set[ionet.Key] // renters that begin a session
	workers          set[ionet.Key] // that must be delegated
	offering         set[ionet.Key] // workers that bring an offer
	keys             [][]byte       // of statements that may be in the log
}

func (j *journal) namesIn(items []*item) (n journalNames) {
	life := j.s.intake.fees.nowLife()
	for _, it := range items {
		switch b := it.body.(type) {
		case *proofs.Bill:
			n.channels.add(b.Channel)
			j.nameOffer(&n, it.offer, life)
		case proofs.Session:
			n.sessions.add(it.id)
			n.renters.add(b.Renter)
			n.beginning.add(b.Renter)
		case proofs.Offer:
			n.offers.add(it.id)
			n.workers.add(it.envelope.Signer)
			n.offering.add(it.envelope.Signer)
		case proofs.ChannelOpen:
			n.sessions.add(b.Session)
			n.channels.add(b.Channel)
			n.workers.add(b.Worker)
			n.keys = append(n.keys, it.id[:16])
		case proofs.ChannelClose:
			n.channels.add(b.Channel)
			n.keys = append(n.keys, it.id[:16])
		case proofs.SessionClose:
			n.sessions.add(b.Session)
			n.keys = append(n.keys, it.id[:16])
		}
	}
	return n
}

// nameOffer asks for an offer's row, unless its record is known to be in the log.
func (j *journal) nameOffer(n *journalNames, o *offerFact, life uint64) {
	if _, ok := j.offers[o.id]; ok {
		return
	}
	if o.logged.Load() == life {
		j.offers[o.id] = &offerRow{fact: o, logged: true}
		return
	}
	n.offers.add(o.id)
}

// load locks the head and reads, in one round trip, all rows that items name.
func (j *journal) load(ctx context.Context, items []*item) error {
	var b pgx.Batch
	j.queueLocks(&b)
	j.queueRows(&b, j.namesIn(items))
	return j.tx.SendBatch(ctx, &b).Close()
}

func (j *journal) queueRows(b *pgx.Batch, n journalNames) {
	if len(n.channels) > 0 {
		b.Queue(selectChannelRows, byteas(n.channels)).Query(j.scanChannels)
	}
	if len(n.sessions) > 0 {
		b.Queue(selectSessionRows, byteas(n.sessions)).Query(j.scanSessions)
		j.queueLeft(b, n.sessions)
	}
	if len(n.offers) > 0 {
		b.Queue(selectOfferRows, byteas(n.offers)).Query(j.scanOffers)
	}
	if len(n.renters) > 0 {
		j.queueRenters(b, n.renters)
	}
	if len(n.beginning) > 0 {
		b.Queue(selectBegun, byteas(n.beginning), int64(j.s.arrival().Epoch), sessionsAnEpoch).Query(j.scanBegun)
	}
	if len(n.workers) > 0 {
		b.Queue(selectDelegationsInForce, byteas(n.workers)).Query(j.scanInForce)
	}
	if len(n.offering) > 0 {
		b.Queue(selectOffersOf, byteas(n.offering), int64(j.s.arrival().Epoch), offersAnEpoch).Query(j.scanCounted)
	}
	if len(n.keys) > 0 {
		b.Queue(selectLoggedKeys, n.keys).Query(j.scanKnown)
	}
}

const selectChannelRows = `
SELECT c.number, c.channel, c.session, c.worker, c.renter, c.payee, c.limit_, c.spent, c.jobs, c.waiting, c.expires, c.state, c.closing_at, s.closing_at
FROM channels c JOIN sessions s ON s.id = c.session WHERE c.channel = ANY ($1::bytea[])`

func (j *journal) scanChannels(rows pgx.Rows) error {
	var channel, session, worker, renter, payee []byte
	var limit, spent, jobs, expires, closing, ending int64
	var number, waiting int32
	var state string
	_, err := pgx.ForEachRow(rows, []any{&number, &channel, &session, &worker, &renter, &payee, &limit, &spent, &jobs, &waiting, &expires, &state, &closing, &ending}, func() error {
		c := &channelRow{
			number: number, channel: ionet.Key(channel), session: ionet.Hash(session), worker: ionet.Key(worker), renter: ionet.Key(renter), payee: ionet.Key(payee),
			jobs: uint64(jobs), waiting: int(waiting), expires: expires, state: state, closing: closing, ending: ending,
		}
		var err error
		if c.limit, err = amountOf(limit); err == nil {
			c.spent, err = amountOf(spent)
		}
		j.channels[c.channel] = c
		return err
	})
	return err
}

const selectSessionRows = `
SELECT id, state, closing_at, index, arrival_epoch, arrival_sample, channels, opening_epoch, openings FROM sessions WHERE id = ANY ($1::bytea[])`

func (j *journal) scanSessions(rows pgx.Rows) error {
	var id []byte
	var state string
	var closing, index, opening int64
	var epoch, channels, openings int32
	var sample int16
	_, err := pgx.ForEachRow(rows, []any{&id, &state, &closing, &index, &epoch, &sample, &channels, &opening, &openings}, func() error {
		j.sessions[ionet.Hash(id)] = &sessionRow{
			state: state, closing: closing, index: uint64(index), arrival: proofs.Arrival{Epoch: uint64(epoch), Sample: uint16(sample)},
			channels: int(channels), opening: uint64(opening), openings: int(openings),
		}
		return nil
	})
	return err
}

const selectAccounts = `SELECT account, balance FROM ledger_balances WHERE account = ANY ($1::text[])`

// queueLeft reads what sessions have left; it follows the query for their rows.
func (j *journal) queueLeft(b *pgx.Batch, ids set[ionet.Hash]) {
	of := make(map[string]ionet.Hash, len(ids))
	for id := range ids {
		of[ledger.Session(id).String()] = id
	}
	b.Queue(selectAccounts, namesOf(of)).Query(func(rows pgx.Rows) error {
		return scanAccounts(rows, func(account string, left ionet.Amount) {
			if row := j.sessions[of[account]]; row != nil {
				row.left = left
			}
		})
	})
}

// queueRenters reads what renters may spend. The rows are not locked: where a withdrawal
// takes it meanwhile, the ledger refuses, and all is decided again.
func (j *journal) queueRenters(b *pgx.Batch, keys set[ionet.Key]) {
	of := make(map[string]ionet.Key, len(keys))
	for k := range keys {
		of[ledger.Renter(k).String()] = k
	}
	b.Queue(selectAccounts, namesOf(of)).Query(func(rows pgx.Rows) error {
		return scanAccounts(rows, func(account string, balance ionet.Amount) { j.renters[of[account]] = balance })
	})
}

func namesOf[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for name := range m {
		out = append(out, name)
	}
	return out
}

func scanAccounts(rows pgx.Rows, each func(account string, balance ionet.Amount)) error {
	var account string
	var balance int64
	_, err := pgx.ForEachRow(rows, []any{&account, &balance}, func() error {
		a, err := amountOf(balance)
		if err == nil {
			each(account, a)
		}
		return err
	})
	return err
}

// selectLoggedKeys finds statements that opened or closed something.
const selectLoggedKeys = `
SELECT key, arrival_epoch, arrival_sample FROM log_entries WHERE tag <> 1 AND key = ANY ($1::bytea[])`

func (j *journal) scanKnown(rows pgx.Rows) error {
	var key []byte
	var epoch int32
	var sample int16
	_, err := pgx.ForEachRow(rows, []any{&key, &epoch, &sample}, func() error {
		j.known[[16]byte(key)] = proofs.Arrival{Epoch: uint64(epoch), Sample: uint16(sample)}
		return nil
	})
	return err
}

// delegationInForce is a delegation of a worker that the worker itself named.
type delegationInForce struct {
	provider ionet.Key
	payee    ionet.Key
	envelope proofs.Envelope
	issued   int64
	expires  int64
	revoked  uint64 // epoch of the first revocation's arrival; 0: none
}

// Anybody can sign a delegation that names a worker. That which counts is the one that
// the worker's own inventory names, of those the one that came last: else a stranger's
// would take the worker's fees.
const selectDelegationsInForce = `
SELECT w.worker, n.provider, n.payee, n.issued, n.expires, n.revoked, n.signature, n.body
FROM unnest($1::bytea[]) AS w (worker)
CROSS JOIN LATERAL (
    SELECT d.provider, d.payee, d.issued, d.expires, s.signature, s.body,
        coalesce((SELECT min(r.arrival_epoch) FROM revocations r WHERE r.delegation = d.id), 0) AS revoked
    FROM inventories i JOIN delegations d ON d.id = i.delegation JOIN statements s ON s.epoch = 0 AND s.id = d.id
    WHERE i.worker = w.worker
    ORDER BY i.arrival_epoch DESC, i.arrival_sample DESC, i.number DESC LIMIT 4) n`

func (j *journal) scanInForce(rows pgx.Rows) error {
	var worker, provider, payee, signature, body []byte
	var issued, expires, revoked int64
	now := max(j.now, j.head.accepted) // the records' time
	epoch, _, _ := j.s.clock.At(time.Unix(now, 0))
	_, err := pgx.ForEachRow(rows, []any{&worker, &provider, &payee, &issued, &expires, &revoked, &signature, &body}, func() error {
		if _, ok := j.workers[ionet.Key(worker)]; ok || issued > now || expires <= now || revoked != 0 && uint64(revoked) < epoch {
			return nil
		}
		e := proofs.Envelope{Kind: proofs.KindDelegation, Signer: ionet.Key(provider), Body: append([]byte(nil), body...)}
		copy(e.Signature[:], signature)
		j.workers[ionet.Key(worker)] = &delegationInForce{
			provider: ionet.Key(provider), payee: ionet.Key(payee), envelope: e, issued: issued, expires: expires, revoked: uint64(revoked),
		}
		return nil
	})
	return err
}

const selectOfferRows = `
SELECT id, logged, arrival_epoch, arrival_sample FROM offers WHERE id = ANY ($1::bytea[])`

func (j *journal) scanOffers(rows pgx.Rows) error {
	var id []byte
	var logged *int64
	var epoch int32
	var sample int16
	_, err := pgx.ForEachRow(rows, []any{&id, &logged, &epoch, &sample}, func() error {
		o := &offerRow{logged: logged != nil}
		if o.stored = true; o.logged {
			o.index = uint64(*logged)
		}
		o.arrival = proofs.Arrival{Epoch: uint64(epoch), Sample: uint16(sample)}
		j.offers[ionet.Hash(id)] = o
		return nil
	})
	return err
}

// offersAnEpoch is how many offers of one worker are taken in an epoch.
const offersAnEpoch = 64

// offersOf is what is known of a worker's offers.
type offersOf struct {
	sequence uint64 // the greatest; 0 and none where there is none
	any      bool
	recent   int // that arrived in this epoch
}

// Sequences rise, so that those of this epoch are among the greatest.
const selectOffersOf = `
SELECT w.worker, coalesce(max(o.ordinal), -1), count(o.ordinal) FILTER (WHERE o.arrival_epoch = $2)
FROM unnest($1::bytea[]) AS w (worker)
LEFT JOIN LATERAL (SELECT ordinal, arrival_epoch FROM offers WHERE worker = w.worker ORDER BY ordinal DESC LIMIT $3) o ON true
GROUP BY w.worker`

func (j *journal) scanCounted(rows pgx.Rows) error {
	var worker []byte
	var greatest, recent int64
	_, err := pgx.ForEachRow(rows, []any{&worker, &greatest, &recent}, func() error {
		j.counted[ionet.Key(worker)] = offersOf{sequence: uint64(max(greatest, 0)), any: greatest >= 0, recent: int(recent)}
		return nil
	})
	return err
}

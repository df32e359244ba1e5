package settlement

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// The largest answers of the reads below.
const (
	MaxOffers   = 1000 // of Offers
	maxSessions = 1000 // of SessionsOf
)

// OfferQuery asks for what workers offer now.
type OfferQuery struct {
	Model string // "" for all
	Limit int    // 1..MaxOffers; 0 is MaxOffers
}

// ListedOffer is the price of one model by one worker. A worker's newest offer is
// listed, unless it has expired: then none is.
type ListedOffer struct {
	Offer    ionet.Hash
	Worker   ionet.Key
	Endpoint string
	Capacity uint32
	Expires  int64
	Model    string
	Unit     proofs.Unit
	Price    ionet.Amount
	Per      uint32
	Envelope []byte // of the offer
}

// acceptedEpochs is how long ago a worker's devices may have been accepted last, for it to
// come before those of whom nothing is proven.
const acceptedEpochs = 3

// Two prices of a unit that differ do so by 2^-64 or more, so the whole parts of what
// they are multiplied by 10^40 sort exactly. A delegation is looked for as for an opening,
// of as many workers as fit the answer.
const selectOffers = `
SELECT id, worker, endpoint, capacity, expires, envelope, name, unit, price, per FROM (
    SELECT c.* FROM (
        SELECT o.id, o.worker, o.endpoint, o.capacity, o.expires, o.envelope, m.name, m.unit, m.price, m.per,
            div(m.price * 10000000000000000000000000000000000000000::numeric, m.per) AS dear,
            EXISTS (SELECT FROM verdicts v WHERE v.worker = o.worker AND v.epoch >= $4::bigint - $5::bigint AND v.rule = 0) AS accepted
        FROM offers o JOIN offer_models m ON m.offer = o.id
        WHERE ($1 = '' OR m.name = $1) AND o.expires > $2
            AND NOT EXISTS (SELECT FROM offers newer WHERE newer.worker = o.worker AND newer.ordinal > o.ordinal)
        ORDER BY accepted DESC, m.name COLLATE "C", m.unit, dear, o.worker OFFSET 0) c
    WHERE EXISTS (SELECT FROM (
        SELECT d.issued, d.expires, coalesce((SELECT min(r.arrival_epoch) FROM revocations r WHERE r.delegation = d.id), 0) AS revoked
        FROM inventories i JOIN delegations d ON d.id = i.delegation
        WHERE i.worker = c.worker
        ORDER BY i.arrival_epoch DESC, i.arrival_sample DESC, i.number DESC LIMIT 4) n
        WHERE n.issued <= $2 AND n.expires > $2 AND (n.revoked = 0 OR n.revoked >= $4::bigint))
    ORDER BY accepted DESC, name COLLATE "C", unit, dear, worker LIMIT $3) page
ORDER BY name COLLATE "C", unit, dear, worker`

// Offers returns what may be bought now, by model and unit, the cheapest first. Only
// workers with a delegation in force are in it. Where there are more offers than are asked
// for, those of workers that were accepted in one of the last epochs are taken first:
// others cost nothing, and must be in nobody's way.
func (s *Service) Offers(ctx context.Context, q OfferQuery) ([]ListedOffer, error) {
	limit := min(q.Limit, MaxOffers)
	if limit <= 0 {
		limit = MaxOffers
	}
	rows, err := s.front.Query(ctx, selectOffers, q.Model, s.now().Unix(), limit, int64(s.currentEpoch()), acceptedEpochs)
	if err != nil {
		return nil, fmt.Errorf("list offers: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanOffer)
	if err != nil {
		return nil, fmt.Errorf("list offers: %w", err)
	}
	return list, nil
}

func scanOffer(row pgx.CollectableRow) (ListedOffer, error) {
	var o ListedOffer
	var id, worker []byte
	var capacity, price, per int64
	var unit int16
	if err := row.Scan(&id, &worker, &o.Endpoint, &capacity, &o.Expires, &o.Envelope, &o.Model, &unit, &price, &per); err != nil {
		return o, err
	}
	o.Offer, o.Worker, o.Capacity, o.Unit, o.Per = ionet.Hash(id), ionet.Key(worker), uint32(capacity), proofs.Unit(unit), uint32(per)
	var err error
	o.Price, err = amountOf(price)
	return o, err
}

// SessionState is a session and what became of its reserve: Reserve = Free + the limits
// of its channels that are not over + what those spent that are. Once the session is
// over its Free went back to the renter's balance.
type SessionState struct {
	ID ionet.Hash
	proofs.Session
	Free      ionet.Amount // in no channel
	Spent     ionet.Amount // through all its channels
	State     string       // open, closing or over
	ClosingAt int64        // when closing was asked for; 0: it was not
	Index     uint64       // of its record
	Accepted  int64        // when it was taken, as its record says, Unix seconds; Issued is the signer's word
	Envelope  []byte
	Channels  []ChannelState // of Session, not of SessionsOf; the first opened first
}

// ChannelState is a channel: one worker's part of a session.
type ChannelState struct {
	Channel   ionet.Key
	Session   ionet.Hash
	Worker    ionet.Key
	Renter    ionet.Key
	Key       ionet.Key // the session key
	Provider  ionet.Key // who delegated the worker
	Payee     ionet.Key // whom its fees are owed to
	Limit     ionet.Amount
	Spent     ionet.Amount
	Jobs      uint64 // that counted; a batch as many as it holds
	Waiting   int    // statements that are ahead of Spent
	Expires   int64
	State     string // open, closing or over
	ClosingAt int64  // when closing was asked for; 0: it was not
	Index     uint64 // of the record that opened it first
	Open      ionet.Hash
	Envelope  []byte // of Open, the channel-open with the greatest limit
}

const sessionColumns = `
SELECT s.id, s.renter, s.envelope, s.state, s.closing_at, s.index, coalesce(b.balance, 0),
    coalesce((SELECT sum(c.spent) FROM channels c WHERE c.session = s.id), 0)::bigint,
    (SELECT l.record FROM log_entries l WHERE l.index = s.index)
FROM sessions s LEFT JOIN ledger_balances b ON b.account = 'session:' || encode(s.id, 'hex')
`

const selectSession = sessionColumns + `WHERE s.id = $1`

// Both halves are read by an index of their own; a renter may be its own session key.
const selectSessionsOf = sessionColumns + `
WHERE s.id IN (
    (SELECT id FROM sessions WHERE renter = $1 ORDER BY index DESC LIMIT $2)
    UNION
    (SELECT id FROM sessions WHERE key = $1 ORDER BY index DESC LIMIT $2)
) ORDER BY s.index DESC LIMIT $2`

const channelColumns = `
SELECT c.channel, c.session, c.worker, c.renter, c.key, c.provider, c.payee, c.open, c.envelope, c.limit_, c.spent, c.jobs, c.waiting, c.expires, c.state, c.closing_at, c.index, s.closing_at
FROM channels c JOIN sessions s ON s.id = c.session
`

const (
	selectChannel    = channelColumns + `WHERE c.channel = $1`
	selectChannelsOf = channelColumns + `WHERE c.session = $1 ORDER BY c.number`
)

// Session returns a session with its channels, or the problem unknown-session.
func (s *Service) Session(ctx context.Context, id ionet.Hash) (SessionState, error) {
	var out SessionState
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, s.front, snapshot, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, selectSession, id[:])
		if err != nil {
			return err
		}
		if out, err = pgx.CollectExactlyOneRow(rows, s.scanSession); err != nil {
			return err
		}
		if rows, err = tx.Query(ctx, selectChannelsOf, id[:]); err != nil {
			return err
		}
		out.Channels, err = pgx.CollectRows(rows, scanChannel)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return SessionState{}, NewProblem(ProblemUnknownSession, "id", "no session has id %s", id)
	}
	if err != nil {
		return SessionState{}, fmt.Errorf("look for session %s: %w", id, err)
	}
	return out, nil
}

// SessionsOf returns the sessions of a renter's wallet or of a session key, without
// their channels, the latest first; none for a key that is neither.
func (s *Service) SessionsOf(ctx context.Context, key ionet.Key) ([]SessionState, error) {
	rows, err := s.front.Query(ctx, selectSessionsOf, key[:], maxSessions)
	if err != nil {
		return nil, fmt.Errorf("look for sessions of %s: %w", key, err)
	}
	list, err := pgx.CollectRows(rows, s.scanSession)
	if err != nil {
		return nil, fmt.Errorf("look for sessions of %s: %w", key, err)
	}
	return list, nil
}

func (s *Service) scanSession(row pgx.CollectableRow) (SessionState, error) {
	var out SessionState
	var id, renter, logged []byte
	var index, free, spent int64
	if err := row.Scan(&id, &renter, &out.Envelope, &out.State, &out.ClosingAt, &index, &free, &spent, &logged); err != nil {
		return out, err
	}
	out.ID, out.Index = ionet.Hash(id), uint64(index)
	record, err := proofs.ParseRecord(logged)
	if err != nil {
		return out, fmt.Errorf("session %s: %w", out.ID, err)
	}
	out.Accepted = record.Accepted
	e, _, err := proofs.ParseEnvelope(out.Envelope)
	if err == nil {
		out.Session, err = proofs.ParseSession(s.cfg.Network.ID(), ionet.Key(renter), e.Body)
	}
	if err == nil {
		out.Free, err = amountOf(free)
	}
	if err == nil {
		out.Spent, err = amountOf(spent)
	}
	if err != nil {
		return out, fmt.Errorf("session %s: %w", out.ID, err)
	}
	return out, nil
}

// Channel returns a channel, or the problem unknown-channel.
func (s *Service) Channel(ctx context.Context, channel ionet.Key) (ChannelState, error) {
	rows, err := s.front.Query(ctx, selectChannel, channel[:])
	if err != nil {
		return ChannelState{}, fmt.Errorf("look for channel %s: %w", channel, err)
	}
	out, err := pgx.CollectExactlyOneRow(rows, scanChannel)
	if errors.Is(err, pgx.ErrNoRows) {
		return out, NewProblem(ProblemUnknownChannel, "channel", "no accepted opening names channel %s", channel)
	}
	if err != nil {
		return out, fmt.Errorf("look for channel %s: %w", channel, err)
	}
	return out, nil
}

func scanChannel(row pgx.CollectableRow) (ChannelState, error) {
	var c ChannelState
	var channel, session, worker, renter, key, provider, payee, open []byte
	var limit, spent, jobs, index, ending int64
	err := row.Scan(&channel, &session, &worker, &renter, &key, &provider, &payee, &open, &c.Envelope,
		&limit, &spent, &jobs, &c.Waiting, &c.Expires, &c.State, &c.ClosingAt, &index, &ending)
	if err != nil {
		return c, err
	}
	of := channelRow{state: c.State, closing: c.ClosingAt, ending: ending}
	c.State, c.ClosingAt = of.status(), of.closedAt()
	c.Channel, c.Session, c.Worker, c.Renter, c.Key = ionet.Key(channel), ionet.Hash(session), ionet.Key(worker), ionet.Key(renter), ionet.Key(key)
	c.Provider, c.Payee, c.Open, c.Jobs, c.Index = ionet.Key(provider), ionet.Key(payee), ionet.Hash(open), uint64(jobs), uint64(index)
	if c.Limit, err = amountOf(limit); err != nil {
		return c, err
	}
	c.Spent, err = amountOf(spent)
	return c, err
}

// MayRead reports whether key may read what is a renter's alone: it is the wallet's or
// that of one of its sessions.
func (s *Service) MayRead(ctx context.Context, renter, key ionet.Key) (bool, error) {
	if key == renter {
		return true, nil
	}
	var ok bool
	if err := s.front.QueryRow(ctx, selectMayRead, renter[:], key[:]).Scan(&ok); err != nil {
		return false, fmt.Errorf("look for sessions of %s: %w", renter, err)
	}
	return ok, nil
}

const selectMayRead = `SELECT EXISTS (SELECT FROM sessions WHERE renter = $1 AND key = $2)`

// reservedOf returns what a renter set aside: what its sessions and their channels hold.
func reservedOf(ctx context.Context, q ledger.Querier, renter ionet.Key) (ionet.Amount, error) {
	rows, err := q.Query(ctx, sumReserved, renter[:])
	if err != nil {
		return ionet.Amount{}, fmt.Errorf("sum what %s reserved: %w", renter, err)
	}
	n, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[int64])
	if err != nil {
		return ionet.Amount{}, fmt.Errorf("sum what %s reserved: %w", renter, err)
	}
	return amountOf(n)
}

// What is over holds nothing.
const sumReserved = `
SELECT (coalesce((SELECT sum(b.balance) FROM sessions s JOIN ledger_balances b ON b.account = 'session:' || encode(s.id, 'hex') WHERE s.renter = $1 AND s.state <> 'over'), 0)
    + coalesce((SELECT sum(c.limit_ - c.spent) FROM channels c WHERE c.renter = $1 AND c.state <> 'over'), 0))::bigint`

package settlement

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
)

// resolve writes down that each content is the final winner of its position, with
// all that follows from it, in one SQL transaction for all of them:
//
//	contents won, the others of their positions lost;
//	the winners' payments paid, those of the losers freed, both in the ledger;
//	attempts won or lost; what the kinds ask for; the lanes moved on.
//
// A crash before the commit leaves the positions open, and the next pass does
// the same again; after it there is nothing left to do. A position that was
// passed already is left out. list has one position of a lane at most.
func (s *Service) resolve(ctx context.Context, list []passedPosition, slot uint64) error {
	var done []*resolved
	err := s.asLeader(ctx, func(tx pgx.Tx, number int64) (err error) {
		if done, err = openOf(ctx, tx, list); err != nil || len(done) == 0 {
			return err
		}
		if err := settleContents(ctx, tx, done); err != nil {
			return err
		}
		if err := s.settlePayments(ctx, tx, done); err != nil {
			return err
		}
		if err := liftPaid(ctx, tx, done); err != nil {
			return err
		}
		lanes, positions, _ := keysOf(done)
		if _, err := tx.Exec(ctx, updateAttempts, lanes, positions); err != nil {
			return fmt.Errorf("settle attempts: %w", err)
		}
		fences := make([]int64, len(done))
		for i, r := range done {
			if fences[i], err = s.apply(ctx, tx, r, number); err != nil {
				return fmt.Errorf("%s position %d: %w", r.lane.name, r.lane.position, err)
			}
		}
		return moveLanes(ctx, tx, done, fences, slot)
	})
	if err != nil {
		return fmt.Errorf("settle %s: %w", positionsOf(list), err)
	}
	for _, r := range done {
		s.tell(*r)
	}
	return nil
}

// positionsOf names positions in errors.
func positionsOf(list []passedPosition) string {
	if len(list) == 0 {
		return "nothing"
	}
	first := fmt.Sprintf("%s position %d", list[0].lane.name, list[0].lane.position)
	if len(list) > 1 {
		first += fmt.Sprintf(" and %d more", len(list)-1)
	}
	return first
}

// resolved collects what a resolution did, for people.
type resolved struct {
	lane    lane
	content chain.Content
	hash    ionet.Hash // of content
	landing landing
	known   bool // the content was stored here before it won
	count   int
	amount  ionet.Amount
	payee   ionet.Key
	missed  []string // announcements of the epoch that its book lacks
}

// openOf locks the lanes' rows and returns those of list whose position is open
// still, ordered by lane.
func openOf(ctx context.Context, tx pgx.Tx, list []passedPosition) ([]*resolved, error) {
	lanes := make([]lane, len(list))
	for i, p := range list {
		lanes[i] = p.lane
	}
	open, err := lockLanes(ctx, tx, lanes)
	if err != nil {
		return nil, err
	}
	var done []*resolved
	for _, p := range list {
		if open[p.lane.name] {
			done = append(done, &resolved{lane: p.lane, content: p.content, hash: p.content.Hash(), landing: p.landing})
		}
	}
	slices.SortFunc(done, func(a, b *resolved) int { return cmp.Compare(a.lane.name, b.lane.name) })
	return done, nil
}

// lockLanes locks the lanes' rows, by name, and tells of each whether its position
// is open still.
func lockLanes(ctx context.Context, tx pgx.Tx, lanes []lane) (open map[string]bool, err error) {
	names := make([]string, len(lanes))
	want := make(map[string]lane, len(lanes))
	for i, l := range lanes {
		names[i], want[l.name] = l.name, l
	}
	rows, err := tx.Query(ctx, lockLaneRows, names)
	if err != nil {
		return nil, fmt.Errorf("lock lanes: %w", err)
	}
	open = make(map[string]bool, len(lanes))
	var name string
	var position int64
	var c []byte
	_, err = pgx.ForEachRow(rows, []any{&name, &position, &c}, func() error {
		open[name] = uint64(position) == want[name].position && ionet.Hash(c) == want[name].c
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("lock lanes: %w", err)
	}
	return open, nil
}

const lockLaneRows = `SELECT name, position, chain FROM lanes WHERE name = ANY ($1::text[]) ORDER BY name FOR UPDATE`

// keysOf returns the positions as SQL takes them, with their winners.
func keysOf(done []*resolved) (lanes []string, positions []int64, winners [][]byte) {
	for _, r := range done {
		lanes, positions, winners = append(lanes, r.lane.name), append(positions, int64(r.lane.position)), append(winners, r.hash[:])
	}
	return lanes, positions, winners
}

// moveLanes opens the next positions. A lane keeps its fence unless it is fenced
// anew.
func moveLanes(ctx context.Context, tx pgx.Tx, done []*resolved, fences []int64, slot uint64) error {
	lanes, positions, _ := keysOf(done)
	chains := make([][]byte, len(done))
	for i, r := range done {
		next := r.content.Next()
		chains[i] = next[:]
	}
	if _, err := tx.Exec(ctx, updateLanes, lanes, positions, chains, fences, int64(slot)); err != nil {
		return fmt.Errorf("move the lanes: %w", err)
	}
	return nil
}

const updateLanes = `
UPDATE lanes l SET position = t.position + 1, chain = t.chain, slot = greatest(l.slot, $5),
    fenced = CASE WHEN t.fenced > 0 THEN t.fenced ELSE l.fenced END
FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::bigint[]) AS t (name, position, chain, fenced)
WHERE l.name = t.name`

// settleContents marks the winners, which it stores where this database never
// knew them, and the losers.
func settleContents(ctx context.Context, tx pgx.Tx, done []*resolved) error {
	lanes, positions, winners := keysOf(done)
	var kinds []int16
	var encoded, signatures [][]byte
	var slots []*int64
	byHash := make(map[ionet.Hash]*resolved, len(done))
	for _, r := range done {
		byHash[r.hash] = r
		kinds, encoded = append(kinds, int16(r.content.Kind)), append(encoded, r.content.Encode())
		if r.landing.signature.IsZero() {
			signatures, slots = append(signatures, nil), append(slots, nil)
			continue
		}
		n := int64(r.landing.slot)
		signatures, slots = append(signatures, r.landing.signature[:]), append(slots, &n)
	}
	rows, err := tx.Query(ctx, selectKnown, winners)
	if err != nil {
		return fmt.Errorf("settle contents: %w", err)
	}
	var hash []byte
	_, err = pgx.ForEachRow(rows, []any{&hash}, func() error {
		byHash[ionet.Hash(hash)].known = true
		return nil
	})
	if err != nil {
		return fmt.Errorf("settle contents: %w", err)
	}
	var b pgx.Batch
	b.Queue(winContents, winners, lanes, positions, kinds, encoded, signatures, slots)
	b.Queue(loseContents, lanes, positions, winners)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("settle contents: %w", err)
	}
	return nil
}

const selectKnown = `SELECT hash FROM contents WHERE hash = ANY ($1::bytea[])`

const winContents = `
INSERT INTO contents (hash, lane, position, kind, bytes, state, signature, slot)
SELECT t.hash, t.lane, t.position, t.kind, t.bytes, 'won', t.signature, t.slot
FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::smallint[], $5::bytea[], $6::bytea[], $7::bigint[])
    AS t (hash, lane, position, kind, bytes, signature, slot)
ON CONFLICT (hash) DO UPDATE SET state = 'won', signature = excluded.signature, slot = excluded.slot`

const loseContents = `
UPDATE contents c SET state = 'lost'
FROM unnest($1::text[], $2::bigint[], $3::bytea[]) AS t (lane, position, winner)
WHERE c.lane = t.lane AND c.position = t.position AND c.state = 'open' AND c.hash <> t.winner`

// An attempt passes all of its lanes or none: it won when all its contents did
// and lost when one of them did.
const updateAttempts = `
WITH ended AS (
    SELECT a.message, bool_or(every.state = 'lost') AS lost, bool_and(every.state = 'won') AS won
    FROM unnest($1::text[], $2::bigint[]) AS t (lane, position)
    JOIN contents c ON c.lane = t.lane AND c.position = t.position
    JOIN attempt_steps p ON p.content = c.hash
    JOIN attempts a ON a.message = p.message AND a.state = 'live'
    JOIN attempt_steps q ON q.message = a.message
    JOIN contents every ON every.hash = q.content
    GROUP BY a.message)
UPDATE attempts a SET state = CASE WHEN e.lost THEN 'lost' ELSE 'won' END
FROM ended e WHERE a.message = e.message AND (e.lost OR e.won)`

// apply does what the winner's kind asks for and returns the number under
// which the lane counts as fenced from now on, or 0.
func (s *Service) apply(ctx context.Context, tx pgx.Tx, r *resolved, number int64) (fenced int64, err error) {
	switch r.content.Kind {
	case chain.KindGenesis:
		return 0, s.lockAllocations(ctx, tx, r.hash, s.now())
	case chain.KindSeal:
		return 0, s.applySeal(ctx, tx, r)
	case chain.KindEpoch:
		if err := s.applyEpoch(ctx, tx, r); err != nil {
			return 0, err
		}
		r.missed, err = overtaken(ctx, tx, r.lane.position)
		return 0, err
	case chain.KindWithdrawal:
		return 0, s.applyWithdrawal(ctx, tx, r)
	case chain.KindFence:
		memo, err := proofs.ParseMemo(r.content.Memo)
		if err != nil {
			return 0, err
		}
		// A fence of this very lease, not one that history told of: only what was
		// signed before a fence that this database remembers is known to it.
		if f, ok := memo.(proofs.FenceMemo); ok && f.Instance == s.lease.token {
			return s.fencedUnder(ctx, tx, r.hash, number)
		}
	}
	return 0, nil
}

// fencedUnder returns number where the fence content was signed under that lease
// in this database, else 0.
func (s *Service) fencedUnder(ctx context.Context, tx pgx.Tx, content ionet.Hash, number int64) (int64, error) {
	var signed bool
	if err := tx.QueryRow(ctx, selectSignedUnder, content[:], number).Scan(&signed); err != nil {
		return 0, fmt.Errorf("look for the fence's attempt: %w", err)
	}
	if !signed {
		return 0, nil
	}
	return number, nil
}

const selectSignedUnder = `
SELECT EXISTS (SELECT 1 FROM attempts a JOIN attempt_steps p ON p.message = a.message WHERE p.content = $1 AND a.lease = $2)`

// applyEpoch seals the epoch; where this database holds no book of it, or
// another one than the chain's, the chain's is imported first.
func (s *Service) applyEpoch(ctx context.Context, tx pgx.Tx, r *resolved) error {
	memo, err := proofs.ParseMemo(r.content.Memo)
	if err != nil {
		return err
	}
	m, ok := memo.(proofs.EpochMemo)
	if !ok || m.Epoch != r.lane.position {
		return fmt.Errorf("memo %q is not that of epoch %d", r.content.Memo, r.lane.position)
	}
	r.amount, r.count = m.Sum, int(m.Count)
	var state string
	var stored *string
	err = tx.QueryRow(ctx, selectEpochMemo, int64(m.Epoch)).Scan(&state, &stored)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("read epoch %d: %w", m.Epoch, err)
	}
	if state == "published" && *stored == r.content.Memo {
		return s.sealEpoch(ctx, tx, m.Epoch, r.landing.signature, r.landing.slot)
	}
	if err := s.importEpoch(ctx, tx, m, r.content); err != nil || r.landing.signature.IsZero() {
		return err
	}
	if _, err := tx.Exec(ctx, markSeal, int64(m.Epoch), r.landing.signature[:], int64(r.landing.slot)); err != nil {
		return fmt.Errorf("mark the seal of epoch %d: %w", m.Epoch, err)
	}
	return nil
}

const markSeal = `UPDATE epochs SET signature = $2, slot = $3 WHERE epoch = $1`

const selectEpochMemo = `SELECT state, memo FROM epochs WHERE epoch = $1`

// tell emits what a person wants to see of a resolution.
func (s *Service) tell(r resolved) {
	e := Event{
		Lane: r.lane.name, Position: r.lane.position, Count: r.count, Amount: r.amount, Signature: r.landing.signature,
	}
	switch r.content.Kind {
	case chain.KindEpoch:
		e.Kind, e.Epoch = EventSealed, r.lane.position
		if emission, err := s.intake.schedule.Emission(e.Epoch); err == nil {
			e.Emission = emission
		}
	case chain.KindPayout:
		e.Kind = EventPayout
	case chain.KindFees:
		e.Kind = EventFees
	case chain.KindUnlock:
		e.Kind, e.Detail = EventUnlock, categoryOf(r.content)
	case chain.KindRetire:
		e.Kind, e.Epoch = EventRetire, s.lastEpoch()
	case chain.KindClaim:
		e.Kind, e.Payee = EventClaim, r.payee
	case chain.KindWithdrawal:
		e.Kind, e.Payee = EventWithdrawal, r.payee
	default:
		s.log.Info("position passed", "lane", e.Lane, "position", e.Position, "kind", r.content.Kind.String())
		return
	}
	s.log.Info("settled", "lane", e.Lane, "position", e.Position, "kind", r.content.Kind.String(), "amount", e.Amount.String(), "count", e.Count, "signature", e.Signature.String())
	s.emit(e)
	for _, policy := range r.missed {
		s.log.Warn("an announced policy is in no book", "epoch", e.Epoch, "policy", policy)
		s.emit(Event{Kind: EventPolicy, Epoch: e.Epoch, Detail: policy})
	}
}

package settlement

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// landing says which transaction brought a content on chain. It is for display:
// the lane's state alone decides. Zero where the chain's history does not tell.
type landing struct {
	signature chain.Signature
	slot      uint64
}

// resolve writes down that content is the final winner of its position, with
// all that follows from it, in one SQL transaction:
//
//	content won, the others of the position lost;
//	its payments paid, those of the others freed, both in the ledger;
//	attempts won or lost; an epoch sealed; the lane moved to the next position.
//
// A crash before the commit leaves the position open, and the next pass does
// the same again; after it there is nothing left to do. Resolving a position
// that was passed already changes nothing.
func (s *Service) resolve(ctx context.Context, l lane, won chain.Content, at landing, slot uint64) error {
	var outcome resolved
	err := s.asLeader(ctx, func(tx pgx.Tx, number int64) error {
		outcome = resolved{lane: l, content: won, landing: at}
		open, err := lockLane(ctx, tx, l)
		if err != nil || !open {
			return err
		}
		if err := s.settleContents(ctx, tx, &outcome); err != nil {
			return err
		}
		if err := s.settlePayments(ctx, tx, &outcome); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, updateAttempts, l.name, int64(l.position)); err != nil {
			return fmt.Errorf("settle attempts: %w", err)
		}
		fenced, err := s.apply(ctx, tx, &outcome, number)
		if err != nil {
			return err
		}
		next := won.Next()
		if _, err := tx.Exec(ctx, moveLane, l.name, int64(l.position+1), next[:], int64(slot), fenced); err != nil {
			return fmt.Errorf("move the lane: %w", err)
		}
		outcome.done = true
		return nil
	})
	if err != nil {
		return fmt.Errorf("settle %s position %d: %w", l.name, l.position, err)
	}
	if outcome.done {
		s.tell(outcome)
	}
	return nil
}

// resolved collects what a resolution did, for people.
type resolved struct {
	lane    lane
	content chain.Content
	landing landing
	known   bool // the content was stored here before it won
	done    bool
	count   int
	amount  ionet.Amount
	payee   ionet.Key
	missed  []string // announcements of the epoch that its book lacks
}

// lockLane locks l's row and reports whether the position is still open.
func lockLane(ctx context.Context, tx pgx.Tx, l lane) (bool, error) {
	var position int64
	var c []byte
	if err := tx.QueryRow(ctx, lockLaneRow, l.name).Scan(&position, &c); err != nil {
		return false, fmt.Errorf("lock lane %s: %w", l.name, err)
	}
	return uint64(position) == l.position && ionet.Hash(c) == l.c, nil
}

const lockLaneRow = `SELECT position, chain FROM lanes WHERE name = $1 FOR UPDATE`

// A lane keeps its fence unless it is fenced anew ($5 > 0).
const moveLane = `
UPDATE lanes SET position = $2, chain = $3, slot = greatest(slot, $4), fenced = CASE WHEN $5 > 0 THEN $5 ELSE fenced END
WHERE name = $1`

// settleContents marks the winner, which it stores where this database never
// knew it, and the losers.
func (s *Service) settleContents(ctx context.Context, tx pgx.Tx, r *resolved) error {
	hash, at := r.content.Hash(), r.landing
	var signature []byte
	var slot *int64
	if !at.signature.IsZero() {
		n := int64(at.slot)
		signature, slot = at.signature[:], &n
	}
	err := tx.QueryRow(ctx, winContent, hash[:], r.lane.name, int64(r.lane.position), int16(r.content.Kind), r.content.Encode(), signature, slot).Scan(&r.known)
	if err != nil {
		return fmt.Errorf("settle content: %w", err)
	}
	if _, err := tx.Exec(ctx, loseContents, r.lane.name, int64(r.lane.position), hash[:]); err != nil {
		return fmt.Errorf("settle losing contents: %w", err)
	}
	return nil
}

const winContent = `
WITH known AS (SELECT 1 FROM contents WHERE hash = $1)
INSERT INTO contents (hash, lane, position, kind, bytes, state, signature, slot)
VALUES ($1, $2, $3, $4, $5, 'won', $6, $7)
ON CONFLICT (hash) DO UPDATE SET state = 'won', signature = excluded.signature, slot = excluded.slot
RETURNING EXISTS (SELECT 1 FROM known)`

const loseContents = `
UPDATE contents SET state = 'lost'
WHERE lane = $1 AND position = $2 AND state = 'open' AND hash <> $3`

// An attempt passes all of its lanes or none: it won when all its contents did
// and lost when one of them did.
const updateAttempts = `
UPDATE attempts a SET state = CASE WHEN EXISTS (
        SELECT 1 FROM attempt_steps p JOIN contents c ON c.hash = p.content
        WHERE p.message = a.message AND c.state = 'lost') THEN 'lost' ELSE 'won' END
WHERE a.state = 'live'
  AND a.message IN (
        SELECT p.message FROM attempt_steps p JOIN contents c ON c.hash = p.content
        WHERE c.lane = $1 AND c.position = $2)
  AND (EXISTS (SELECT 1 FROM attempt_steps p JOIN contents c ON c.hash = p.content
        WHERE p.message = a.message AND c.state = 'lost')
    OR NOT EXISTS (SELECT 1 FROM attempt_steps p JOIN contents c ON c.hash = p.content
        WHERE p.message = a.message AND c.state <> 'won'))`

// settlePayments moves the debts of the position: the winner's are paid, those
// of every other content are owed again.
func (s *Service) settlePayments(ctx context.Context, tx pgx.Tx, r *resolved) error {
	hash := r.content.Hash()
	if err := s.freeLosers(ctx, tx, r.lane.name, int64(r.lane.position), hash); err != nil {
		return err
	}
	paid, err := endPayments(ctx, tx, "paid", [][]byte{hash[:]})
	if err != nil {
		return fmt.Errorf("settle payments: %w", err)
	}
	imported := false
	if len(paid) == 0 && len(r.content.Movements) > 0 && r.content.Kind != chain.KindEpoch && r.content.Kind != chain.KindGenesis {
		if paid, err = s.importPayments(ctx, tx, r.content); err != nil {
			return err
		}
		imported = true
	}
	entry := ledger.Entry{ID: entryID("paid", hash), Kind: "paid"}
	if entry.Transfers, err = paidTransfers(ctx, tx, paid, imported); err != nil {
		return err
	}
	for _, p := range paid {
		r.payee = p.payee
		if r.amount, err = r.amount.Add(p.amount); err != nil {
			return err
		}
	}
	r.count = len(paid)
	if len(entry.Transfers) == 0 {
		return nil
	}
	if _, err := ledger.Post(ctx, tx, entry, s.now()); err != nil {
		return fmt.Errorf("settle payments: %w", err)
	}
	return nil
}

// paidTransfers takes each payment from what is in flight to its payee. One that
// this database never signed is taken from what is owed; what goes beyond that
// was overpaid: the chain has it, so the books must, and payments end (see
// checkOverpaid).
func paidTransfers(ctx context.Context, tx pgx.Tx, paid []payment, imported bool) ([]ledger.Transfer, error) {
	var list []ledger.Transfer
	if !imported {
		for _, p := range paid {
			list = append(list, ledger.Transfer{Debit: ledger.InFlight(p.payee), Credit: ledger.VaultReward(), Amount: p.amount})
		}
		return list, nil
	}
	accounts := []ledger.Account{ledger.VaultReward(), ledger.Overpaid()}
	for _, p := range paid {
		accounts = append(accounts, ledger.Owed(p.payee))
	}
	owed, err := ledger.Lock(ctx, tx, accounts...)
	if err != nil {
		return nil, fmt.Errorf("settle payments: %w", err)
	}
	for _, p := range paid {
		left := owed[ledger.Owed(p.payee)]
		part := left
		if part.Cmp(p.amount) > 0 {
			part = p.amount
		}
		over, err := p.amount.Sub(part)
		if err != nil {
			return nil, err
		}
		if owed[ledger.Owed(p.payee)], err = left.Sub(part); err != nil {
			return nil, err
		}
		if !part.IsZero() {
			list = append(list, ledger.Transfer{Debit: ledger.Owed(p.payee), Credit: ledger.VaultReward(), Amount: part})
		}
		if !over.IsZero() {
			list = append(list, ledger.Transfer{Debit: ledger.Overpaid(), Credit: ledger.VaultReward(), Amount: over})
		}
	}
	return list, nil
}

// freeLosers gives the debts of all contents of the position but the winner
// back. Each content has an entry of its own, so that its id tells which.
func (s *Service) freeLosers(ctx context.Context, tx pgx.Tx, lane string, position int64, winner ionet.Hash) error {
	rows, err := tx.Query(ctx, selectLosers, lane, position, winner[:])
	if err != nil {
		return fmt.Errorf("free debts: %w", err)
	}
	losers, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		return fmt.Errorf("free debts: %w", err)
	}
	for _, loser := range losers {
		freed, err := endPayments(ctx, tx, "freed", [][]byte{loser})
		if err != nil {
			return fmt.Errorf("free debts: %w", err)
		}
		entry := ledger.Entry{ID: entryID("freed", ionet.Hash(loser)), Kind: "freed"}
		for _, p := range freed {
			entry.Transfers = append(entry.Transfers, ledger.Transfer{Debit: ledger.InFlight(p.payee), Credit: ledger.Owed(p.payee), Amount: p.amount})
		}
		if _, err := ledger.Post(ctx, tx, entry, s.now()); err != nil {
			return fmt.Errorf("free debts: %w", err)
		}
	}
	return nil
}

const selectLosers = `
SELECT DISTINCT c.hash FROM contents c JOIN payments p ON p.content = c.hash AND p.state = 'signed'
WHERE c.lane = $1 AND c.position = $2 AND c.hash <> $3 ORDER BY c.hash`

// entryID names a ledger entry by what happened to which content.
func entryID(what string, content ionet.Hash) ionet.Hash {
	return ionet.HashOf([]byte("io/entry/"+what+"/"), content[:])
}

// payment is a debt that a content carries.
type payment struct {
	payee, account ionet.Key
	amount         ionet.Amount
}

// endPayments ends the signed payments of contents as paid or freed.
func endPayments(ctx context.Context, tx pgx.Tx, state string, contents [][]byte) ([]payment, error) {
	rows, err := tx.Query(ctx, updatePayments, state, contents)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanPayment)
}

const updatePayments = `
WITH ended AS (
    UPDATE payments SET state = $1 WHERE content = ANY ($2::bytea[]) AND state = 'signed'
    RETURNING id, payee, account, amount)
SELECT payee, account, amount FROM ended ORDER BY id`

func scanPayment(row pgx.CollectableRow) (payment, error) {
	var payee, account []byte
	var amount int64
	if err := row.Scan(&payee, &account, &amount); err != nil {
		return payment{}, err
	}
	a, err := ionet.NewAmount(uint64(amount))
	return payment{ionet.Key(payee), ionet.Key(account), a}, err
}

// apply does what the winner's kind asks for and returns the number under
// which the lane counts as fenced from now on, or 0.
func (s *Service) apply(ctx context.Context, tx pgx.Tx, r *resolved, number int64) (fenced int64, err error) {
	switch r.content.Kind {
	case chain.KindEpoch:
		if err := s.applyEpoch(ctx, tx, r); err != nil {
			return 0, err
		}
		r.missed, err = overtaken(ctx, tx, r.lane.position)
		return 0, err
	case chain.KindFence:
		memo, err := proofs.ParseMemo(r.content.Memo)
		if err != nil {
			return 0, err
		}
		// A fence of this very lease, not one that history told of: only what was
		// signed before a fence that this database remembers is known to it.
		if f, ok := memo.(proofs.FenceMemo); ok && f.Instance == s.lease.token {
			return s.fencedUnder(ctx, tx, r.content.Hash(), number)
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
	case chain.KindClaim:
		e.Kind, e.Payee = EventClaim, r.payee
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

package settlement

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// persistAll commits attempts: their bytes, contents, debts and the ledger
// entries of those, with the lease and the lanes' positions checked in the same
// SQL transaction. It returns those that are live from now on: without those whose
// lane has moved meanwhile, or whose position has a live attempt that it must not
// have, or one of whose payees took his debt elsewhere meanwhile, by a claim.
func (s *Service) persistAll(ctx context.Context, list []*attempt) (live []*attempt, err error) {
	if live, err = s.persistThose(ctx, list, nil); isOverdrawn(err) {
		live, err = s.persistThose(ctx, list, s.covered)
	}
	return live, err
}

// persistThose is one try of persistAll; pick, where there is one, leaves some out.
func (s *Service) persistThose(ctx context.Context, list []*attempt, pick func(context.Context, pgx.Tx, []*attempt) ([]*attempt, error)) (live []*attempt, err error) {
	err = s.asSigner(ctx, func(tx pgx.Tx, number int64) error {
		live = nil
		open, err := lockLanes(ctx, tx, lanesOf(list))
		if err != nil {
			return err
		}
		taken, err := liveAt(ctx, tx, lanesOf(list))
		if err != nil {
			return err
		}
		for _, a := range list {
			if a.mayStand(open, taken) {
				live = append(live, a)
			}
		}
		if pick != nil {
			if live, err = pick(ctx, tx, live); err != nil {
				return err
			}
		}
		return s.insertAttempts(ctx, tx, live, number)
	})
	if err != nil {
		return nil, err
	}
	return live, nil
}

// isOverdrawn reports that a commit would have taken more from an account than it has.
func isOverdrawn(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23514" && pg.ConstraintName == "debt_not_negative"
}

// covered returns the attempts whose debts are owed still, all of them together: what
// one takes the next ones lack, and so do payments that share an account, as those of a
// release do. A content that is stored already takes nothing again. The accounts are
// locked from then on.
func (s *Service) covered(ctx context.Context, tx pgx.Tx, list []*attempt) ([]*attempt, error) {
	stored, err := storedContents(ctx, tx, list)
	if err != nil {
		return nil, err
	}
	wants := make([]map[ledger.Account]ionet.Amount, len(list))
	var accounts []ledger.Account
	for i, a := range list {
		wants[i] = map[ledger.Account]ionet.Amount{}
		for _, p := range a.payments {
			of, err := s.purseOf(a.kind, p.payee, a.steps[0].content.Movements[0].Source)
			if err != nil {
				return nil, err
			}
			if wants[i][of.owed], err = wants[i][of.owed].Add(p.amount); err != nil {
				return nil, fmt.Errorf("sum what a %s takes: %w", a.kind, err)
			}
			accounts = append(accounts, of.owed, of.flying)
		}
	}
	left, err := ledger.Lock(ctx, tx, accounts...)
	if err != nil {
		return nil, err
	}
	var may []*attempt
	for i, a := range list {
		hash := a.steps[0].content.Hash()
		if !stored[hash] && !takeAll(left, wants[i]) {
			continue
		}
		stored[hash] = true
		may = append(may, a)
	}
	return may, nil
}

// takeAll takes what is wanted from what is left, all of it or nothing.
func takeAll(left, wanted map[ledger.Account]ionet.Amount) bool {
	rest := make(map[ledger.Account]ionet.Amount, len(wanted))
	for account, want := range wanted {
		var err error
		if rest[account], err = left[account].Sub(want); err != nil {
			return false
		}
	}
	maps.Copy(left, rest)
	return true
}

// storedContents tells which of the attempts' contents are stored.
func storedContents(ctx context.Context, tx pgx.Tx, list []*attempt) (map[ionet.Hash]bool, error) {
	var hashes [][]byte
	for _, a := range list {
		hash := a.steps[0].content.Hash()
		hashes = append(hashes, hash[:])
	}
	rows, err := tx.Query(ctx, selectStoredContents, hashes)
	if err != nil {
		return nil, fmt.Errorf("look for stored contents: %w", err)
	}
	stored := map[ionet.Hash]bool{}
	var hash []byte
	_, err = pgx.ForEachRow(rows, []any{&hash}, func() error {
		stored[ionet.Hash(hash)] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for stored contents: %w", err)
	}
	return stored, nil
}

const selectStoredContents = `SELECT hash FROM contents WHERE hash = ANY ($1::bytea[])`

// standsAlone reports whether a position may have one live attempt of the kind only.
// Of claims, fences and skips several may stand there, of which one wins; they may
// also stand beside one of the others.
func standsAlone(k chain.Kind) bool {
	return k != chain.KindClaim && k != chain.KindFence && k != chain.KindSkip
}

// mayStand reports whether the attempt may become live.
func (a *attempt) mayStand(open, taken map[string]bool) bool {
	for _, st := range a.steps {
		if !open[st.lane.name] || standsAlone(a.kind) && taken[st.lane.name] {
			return false
		}
	}
	return true
}

// liveAt tells which lanes have a live attempt at their open position; the lanes'
// rows are locked.
func liveAt(ctx context.Context, tx pgx.Tx, lanes []lane) (map[string]bool, error) {
	var names []string
	var positions []int64
	for _, l := range lanes {
		names, positions = append(names, l.name), append(positions, int64(l.position))
	}
	rows, err := tx.Query(ctx, selectLiveAt, names, positions)
	if err != nil {
		return nil, fmt.Errorf("look for live attempts: %w", err)
	}
	taken := map[string]bool{}
	var name string
	_, err = pgx.ForEachRow(rows, []any{&name}, func() error {
		taken[name] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for live attempts: %w", err)
	}
	return taken, nil
}

const selectLiveAt = `
SELECT DISTINCT c.lane
FROM unnest($1::text[], $2::bigint[]) AS t (lane, position)
JOIN contents c ON c.lane = t.lane AND c.position = t.position
JOIN attempt_steps p ON p.content = c.hash
JOIN attempts a ON a.message = p.message AND a.state = 'live'`

// insertAttempts stores attempts with their contents, and the debts of contents
// that are new: a debt enters once for a content, however often it is signed.
//
// Debts are signed only where every lane that may carry some is fenced under the very
// lease that this transaction holds: a service that was ready a moment ago may have lost
// its database to an older copy since, and have the lease of that one.
func (s *Service) insertAttempts(ctx context.Context, tx pgx.Tx, list []*attempt, number int64) error {
	if slices.ContainsFunc(list, func(a *attempt) bool { return carriesPayments(a.steps[0].content) }) {
		var unfenced bool
		if err := tx.QueryRow(ctx, selectUnfenced, number).Scan(&unfenced); err != nil {
			return fmt.Errorf("look at the fences: %w", err)
		}
		if unfenced {
			return errNotFenced
		}
	}
	fresh, err := insertContents(ctx, tx, list)
	if err != nil {
		return err
	}
	now := s.now()
	var rows paymentRows
	var entries []ledger.Entry
	for _, a := range list {
		content := a.steps[0].content
		hash := content.Hash()
		if len(a.payments) == 0 || !fresh[hash] {
			continue
		}
		rows.add(a.kind, hash, PaymentSigned, a.payments)
		entry := ledger.Entry{ID: entryID("signed", hash), Kind: "signed"}
		for _, p := range a.payments {
			purse, err := s.purseOf(a.kind, p.payee, content.Movements[0].Source)
			if err != nil {
				return err
			}
			entry.Transfers = append(entry.Transfers, ledger.Transfer{Debit: purse.owed, Credit: purse.flying, Amount: p.amount})
		}
		entries = append(entries, entry)
	}
	if len(entries) > 0 {
		if err := checkMayPay(ctx, tx); err != nil {
			return err
		}
	}
	if err := rows.insert(ctx, tx, now); err != nil {
		return err
	}
	if _, err := ledger.PostAll(ctx, tx, entries, now); err != nil {
		return fmt.Errorf("put debts in flight: %w", err)
	}
	return insertAttemptRows(ctx, tx, list, number, now)
}

// errNotFenced reports a lease that began anew, and whose fence is not final.
var errNotFenced = fmt.Errorf("%w, or not since its lanes were fenced", errNotLeader)

const selectUnfenced = `
SELECT EXISTS (SELECT 1 FROM lanes WHERE (starts_with(name, 'pay-') OR starts_with(name, 'claim-')) AND fenced <> $1)`

// insertContents stores the attempts' contents and returns those that are new.
func insertContents(ctx context.Context, tx pgx.Tx, list []*attempt) (map[ionet.Hash]bool, error) {
	var hashes, encoded [][]byte
	var lanes []string
	var positions []int64
	var kinds []int16
	for _, a := range list {
		for _, st := range a.steps {
			h := st.content.Hash()
			hashes, encoded = append(hashes, h[:]), append(encoded, st.content.Encode())
			lanes, positions, kinds = append(lanes, st.lane.name), append(positions, int64(st.lane.position)), append(kinds, int16(a.kind))
		}
	}
	rows, err := tx.Query(ctx, insertContentRows, hashes, lanes, positions, kinds, encoded)
	if err != nil {
		return nil, fmt.Errorf("store contents: %w", err)
	}
	fresh := map[ionet.Hash]bool{}
	var hash []byte
	_, err = pgx.ForEachRow(rows, []any{&hash}, func() error {
		fresh[ionet.Hash(hash)] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("store contents: %w", err)
	}
	return fresh, nil
}

const insertContentRows = `
INSERT INTO contents (hash, lane, position, kind, bytes, state)
SELECT t.hash, t.lane, t.position, t.kind, t.bytes, 'open'
FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::smallint[], $5::bytea[]) AS t (hash, lane, position, kind, bytes)
ON CONFLICT (hash) DO NOTHING RETURNING hash`

// insertAttemptRows stores the attempts and their steps.
func insertAttemptRows(ctx context.Context, tx pgx.Tx, list []*attempt, number int64, now time.Time) error {
	var messages, txs, signatures, blockhashes, stepMessages, stepContents [][]byte
	var kinds []int16
	var heights, slots []int64
	for _, a := range list {
		messages, txs, signatures, blockhashes = append(messages, a.message[:]), append(txs, a.tx), append(signatures, a.signature[:]), append(blockhashes, a.blockhash.Hash[:])
		kinds, heights, slots = append(kinds, int16(a.kind)), append(heights, int64(a.blockhash.LastValidHeight)), append(slots, int64(a.blockhash.ContextSlot))
		for _, st := range a.steps {
			h := st.content.Hash()
			stepMessages, stepContents = append(stepMessages, a.message[:]), append(stepContents, h[:])
		}
	}
	var b pgx.Batch
	b.Queue(insertAttemptRow, messages, kinds, txs, signatures, blockhashes, heights, slots, number, now)
	b.Queue(insertSteps, stepMessages, stepContents)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("store attempts: %w", err)
	}
	return nil
}

const insertAttemptRow = `
INSERT INTO attempts (message, kind, state, transaction, signature, blockhash, last_valid_height, context_slot, lease, created_at)
SELECT t.message, t.kind, 'live', t.transaction, t.signature, t.blockhash, t.height, t.slot, $8, $9
FROM unnest($1::bytea[], $2::smallint[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bigint[], $7::bigint[])
    AS t (message, kind, transaction, signature, blockhash, height, slot)`

const insertSteps = `
INSERT INTO attempt_steps (message, content)
SELECT t.message, t.content FROM unnest($1::bytea[], $2::bytea[]) AS t (message, content)`

// paymentRows are rows of payments, by column.
type paymentRows struct {
	ids, payees, accounts, contents [][]byte
	kinds                           []int16
	amounts                         []int64
	states                          []string
}

// add appends what a content pays; ids follow from it, in its order.
func (r *paymentRows) add(kind chain.Kind, content ionet.Hash, state PaymentState, list []payment) {
	for i, p := range list {
		id := ionet.HashOf([]byte("io/payment/1"), content[:], binary.LittleEndian.AppendUint32(nil, uint32(i)))
		r.ids, r.payees, r.accounts, r.contents = append(r.ids, id[:16]), append(r.payees, p.payee[:]), append(r.accounts, p.account[:]), append(r.contents, content[:])
		r.kinds, r.amounts, r.states = append(r.kinds, int16(kind)), append(r.amounts, p.amount.Int64()), append(r.states, string(state))
	}
}

func (r *paymentRows) insert(ctx context.Context, tx pgx.Tx, now time.Time) error {
	if len(r.ids) == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, insertPaymentRows, r.ids, r.kinds, r.payees, r.accounts, r.amounts, r.contents, r.states, now); err != nil {
		return fmt.Errorf("store payments: %w", err)
	}
	return nil
}

const insertPaymentRows = `
INSERT INTO payments (id, kind, payee, account, amount, content, state, created_at)
SELECT t.id, t.kind, t.payee, t.account, t.amount, t.content, t.state, $8
FROM unnest($1::bytea[], $2::smallint[], $3::bytea[], $4::bytea[], $5::bigint[], $6::bytea[], $7::text[])
    AS t (id, kind, payee, account, amount, content, state)`

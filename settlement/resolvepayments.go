package settlement

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// settlePayments moves the debts of the positions: the winners' are paid, those
// of every other content are owed again.
func (s *Service) settlePayments(ctx context.Context, tx pgx.Tx, done []*resolved) error {
	freed, err := s.freeLosers(ctx, tx, done)
	if err != nil {
		return err
	}
	_, _, winners := keysOf(done)
	paid, err := endPayments(ctx, tx, PaymentPaid, winners)
	if err != nil {
		return fmt.Errorf("settle payments: %w", err)
	}
	entries := freed
	var imported []*resolved
	for _, r := range done {
		list := paid[r.hash]
		if len(list) == 0 && carriesPayments(r.content) {
			imported = append(imported, r)
			continue
		}
		entry, err := s.paidEntry(r, list)
		if err != nil {
			return err
		}
		entries = append(entries, entry...)
	}
	if _, err := ledger.PostAll(ctx, tx, entries, s.now()); err != nil {
		return fmt.Errorf("settle payments: %w", err)
	}
	// After the others, whose freed debts may be what these have paid.
	for _, r := range imported {
		if err := s.settleImported(ctx, tx, r); err != nil {
			return err
		}
	}
	return nil
}

// carriesPayments reports whether the content's movements are debts that the
// payments table holds.
func carriesPayments(c chain.Content) bool {
	return len(c.Movements) > 0 && c.Movements[0].Op == chain.Transfer
}

// paidEntry takes each payment from what is in flight out of its vault.
func (s *Service) paidEntry(r *resolved, paid []payment) ([]ledger.Entry, error) {
	if err := r.sum(paid); err != nil || len(paid) == 0 {
		return nil, err
	}
	entry := ledger.Entry{ID: entryID("paid", r.hash), Kind: "paid"}
	for _, p := range paid {
		purse, err := s.purseOf(r.content.Kind, p.payee, r.content.Movements[0].Source)
		if err != nil {
			return nil, err
		}
		entry.Transfers = append(entry.Transfers, ledger.Transfer{Debit: purse.flying, Credit: purse.vault, Amount: p.amount})
	}
	return []ledger.Entry{entry}, nil
}

// sum adds up what was paid, for people.
func (r *resolved) sum(paid []payment) error {
	var err error
	r.count = len(paid)
	for _, p := range paid {
		r.payee = p.payee
		if r.amount, err = r.amount.Add(p.amount); err != nil {
			return err
		}
	}
	return nil
}

// settleImported books a winner that this database never signed. It is taken
// from what is owed; what goes beyond that was overpaid: the chain has it, so the
// books must, and payments end (see checkOverpaid).
func (s *Service) settleImported(ctx context.Context, tx pgx.Tx, r *resolved) error {
	paid, err := s.importPayments(ctx, tx, r.content)
	if err != nil {
		return err
	}
	if err := r.sum(paid); err != nil {
		return err
	}
	purses := make([]purse, len(paid))
	accounts := []ledger.Account{ledger.Overpaid()}
	for i, p := range paid {
		if purses[i], err = s.purseOf(r.content.Kind, p.payee, r.content.Movements[0].Source); err != nil {
			return err
		}
		accounts = append(accounts, purses[i].vault, purses[i].owed)
	}
	left, err := ledger.Lock(ctx, tx, accounts...)
	if err != nil {
		return fmt.Errorf("settle payments: %w", err)
	}
	entry := ledger.Entry{ID: entryID("paid", r.hash), Kind: "paid"}
	for i, p := range paid {
		from := purses[i].owed
		part := lesser(left[from], p.amount)
		if left[from], err = left[from].Sub(part); err != nil {
			return err
		}
		over, err := p.amount.Sub(part)
		if err != nil {
			return err
		}
		if !part.IsZero() {
			entry.Transfers = append(entry.Transfers, ledger.Transfer{Debit: from, Credit: purses[i].vault, Amount: part})
		}
		if !over.IsZero() {
			entry.Transfers = append(entry.Transfers, ledger.Transfer{Debit: ledger.Overpaid(), Credit: purses[i].vault, Amount: over})
		}
	}
	if _, err := ledger.Post(ctx, tx, entry, s.now()); err != nil {
		return fmt.Errorf("settle payments: %w", err)
	}
	return nil
}

func lesser(a, b ionet.Amount) ionet.Amount {
	if a.Cmp(b) < 0 {
		return a
	}
	return b
}

// freeLosers ends the payments of all contents of the positions but the winners,
// and returns the entries that give the debts back. Each content has an entry of
// its own, so that its id tells which.
func (s *Service) freeLosers(ctx context.Context, tx pgx.Tx, done []*resolved) ([]ledger.Entry, error) {
	lanes, positions, winners := keysOf(done)
	rows, err := tx.Query(ctx, selectLosers, lanes, positions, winners)
	if err != nil {
		return nil, fmt.Errorf("free debts: %w", err)
	}
	losers, err := pgx.CollectRows(rows, scanContent)
	if err != nil {
		return nil, fmt.Errorf("free debts: %w", err)
	}
	hashes := make([][]byte, len(losers))
	for i, l := range losers {
		hashes[i] = l.hash[:]
	}
	freed, err := endPayments(ctx, tx, PaymentFreed, hashes)
	if err != nil {
		return nil, fmt.Errorf("free debts: %w", err)
	}
	var entries []ledger.Entry
	for _, l := range losers {
		s.fees.whole = s.fees.whole && l.Kind != chain.KindFees // the run looks again
		entry := ledger.Entry{ID: entryID("freed", l.hash), Kind: "freed"}
		for _, p := range freed[l.hash] {
			purse, err := s.purseOf(l.Kind, p.payee, l.Movements[0].Source)
			if err != nil {
				return nil, err
			}
			entry.Transfers = append(entry.Transfers, ledger.Transfer{Debit: purse.flying, Credit: purse.owed, Amount: p.amount})
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

const selectLosers = `
SELECT c.hash, c.bytes, c.state
FROM unnest($1::text[], $2::bigint[], $3::bytea[]) AS t (lane, position, winner)
JOIN contents c ON c.lane = t.lane AND c.position = t.position AND c.hash <> t.winner
WHERE EXISTS (SELECT 1 FROM payments p WHERE p.content = c.hash AND p.state = 'signed') ORDER BY c.hash`

// entryID names a ledger entry by what happened to which content.
func entryID(what string, content ionet.Hash) ionet.Hash {
	return ionet.HashOf([]byte("io/entry/"+what+"/"), content[:])
}

// payment is a debt that a content carries.
type payment struct {
	payee, account ionet.Key
	amount         ionet.Amount
}

// endPayments ends the signed payments of contents as paid or freed and returns
// them by content.
func endPayments(ctx context.Context, tx pgx.Tx, state PaymentState, contents [][]byte) (map[ionet.Hash][]payment, error) {
	if len(contents) == 0 {
		return nil, nil
	}
	rows, err := tx.Query(ctx, updatePayments, string(state), contents)
	if err != nil {
		return nil, err
	}
	ended := map[ionet.Hash][]payment{}
	var content, payee, account []byte
	var amount int64
	_, err = pgx.ForEachRow(rows, []any{&content, &payee, &account, &amount}, func() error {
		a, err := ionet.NewAmount(uint64(amount))
		ended[ionet.Hash(content)] = append(ended[ionet.Hash(content)], payment{ionet.Key(payee), ionet.Key(account), a})
		return err
	})
	return ended, err
}

const updatePayments = `
WITH ended AS (
    UPDATE payments SET state = $1 WHERE content = ANY ($2::bytea[]) AND state = 'signed'
    RETURNING id, content, payee, account, amount)
SELECT content, payee, account, amount FROM ended ORDER BY content, id`

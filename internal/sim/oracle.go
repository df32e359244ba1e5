package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/settlement"
)

// oracle remembers what was final once, whatever database the service has now:
// a database may be put back, the chain never is.
type oracle struct {
	winners  map[string][]ionet.Hash // by lane: the content that won each position
	next     map[string]ionet.Hash   // by lane: C of the position after these
	earned   map[ionet.Key]uint64    // by payee: the most that sealed epochs ever brought
	received map[ionet.Key]uint64    // by payee: what left the reward vault for its token account, finally
	renters  map[ionet.Key]uint64    // by wallet: what deposits credited to it, finally
	suspense uint64                  // what came into the vaults that is nobody's
	drawn    map[ionet.Key]uint64    // by token account: what left the fee vault for it, finally
	stolen   uint64                  // what left a vault by a transaction of the simulation
	gotFees  map[ionet.Key]uint64    // by payee: what batches of fees brought to its token account, finally
	fees     feeSums                 // of the published receipts
	records  [][]byte                // of the receipt log, as far as it was published
	all      feeSums                 // of all receipts that the present database has
	once     map[string]ionet.Hash   // content by what it does once for ever: a withdrawal, a tranche

	newest map[ionet.Key]chain.Signature // by vault: of its history, as far as it was read
}

func newOracle() *oracle {
	return &oracle{
		winners: map[string][]ionet.Hash{}, next: map[string]ionet.Hash{}, earned: map[ionet.Key]uint64{}, received: map[ionet.Key]uint64{},
		gotFees: map[ionet.Key]uint64{}, fees: newFeeSums(), all: newFeeSums(), renters: map[ionet.Key]uint64{}, drawn: map[ionet.Key]uint64{}, once: map[string]ionet.Hash{}, newest: map[ionet.Key]chain.Signature{},
	}
}

func (o *oracle) clone() *oracle {
	c := *o
	c.winners, c.next, c.earned, c.received = maps.Clone(o.winners), maps.Clone(o.next), maps.Clone(o.earned), maps.Clone(o.received)
	c.renters, c.drawn, c.once, c.newest = maps.Clone(o.renters), maps.Clone(o.drawn), maps.Clone(o.once), maps.Clone(o.newest)
	c.gotFees, c.records, c.fees.earned, c.fees.spent = maps.Clone(o.gotFees), slices.Clone(o.records), maps.Clone(o.fees.earned), maps.Clone(o.fees.spent)
	c.fees.jobs = maps.Clone(o.fees.jobs)
	for name, list := range c.winners {
		c.winners[name] = slices.Clone(list)
	}
	return &c
}

// look holds what must be so at any moment:
//
//	of each payee  earned = paid + owed + in flight, and what the chain paid <= earned
//	of each payee  fees by receipts = paid + owed + in flight, and what the chain paid <= published
//	of each renter credited = unspent + set aside + being withdrawn + withdrawn + spent
//	of the log     what is published is the same for ever
//	of each lane   one winner a position, the same for ever, each built on the one before
//	of the books   debits = credits, nothing overpaid
//	of bytes       none leave before what they do is committed and published
//	of the halt    none but by what the seed did
func (o *oracle) look(ctx context.Context, r *run) error {
	if errors.Is(r.lastErr, settlement.ErrHalted) && r.halts == "" {
		return fmt.Errorf("halted without a cause: %w", r.lastErr)
	}
	if r.premature != nil {
		return r.premature
	}
	if err := o.readHistory(ctx, r); err != nil {
		return err
	}
	// One snapshot: what commits meanwhile is looked at after the next step.
	tx, err := r.eyes.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return fmt.Errorf("look at the database: %w", err)
	}
	defer tx.Rollback(ctx)
	if err := o.checkLanes(ctx, tx, r); err != nil {
		return err
	}
	if err := o.checkPayees(ctx, tx, r); err != nil {
		return err
	}
	if err := o.checkReceipts(ctx, tx, r); err != nil {
		return err
	}
	return o.checkRenters(ctx, tx)
}

// standing is what the database says of one payee, in base units.
type standing struct{ earned, paid, signed, owed, flying uint64 }

// standings reads them for all payees that have anything.
func standings(ctx context.Context, tx pgx.Tx) (map[ionet.Key]standing, error) {
	all := map[ionet.Key]standing{}
	rows, err := tx.Query(ctx, selectStandings)
	if err != nil {
		return nil, fmt.Errorf("read the payees' standings: %w", err)
	}
	var payee []byte
	var s standing
	_, err = pgx.ForEachRow(rows, []any{&payee, &s.earned, &s.paid, &s.signed}, func() error {
		all[ionet.Key(payee)] = s
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the payees' standings: %w", err)
	}
	return all, addBalances(ctx, tx, all)
}

const selectStandings = `
SELECT payee, sum(earned)::bigint, sum(paid)::bigint, sum(signed)::bigint FROM (
    SELECT v.payee, v.amount AS earned, 0 AS paid, 0 AS signed FROM verdicts v JOIN epochs e USING (epoch) WHERE e.state = 'sealed' AND v.amount > 0
    UNION ALL
    SELECT payee, 0, CASE WHEN state = 'paid' THEN amount ELSE 0 END, CASE WHEN state = 'signed' THEN amount ELSE 0 END
    FROM payments WHERE kind IN (4, 5) AND state <> 'freed') AS all_of_them
GROUP BY payee`

func addBalances(ctx context.Context, tx pgx.Tx, all map[ionet.Key]standing) error {
	rows, err := tx.Query(ctx, selectBalances)
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	var kind, text string
	var balance uint64
	_, err = pgx.ForEachRow(rows, []any{&kind, &text, &balance}, func() error {
		payee, err := ionet.ParseKey(text)
		if err != nil {
			return err
		}
		s := all[payee]
		if kind == "owed" {
			s.owed = balance
		} else {
			s.flying = balance
		}
		all[payee] = s
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	return nil
}

const selectBalances = `
SELECT split_part(account, ':', 1), split_part(account, ':', 2), balance FROM ledger_balances
WHERE (starts_with(account, 'owed:') OR starts_with(account, 'inflight:')) AND balance > 0`

func (o *oracle) checkPayees(ctx context.Context, tx pgx.Tx, r *run) error {
	var off int64
	var over int64
	if err := tx.QueryRow(ctx, selectSums).Scan(&off, &over); err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	if off != 0 {
		return fmt.Errorf("debits and credits of the ledger differ by %d", off)
	}
	if over != 0 && r.halts == "" {
		return fmt.Errorf("%d base units were overpaid", -over)
	}
	all, err := standings(ctx, tx)
	if err != nil {
		return err
	}
	for payee, s := range all {
		o.earned[payee] = max(o.earned[payee], s.earned)
		if s.earned != s.paid+s.owed+s.flying || s.signed != s.flying {
			return fmt.Errorf("payee %s earned %d, was paid %d, is owed %d, has %d in flight and %d signed", payee, s.earned, s.paid, s.owed, s.flying, s.signed)
		}
		if s.paid > o.received[payee] {
			return fmt.Errorf("payee %s was paid %d by the books, but %d by the chain", payee, s.paid, o.received[payee])
		}
	}
	for payee, got := range o.received {
		if got > o.earned[payee] {
			return fmt.Errorf("payee %s was paid %d by the chain and earned %d", payee, got, o.earned[payee])
		}
	}
	return nil
}

const selectSums = `
SELECT coalesce(sum(balance), 0)::bigint, coalesce(sum(balance) FILTER (WHERE account = 'overpaid'), 0)::bigint FROM ledger_balances`

// checkLanes reads the winners that are new since it last looked.
func (o *oracle) checkLanes(ctx context.Context, tx pgx.Tx, r *run) error {
	rows, err := tx.Query(ctx, selectWinners)
	if err != nil {
		return fmt.Errorf("read the lanes' winners: %w", err)
	}
	count := map[string]uint64{}
	var lane string
	var position uint64
	var hash, data []byte
	_, err = pgx.ForEachRow(rows, []any{&lane, &position, &hash, &data}, func() error {
		if position != count[lane] {
			return fmt.Errorf("lane %s has a winner of position %d after %d others", lane, position, count[lane])
		}
		count[lane]++
		return o.see(r, lane, position, ionet.Hash(hash), data)
	})
	if err != nil {
		return err
	}
	return o.checkPositions(ctx, tx, count)
}

const selectWinners = `SELECT lane, position, hash, bytes FROM contents WHERE state = 'won' ORDER BY lane, position`

// see compares one winner with what was seen before.
func (o *oracle) see(r *run, lane string, position uint64, hash ionet.Hash, data []byte) error {
	if seen := o.winners[lane]; position < uint64(len(seen)) {
		if seen[position] != hash {
			return fmt.Errorf("position %d of lane %s was won by %s once, and by %s now", position, lane, seen[position], hash)
		}
		return nil
	}
	content, err := chain.ParseContent(data)
	if err != nil {
		return fmt.Errorf("lane %s position %d: %w", lane, position, err)
	}
	address, _ := r.world.net.Network.Lane(lane)
	c, ok := o.next[lane]
	if !ok {
		c = chain.FirstC(address)
	}
	if content.Hash() != hash || content.Lane != address || content.N != position || content.C != c {
		return fmt.Errorf("lane %s position %d: winner %s is not built on the one before", lane, position, hash)
	}
	if err := o.seeOnce(content, hash); err != nil {
		return err
	}
	r.tally.add("won "+content.Kind.String(), 1)
	o.winners[lane], o.next[lane] = append(o.winners[lane], hash), content.Next()
	return nil
}

// checkPositions: each lane's row stands after its winners.
func (o *oracle) checkPositions(ctx context.Context, tx pgx.Tx, count map[string]uint64) error {
	rows, err := tx.Query(ctx, `SELECT name, position FROM lanes`)
	if err != nil {
		return fmt.Errorf("read the lanes: %w", err)
	}
	var name string
	var position uint64
	_, err = pgx.ForEachRow(rows, []any{&name, &position}, func() error {
		if position != count[name] {
			return fmt.Errorf("lane %s is at position %d with %d winners", name, position, count[name])
		}
		return nil
	})
	return err
}

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
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/settlement"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// checkRest holds books and chain against each other; nothing may be on its way.
func (r *run) checkRest(ctx context.Context) error {
	n := r.world.net.Network
	if err := ledger.TrialBalance(ctx, r.eyes); err != nil {
		return err
	}
	keys := []ionet.Key{n.Mint}
	for _, l := range n.Lanes {
		keys = append(keys, l.Address)
	}
	accounts, _, err := r.world.clean.Accounts(ctx, keys, rpc.Finalized, 0)
	if err != nil {
		return err
	}
	for i, l := range n.Lanes {
		state, err := chain.ParseLane(accounts[1+i].Owner, accounts[1+i].Data)
		if err != nil {
			return err
		}
		c, ok := r.oracle.next[l.Name]
		if !ok {
			c = chain.FirstC(l.Address)
		}
		if want := r.world.net.Keys.Secret.Public(c); state != want {
			return fmt.Errorf("lane %s is at %s on chain, its winners lead to %s", l.Name, state, want)
		}
	}
	mint, err := chain.ParseMint(accounts[0].Owner, accounts[0].Data)
	if err != nil {
		return err
	}
	return r.checkMoney(ctx, mint.Supply)
}

// checkMoney: the supply is the genesis and what epochs minted; the vault holds what
// the ledger says, and what strangers gave; each payee got what the books say.
func (r *run) checkMoney(ctx context.Context, supply uint64) error {
	tx, err := r.eyes.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	var minted, live, signed uint64
	if err := tx.QueryRow(ctx, selectRest).Scan(&minted, &live, &signed); err != nil {
		return fmt.Errorf("read the books: %w", err)
	}
	if err := r.count(ctx, tx); err != nil {
		return err
	}
	if live+signed > 0 {
		return fmt.Errorf("%d attempts are live and %d payments signed", live, signed)
	}
	if want := r.world.net.Network.Schedule.Genesis.Base() + minted; supply != want {
		return fmt.Errorf("supply is %d, genesis and sealed epochs are %d", supply, want)
	}
	if err := r.checkVaults(ctx, tx); err != nil {
		return err
	}
	if err := r.checkDeposits(ctx, tx); err != nil {
		return err
	}
	if err := r.checkFeesPaid(ctx, tx); err != nil {
		return err
	}
	return r.checkPaid(ctx, tx)
}

const selectRest = `
SELECT (SELECT coalesce(sum(sum), 0)::bigint FROM epochs WHERE state = 'sealed'),
    (SELECT count(*) FROM attempts WHERE state = 'live'), (SELECT count(*) FROM payments WHERE state = 'signed')`

// checkVaults: each vault holds what the ledger says; the account of a category may
// hold gifts beside that.
func (r *run) checkVaults(ctx context.Context, tx pgx.Tx) error {
	n := r.world.net.Network
	type vault struct {
		account ionet.Key
		books   ledger.Account
		exact   bool
	}
	list := []vault{{n.Vaults.Reward, ledger.VaultReward(), true}, {n.Vaults.Fee, ledger.VaultFee(), true}}
	for _, a := range n.Allocation {
		if a.IsManaged() {
			list = append(list, vault{a.Account, ledger.VaultAllocation(a.Category), false})
		}
	}
	for _, v := range list {
		booked, err := ledger.Balance(ctx, tx, v.books)
		if err != nil {
			return err
		}
		holds, _, err := r.world.clean.TokenBalance(ctx, v.account, n.Mint, rpc.Finalized, 0)
		if err != nil {
			return err
		}
		if holds.Cmp(booked) < 0 || v.exact && holds != booked {
			return fmt.Errorf("%s holds %s, by the ledger %s", v.books, holds, booked)
		}
	}
	return nil
}

// checkDeposits: every deposit that the chain has was credited to whom it was meant
// for, what was meant for nobody is in suspense, and each token account got what the
// withdrawals to it say.
func (r *run) checkDeposits(ctx context.Context, tx pgx.Tx) error {
	credited := map[ionet.Key]uint64{}
	if err := sums(ctx, tx, selectCredited, credited); err != nil {
		return err
	}
	drawn := map[ionet.Key]uint64{}
	if err := sums(ctx, tx, selectDrawn, drawn); err != nil {
		return err
	}
	if !maps.Equal(credited, r.oracle.renters) {
		return fmt.Errorf("deposits of renters are %v by the books, %v by the chain", credited, r.oracle.renters)
	}
	if !maps.Equal(drawn, r.oracle.drawn) {
		return fmt.Errorf("withdrawals by token account are %v by the books, %v by the chain", drawn, r.oracle.drawn)
	}
	suspense, err := ledger.Balance(ctx, tx, ledger.Suspense())
	if err != nil {
		return err
	}
	if r.halts == "" && suspense.Base() != r.oracle.suspense {
		return fmt.Errorf("%s base units are in suspense, strangers gave %d", suspense, r.oracle.suspense)
	}
	return nil
}

func sums(ctx context.Context, tx pgx.Tx, sql string, into map[ionet.Key]uint64) error {
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return fmt.Errorf("sum deposits and withdrawals: %w", err)
	}
	var key []byte
	var sum uint64
	_, err = pgx.ForEachRow(rows, []any{&key, &sum}, func() error {
		into[ionet.Key(key)] = sum
		return nil
	})
	return err
}

const selectCredited = `SELECT renter, sum(amount)::bigint FROM deposits WHERE state = 'credited' GROUP BY renter`

const selectDrawn = `SELECT account, sum(amount)::bigint FROM payments WHERE kind = 6 AND state = 'paid' GROUP BY account`

// checkPaid: each payee got from the chain what the books say, and is owed something
// only where it can't be paid.
func (r *run) checkPaid(ctx context.Context, tx pgx.Tx) error {
	all, err := standings(ctx, tx)
	if err != nil {
		return err
	}
	for _, p := range r.world.providers {
		s := all[p.payee()]
		if got := r.oracle.received[p.payee()]; got != s.paid {
			return fmt.Errorf("payee %d was paid %d by the books, %d by the chain", p.number, s.paid, got)
		}
		if s.earned != r.oracle.earned[p.payee()] {
			return fmt.Errorf("payee %d earned %d, and %d by an earlier database", p.number, s.earned, r.oracle.earned[p.payee()])
		}
		if s.owed == 0 {
			continue
		}
		if reason, err := r.unpayable(ctx, p); err != nil || reason == "" && !r.isHeld(p) {
			return errors.Join(err, fmt.Errorf("payee %d is owed %d after a payout run, and can be paid", p.number, s.owed))
		}
	}
	return nil
}

// isHeld reports whether payout runs leave a provider out for now.
func (r *run) isHeld(p *provider) bool {
	return slices.ContainsFunc(r.status.Held, func(h settlement.HeldPayee) bool { return h.Payee == p.payee() })
}

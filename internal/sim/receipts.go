package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// feeSums is what a log of receipts says, in base units.
type feeSums struct {
	earned  map[ionet.Key]uint64 // by payee
	spent   map[ionet.Key]uint64 // by renter
	network uint64
	jobs    map[ionet.Hash]bool // ids of the statements
}

func newFeeSums() feeSums {
	return feeSums{earned: map[ionet.Key]uint64{}, spent: map[ionet.Key]uint64{}, jobs: map[ionet.Hash]bool{}}
}

// add adds a record, which may be no receipt.
func (f *feeSums) add(index uint64, data []byte) error {
	record, err := proofs.ParseRecord(data)
	if err != nil {
		return fmt.Errorf("record %d: %w", index, err)
	}
	if record.Index != index {
		return fmt.Errorf("record %d says that it is %d", index, record.Index)
	}
	if receipt, ok := record.Entry.(proofs.Receipt); ok {
		id := receipt.Statement.ID()
		if f.jobs[id] {
			return fmt.Errorf("record %d is a second receipt of statement %s", index, id)
		}
		f.jobs[id] = true
		f.earned[receipt.Payee] += receipt.ProviderPart.Base()
		f.network += receipt.NetworkPart.Base()
		f.spent[receipt.Renter] += receipt.ProviderPart.Base() + receipt.NetworkPart.Base()
	}
	return nil
}

// checkReceipts reads the database's log: what is published is the same for ever, the
// books are what all of it says, and the chain paid nobody more than what is published.
func (o *oracle) checkReceipts(ctx context.Context, tx pgx.Tx, r *run) error {
	all := newFeeSums()
	published, err := r.publishedSize(ctx)
	if err != nil {
		return err
	}
	rows, err := tx.Query(ctx, `SELECT index, record FROM log_entries ORDER BY index`)
	if err != nil {
		return fmt.Errorf("read the receipt log: %w", err)
	}
	var index uint64
	var data []byte
	next := uint64(0)
	_, err = pgx.ForEachRow(rows, []any{&index, &data}, func() error {
		if index != next {
			return fmt.Errorf("record %d of the receipt log follows %d others", index, next)
		}
		next++
		switch {
		case index >= published:
		case index < uint64(len(o.records)):
			if !bytes.Equal(o.records[index], data) {
				return fmt.Errorf("record %d of the receipt log was published, and is another now", index)
			}
		default:
			o.records = append(o.records, bytes.Clone(data))
			if err := o.fees.add(index, data); err != nil {
				return err
			}
		}
		return all.add(index, data)
	})
	if err != nil {
		return err
	}
	o.all = all
	if err := o.checkFeeBooks(ctx, tx, all); err != nil {
		return err
	}
	for payee, got := range o.gotFees {
		if got > o.fees.earned[payee] {
			return fmt.Errorf("payee %s was paid %d of fees by the chain, the published receipts say %d", payee, got, o.fees.earned[payee])
		}
	}
	return nil
}

// publishedSize is the size of the newest checkpoint, which the service has to have
// signed.
func (r *run) publishedSize(ctx context.Context) (uint64, error) {
	note, err := r.store.Get(ctx, publish.CheckpointName)
	if errors.Is(err, publish.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n := r.world.net.Network
	c, err := proofs.OpenCheckpoint(n.ID(), n.Keys.Service, note)
	return c.Size, err
}

// checkFeeBooks: what receipts say is owed, in flight or paid, and the network's part
// lies where no wallet gets it.
func (o *oracle) checkFeeBooks(ctx context.Context, tx pgx.Tx, all feeSums) error {
	booked := map[ionet.Key]uint64{}
	var network uint64
	rows, err := tx.Query(ctx, selectFeeBooks)
	if err != nil {
		return fmt.Errorf("read the books of fees: %w", err)
	}
	var name string
	var amount uint64
	_, err = pgx.ForEachRow(rows, []any{&name, &amount}, func() error {
		kind, text, _ := strings.Cut(name, ":")
		if kind == "network-fees" {
			network = amount
			return nil
		}
		payee, err := ionet.ParseKey(text)
		booked[payee] += amount
		return err
	})
	if err != nil {
		return fmt.Errorf("read the books of fees: %w", err)
	}
	paid, err := paidFees(ctx, tx)
	if err != nil {
		return err
	}
	for payee, sum := range paid {
		booked[payee] += sum
		if sum > o.gotFees[payee] {
			return fmt.Errorf("payee %s was paid %d of fees by the books, %d by the chain", payee, sum, o.gotFees[payee])
		}
	}
	for payee, sum := range all.earned {
		if booked[payee] != sum {
			return fmt.Errorf("payee %s earned fees of %d by the receipts, has %d by the books", payee, sum, booked[payee])
		}
		delete(booked, payee)
	}
	for payee, sum := range booked {
		if sum > 0 {
			return fmt.Errorf("payee %s has fees of %d by the books and no receipt", payee, sum)
		}
	}
	if network != all.network {
		return fmt.Errorf("the network has fees of %d by the books, %d by the receipts", network, all.network)
	}
	return nil
}

const selectFeeBooks = `
SELECT account, balance FROM ledger_balances
WHERE starts_with(account, 'fees:') OR starts_with(account, 'fees-inflight:') OR account = 'network-fees'`

// paidFees sums what batches of fees paid, by the books.
func paidFees(ctx context.Context, tx pgx.Tx) (map[ionet.Key]uint64, error) {
	paid := map[ionet.Key]uint64{}
	return paid, sums(ctx, tx, selectPaidFees, paid)
}

const selectPaidFees = `SELECT payee, sum(amount)::bigint FROM payments WHERE kind = 10 AND state = 'paid' GROUP BY payee`

// setAside sums by renter what sessions and their channels hold.
func setAside(ctx context.Context, tx pgx.Tx) (map[ionet.Key]uint64, error) {
	held := map[ionet.Key]uint64{}
	rows, err := tx.Query(ctx, `SELECT account, balance FROM ledger_balances WHERE starts_with(account, 'session:') OR starts_with(account, 'channel:')`)
	if err != nil {
		return nil, fmt.Errorf("read what sessions hold: %w", err)
	}
	balances := map[string]uint64{}
	var name string
	var amount uint64
	_, err = pgx.ForEachRow(rows, []any{&name, &amount}, func() error {
		balances[name] = amount
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what sessions hold: %w", err)
	}
	rows, err = tx.Query(ctx, `SELECT 'session', id, renter FROM sessions UNION ALL SELECT 'channel', channel, renter FROM channels`)
	if err != nil {
		return nil, fmt.Errorf("read sessions and channels: %w", err)
	}
	var kind string
	var id, renter []byte
	_, err = pgx.ForEachRow(rows, []any{&kind, &id, &renter}, func() error {
		account := kind + ":" + ionet.Hash(id).String()
		if kind == "channel" {
			account = kind + ":" + ionet.Key(id).String()
		}
		held[ionet.Key(renter)] += balances[account]
		delete(balances, account)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read sessions and channels: %w", err)
	}
	for name, amount := range balances {
		if amount > 0 {
			return nil, fmt.Errorf("%s holds %d and is nobody's", name, amount)
		}
	}
	return held, nil
}

// isFees reports whether a transaction is a batch of fees, by its memo.
func isFees(tx []byte) bool {
	d, err := chain.Decode(tx)
	return err == nil && d.Plan.Kind == chain.KindFees
}

// checkFeesPaid: at rest everybody who can be paid has what the receipts say, and every
// statement of a job that is taken is in the log, or waits for the one before it.
func (r *run) checkFeesPaid(ctx context.Context, tx pgx.Tx) error {
	paid, err := paidFees(ctx, tx)
	if err != nil {
		return err
	}
	for _, p := range r.world.providers {
		if got := r.oracle.gotFees[p.payee()]; got != paid[p.payee()] {
			return fmt.Errorf("payee %d was paid fees of %d by the books, %d by the chain", p.number, paid[p.payee()], got)
		}
		owed := r.oracle.all.earned[p.payee()] - paid[p.payee()]
		if owed == 0 || r.isHeld(p) {
			continue
		}
		if reason, err := r.unpayable(ctx, p); err != nil || reason == "" {
			return errors.Join(err, fmt.Errorf("payee %d is owed fees of %d after a payout run, and can be paid", p.number, owed))
		}
	}
	rows, err := tx.Query(ctx, `SELECT id FROM waiting_jobs`)
	if err != nil {
		return fmt.Errorf("read the jobs that wait: %w", err)
	}
	waiting := map[ionet.Hash]bool{}
	var id []byte
	if _, err := pgx.ForEachRow(rows, []any{&id}, func() error { waiting[ionet.Hash(id)] = true; return nil }); err != nil {
		return fmt.Errorf("read the jobs that wait: %w", err)
	}
	for _, f := range r.fees {
		id := f.Envelope.ID()
		isJob := f.Envelope.Kind == proofs.KindJob || f.Envelope.Kind == proofs.KindJobBatch
		if isJob && r.taken[id] && !waiting[id] && !r.oracle.all.jobs[id] {
			return fmt.Errorf("%s %s was taken, and is neither in the receipt log nor waiting", f.Envelope.Kind, id)
		}
	}
	return nil
}

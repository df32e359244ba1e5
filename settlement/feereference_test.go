package settlement

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// What everybody writes first, for BenchmarkFees: one transaction for each receipt.

const createFeeReference = `
CREATE TABLE ref_head (one boolean PRIMARY KEY, size bigint NOT NULL, fees bigint NOT NULL, frontier bytea NOT NULL);
CREATE TABLE ref_channels (channel bytea PRIMARY KEY, spent bigint NOT NULL, limit_ bigint NOT NULL);
CREATE TABLE ref_balances (account text PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0));
CREATE TABLE ref_receipts (index bigint PRIMARY KEY, channel bytea NOT NULL, job bytea NOT NULL, record bytea NOT NULL, UNIQUE (channel, job));
INSERT INTO ref_head VALUES (true, 0, 0, '')`

const fillFeeReference = `
INSERT INTO ref_channels SELECT channel, 0, limit_ FROM channels;
INSERT INTO ref_balances SELECT account, 1::bigint << 44 FROM ledger_balances WHERE starts_with(account, 'channel:');
INSERT INTO ref_balances VALUES ('network', 0)`

// openReference makes the reference's tables, on connections of their own.
func (r *feeRun) openReference(url string) {
	r.t.Helper()
	r.refs = pgtest.Open(r.t, url)
	for _, sql := range []string{createFeeReference, fillFeeReference} {
		r.exec(sql)
	}
	for i := range feeHosts {
		r.exec(`INSERT INTO ref_balances VALUES ($1, 0)`, fmt.Sprint("payee ", i))
	}
}

// reference makes a receipt of each job in a transaction of its own, by so many at once.
func (r *feeRun) reference(jobs []proofs.Envelope, lines int) error {
	var next atomic.Int64
	errs := make([]error, lines)
	var wg sync.WaitGroup
	for line := range lines {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(jobs)); i = next.Add(1) - 1 {
				if errs[line] = r.referenceOne(&jobs[i]); errs[line] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (r *feeRun) referenceOne(e *proofs.Envelope) error {
	job, err := proofs.ParseJob(e.Body)
	if err != nil {
		return err
	}
	session := r.keys[job.Channel]
	voucher, err := proofs.Voucher{Channel: job.Channel, Cumulative: job.Cumulative}.Encode()
	if err != nil {
		return err
	}
	if !ed25519.Verify(e.Signer[:], proofs.SignedBytes(r.Network(), e.Kind, e.Body), e.Signature[:]) || !ed25519.Verify(session[:], voucher, job.Voucher[:]) {
		return errors.New("a signature does not verify")
	}
	provider, network, err := proofs.Split(job.Fee, 500)
	if err != nil {
		return err
	}
	ctx := r.t.Context()
	return pgx.BeginFunc(ctx, r.refs, func(tx pgx.Tx) error {
		var size, fees, spent, limit int64
		var edge []byte
		if err := tx.QueryRow(ctx, `SELECT size, fees, frontier FROM ref_head FOR UPDATE`).Scan(&size, &fees, &edge); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, `SELECT spent, limit_ FROM ref_channels WHERE channel = $1 FOR UPDATE`, job.Channel[:]).Scan(&spent, &limit); err != nil {
			return err
		}
		if spent+job.Fee.Int64() > limit {
			return errors.New("the limit is spent")
		}
		record, err := proofs.Record{Index: uint64(size), Accepted: job.Served, Entry: proofs.Receipt{
			Payee: e.Signer, BasisPoints: 500, ProviderPart: provider, NetworkPart: network, TotalFees: ionet.MustAmount(uint64(fees) + job.Fee.Base()), TotalJobs: uint64(size + 1), Statement: *e,
		}}.Encode()
		if err != nil {
			return err
		}
		frontier, err := frontierOf(uint64(size), edge)
		if err != nil {
			return err
		}
		frontier.Append(record)
		if edge, err = frontier.MarshalBinary(); err != nil {
			return err
		}
		for _, q := range []struct {
			sql  string
			args []any
		}{
			{`INSERT INTO ref_receipts VALUES ($1, $2, $3, $4)`, []any{size, job.Channel[:], job.ID[:], record}},
			{`UPDATE ref_channels SET spent = spent + $2 WHERE channel = $1`, []any{job.Channel[:], job.Fee.Int64()}},
			{`UPDATE ref_balances SET balance = balance - $2 WHERE account = $1`, []any{ledger.Channel(job.Channel).String(), job.Fee.Int64()}},
			{`UPDATE ref_balances SET balance = balance + $2 WHERE account = $1`, []any{fmt.Sprint("payee ", int(e.Signer[0])%feeHosts), provider.Int64()}},
			{`UPDATE ref_balances SET balance = balance + $1 WHERE account = 'network'`, []any{network.Int64()}},
			{`UPDATE ref_head SET size = $1, fees = $2, frontier = $3`, []any{size + 1, fees + job.Fee.Int64(), edge}},
		} {
			if _, err := tx.Exec(ctx, q.sql, q.args...); err != nil {
				return err
			}
		}
		return nil
	})
}

// frontierOf reads the edge of a tree of that size; an empty one has none.
func frontierOf(size uint64, edge []byte) (proofs.Frontier, error) {
	if size == 0 {
		return proofs.Frontier{}, nil
	}
	return proofs.ParseFrontier(edge)
}

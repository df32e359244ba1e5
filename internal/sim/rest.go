package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/proofs/audit"
	"github.com/ionet-settlement/ionet/settlement"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// auditEvery is how many seeds share one audit of the whole network.
const auditEvery = 10

// maxPasses bounds how many passes anything may need.
const maxPasses = 400

// rest ends all faults, brings the network to where nothing is on its way, pays
// everybody who can be paid, and holds all books against each other.
func (r *run) rest(ctx context.Context) error {
	for _, f := range r.world.fronts {
		if err := f.Heal(); err != nil {
			return err
		}
	}
	r.b.stop()
	r.a.skew = 0
	if err := r.start(ctx, r.a); err != nil {
		return err
	}
	// The lease that a dead instance left behind runs out first, whatever its clock said.
	if err := r.world.tick(int64(maxSkew+10), 0); err != nil {
		return err
	}
	if err := r.handInAgain(ctx); err != nil {
		return err
	}
	if err := r.giveBack(ctx); err != nil {
		return err
	}
	if err := r.idle(ctx); err != nil {
		return err
	}
	// What a log that was being rebuilt did not take.
	r.handAllFees(ctx, r.a)
	if err := r.claimSome(ctx, 3); err != nil {
		return err
	}
	if err := r.payAll(ctx); err != nil {
		return err
	}
	if err := r.idle(ctx); err != nil {
		return err
	}
	if err := r.look(ctx); err != nil {
		return err
	}
	if err := r.checkRest(ctx); err != nil {
		return err
	}
	if r.seed%auditEvery == 0 {
		return r.audit(ctx)
	}
	return nil
}

// giveBack returns what was stolen, or the last payees could not be paid.
func (r *run) giveBack(ctx context.Context) error {
	if r.halts == "" {
		return nil
	}
	stranger, n := strangerKey(), r.world.net.Network
	for _, vault := range []ionet.Key{n.Vaults.Reward, n.Vaults.Fee} {
		_, _, err := r.sendAs(ctx, stranger, r.move(chain.PublicOf(stranger), vault, 1000))
		if err != nil {
			return err
		}
	}
	return nil
}

// settleUntil makes passes until done; where that takes long, so many blocks pass
// at once that every transaction that can expire does, and so much time that what is
// left alone for some minutes is not.
func (r *run) settleUntil(ctx context.Context, done func() bool) error {
	for n := range maxPasses {
		if err := r.world.tick(1, 2); err != nil {
			return err
		}
		if n%30 == 29 {
			if err := r.world.tick(50, 160); err != nil {
				return err
			}
		}
		passed := r.pass(ctx, r.a)
		if errors.Is(passed, settlement.ErrHalted) {
			if r.halts == "" {
				return fmt.Errorf("halted: %w", passed)
			}
			if _, err := r.resume(ctx); err != nil {
				return err
			}
		}
		var err error
		if r.status, err = r.a.service.Overview(ctx); err != nil {
			return err
		}
		if passed == nil && r.status.Ready && done() {
			return nil
		}
	}
	open, _ := r.busy(ctx)
	return fmt.Errorf("not at rest after %d passes, %s; the last one said: %v; %s; status %+v", maxPasses, open, r.lastErr, r.detail, r.status)
}

// idle makes passes until no transaction is open, no payout run is, and every epoch
// that is due is sealed.
func (r *run) idle(ctx context.Context) error {
	var failed error
	err := r.settleUntil(ctx, func() bool {
		var open string
		if open, failed = r.busy(ctx); failed != nil {
			return true
		}
		k, _, _ := r.world.clock.At(r.a.now())
		due := k - 1
		if due > 0 && r.world.unix.Load() < r.world.clock.EpochEnd(due)+graceSeconds+2 {
			due--
		}
		return open == "" && r.status.Sealed >= due
	})
	return errors.Join(err, failed)
}

const selectBusy = `
SELECT what, n FROM (
    SELECT 'live attempts', count(*) FROM attempts WHERE state = 'live'
    UNION ALL SELECT 'signed payments', count(*) FROM payments WHERE state = 'signed'
    UNION ALL SELECT 'payout runs', count(*) FROM payout_runs WHERE done_at IS NULL
    UNION ALL SELECT 'releases', count(*) FROM unlock_requests WHERE done_at IS NULL
    UNION ALL SELECT 'seals', count(*) FROM seals WHERE state = 'waiting'
    UNION ALL SELECT 'halts', count(*) FROM halts WHERE resumed_by IS NULL
    UNION ALL SELECT 'withdrawals', count(*) FROM withdrawals WHERE state = 'accepted' AND reason = ''
    UNION ALL SELECT 'vaults', count(*) FROM standings WHERE note <> '' AND books IN ('vault:reward', 'vault:fee')) AS busy (what, n)
WHERE n > 0`

// busy tells what is not over yet; "" where all is.
func (r *run) busy(ctx context.Context) (string, error) {
	rows, err := r.eyes.Query(ctx, selectBusy)
	if err != nil {
		return "", fmt.Errorf("look for what is open: %w", err)
	}
	var parts []string
	var what string
	var n int
	_, err = pgx.ForEachRow(rows, []any{&what, &n}, func() error {
		parts = append(parts, fmt.Sprintf("%d %s", n, what))
		return nil
	})
	return strings.Join(parts, ", "), err
}

// payAll asks for a payout run and makes passes until it is over.
func (r *run) payAll(ctx context.Context) error {
	id, err := r.a.service.RequestPayout(ctx)
	if err != nil {
		return err
	}
	var failed error
	err = r.settleUntil(ctx, func() bool {
		var run settlement.PayoutRun
		run, failed = r.a.service.PayoutRun(ctx, id)
		return failed != nil || run.Done
	})
	return errors.Join(err, failed)
}

// claimSome lets wallets claim one after the other, who must be paid.
func (r *run) claimSome(ctx context.Context, count int) error {
	for _, p := range r.world.providers {
		owed, err := ledger.Balance(ctx, r.eyes, ledger.Owed(p.payee()))
		if err != nil {
			return err
		}
		if count == 0 || owed.IsZero() || !r.claimable(ctx, p) {
			continue
		}
		count--
		prepared, err := r.a.service.PrepareClaim(ctx, p.payee())
		if err != nil {
			return fmt.Errorf("prepare a claim at rest: %w", err)
		}
		tx, err := chain.CoSign(prepared.Transaction, p.wallet)
		if err != nil {
			return err
		}
		c, err := r.a.service.SubmitClaim(ctx, tx)
		if err != nil {
			return fmt.Errorf("submit a claim at rest: %w", err)
		}
		err = r.settleUntil(ctx, func() bool {
			c, err = r.a.service.ClaimStatus(ctx, c.Message)
			return err != nil || c.State == settlement.ClaimPaid
		})
		if err != nil {
			return fmt.Errorf("claim of %s, %s: %w", p.payee(), c.State, err)
		}
	}
	return nil
}

// claimable reports whether a wallet's token account can take tokens, or is not
// there and can be made.
func (r *run) claimable(ctx context.Context, p *provider) bool {
	reason, err := r.unpayable(ctx, p)
	return err == nil && (reason == "" || reason == "missing")
}

// unpayable tells why a transfer to a provider's token account would not reach
// its wallet; "" where it would.
func (r *run) unpayable(ctx context.Context, p *provider) (string, error) {
	list, _, err := r.world.clean.Accounts(ctx, []ionet.Key{chain.TokenAccount(p.payee(), r.world.net.Network.Mint)}, rpc.Confirmed, 0)
	if err != nil {
		return "", err
	}
	state, err := chain.ParseTokenAccount(list[0].Owner, list[0].Data)
	switch {
	case !list[0].Exists() || errors.Is(err, chain.ErrNoAccount):
		return "missing", nil
	case err != nil:
		return "", err
	case state.Frozen:
		return "frozen", nil
	case state.Owner != p.payee():
		return "another's", nil
	}
	return "", nil
}

// audit lets an auditor who trusts nothing of ours repeat everything.
func (r *run) audit(ctx context.Context) error {
	report, err := audit.Run(ctx, audit.Config{Chain: r.world.clean, Store: r.store, Mint: r.world.net.Network.Mint})
	if err != nil {
		return err
	}
	if r.oracle.stolen > 0 {
		if report.Status() != 1 {
			return fmt.Errorf("audit: a theft is no finding: %s", report.Summary())
		}
		return nil
	}
	if report.Status() != 0 {
		return fmt.Errorf("audit: %s; findings %v; unchecked %v", report.Summary(), report.Findings, report.Unchecked)
	}
	return nil
}

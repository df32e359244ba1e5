package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
	if err := r.idle(ctx); err != nil {
		return err
	}
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

// settleUntil makes passes until done; where that takes long, so many blocks pass
// at once that every transaction that can expire does.
func (r *run) settleUntil(ctx context.Context, done func() bool) error {
	for n := range maxPasses {
		if err := r.world.tick(1, 2); err != nil {
			return err
		}
		if n%30 == 29 {
			if err := r.world.tick(1, 160); err != nil {
				return err
			}
		}
		passed := r.pass(ctx, r.a)
		if errors.Is(passed, settlement.ErrHalted) {
			return fmt.Errorf("halted: %w", passed)
		}
		var err error
		if r.status, err = r.a.service.Overview(ctx); err != nil {
			return err
		}
		if passed == nil && r.status.Ready && done() {
			return nil
		}
	}
	return fmt.Errorf("not at rest after %d passes; the last one said: %w; status %+v", maxPasses, r.lastErr, r.status)
}

// idle makes passes until no transaction is open, no payout run is, and every epoch
// that is due is sealed.
func (r *run) idle(ctx context.Context) error {
	var failed error
	err := r.settleUntil(ctx, func() bool {
		if len(r.status.Live) > 0 || !r.status.InFlight.IsZero() {
			return false
		}
		var open int
		if failed = r.eyes.QueryRow(ctx, `SELECT count(*) FROM payout_runs WHERE done_at IS NULL`).Scan(&open); failed != nil {
			return true
		}
		k, _, _ := r.world.clock.At(r.a.now())
		due := k - 1
		if due > 0 && r.world.unix.Load() < r.world.clock.EpochEnd(due)+graceSeconds+2 {
			due--
		}
		return open == 0 && r.status.Sealed >= due
	})
	return errors.Join(err, failed)
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

// checkRest holds books and chain against each other; nothing may be on its way.
func (r *run) checkRest(ctx context.Context) error {
	n := r.world.net.Network
	if err := ledger.TrialBalance(ctx, r.eyes); err != nil {
		return err
	}
	keys := []ionet.Key{n.Mint, n.Vaults.Reward}
	for _, l := range n.Lanes {
		keys = append(keys, l.Address)
	}
	accounts, _, err := r.world.clean.Accounts(ctx, keys, rpc.Finalized, 0)
	if err != nil {
		return err
	}
	for i, l := range n.Lanes {
		state, err := chain.ParseLane(accounts[2+i].Owner, accounts[2+i].Data)
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
	vault, err := chain.ParseTokenAccount(accounts[1].Owner, accounts[1].Data)
	if err != nil {
		return err
	}
	return r.checkMoney(ctx, mint.Supply, vault.Amount)
}

// checkMoney: the supply is the genesis and what epochs minted; the vault holds what
// the ledger says, and what strangers gave; each payee got what the books say.
func (r *run) checkMoney(ctx context.Context, supply, vault uint64) error {
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
	booked, err := ledger.Balance(ctx, tx, ledger.VaultReward())
	if err != nil {
		return err
	}
	if booked.Base() != vault && booked.Base()+r.oracle.foreign != vault {
		return fmt.Errorf("the vault holds %d, by the ledger %d, of which strangers gave %d", vault, booked.Base(), r.oracle.foreign)
	}
	return r.checkPaid(ctx, tx)
}

const selectRest = `
SELECT (SELECT coalesce(sum(sum), 0)::bigint FROM epochs WHERE state = 'sealed'),
    (SELECT count(*) FROM attempts WHERE state = 'live'), (SELECT count(*) FROM payments WHERE state = 'signed')`

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
		held := slices.ContainsFunc(r.status.Held, func(h settlement.HeldPayee) bool { return h.Payee == p.payee() })
		if reason, err := r.unpayable(ctx, p); err != nil || reason == "" && !held {
			return errors.Join(err, fmt.Errorf("payee %d is owed %d after a payout run, and can be paid", p.number, s.owed))
		}
	}
	return nil
}

// audit lets an auditor who trusts nothing of ours repeat everything.
func (r *run) audit(ctx context.Context) error {
	report, err := audit.Run(ctx, audit.Config{Chain: r.world.clean, Store: r.store, Mint: r.world.net.Network.Mint})
	if err != nil {
		return err
	}
	if report.Status() != 0 {
		return fmt.Errorf("audit: %s; findings %v; unchecked %v", report.Summary(), report.Findings, report.Unchecked)
	}
	return nil
}

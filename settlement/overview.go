package settlement

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// Overview is the state of settlement as the database has it. Any instance,
// and any program with access to the database, can ask for it.
type Overview struct {
	Leader      [16]byte // instance that holds the lease, or held it last
	Lease       int64    // its number; 0: nobody ever held it
	Expires     time.Time
	Lanes       []LaneStatus
	Live        []AttemptStatus
	Vault       ionet.Amount // of the reward vault, by the ledger
	Owed        ionet.Amount // to all payees
	InFlight    ionet.Amount // in signed transactions whose outcome is open
	FeeVault    ionet.Amount // by the ledger
	Renters     ionet.Amount // what they prepaid and have not spent
	Withdrawing ionet.Amount // asked back by renters, and not final yet
	Sessions    ionet.Amount // set aside by renters and not spent
	Fees        ionet.Amount // that payees earned, owed or in signed transactions
	NetworkFees ionet.Amount // the network's part, where no wallet gets it
	Suspense    ionet.Amount // sent to a vault by others, nobody knows for whom

	RewardSuspense, FeeSuspense ionet.Amount // of Suspense, what either vault holds

	Waiting   int // withdrawals that no transaction carries yet, at most 1000
	Held      []HeldPayee
	Sealed    uint64     // last epoch whose seal is final
	Halted    string     // why nothing, or no debt, is signed; "" where it may
	Standings []Standing // vaults that differ from the books, or whose history is not read yet
	Ready     bool       // this instance leads and is fenced
}

// LaneStatus is where a lane stands.
type LaneStatus struct {
	Name     string
	Address  ionet.Key
	Position uint64
	Fenced   bool // under the lease that is in force, or the lane needs no fence
}

// AttemptStatus is a signed transaction whose outcome is open.
type AttemptStatus struct {
	Kind            string
	Signature       string // "" for a claim that its wallet has not signed yet
	LastValidHeight uint64
	Created         time.Time
	Reason          string // why a node refused it; "" where none did
}

// HeldPayee is a payee that payouts leave out for now.
type HeldPayee struct {
	Payee   ionet.Key
	Owed    ionet.Amount // of emissions
	Fees    ionet.Amount // owed
	Reason  string
	RetryAt time.Time // when the next run looks at it again
}

// Overview reads it.
func (s *Service) Overview(ctx context.Context) (Overview, error) {
	o := Overview{Ready: s.view.isReady()}
	var err error
	if o.Halted, err = s.WhyHalted(ctx); err != nil {
		return o, err
	}
	if o.Standings, err = s.Standings(ctx); err != nil {
		return o, err
	}
	var leader []byte
	err = s.pool.QueryRow(ctx, selectLease, leaseName).Scan(&leader, &o.Lease, &o.Expires)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return o, fmt.Errorf("read the lease: %w", err)
	}
	copy(o.Leader[:], leader)
	lanes, err := s.loadLanes(ctx)
	if err != nil {
		return o, err
	}
	for _, l := range lanes {
		o.Lanes = append(o.Lanes, LaneStatus{l.name, l.address, l.position, !l.carriesDebts() || l.fenced == o.Lease && o.Lease > 0})
	}
	o.Sealed = s.sealedBy(laneNamed(lanes, epochLane))
	live, err := s.liveAttempts(ctx)
	if err != nil {
		return o, err
	}
	for _, a := range live {
		status := AttemptStatus{Kind: a.kind.String(), LastValidHeight: a.blockhash.LastValidHeight, Created: a.created, Reason: a.reason}
		if !a.isOffer() {
			status.Signature = a.signature.String()
		}
		o.Live = append(o.Live, status)
	}
	if o.Held, err = s.held(ctx); err != nil {
		return o, err
	}
	waiting, err := s.waitingWithdrawals(ctx)
	if err != nil {
		return o, err
	}
	o.Waiting = len(waiting)
	return o, errors.Join(s.readTotals(ctx, &o), s.readSuspense(ctx, &o))
}

// readSuspense reads which vault holds what is in suspense. What left suspense did so
// to renters' balances, which are in the fee vault.
func (s *Service) readSuspense(ctx context.Context, o *Overview) error {
	var reward, elsewhere, all int64
	err := s.pool.QueryRow(ctx, sumSuspense, ledger.VaultReward().String(), ledger.VaultFee().String(), ledger.Suspense().String()).Scan(&reward, &elsewhere, &all)
	if err != nil {
		return fmt.Errorf("sum what is in suspense: %w", err)
	}
	if o.RewardSuspense, err = ionet.NewAmount(uint64(reward)); err != nil {
		return err
	}
	outside, err := ionet.NewAmount(uint64(elsewhere))
	if err != nil {
		return err
	}
	if o.Suspense, err = ionet.NewAmount(uint64(all)); err != nil {
		return err
	}
	o.FeeSuspense, err = o.Suspense.Sub(outside)
	return err
}

const sumSuspense = `
SELECT coalesce(sum(amount) FILTER (WHERE debit = $1), 0)::bigint, coalesce(sum(amount) FILTER (WHERE debit <> $2), 0)::bigint,
    coalesce((SELECT balance FROM ledger_balances WHERE account = $3), 0)
FROM ledger_transfers WHERE credit = $3`

const selectLease = `SELECT instance, number, expires_at FROM lease WHERE name = $1`

func (s *Service) readTotals(ctx context.Context, o *Overview) error {
	vaults, err := ledger.Balances(ctx, s.pool, ledger.VaultReward(), ledger.VaultFee())
	if err != nil {
		return err
	}
	o.Vault, o.FeeVault = vaults[ledger.VaultReward()], vaults[ledger.VaultFee()]
	var owed, flying, renters, withdrawing, sessions, fees, network int64
	if err := s.pool.QueryRow(ctx, sumDebts).Scan(&owed, &flying, &renters, &withdrawing, &sessions, &fees, &network); err != nil {
		return fmt.Errorf("sum the debts: %w", err)
	}
	for _, sum := range []struct {
		into *ionet.Amount
		n    int64
	}{{&o.Owed, owed}, {&o.InFlight, flying}, {&o.Renters, renters}, {&o.Withdrawing, withdrawing}, {&o.Sessions, sessions}, {&o.Fees, fees}, {&o.NetworkFees, network}} {
		if *sum.into, err = ionet.NewAmount(uint64(sum.n)); err != nil {
			return err
		}
	}
	return nil
}

const sumDebts = `
SELECT coalesce(sum(balance) FILTER (WHERE starts_with(account, 'owed:')), 0)::bigint,
    coalesce(sum(balance) FILTER (WHERE starts_with(account, 'inflight:')), 0)::bigint,
    coalesce(sum(balance) FILTER (WHERE starts_with(account, 'renter:')), 0)::bigint,
    coalesce(sum(balance) FILTER (WHERE starts_with(account, 'withdrawing:') OR starts_with(account, 'withdrawal-inflight:')), 0)::bigint,
    coalesce(sum(balance) FILTER (WHERE starts_with(account, 'session:') OR starts_with(account, 'channel:')), 0)::bigint,
    coalesce(sum(balance) FILTER (WHERE starts_with(account, 'fees:') OR starts_with(account, 'fees-inflight:')), 0)::bigint,
    coalesce(sum(balance) FILTER (WHERE account = 'network-fees'), 0)::bigint
FROM ledger_balances`

package settlement

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// Head is where the network stands.
type Head struct {
	Now    time.Time
	Epoch  uint64 // of Now; 0 before the first
	Sample uint16
	Frozen uint64 // last epoch that takes no more uptime statements
	Sealed uint64 // last epoch whose seal is final; 0: none
}

const selectHead = `
SELECT (SELECT frozen_through FROM intake), coalesce((SELECT max(epoch) FROM epochs WHERE state = 'sealed'), 0)`

// Head returns where the network stands now.
func (s *Service) Head(ctx context.Context) (Head, error) {
	h := Head{Now: s.now()}
	h.Epoch, h.Sample, _ = s.clock.At(h.Now)
	var frozen, sealed int64
	if err := s.front.QueryRow(ctx, selectHead).Scan(&frozen, &sealed); err != nil {
		return Head{}, fmt.Errorf("read head: %w", err)
	}
	h.Frozen, h.Sealed = uint64(frozen), uint64(sealed)
	return h, nil
}

// Epoch is the books of one epoch. VerdictsRoot, BookRoot and Memo are set once
// it is published, Signature and Slot once it is sealed and they are known.
type Epoch struct {
	Epoch        uint64
	State        EpochState
	Start, End   time.Time
	Emission     ionet.Amount // Sum + Unissued
	Sum          ionet.Amount // what is minted
	Unissued     ionet.Amount
	Policy       ionet.Hash
	InputsRoot   ionet.Hash
	VerdictsRoot ionet.Hash
	BookRoot     ionet.Hash
	Verdicts     int
	Memo         string
	Signature    chain.Signature
	Slot         uint64
	Draw         string // of its policy: emissions.DrawSchedule or DrawTarget
	PriceEpoch   uint64 // of the price that it was judged by; 0: none
	MicroUSD     uint64 // that price of one whole token in 10^-6 US dollar
}

const selectEpochs = `SELECT ` + epochColumns + ` FROM epochs ORDER BY epoch DESC LIMIT $1`

const selectOneEpoch = `SELECT ` + epochColumns + ` FROM epochs WHERE epoch = $1`

// Epochs returns the newest epochs that have books, newest first.
func (s *Service) Epochs(ctx context.Context, limit int) ([]Epoch, error) {
	rows, err := scanEpochs(ctx, s.front, nil, selectEpochs, limit)
	if err != nil {
		return nil, fmt.Errorf("read epochs: %w", err)
	}
	all := make([]Epoch, len(rows))
	for i := range rows {
		all[i] = s.epochOf(&rows[i])
	}
	return all, nil
}

// Epoch returns the books of epoch k, or an unknown-epoch Problem.
func (s *Service) Epoch(ctx context.Context, k uint64) (Epoch, error) {
	if k > s.intake.schedule.Epochs() {
		return Epoch{}, s.unknownEpoch(k)
	}
	rows, err := scanEpochs(ctx, s.front, nil, selectOneEpoch, int64(k))
	if err != nil {
		return Epoch{}, fmt.Errorf("read epoch %d: %w", k, err)
	}
	if len(rows) == 0 {
		return Epoch{}, s.unknownEpoch(k)
	}
	return s.epochOf(&rows[0]), nil
}

func (s *Service) unknownEpoch(k uint64) *Problem {
	return NewProblem(ProblemUnknownEpoch, "epoch", "epoch %d has no books: it is not closed yet, or there is no such epoch", k)
}

func (s *Service) epochOf(r *epochRow) Epoch {
	e := Epoch{
		Epoch: r.epoch, State: r.state, Emission: r.emission, Sum: r.sum, Unissued: r.unissued, Policy: r.policy,
		Start: time.Unix(s.clock.EpochStart(r.epoch), 0).UTC(), End: time.Unix(s.clock.EpochEnd(r.epoch), 0).UTC(),
		InputsRoot: r.inputsRoot, VerdictsRoot: r.verdictsRoot, Verdicts: r.verdicts, Memo: r.memo, Slot: r.slot,
		Draw: r.draw, PriceEpoch: r.priceEpoch, MicroUSD: r.microUSD,
	}
	if r.state != EpochFrozen {
		e.BookRoot = proofs.BookRoot(r.inputsRoot, r.verdictsRoot)
	}
	copy(e.Signature[:], r.signature)
	return e
}

// EpochVerdict is a verdict with its epoch.
type EpochVerdict struct {
	Epoch uint64
	proofs.Verdict
}

// Verdicts returns the verdicts of epoch k, ascending by device and worker, or
// an unknown-epoch Problem.
func (s *Service) Verdicts(ctx context.Context, k uint64) ([]proofs.Verdict, error) {
	if _, err := s.Epoch(ctx, k); err != nil {
		return nil, err
	}
	return readVerdicts(ctx, s.front, k)
}

const selectPayeeVerdicts = `
SELECT ` + verdictColumns + ` FROM verdicts WHERE payee = $1 ORDER BY epoch DESC, uuid, worker LIMIT $2`

// PayeeVerdicts returns the newest verdicts on devices that earn for payee.
func (s *Service) PayeeVerdicts(ctx context.Context, payee ionet.Key, limit int) ([]EpochVerdict, error) {
	all, err := scanVerdicts(ctx, s.front, selectPayeeVerdicts, payee[:], limit)
	if err != nil {
		return nil, fmt.Errorf("read verdicts of payee %s: %w", payee, err)
	}
	return all, nil
}

// VerdictProof is a verdict and the proof that it is the Index-th of Count under
// the verdicts root that the epoch's memo commits to: proofs.CheckProof.
type VerdictProof struct {
	Verdict proofs.Verdict
	Index   int
	Count   int
	Root    ionet.Hash
	Proof   []ionet.Hash
}

// DeviceVerdicts returns what epoch k decided on a device, one verdict for each
// worker that named it, each with its proof. An epoch without published books is
// an unknown-epoch Problem, a device that is not in them an unknown-device one.
func (s *Service) DeviceVerdicts(ctx context.Context, uuid ionet.UUID, k uint64) ([]VerdictProof, error) {
	e, err := s.Epoch(ctx, k)
	if err != nil {
		return nil, err
	}
	if e.State == EpochFrozen {
		return nil, NewProblem(ProblemUnknownEpoch, "epoch", "the book of epoch %d is not published yet", k).after(beaconRetry)
	}
	verdicts, err := readVerdicts(ctx, s.front, k)
	if err != nil {
		return nil, err
	}
	records := proofs.VerdictRecords(verdicts)
	var found []VerdictProof
	for i, v := range verdicts {
		if v.UUID != uuid {
			continue
		}
		proof, err := proofs.Prove(records, i)
		if err != nil {
			return nil, err
		}
		found = append(found, VerdictProof{Verdict: v, Index: i, Count: len(verdicts), Root: e.VerdictsRoot, Proof: proof})
	}
	if len(found) == 0 {
		return nil, NewProblem(ProblemUnknownDevice, "uuid", "device %s is not in the books of epoch %d: no inventory in force named it", uuid, k)
	}
	return found, nil
}

// Provider is what a payout wallet earned and got. Earned = Paid + InFlight +
// Claimable.
type Provider struct {
	Payee     ionet.Key
	Earned    ionet.Amount // by sealed epochs
	Paid      ionet.Amount // final on chain
	InFlight  ionet.Amount // carried by signed transactions whose outcome is open
	Claimable ionet.Amount
	Devices   int        // that have a verdict for this payee in the newest epoch with books
	Held      *HeldPayee // why payout runs leave it out for now; nil where they do not
}

const selectEarned = `
SELECT coalesce((SELECT sum(t.amount) FROM ledger_transfers t WHERE t.debit = $1 AND t.credit = $2), 0)::bigint,
       (SELECT count(DISTINCT uuid) FROM verdicts WHERE payee = $3 AND epoch = (SELECT max(epoch) FROM epochs))`

const selectHeldPayee = `SELECT reason, retry_at FROM held_payees WHERE payee = $1 AND retry_at > $2`

// Provider returns the earnings of a payout wallet, all zero for one that is not
// known.
func (s *Service) Provider(ctx context.Context, payee ionet.Key) (Provider, error) {
	p := Provider{Payee: payee}
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, s.front, snapshot, func(tx pgx.Tx) error {
		var earned int64
		owed, inFlight := ledger.Owed(payee), ledger.InFlight(payee)
		if err := tx.QueryRow(ctx, selectEarned, ledger.VaultReward().String(), owed.String(), payee[:]).Scan(&earned, &p.Devices); err != nil {
			return err
		}
		balances, err := ledger.Balances(ctx, tx, owed, inFlight)
		if err != nil {
			return err
		}
		if p.Earned, err = amountOf(earned); err != nil {
			return err
		}
		p.Claimable, p.InFlight = balances[owed], balances[inFlight]
		rest, err := p.Earned.Sub(p.Claimable)
		if err != nil {
			return err
		}
		if p.Paid, err = rest.Sub(p.InFlight); err != nil {
			return err
		}
		h := HeldPayee{Payee: payee, Owed: p.Claimable}
		switch err := tx.QueryRow(ctx, selectHeldPayee, payee[:], s.now()).Scan(&h.Reason, &h.RetryAt); {
		case err == nil:
			p.Held = &h
		case !errors.Is(err, pgx.ErrNoRows):
			return err
		}
		return nil
	})
	if err != nil {
		return Provider{}, fmt.Errorf("read earnings of %s: %w", payee, err)
	}
	return p, nil
}

// WorkerStatus is what this service has of a worker.
type WorkerStatus struct {
	Worker        ionet.Key
	Provider      ionet.Key  // of the newest inventory's delegation
	Payee         ionet.Key  // its payout wallet
	Delegation    ionet.Hash // the newest inventory's
	Inventory     ionet.Hash // the newest
	Devices       int        // of the newest inventory
	LastStatement ionet.Hash // id of the last uptime statement by epoch and sample; zero: none
	LastEpoch     uint64
	LastSample    uint16
}

const selectWorker = `
SELECT i.id, i.delegation, i.devices, d.provider, d.payee
FROM inventories i JOIN delegations d ON d.id = i.delegation
WHERE i.worker = $1 ORDER BY i.arrival_epoch DESC, i.arrival_sample DESC, i.id DESC LIMIT 1`

const selectLastBooked = `SELECT last_statement, heard, last_sample FROM workers WHERE key = $1 AND last_statement IS NOT NULL`

// WorkerStatus returns what this service has of a worker, or an unknown-worker
// Problem.
func (s *Service) WorkerStatus(ctx context.Context, worker ionet.Key) (WorkerStatus, error) {
	w := WorkerStatus{Worker: worker}
	var inventory, delegation, provider, payee []byte
	err := s.front.QueryRow(ctx, selectWorker, worker[:]).Scan(&inventory, &delegation, &w.Devices, &provider, &payee)
	if errors.Is(err, pgx.ErrNoRows) {
		return WorkerStatus{}, NewProblem(ProblemUnknownWorker, "worker", "worker %s has no inventory here", worker)
	}
	if err != nil {
		return WorkerStatus{}, fmt.Errorf("read worker %s: %w", worker, err)
	}
	w.Inventory, w.Delegation = ionet.Hash(inventory), ionet.Hash(delegation)
	w.Provider, w.Payee = ionet.Key(provider), ionet.Key(payee)
	if err := s.lastStatement(ctx, &w); err != nil {
		return WorkerStatus{}, fmt.Errorf("read the last statement of worker %s: %w", worker, err)
	}
	return w, nil
}

// lastStatement finds the worker's last one in the table, or else in a sealed book.
func (s *Service) lastStatement(ctx context.Context, w *WorkerStatus) error {
	rows, err := s.front.Query(ctx, selectLastUptime, w.Worker[:], int64(s.arrival().Epoch)+1)
	if err != nil {
		return err
	}
	err = scanUptimes(rows, func(r *uptimeRow) error {
		w.LastStatement, w.LastEpoch, w.LastSample = r.id, r.at.epoch, r.at.sample
		return nil
	})
	if err != nil || !w.LastStatement.IsZero() {
		return err
	}
	var last []byte
	var epoch int64
	var sample int16
	err = s.front.QueryRow(ctx, selectLastBooked, w.Worker[:]).Scan(&last, &epoch, &sample)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err == nil {
		w.LastStatement, w.LastEpoch, w.LastSample = ionet.Hash(last), uint64(epoch), uint16(sample)
	}
	return err
}

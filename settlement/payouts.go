package settlement

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// batchLimit is the most payees of one payout: as many fit a transaction of
// version 1 with one money key.
const batchLimit = 57

// RequestPayout asks for a payout run: whoever leads pays every payee that is
// owed at least the policy's minimum and can be paid, batch after batch. The
// run is done once no payee is left to pay and nothing is on its way.
func (s *Service) RequestPayout(ctx context.Context) (id [16]byte, err error) {
	id = draw(s.cfg.Rand)
	if _, err := s.pool.Exec(ctx, insertRun, id[:], s.now()); err != nil {
		return id, fmt.Errorf("ask for a payout run: %w", err)
	}
	return id, nil
}

const insertRun = `INSERT INTO payout_runs (id, asked_at) VALUES ($1, $2)`

// PayoutRun is what a run has come to: the payouts that were signed since it
// was asked for, in which runs that overlap share.
type PayoutRun struct {
	Done   bool
	Payees int          // paid, finally
	Paid   ionet.Amount // to them
	Open   int          // payments on their way
}

// PayoutRun looks at the run of that id.
func (s *Service) PayoutRun(ctx context.Context, id [16]byte) (PayoutRun, error) {
	var r PayoutRun
	var paid int64
	if err := s.pool.QueryRow(ctx, selectRun, id[:], int16(chain.KindPayout)).Scan(&r.Done, &r.Payees, &paid, &r.Open); err != nil {
		return r, fmt.Errorf("look for payout run %x: %w", id, err)
	}
	var err error
	r.Paid, err = ionet.NewAmount(uint64(paid))
	return r, err
}

const selectRun = `
SELECT r.done_at IS NOT NULL, count(p.id) FILTER (WHERE p.state = 'paid'),
    coalesce(sum(p.amount) FILTER (WHERE p.state = 'paid'), 0)::bigint, count(p.id) FILTER (WHERE p.state = 'signed')
FROM payout_runs r LEFT JOIN payments p ON p.kind = $2 AND p.created_at >= r.asked_at AND p.created_at <= coalesce(r.done_at, p.created_at)
WHERE r.id = $1 GROUP BY r.id, r.done_at`

// payDue makes batches for the pay lanes that are free, while a run is open.
func (s *Service) payDue(ctx context.Context, lanes []lane, live []attempt) error {
	now := s.now()
	var open int
	if err := s.pool.QueryRow(ctx, countOpenRuns, now).Scan(&open); err != nil {
		return fmt.Errorf("look for payout runs: %w", err)
	}
	if open == 0 {
		return nil
	}
	free, busy, err := s.freePayLanes(ctx, lanes, live)
	if err != nil || len(free) == 0 {
		return err
	}
	due, err := s.duePayees(ctx, now, len(free)*batchLimit)
	if err != nil {
		return err
	}
	due, err = s.checkPayable(ctx, due)
	if err != nil {
		return err
	}
	if len(due) == 0 && !busy {
		return s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
			_, err := tx.Exec(ctx, closeRuns, now, s.now())
			return err
		})
	}
	var errs []error
	for _, l := range free {
		n := min(len(due), batchLimit)
		if n == 0 {
			break
		}
		left, err := s.payBatch(ctx, l, due[:n])
		due = append(left, due[n:]...)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

const countOpenRuns = `SELECT count(*) FROM payout_runs WHERE done_at IS NULL AND asked_at <= $1`

const closeRuns = `UPDATE payout_runs SET done_at = $2 WHERE done_at IS NULL AND asked_at <= $1`

// freePayLanes returns the pay lanes whose open position carries no debt and
// has no live attempt; busy tells whether any other has.
func (s *Service) freePayLanes(ctx context.Context, lanes []lane, live []attempt) (free []lane, busy bool, err error) {
	debts, err := s.openDebts(ctx)
	if err != nil {
		return nil, false, err
	}
	taken := map[string]bool{}
	for _, d := range debts {
		taken[d.lane] = true
	}
	for _, l := range lanes {
		if !strings.HasPrefix(l.name, payPrefix) {
			continue
		}
		if _, alive := liveOn(live, l, anyAttempt); alive || taken[l.name] {
			busy = true
		} else {
			free = append(free, l)
		}
	}
	return free, busy, nil
}

// duePayees returns payees by what they are owed, the largest first, without
// those that are held.
func (s *Service) duePayees(ctx context.Context, now time.Time, limit int) ([]payment, error) {
	policy, err := s.rulesNow(ctx, s.pool)
	if err != nil {
		return nil, err
	}
	minimum := max(policy.Payout.Minimum.Int64(), 1)
	held, err := s.heldPayees(ctx, now)
	if err != nil {
		return nil, err
	}
	prefix := strings.TrimSuffix(ledger.Owed(ionet.Key{}).String(), ionet.Key{}.String())
	rows, err := s.pool.Query(ctx, selectDue, prefix, minimum, limit+len(held))
	if err != nil {
		return nil, fmt.Errorf("load payees: %w", err)
	}
	var due []payment
	var name string
	var balance int64
	_, err = pgx.ForEachRow(rows, []any{&name, &balance}, func() error {
		payee, err := ionet.ParseKey(name[len(prefix):])
		if err != nil {
			return err
		}
		amount, err := ionet.NewAmount(uint64(balance))
		if err == nil && !held[payee] && len(due) < limit {
			due = append(due, payment{payee, chain.TokenAccount(payee, s.cfg.Network.Mint), amount})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("load payees: %w", err)
	}
	return due, nil
}

const selectDue = `
SELECT account, balance FROM ledger_balances
WHERE starts_with(account, $1) AND balance >= $2
ORDER BY balance DESC, account LIMIT $3`

func (s *Service) heldPayees(ctx context.Context, now time.Time) (map[ionet.Key]bool, error) {
	rows, err := s.pool.Query(ctx, selectHeld, now)
	if err != nil {
		return nil, fmt.Errorf("load held payees: %w", err)
	}
	held := map[ionet.Key]bool{}
	var payee []byte
	_, err = pgx.ForEachRow(rows, []any{&payee}, func() error {
		held[ionet.Key(payee)] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load held payees: %w", err)
	}
	return held, nil
}

const selectHeld = `SELECT payee FROM held_payees WHERE retry_at > $1`

// checkPayable looks at the payees' token accounts; who can't be paid now is
// held with the reason, and leaves the list.
func (s *Service) checkPayable(ctx context.Context, due []payment) ([]payment, error) {
	if len(due) == 0 {
		return nil, nil
	}
	keys := make([]ionet.Key, len(due))
	for i, p := range due {
		keys[i] = p.account
	}
	accounts, _, err := s.cfg.Chain.Accounts(ctx, keys, rpc.Confirmed, 0)
	if err != nil {
		return nil, fmt.Errorf("read the payees' accounts: %w", err)
	}
	var payable []payment
	for i, p := range due {
		reason := s.whyUnpayable(accounts[i])
		if p.account == s.cfg.Network.Vaults.Reward {
			reason = "the payout wallet is the operator: its token account is the vault itself"
		}
		if reason != "" {
			if err := s.holdNow(ctx, p.payee, reason); err != nil {
				return nil, err
			}
			continue
		}
		payable = append(payable, p)
	}
	return payable, nil
}

// whyUnpayable returns why a token account can't take a transfer, "" where it can.
func (s *Service) whyUnpayable(a rpc.Account) string {
	state, err := chain.ParseTokenAccount(a.Owner, a.Data)
	switch {
	case !a.Exists() || errors.Is(err, chain.ErrNoAccount):
		return "the payout wallet has no token account yet: open it, or claim with the wallet"
	case err != nil:
		return err.Error()
	case state.Mint != s.cfg.Network.Mint:
		return fmt.Sprintf("the token account is of mint %s", state.Mint)
	case state.Frozen:
		return "the token account is frozen"
	}
	return ""
}

// holdNow holds a payee in a transaction of its own.
func (s *Service) holdNow(ctx context.Context, payee ionet.Key, reason string) error {
	err := s.asLeader(ctx, func(tx pgx.Tx, _ int64) error { return s.holdPayee(ctx, tx, payee, reason) })
	if err == nil {
		s.emit(Event{Kind: EventHeld, Payee: payee, Detail: reason})
	}
	return err
}

// holdPayee leaves a payee out of payouts for a while. What it is owed stays.
func (s *Service) holdPayee(ctx context.Context, tx pgx.Tx, payee ionet.Key, reason string) error {
	if _, err := tx.Exec(ctx, insertHeld, payee[:], reason, s.now().Add(s.cfg.HeldRetry)); err != nil {
		return fmt.Errorf("hold payee %s: %w", payee, err)
	}
	return nil
}

const insertHeld = `
INSERT INTO held_payees (payee, reason, retry_at) VALUES ($1, $2, $3)
ON CONFLICT (payee) DO UPDATE SET reason = excluded.reason, retry_at = excluded.retry_at`

// payBatch signs and sends one payout to as many of list as fit, after a
// simulation of the unsigned transaction. A payee that breaks the simulation
// is held and the rest tried again: nothing was signed yet. It returns the
// payees that did not fit.
func (s *Service) payBatch(ctx context.Context, l lane, list []payment) (left []payment, err error) {
	batch := draw(s.cfg.Rand)
	for len(list) > 0 {
		d, err := s.payoutDraft(l, batch, list)
		if err != nil {
			return left, err
		}
		broken, err := s.rehearse(ctx, &d)
		if errors.Is(err, chain.ErrTooLarge) {
			left, list = append(left, list[len(list)-1]), list[:len(list)-1]
			continue
		}
		if err != nil {
			return left, err
		}
		if broken == nil {
			_, err := s.launch(ctx, d)
			return left, err
		}
		i := broken.Instruction - 1
		if i < 0 || i >= len(list) {
			return left, fmt.Errorf("payout on %s would fail: %w", l.name, broken)
		}
		if err := s.holdNow(ctx, list[i].payee, broken.Error()); err != nil {
			return left, err
		}
		list = append(list[:i:i], list[i+1:]...)
	}
	return left, nil
}

func (s *Service) payoutDraft(l lane, batch [16]byte, list []payment) (draft, error) {
	sum, err := debtOf(list)
	if err != nil {
		return draft{}, err
	}
	d := draft{kind: chain.KindPayout, lanes: []lane{l}, payments: list, memo: proofs.PayoutMemo{Batch: batch, Count: uint64(len(list)), Sum: sum}.String()}
	for _, p := range list {
		d.movements = append(d.movements, chain.Movement{Op: chain.Transfer, Source: s.cfg.Network.Vaults.Reward, Destination: p.account, Amount: p.amount})
	}
	return d, nil
}

// rehearse simulates d unsigned, so that nobody who sees it could send it,
// and sets the compute limit to what it used and some room. It returns why
// it would fail.
func (s *Service) rehearse(ctx context.Context, d *draft) (*rpc.TransactionError, error) {
	blockhash, err := s.cfg.Chain.LatestBlockhash(ctx)
	if err != nil {
		return nil, err
	}
	plan, _, err := s.plan(*d)
	if err != nil {
		return nil, err
	}
	plan.Blockhash, plan.Budget = blockhash.Hash, plan.DefaultBudget()
	message, err := plan.Message()
	if err != nil {
		return nil, err
	}
	unsigned, _, err := chain.SignMessage(message)
	if err != nil {
		return nil, err
	}
	result, err := s.cfg.Chain.Simulate(ctx, unsigned, blockhash.ContextSlot)
	if err != nil {
		return nil, fmt.Errorf("simulate %s: %w", d.kind, err)
	}
	if result.Err == nil {
		d.units = uint32(min(result.Units+result.Units/4+1_000, 1_400_000))
	}
	return result.Err, nil
}

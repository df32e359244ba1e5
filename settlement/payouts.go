package settlement

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// RequestPayout asks for a payout run: whoever leads pays every payee that is
// owed at least the policy's minimum, of emissions or of fees, and can be paid, batch
// after batch. The run is done once no payee is left to pay and nothing is on its way;
// fees that came in since it began are the next one's.
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
	Payees int          // paid, finally; who got emissions and fees is two
	Paid   ionet.Amount // to them
	Open   int          // payments on their way
}

// PayoutRun looks at the run of that id.
func (s *Service) PayoutRun(ctx context.Context, id [16]byte) (PayoutRun, error) {
	var r PayoutRun
	var paid int64
	if err := s.pool.QueryRow(ctx, selectRun, id[:], payoutKinds).Scan(&r.Done, &r.Payees, &paid, &r.Open); err != nil {
		return r, fmt.Errorf("look for payout run %x: %w", id, err)
	}
	var err error
	r.Paid, err = ionet.NewAmount(uint64(paid))
	return r, err
}

// payoutKinds are the contents of payout runs.
var payoutKinds = []int16{int16(chain.KindPayout), int16(chain.KindFees)}

const selectRun = `
SELECT r.done_at IS NOT NULL, count(p.id) FILTER (WHERE p.state = 'paid'),
    coalesce(sum(p.amount) FILTER (WHERE p.state = 'paid'), 0)::bigint, count(p.id) FILTER (WHERE p.state = 'signed')
FROM payout_runs r LEFT JOIN payments p ON p.kind = ANY ($2::smallint[]) AND p.created_at >= r.asked_at AND p.created_at <= coalesce(r.done_at, p.created_at)
WHERE r.id = $1 GROUP BY r.id, r.done_at`

// payDue makes batches for the lanes of the pool, while a run is open.
func (s *Service) payDue(ctx context.Context, pool *lanePool) error {
	now := s.now()
	var open, held int
	var asked time.Time // by the newest of them
	if err := s.pool.QueryRow(ctx, countOpenRuns, now).Scan(&open, &held, &asked); err != nil {
		return fmt.Errorf("look for payout runs: %w", err)
	}
	s.metrics.runs.Set(float64(open))
	s.metrics.held.Set(float64(held))
	if open == 0 || len(pool.free) == 0 && pool.paying {
		return nil
	}
	// Without a free lane it is only seen whether the run is over: what withdrawals do is
	// none of its business.
	if err := s.liftHeld(ctx); err != nil {
		return err
	}
	found, err := s.duePayees(ctx, now, max(1, len(pool.free))*s.payees)
	if err != nil {
		return err
	}
	due, err := s.checkPayable(ctx, found)
	if err != nil {
		return err
	}
	// Only now: who was just held is not paid fees either.
	fees, ready, err := s.dueFees(ctx, now, asked, max(1, len(pool.free))*s.feePayees)
	if err != nil {
		return err
	}
	s.metrics.feesDue.Set(float64(len(s.fees.due)))
	claimed, err := s.claimsWanted(ctx)
	if err != nil {
		return err
	}
	// Where all that were found are held now, others may be owed less.
	if len(found) == 0 && len(fees) == 0 && claimed == 0 && !pool.paying {
		s.fees = feeDebts{}
		s.metrics.feesDue.Set(0)
		return s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
			_, err := tx.Exec(ctx, closeRuns, now, s.now())
			return err
		})
	}
	if !ready {
		fees = nil // a later pass pays them
	}
	if fees, err = s.checkPayable(ctx, fees); err != nil {
		return err
	}
	drafts, err := s.batches(ctx, pool, due, fees)
	return errors.Join(err, s.launchAll(ctx, drafts))
}

// batches gives the pool's lanes to batches of both kinds, by turns: neither waits for the
// end of the other.
func (s *Service) batches(ctx context.Context, pool *lanePool, due, fees []payment) (drafts []draft, failed error) {
	var lists [][]payBatch
	for _, of := range []struct {
		kind chain.Kind
		most int
		due  []payment
	}{{chain.KindPayout, s.payees, due}, {chain.KindFees, s.feePayees, fees}} {
		if len(of.due) == 0 {
			continue
		}
		if err := s.signers.resting(of.kind); err != nil {
			failed = errors.Join(failed, err) // the lanes are left to others
			continue
		}
		var list []payBatch
		for part := range slices.Chunk(of.due, of.most) {
			list = append(list, payBatch{of.kind, part})
		}
		lists = append(lists, list)
	}
	if len(lists) == 2 {
		var last int16
		err := s.pool.QueryRow(ctx, selectLastSigned, payoutKinds).Scan(&last)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return nil, fmt.Errorf("look whose turn it is on the pay lanes: %w", err)
		}
		if chain.Kind(last) == chain.KindPayout {
			slices.Reverse(lists)
		}
	}
	for _, b := range alternate(lists...) {
		l, ok := pool.take()
		if !ok {
			break
		}
		d, err := s.payoutDraft(b.kind, l, batchOf(b.kind, l, b.list), b.list)
		if err != nil {
			return nil, err
		}
		drafts = append(drafts, d)
	}
	return drafts, failed
}

// payBatch is whom one content pays.
type payBatch struct {
	kind chain.Kind // payout or fees
	list []payment
}

const countOpenRuns = `
SELECT count(*), (SELECT count(*) FROM held_payees WHERE retry_at > $1), coalesce(max(asked_at), $1)
FROM payout_runs WHERE done_at IS NULL AND asked_at <= $1`

const closeRuns = `UPDATE payout_runs SET done_at = $2 WHERE done_at IS NULL AND asked_at <= $1`

// duePayees returns payees by what they are owed, the largest first, without
// those that are held.
func (s *Service) duePayees(ctx context.Context, now time.Time, limit int) ([]payment, error) {
	minimum, err := s.payoutMinimum(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, selectDue, minimum, limit, now)
	if err != nil {
		return nil, fmt.Errorf("load payees: %w", err)
	}
	var due []payment
	var name string
	var balance int64
	_, err = pgx.ForEachRow(rows, []any{&name, &balance}, func() error {
		payee, err := ionet.ParseKey(strings.TrimPrefix(name, owedPrefix))
		if err != nil {
			return err
		}
		amount, err := ionet.NewAmount(uint64(balance))
		if err == nil {
			due = append(due, payment{payee, chain.TokenAccount(payee, s.cfg.Network.Mint), amount})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("load payees: %w", err)
	}
	return due, nil
}

// owedPrefix begins the names of ledger.Owed; the query has it in itself, because
// the index that answers it is on those accounts alone.
const owedPrefix = "owed:"

const selectDue = `
SELECT b.account, b.balance FROM ledger_balances b
WHERE starts_with(b.account, 'owed:') AND b.balance >= $1
  AND NOT EXISTS (SELECT 1 FROM held_payees h WHERE h.owed = b.account AND h.retry_at > $3)
ORDER BY b.balance DESC, b.account LIMIT $2`

// checkPayable looks at the payees' token accounts; who can't be paid now is
// held with the reason, and leaves the list.
func (s *Service) checkPayable(ctx context.Context, due []payment) ([]payment, error) {
	if len(due) == 0 {
		return nil, nil
	}
	accounts, err := s.payeeAccounts(ctx, due)
	if err != nil {
		return nil, fmt.Errorf("read the payees' accounts: %w", err)
	}
	var payable, held []payment
	var reasons []string
	for i, p := range due {
		reason := s.whyUnpayable(p, accounts[i])
		if reason == "" {
			payable = append(payable, p)
			continue
		}
		held, reasons = append(held, p), append(reasons, reason)
	}
	return payable, s.holdAll(ctx, held, reasons)
}

// payeeAccounts reads the payees' token accounts at confirmed, 100 in a call.
func (s *Service) payeeAccounts(ctx context.Context, list []payment) ([]rpc.Account, error) {
	const part = 100
	accounts := make([]rpc.Account, len(list))
	errs := make([]error, (len(list)+part-1)/part)
	s.each(len(errs), func(i int) {
		some := list[i*part : min((i+1)*part, len(list))]
		keys := make([]ionet.Key, len(some))
		for j, p := range some {
			keys[j] = p.account
		}
		var read []rpc.Account
		read, _, errs[i] = s.cfg.Chain.Accounts(ctx, keys, rpc.Confirmed, 0)
		copy(accounts[i*part:], read)
	})
	return accounts, errors.Join(errs...)
}

// whyUnpayable returns why a payee's token account can't take a transfer now, ""
// where it can.
func (s *Service) whyUnpayable(p payment, a rpc.Account) string {
	state, err := chain.ParseTokenAccount(a.Owner, a.Data)
	switch {
	case !a.Exists() || errors.Is(err, chain.ErrNoAccount):
		return accountHold + "the payout wallet has none yet: open it, or claim with the wallet"
	case err != nil:
		return accountHold + err.Error()
	case state.Mint != s.cfg.Network.Mint:
		return fmt.Sprintf(accountHold+"it is of mint %s", state.Mint)
	case p.account == s.cfg.Network.Vaults.Reward || p.account == s.cfg.Network.Vaults.Fee:
		return accountHold + "it is a vault: the payout wallet is the network's own"
	case state.Owner != p.payee:
		return fmt.Sprintf(accountHold+"it belongs to %s now, not to the payout wallet", state.Owner)
	case state.Frozen:
		return accountHold + "it is frozen"
	}
	return ""
}

// holdAll leaves payees out of payouts for a while, in a transaction of its own. What
// they are owed stays.
func (s *Service) holdAll(ctx context.Context, list []payment, reasons []string) error {
	if len(list) == 0 {
		return nil
	}
	payees := make([]ionet.Key, len(list))
	for i, p := range list {
		payees[i] = p.payee
	}
	err := s.asLeader(ctx, func(tx pgx.Tx, _ int64) error { return s.holdPayees(ctx, tx, payees, reasons) })
	if err != nil {
		return err
	}
	for i, payee := range payees {
		s.emit(Event{Kind: EventHeld, Payee: payee, Detail: reasons[i]})
	}
	return nil
}

// holdPayment leaves out for a while what a draft can't pay: a payee, or the one
// withdrawal that it pays. Where a wallet is paid elsewhere too, that goes on.
func (s *Service) holdPayment(ctx context.Context, d draft, payee ionet.Key, reason string) error {
	err := s.asLeader(ctx, func(tx pgx.Tx, _ int64) error { return s.holdFor(ctx, tx, d.kind, d.memo, payee, reason) })
	if err == nil {
		s.emit(Event{Kind: EventHeld, Payee: payee, Detail: reason})
	}
	return err
}

func (s *Service) holdFor(ctx context.Context, tx pgx.Tx, kind chain.Kind, memo string, payee ionet.Key, reason string) error {
	if kind != chain.KindWithdrawal {
		return s.holdPayees(ctx, tx, []ionet.Key{payee}, []string{reason})
	}
	id, err := paymentOf(memo)
	if err != nil {
		return err
	}
	return s.delayIn(ctx, tx, id, reason)
}

func (s *Service) holdPayees(ctx context.Context, tx pgx.Tx, payees []ionet.Key, reasons []string) error {
	var keys [][]byte
	var owed []string
	for _, p := range payees {
		keys, owed = append(keys, p[:]), append(owed, ledger.Owed(p).String())
	}
	if _, err := tx.Exec(ctx, insertHeld, keys, owed, reasons, s.now().Add(s.cfg.HeldRetry)); err != nil {
		return fmt.Errorf("hold payees: %w", err)
	}
	return nil
}

const insertHeld = `
INSERT INTO held_payees (payee, owed, reason, retry_at)
SELECT t.payee, t.owed, t.reason, $4 FROM unnest($1::bytea[], $2::text[], $3::text[]) AS t (payee, owed, reason) ORDER BY t.payee
ON CONFLICT (payee) DO UPDATE SET owed = excluded.owed, reason = excluded.reason, retry_at = excluded.retry_at`

// batchOf names a batch by where it stands and whom it pays: a pass that makes it again,
// because it was not signed, asks signers for the same content.
func batchOf(kind chain.Kind, l lane, list []payment) [16]byte {
	tag := "io/batch/1"
	if kind == chain.KindFees {
		tag = "io/fees/1"
	}
	parts := [][]byte{[]byte(tag), l.address[:], binary.LittleEndian.AppendUint64(nil, l.position), l.c[:]}
	for _, p := range list {
		parts = append(parts, p.payee[:], binary.LittleEndian.AppendUint64(nil, p.amount.Base()))
	}
	h := ionet.HashOf(parts...)
	return [16]byte(h[:16])
}

// payoutDraft is a batch of emission debts out of the reward vault, or of fees out of the
// fee vault.
func (s *Service) payoutDraft(kind chain.Kind, l lane, batch [16]byte, list []payment) (draft, error) {
	sum, err := debtOf(list)
	if err != nil {
		return draft{}, err
	}
	d := draft{kind: kind, lanes: []lane{l}, payments: list, memo: proofs.PayoutMemo{Batch: batch, Count: uint64(len(list)), Sum: sum}.String()}
	vault := s.cfg.Network.Vaults.Reward
	if kind == chain.KindFees {
		d.memo, vault = proofs.FeesMemo{Batch: batch, Count: uint64(len(list)), Sum: sum}.String(), s.cfg.Network.Vaults.Fee
	}
	d.without = func(i int) (draft, bool) {
		smaller, err := s.payoutDraft(kind, l, batch, slices.Delete(slices.Clone(list), i, i+1))
		return smaller, err == nil && len(list) > 1
	}
	for _, p := range list {
		d.movements = append(d.movements, chain.Movement{Op: chain.Transfer, Source: vault, Destination: p.account, Amount: p.amount})
	}
	return d, nil
}

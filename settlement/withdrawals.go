package settlement

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// WithdrawalState says where a withdrawal stands.
type WithdrawalState string

// An accepted withdrawal is reserved; it ends as paid or expired.
const (
	WithdrawalAccepted WithdrawalState = "accepted" // to be paid, or on its way
	WithdrawalPaid     WithdrawalState = "paid"     // final on chain
	WithdrawalExpired  WithdrawalState = "expired"  // its time passed before it could be paid: the balance has it again
)

// Open reports whether it may be paid still.
func (s WithdrawalState) Open() bool { return s == WithdrawalAccepted }

// Withdrawal is what a renter asked to get back.
type Withdrawal struct {
	proofs.Withdrawal
	Payment   [16]byte // what the payment's memo names; the statement's own id is the renter's
	State     WithdrawalState
	Signed    bool            // a signed transaction carries it, whose outcome is open
	Reason    string          // why it is not paid yet; "" where nothing is in its way
	Signature chain.Signature // of the transaction that paid it; zeros before
	Slot      uint64
}

// maxOpenWithdrawals bounds how many one renter may have open: each costs us a
// transaction.
const maxOpenWithdrawals = 8

// SubmitWithdrawal takes a statement that a renter's wallet signed, and reserves its
// amount. The same statement again is answered with where it stands.
func (s *Service) SubmitWithdrawal(ctx context.Context, e proofs.Envelope) (Withdrawal, error) {
	w, problem := s.parseWithdrawal(e)
	if problem != nil {
		return Withdrawal{}, problem
	}
	id := proofs.PaymentID(e.ID())
	if known, err := s.WithdrawalOf(ctx, id); err == nil {
		return known, nil
	}
	if !s.view.isReady() {
		return Withdrawal{}, s.notReady()
	}
	if now := s.now().Unix(); w.Expires <= now {
		return Withdrawal{}, NewProblem(ProblemWithdrawalExpired, "Expires", "the withdrawal expired at %d, it is %d", w.Expires, now)
	}
	err := s.asLeader(ctx, func(tx pgx.Tx, _ int64) error { return s.acceptWithdrawal(ctx, tx, id, w, e.Append(nil)) })
	if errors.Is(err, errNotLeader) {
		return Withdrawal{}, s.notReady()
	}
	if err != nil {
		return Withdrawal{}, err
	}
	return s.WithdrawalOf(ctx, id)
}

// parseWithdrawal checks all that the statement says by itself.
func (s *Service) parseWithdrawal(e proofs.Envelope) (proofs.Withdrawal, *Problem) {
	n := s.cfg.Network
	if e.Kind != proofs.KindWithdrawal {
		return proofs.Withdrawal{}, NewProblem(ProblemUnknownKind, "kind", "kind %s is no withdrawal", e.Kind)
	}
	if err := proofs.CheckKey(e.Signer); err != nil {
		return proofs.Withdrawal{}, NewProblem(ProblemWeakKey, "signer", "signer %s: %v", e.Signer, err)
	}
	w, err := proofs.ParseWithdrawal(n.ID(), e.Signer, e.Body)
	if err != nil {
		return w, NewProblem(ProblemMalformedStatement, "body", "%v", err)
	}
	if err := e.Verify(n.ID()); err != nil {
		return w, NewProblem(ProblemWrongSignature, "signature", "signature of %s does not verify", e.Signer)
	}
	switch {
	case w.Amount.IsZero():
		return w, NewProblem(ProblemMalformedStatement, "Amount", "Amount is 0")
	case s.ownsVault(w.To):
		return w, NewProblem(ProblemMalformedStatement, "To", "To %s is the network's own wallet: its token account is a vault", w.To)
	}
	return w, nil
}

// acceptWithdrawal stores the statement and reserves its amount. What a content needs
// to be explained by is in the row; it is published before one names it.
func (s *Service) acceptWithdrawal(ctx context.Context, tx pgx.Tx, id [16]byte, w proofs.Withdrawal, envelope []byte) error {
	balances, err := ledger.Lock(ctx, tx, ledger.Renter(w.Renter), ledger.Withdrawing(w.Renter))
	if err != nil {
		return err
	}
	var same []byte
	var open int
	if err := tx.QueryRow(ctx, selectSameRequest, w.Renter[:], w.ID[:]).Scan(&same, &open); err != nil {
		return fmt.Errorf("look for withdrawals of %s: %w", w.Renter, err)
	}
	left := balances[ledger.Renter(w.Renter)]
	switch {
	case same != nil && [16]byte(same) == id:
		return nil // another request stored it meanwhile
	case same != nil:
		return NewProblem(ProblemWithdrawalTaken, "Id", "Id %x was used for another withdrawal of %s: draw a new one", w.ID, w.Renter)
	case open >= maxOpenWithdrawals:
		return NewProblem(ProblemBusy, "Renter", "%s has %d withdrawals that are not paid yet: wait for those", w.Renter, open).after(time.Minute)
	case left.Cmp(w.Amount) < 0:
		return NewProblem(ProblemInsufficient, "Amount", "Amount is %s, the unspent balance of %s is %s base units", w.Amount, w.Renter, left)
	}
	if err := s.insertWithdrawal(ctx, tx, id, w, envelope, WithdrawalAccepted); err != nil {
		return err
	}
	return s.postWithdrawal(ctx, tx, "accepted", id, ledger.Renter(w.Renter), ledger.Withdrawing(w.Renter), w.Amount)
}

const selectSameRequest = `
SELECT (SELECT id FROM withdrawals WHERE renter = $1 AND request = $2), (SELECT count(*) FROM withdrawals WHERE renter = $1 AND state = 'accepted')`

func (s *Service) insertWithdrawal(ctx context.Context, tx pgx.Tx, id [16]byte, w proofs.Withdrawal, envelope []byte, state WithdrawalState) error {
	now := s.now()
	_, err := tx.Exec(ctx, insertWithdrawalRow, id[:], w.Renter[:], w.ID[:], envelope, w.To[:], w.Amount.Int64(), w.Expires, string(state), now)
	if err != nil {
		return fmt.Errorf("store withdrawal %x: %w", id, err)
	}
	return nil
}

const insertWithdrawalRow = `
INSERT INTO withdrawals (id, renter, request, envelope, recipient, amount, expires, state, retry_at, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)`

func (s *Service) postWithdrawal(ctx context.Context, tx pgx.Tx, what string, id [16]byte, debit, credit ledger.Account, amount ionet.Amount) error {
	_, err := ledger.Post(ctx, tx, ledger.Entry{
		ID: ionet.HashOf([]byte("io/entry/withdrawal-"+what+"/"), id[:]), Kind: "withdrawal " + what,
		Transfers: []ledger.Transfer{{Debit: debit, Credit: credit, Amount: amount}},
	}, s.now())
	return err
}

// dueWithdrawal is a withdrawal that no content carries.
type dueWithdrawal struct {
	proofs.Withdrawal
	payment  [16]byte
	envelope []byte
}

// withdrawDue lets those expire whose time has passed, and signs the others on lanes
// of the pool: each in a content of its own, because a memo names one. Payouts keep
// half of the lanes.
func (s *Service) withdrawDue(ctx context.Context, pool *lanePool) error {
	if len(pool.free) == 0 {
		return nil
	}
	due, err := s.dueWithdrawals(ctx, len(pool.free))
	if err != nil || len(due) == 0 {
		return err
	}
	due, err = s.expire(ctx, due)
	if err != nil {
		return err
	}
	due, err = s.payableWithdrawals(ctx, due)
	if err != nil {
		return err
	}
	var drafts []draft
	for _, w := range due[:min(len(due), (len(pool.free)+1)/2)] {
		// Who audits the content finds why it paid, and an older copy of this database
		// whom it paid.
		if err := s.publishWithdrawal(ctx, w); err != nil {
			return err
		}
		l, ok := pool.take()
		if !ok {
			break
		}
		drafts = append(drafts, s.withdrawalDraft(l, w))
	}
	return s.launchAll(ctx, drafts)
}

func (s *Service) withdrawalDraft(l lane, w dueWithdrawal) draft {
	n := s.cfg.Network
	account := chain.TokenAccount(w.To, n.Mint)
	return draft{
		kind: chain.KindWithdrawal, lanes: []lane{l}, memo: proofs.WithdrawalMemo{ID: w.payment, Sum: w.Amount}.String(),
		movements: []chain.Movement{{Op: chain.Transfer, Source: n.Vaults.Fee, Destination: account, Amount: w.Amount}},
		payments:  []payment{{w.Renter, account, w.Amount}},
	}
}

// dueWithdrawals loads the oldest that are accepted and on no content whose outcome is
// open, and may be tried now.
func (s *Service) dueWithdrawals(ctx context.Context, lanes int) ([]dueWithdrawal, error) {
	flying, err := s.flyingWithdrawals(ctx)
	if err != nil {
		return nil, err
	}
	ids := make([][]byte, 0, len(flying))
	for id := range flying {
		ids = append(ids, id[:])
	}
	rows, err := s.pool.Query(ctx, selectDueWithdrawals, ids, s.now(), 2*lanes+8)
	if err != nil {
		return nil, fmt.Errorf("load withdrawals: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (dueWithdrawal, error) {
		var w dueWithdrawal
		var id []byte
		if err := row.Scan(&id, &w.envelope); err != nil {
			return w, err
		}
		w.payment = [16]byte(id)
		var err error
		w.Withdrawal, err = proofs.ParsePublishedWithdrawal(s.cfg.Network.ID(), w.payment, w.envelope)
		return w, err
	})
	if err != nil {
		return nil, fmt.Errorf("load withdrawals: %w", err)
	}
	return list, nil
}

const selectDueWithdrawals = `
SELECT w.id, w.envelope FROM withdrawals w
WHERE w.state = 'accepted' AND w.retry_at <= $2 AND NOT w.id = ANY ($1::bytea[])
  AND NOT EXISTS (SELECT 1 FROM held_payees h WHERE h.payee = w.renter AND h.retry_at > $2)
ORDER BY w.created_at, w.id LIMIT $3`

// flyingWithdrawals returns those that contents of open positions carry.
func (s *Service) flyingWithdrawals(ctx context.Context) (map[[16]byte]bool, error) {
	rows, err := s.pool.Query(ctx, selectFlyingWithdrawals, int16(chain.KindWithdrawal))
	if err != nil {
		return nil, fmt.Errorf("load withdrawals on their way: %w", err)
	}
	flying := map[[16]byte]bool{}
	var data []byte
	_, err = pgx.ForEachRow(rows, []any{&data}, func() error {
		c, err := chain.ParseContent(data)
		if err != nil {
			return err
		}
		id, err := paymentOf(c)
		flying[id] = true
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("load withdrawals on their way: %w", err)
	}
	return flying, nil
}

const selectFlyingWithdrawals = `
SELECT c.bytes FROM payments p JOIN contents c ON c.hash = p.content WHERE p.kind = $1 AND p.state = 'signed'`

// paymentOf returns which withdrawal a content pays.
func paymentOf(c chain.Content) ([16]byte, error) {
	memo, err := proofs.ParseMemo(c.Memo)
	if err != nil {
		return [16]byte{}, err
	}
	m, ok := memo.(proofs.WithdrawalMemo)
	if !ok {
		return [16]byte{}, fmt.Errorf("memo %q is not that of a withdrawal", c.Memo)
	}
	return m.ID, nil
}

// expire gives the reserve of those back whose time has passed, and returns the others.
func (s *Service) expire(ctx context.Context, due []dueWithdrawal) ([]dueWithdrawal, error) {
	now := s.now().Unix()
	var rest, late []dueWithdrawal
	for _, w := range due {
		if w.Expires <= now {
			late = append(late, w)
		} else {
			rest = append(rest, w)
		}
	}
	if len(late) == 0 {
		return rest, nil
	}
	err := s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
		for _, w := range late {
			tag, err := tx.Exec(ctx, endWithdrawal, w.payment[:], string(WithdrawalExpired))
			if err != nil {
				return fmt.Errorf("expire withdrawal %x: %w", w.payment, err)
			}
			if tag.RowsAffected() == 0 {
				continue
			}
			if err := s.postWithdrawal(ctx, tx, "expired", w.payment, ledger.Withdrawing(w.Renter), ledger.Renter(w.Renter), w.Amount); err != nil {
				return err
			}
		}
		return nil
	})
	return rest, err
}

const endWithdrawal = `UPDATE withdrawals SET state = $2, reason = '' WHERE id = $1 AND state = 'accepted'`

// payableWithdrawals looks at the recipients' token accounts; what can't be paid now
// keeps its reserve, says why, and is tried again later.
func (s *Service) payableWithdrawals(ctx context.Context, due []dueWithdrawal) ([]dueWithdrawal, error) {
	if len(due) == 0 {
		return nil, nil
	}
	to := make([]payment, len(due))
	for i, w := range due {
		to[i] = payment{w.To, chain.TokenAccount(w.To, s.cfg.Network.Mint), w.Amount}
	}
	accounts, err := s.payeeAccounts(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("read the recipients' accounts: %w", err)
	}
	var payable []dueWithdrawal
	for i, w := range due {
		reason := s.whyUnpayable(to[i], accounts[i])
		if reason == "" {
			payable = append(payable, w)
			continue
		}
		err := s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
			_, err := tx.Exec(ctx, delayWithdrawal, w.payment[:], reason, s.now().Add(s.cfg.HeldRetry))
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("delay withdrawal %x: %w", w.payment, err)
		}
		s.emit(Event{Kind: EventHeld, Payee: w.Renter, Detail: reason})
	}
	return payable, nil
}

const delayWithdrawal = `UPDATE withdrawals SET reason = $2, retry_at = $3 WHERE id = $1 AND state = 'accepted'`

// publishWithdrawal makes the statement durable in the published store. Another valid
// signature over the same statement may lie there: that is the same statement.
func (s *Service) publishWithdrawal(ctx context.Context, w dueWithdrawal) error {
	name := publish.WithdrawalName(w.payment)
	there, err := s.cfg.Store.Get(ctx, name)
	if err == nil {
		if _, err := proofs.ParsePublishedWithdrawal(s.cfg.Network.ID(), w.payment, there); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	if !errors.Is(err, publish.ErrNotFound) {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if err := s.cfg.Store.Put(ctx, name, w.envelope); err != nil {
		return fmt.Errorf("publish withdrawal %x: %w", w.payment, err)
	}
	return nil
}

// importWithdrawal makes the books ready for a payment that this database never signed:
// the renter is the one of the published statement, and its amount is reserved, unless
// it was when the database knew the withdrawal as accepted.
func (s *Service) importWithdrawal(ctx context.Context, tx pgx.Tx, c chain.Content) (renter ionet.Key, err error) {
	id, err := paymentOf(c)
	if err != nil {
		return renter, err
	}
	w, envelope, err := s.publishedWithdrawal(ctx, id)
	if err != nil {
		return renter, err
	}
	var state string
	err = tx.QueryRow(ctx, lockWithdrawal, id[:]).Scan(&state)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		err = s.insertWithdrawal(ctx, tx, id, w, envelope, WithdrawalAccepted)
	case err == nil && WithdrawalState(state) == WithdrawalAccepted:
		return w.Renter, nil
	case err == nil:
		_, err = tx.Exec(ctx, reopenWithdrawal, id[:])
	}
	if err != nil {
		return renter, fmt.Errorf("import withdrawal %x: %w", id, err)
	}
	balances, err := ledger.Lock(ctx, tx, ledger.Renter(w.Renter), ledger.Withdrawing(w.Renter))
	if err != nil || balances[ledger.Renter(w.Renter)].Cmp(w.Amount) < 0 {
		return w.Renter, err // what is missing was overpaid
	}
	return w.Renter, s.postWithdrawal(ctx, tx, "imported", id, ledger.Renter(w.Renter), ledger.Withdrawing(w.Renter), w.Amount)
}

const lockWithdrawal = `SELECT state FROM withdrawals WHERE id = $1 FOR UPDATE`

const reopenWithdrawal = `UPDATE withdrawals SET state = 'accepted' WHERE id = $1`

// applyWithdrawal ends a withdrawal whose content won.
func (s *Service) applyWithdrawal(ctx context.Context, tx pgx.Tx, r *resolved) error {
	id, err := paymentOf(r.content)
	if err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, endWithdrawal, id[:], string(WithdrawalPaid))
	if err == nil && tag.RowsAffected() == 0 {
		err = errors.New("it is not one that was accepted")
	}
	if err != nil {
		return fmt.Errorf("end withdrawal %x: %w", id, err)
	}
	return nil
}

// lateWithdrawals tells which of the contents pay withdrawals whose time has passed:
// those are not signed again, and an empty content passes them.
func (s *Service) lateWithdrawals(ctx context.Context, list []openDebt) (map[ionet.Hash]bool, error) {
	late := map[ionet.Hash]bool{}
	for _, d := range list {
		if d.content.Kind != chain.KindWithdrawal {
			continue
		}
		id, err := paymentOf(d.content)
		if err != nil {
			return nil, err
		}
		var expires int64
		if err := s.pool.QueryRow(ctx, selectExpires, id[:]).Scan(&expires); err != nil {
			return nil, fmt.Errorf("look for withdrawal %x: %w", id, err)
		}
		if expires <= s.now().Unix() {
			late[d.content.Hash()] = true
		}
	}
	return late, nil
}

const selectExpires = `SELECT expires FROM withdrawals WHERE id = $1`

// publishedWithdrawal reads the statement that a payment names.
func (s *Service) publishedWithdrawal(ctx context.Context, id [16]byte) (proofs.Withdrawal, []byte, error) {
	name := publish.WithdrawalName(id)
	file, err := s.cfg.Store.Get(ctx, name)
	if errors.Is(err, publish.ErrNotFound) {
		return proofs.Withdrawal{}, nil, fmt.Errorf("the published store lacks %s, a withdrawal that the chain has paid: put that file back from a copy of the store: %w", name, err)
	}
	if err != nil {
		return proofs.Withdrawal{}, nil, fmt.Errorf("read %s: %w", name, err)
	}
	w, err := proofs.ParsePublishedWithdrawal(s.cfg.Network.ID(), id, file)
	if err != nil {
		return w, nil, fmt.Errorf("%s: %w: put that file back from a copy of the store", name, err)
	}
	return w, file, nil
}

// WithdrawalOf returns where the withdrawal stands whose payment has that id.
func (s *Service) WithdrawalOf(ctx context.Context, id [16]byte) (Withdrawal, error) {
	var envelope, signature []byte
	var state string
	var slot int64
	w := Withdrawal{Payment: id}
	err := s.front.QueryRow(ctx, selectWithdrawal, id[:]).Scan(&envelope, &state, &w.Reason)
	if errors.Is(err, pgx.ErrNoRows) {
		return w, NewProblem(ProblemUnknownWithdrawal, "id", "no withdrawal has id %s", hex.EncodeToString(id[:]))
	}
	if err != nil {
		return w, fmt.Errorf("look for withdrawal %x: %w", id, err)
	}
	w.State = WithdrawalState(state)
	if w.Withdrawal, err = proofs.ParsePublishedWithdrawal(s.cfg.Network.ID(), id, envelope); err != nil {
		return w, err
	}
	memo := proofs.WithdrawalMemo{ID: id, Sum: w.Amount}.String()
	var payment string
	err = s.front.QueryRow(ctx, selectWithdrawalPayment, w.Renter[:], int16(chain.KindWithdrawal), []byte(memo)).Scan(&payment, &signature, &slot)
	if errors.Is(err, pgx.ErrNoRows) {
		return w, nil
	}
	if err != nil {
		return w, fmt.Errorf("look for the payment of withdrawal %x: %w", id, err)
	}
	w.Signed, w.Slot = PaymentState(payment).Open(), uint64(slot)
	copy(w.Signature[:], signature)
	return w, nil
}

const selectWithdrawal = `SELECT envelope, state, reason FROM withdrawals WHERE id = $1`

// A content ends with its memo.
const selectWithdrawalPayment = `
SELECT p.state, c.signature, coalesce(c.slot, 0) FROM payments p JOIN contents c ON c.hash = p.content
WHERE p.payee = $1 AND p.kind = $2 AND p.state <> 'freed' AND substring(c.bytes FROM octet_length(c.bytes) - octet_length($3::bytea) + 1) = $3::bytea
ORDER BY p.created_at DESC LIMIT 1`

// Renter is what a wallet prepaid and has not spent.
type Renter struct {
	Wallet      ionet.Key
	Balance     ionet.Amount // may be spent or withdrawn
	Withdrawing ionet.Amount // asked back and not final yet
	Deposits    []Deposit    // the newest first
}

// Renter returns a wallet's balance; zeros for one that never paid in.
func (s *Service) Renter(ctx context.Context, wallet ionet.Key) (Renter, error) {
	balances, err := ledger.Balances(ctx, s.front, ledger.Renter(wallet), ledger.Withdrawing(wallet), ledger.WithdrawalInFlight(wallet))
	if err != nil {
		return Renter{}, err
	}
	r := Renter{Wallet: wallet, Balance: balances[ledger.Renter(wallet)]}
	if r.Withdrawing, err = balances[ledger.Withdrawing(wallet)].Add(balances[ledger.WithdrawalInFlight(wallet)]); err != nil {
		return r, err
	}
	r.Deposits, err = s.deposits(ctx, selectByRenter, wallet[:])
	return r, err
}

const selectByRenter = depositColumns + `WHERE renter = $1 ORDER BY slot DESC, signature, outer_index, inner_index, sub_index LIMIT 100`

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
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// WithdrawalState says where a withdrawal stands.
type WithdrawalState string

// An accepted withdrawal is reserved; it ends as paid or expired.
const (
	WithdrawalAccepted WithdrawalState = "accepted" // to be paid, or on its way
	WithdrawalPaid     WithdrawalState = "paid"     // final on chain
	WithdrawalExpired  WithdrawalState = "expired"  // never to be paid: its time passed, or its reserve paid another one (see Reason); the balance has it again
)

// Open reports whether it may be paid still.
func (s WithdrawalState) Open() bool { return s == WithdrawalAccepted }

// Withdrawal is what a renter asked to get back.
type Withdrawal struct {
	proofs.Withdrawal
	Payment   [16]byte // what the payment's memo names; the statement's own id is the renter's
	Asked     time.Time
	State     WithdrawalState
	Signed    bool            // a signed transaction carries it, whose outcome is open
	Reason    string          // why it is not paid yet; "" where nothing is in its way
	Signature chain.Signature // of the transaction that paid it; zeros before
	Slot      uint64
}

// Bounds on one renter's withdrawals: each costs us a transaction.
const (
	maxOpenWithdrawals = 8  // that are not paid yet
	maxWithdrawals     = 30 // accepted within an hour
)

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
	minimum, err := s.payoutMinimum(ctx)
	if err != nil {
		return Withdrawal{}, err
	}
	err = s.asLeader(ctx, func(tx pgx.Tx, _ int64) error { return s.acceptWithdrawal(ctx, tx, id, w, minimum, e.Append(nil)) })
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
// to be explained by is in the row; it is published before one names it. minimum is the
// least, in base units, that is paid of a balance; the whole of one is always.
func (s *Service) acceptWithdrawal(ctx context.Context, tx pgx.Tx, id [16]byte, w proofs.Withdrawal, minimum int64, envelope []byte) error {
	balances, err := ledger.Lock(ctx, tx, ledger.Renter(w.Renter), ledger.Withdrawing(w.Renter))
	if err != nil {
		return err
	}
	var same []byte
	var open, recent int
	if err := tx.QueryRow(ctx, selectSameRequest, w.Renter[:], w.ID[:], s.now().Add(-time.Hour)).Scan(&same, &open, &recent); err != nil {
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
	case recent >= maxWithdrawals:
		return NewProblem(ProblemBusy, "Renter", "%s handed in %d withdrawals within an hour: withdraw more at once, or later", w.Renter, recent).after(10 * time.Minute)
	case left.Cmp(w.Amount) < 0:
		return NewProblem(ProblemInsufficient, "Amount", "Amount is %s, the unspent balance of %s is %s base units", w.Amount, w.Renter, left)
	case w.Amount.Int64() < minimum && left != w.Amount:
		return NewProblem(ProblemWithdrawalSmall, "Amount", "Amount is %s, the least that is paid is %d base units, or the whole balance: %s", w.Amount, minimum, left)
	}
	if err := s.insertWithdrawal(ctx, tx, id, w, envelope, WithdrawalAccepted); err != nil {
		return err
	}
	return s.postWithdrawal(ctx, tx, "accepted", id, ledger.Renter(w.Renter), ledger.Withdrawing(w.Renter), w.Amount)
}

const selectSameRequest = `
SELECT (SELECT id FROM withdrawals WHERE renter = $1 AND request = $2), (SELECT count(*) FROM withdrawals WHERE renter = $1 AND state = 'accepted'),
    (SELECT count(*) FROM withdrawals WHERE renter = $1 AND created_at > $3)`

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

// WithdrawalOf returns where the withdrawal stands whose payment has that id.
func (s *Service) WithdrawalOf(ctx context.Context, id [16]byte) (Withdrawal, error) {
	var envelope, signature []byte
	var state string
	var slot int64
	w := Withdrawal{Payment: id}
	err := s.front.QueryRow(ctx, selectWithdrawal, id[:]).Scan(&envelope, &state, &w.Reason, &w.Asked)
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

const selectWithdrawal = `SELECT envelope, state, reason, created_at FROM withdrawals WHERE id = $1`

// A content ends with its memo.
const selectWithdrawalPayment = `
SELECT p.state, c.signature, coalesce(c.slot, 0) FROM payments p JOIN contents c ON c.hash = p.content
WHERE p.payee = $1 AND p.kind = $2 AND p.state <> 'freed' AND substring(c.bytes FROM octet_length(c.bytes) - octet_length($3::bytea) + 1) = $3::bytea
ORDER BY p.created_at DESC LIMIT 1`

// Renter is what a wallet prepaid and has not spent.
type Renter struct {
	Wallet      ionet.Key
	Balance     ionet.Amount // may be spent or withdrawn
	Reserved    ionet.Amount // held by sessions and their channels
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
	if r.Reserved, err = reservedOf(ctx, s.front, wallet); err != nil {
		return r, err
	}
	r.Deposits, err = s.deposits(ctx, selectByRenter, wallet[:])
	return r, err
}

const selectByRenter = depositColumns + `WHERE renter = $1 ORDER BY slot DESC, signature, outer_index, inner_index, sub_index LIMIT 100`

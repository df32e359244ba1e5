package settlement

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// The states of a claim. Only a paid one is certain to have landed and only an
// expired or superseded one never to land.
const (
	ClaimPrepared   = "prepared"   // not handed in yet
	ClaimOffered    = "offered"    // signed by us alone: its wallet can sign and send it
	ClaimPending    = "pending"    // signed by both, on its way
	ClaimPaid       = "paid"       // final
	ClaimSuperseded = "superseded" // its position was taken by another transaction
	ClaimExpired    = "expired"    // it did not land in time
)

// Claim is what became of a claim.
type Claim struct {
	Message   ionet.Hash
	Wallet    ionet.Key
	Amount    ionet.Amount
	State     string
	Signature chain.Signature // of the transaction; zero before it is handed in
	Slot      uint64          // in which it landed; 0 where it has not, or nobody tells
	Reason    string          // why a node refused it; "" where none did
}

// ClaimStatus tells what became of the claim whose message bytes have that
// hash: those that were prepared, or, once handed in, those that the wallet
// signed. Any instance can answer.
func (s *Service) ClaimStatus(ctx context.Context, message ionet.Hash) (Claim, error) {
	c, err := s.claimOf(ctx, selectSubmitted, message)
	if errors.Is(err, pgx.ErrNoRows) {
		c, err = s.claimOf(ctx, selectUnsubmitted, message)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return Claim{}, NewProblem(ProblemUnknownClaim, "message", "no claim has message hash %s", message)
	}
	if err != nil {
		return Claim{}, fmt.Errorf("look for claim %s: %w", message, err)
	}
	return c, nil
}

func (s *Service) claimOf(ctx context.Context, sql string, message ionet.Hash) (Claim, error) {
	c := Claim{Message: message}
	var wallet, signature []byte
	var amount, slot int64
	err := s.pool.QueryRow(ctx, sql, message[:]).Scan(&wallet, &amount, &c.State, &signature, &slot, &c.Reason)
	if err != nil {
		return c, err
	}
	c.Wallet, c.Slot = ionet.Key(wallet), uint64(slot)
	if len(signature) == len(c.Signature) {
		c.Signature = chain.Signature(signature)
	}
	c.Amount, err = ionet.NewAmount(uint64(amount))
	return c, err
}

// A content that won was paid by whichever of its messages landed.
const selectSubmitted = `
SELECT p.payee, p.amount,
    CASE WHEN c.state = 'won' THEN 'paid' WHEN c.state = 'lost' THEN 'superseded' WHEN a.state = 'dead' THEN 'expired'
        WHEN a.offered THEN 'offered' ELSE 'pending' END,
    coalesce(c.signature, a.signature), coalesce(c.slot, 0), a.reason
FROM attempts a JOIN attempt_steps t ON t.message = a.message JOIN contents c ON c.hash = t.content JOIN payments p ON p.content = c.hash
WHERE a.message = $1`

const selectUnsubmitted = `
SELECT p.wallet, p.amount, CASE WHEN l.position > p.position THEN 'expired' ELSE 'prepared' END, ''::bytea, 0::bigint, ''
FROM prepared_claims p JOIN lanes l ON l.name = p.lane WHERE p.message = $1`

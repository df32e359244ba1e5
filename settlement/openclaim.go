package settlement

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// openClaim is the claim of a wallet that is on its way: its content stands at the
// open position of its lane and its debt is in flight. A wallet has one at most.
// As long as the position is open the wallet can have it again, over a newer
// blockhash, however many transactions of it died or lie about unsigned.
type openClaim struct {
	lane    lane
	content chain.Content
	amount  ionet.Amount

	// The live transaction that the wallet has signed, the newest of several;
	// zero where there is none: nothing but offers, or all are dead.
	signature chain.Signature
	height    uint64
}

// pending is the answer to a wallet that has signed a claim which can land still.
func (o openClaim) pending(wallet ionet.Key) *Problem {
	return NewProblem(ProblemClaimPending, "wallet", "wallet %s has a claim of %s base units on its way as transaction %s: it is paid, or can be claimed again, when the chain is past block height %d",
		wallet, o.amount, o.signature, o.height).after(claimRetry)
}

// findOpenClaim returns the wallet's open claim; ok is false where it has none.
func findOpenClaim(ctx context.Context, q querier, wallet ionet.Key) (o openClaim, ok bool, err error) {
	var data, signature []byte
	var amount, height int64
	err = q.QueryRow(ctx, selectOpenClaim, wallet[:], int16(chain.KindClaim)).Scan(&o.lane.name, &data, &amount, &signature, &height)
	if errors.Is(err, pgx.ErrNoRows) {
		return o, false, nil
	}
	if err == nil {
		o.content, err = chain.ParseContent(data)
	}
	if err == nil {
		o.amount, err = ionet.NewAmount(uint64(amount))
	}
	if err != nil {
		return o, false, fmt.Errorf("look for the claim of %s: %w", wallet, err)
	}
	o.lane.address, o.lane.position, o.lane.c = o.content.Lane, o.content.N, o.content.C
	copy(o.signature[:], signature)
	o.height = uint64(height)
	return o, true, nil
}

const selectOpenClaim = `
SELECT c.lane, c.bytes, p.amount, coalesce(a.signature, ''::bytea), coalesce(a.last_valid_height, 0)
FROM payments p JOIN contents c ON c.hash = p.content
LEFT JOIN LATERAL (
    SELECT a.signature, a.last_valid_height FROM attempt_steps t JOIN attempts a ON a.message = t.message
    WHERE t.content = c.hash AND a.state = 'live' AND NOT a.offered ORDER BY a.last_valid_height DESC LIMIT 1) a ON true
WHERE p.payee = $1 AND p.kind = $2 AND p.state = 'signed'`

const (
	// claimLinger is how long a claim of which no transaction lives is left to its
	// wallet before its debt is freed: that costs a transaction of ours.
	claimLinger = 10 * time.Minute

	// claimPatience is how long a payout run lets a claim that lives land by itself.
	claimPatience = 10 * time.Second
)

// claimsInTheWay returns the lanes whose open position is to be passed by an empty
// content because of a claim that stands there: one that was left behind, or one
// whose debt a payout run wants that was asked for when the claim was there already.
//
// What that costs us is bounded however many claims are prepared, signed and left:
// a lane is passed once for each payout run, since what comes after it is younger
// than the run, and else once in claimLinger, ten lanes by one transaction.
func (s *Service) claimsInTheWay(ctx context.Context) (map[string]bool, error) {
	now := s.now()
	minimum, err := s.payoutMinimum(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, selectClaimsInTheWay, int16(chain.KindClaim), now, now.Add(-claimLinger), minimum, now.Add(-claimPatience))
	if err != nil {
		return nil, fmt.Errorf("look for claims in the way: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for claims in the way: %w", err)
	}
	lanes := make(map[string]bool, len(names))
	for _, name := range names {
		lanes[name] = true
	}
	return lanes, nil
}

const selectClaimsInTheWay = `
SELECT DISTINCT c.lane
FROM lanes l JOIN contents c ON c.lane = l.name AND c.position = l.position AND c.kind = $1 AND c.state = 'open'
JOIN payments p ON p.content = c.hash AND p.state = 'signed'
LEFT JOIN held_payees h ON h.payee = p.payee AND h.retry_at > $2
CROSS JOIN LATERAL (
    SELECT bool_or(a.state = 'live') AS live, max(a.created_at) AS newest
    FROM attempt_steps t JOIN attempts a ON a.message = t.message WHERE t.content = c.hash) a
WHERE NOT a.live AND a.newest <= $3
   OR h.payee IS NULL AND p.amount >= $4 AND EXISTS (
        SELECT 1 FROM payout_runs r
        WHERE r.done_at IS NULL AND r.asked_at >= p.created_at AND r.asked_at <= $2 AND (NOT a.live OR r.asked_at <= $5))`

// claimsWanted counts the claims whose debts an open payout run wants and which were
// there when it was asked for: the run is not over before they are paid or freed.
func (s *Service) claimsWanted(ctx context.Context) (int, error) {
	minimum, err := s.payoutMinimum(ctx)
	if err != nil {
		return 0, err
	}
	var n int
	if err := s.pool.QueryRow(ctx, countClaimsWanted, int16(chain.KindClaim), s.now(), minimum).Scan(&n); err != nil {
		return 0, fmt.Errorf("count claims that a payout run wants: %w", err)
	}
	return n, nil
}

const countClaimsWanted = `
SELECT count(*) FROM payments p LEFT JOIN held_payees h ON h.payee = p.payee AND h.retry_at > $2
WHERE p.kind = $1 AND p.state = 'signed' AND h.payee IS NULL AND p.amount >= $3 AND EXISTS (
    SELECT 1 FROM payout_runs r WHERE r.done_at IS NULL AND r.asked_at >= p.created_at AND r.asked_at <= $2)`

// payoutMinimum is the least that a payout pays anybody, in base units.
func (s *Service) payoutMinimum(ctx context.Context) (int64, error) {
	policy, err := s.rulesNow(ctx, s.pool)
	if err != nil {
		return 0, err
	}
	return max(policy.Payout.Minimum.Int64(), 1), nil
}

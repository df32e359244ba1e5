package settlement

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

// send is sendAll for one attempt.
func (s *Service) send(ctx context.Context, a *attempt) error { return s.sendAll(ctx, []*attempt{a}) }

// sendAll hands the bytes of live attempts to the network, side by side. The
// first time, and where a node refused it before, the node simulates an attempt,
// so that what would fail costs no fee; else resending is blind. Whatever the
// answer, the attempt stays live: only the lane or the dead rule ends it.
func (s *Service) sendAll(ctx context.Context, list []*attempt) error {
	outcomes := make([]error, len(list))
	s.each(len(list), func(i int) { outcomes[i] = s.handOver(ctx, list[i]) })
	var first [][]byte
	var errs []error
	for i, a := range list {
		err := outcomes[i]
		var refused *rpc.PreflightError
		switch {
		case errors.As(err, &refused):
			errs = append(errs, s.noteRefusal(ctx, a, refused.Err))
			continue
		case err != nil && !errors.Is(err, rpc.ErrAlreadyProcessed) && !errors.Is(err, rpc.ErrBlockhashNotFound):
			s.log.Debug("outcome of sending is open", "kind", a.kind.String(), "signature", a.signature.String(), "error", err)
			continue
		}
		if !a.sent {
			a.sent = true
			first = append(first, a.message[:])
		}
	}
	if len(first) > 0 {
		err := s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
			_, err := tx.Exec(ctx, markSent, first, "")
			return err
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("mark %s as sent: %w", kindsOf(list), err))
		}
	}
	return errors.Join(errs...)
}

// handOver makes the call.
func (s *Service) handOver(ctx context.Context, a *attempt) error {
	s.metrics.sent.Inc()
	if a.sent && a.reason == "" {
		return s.cfg.Chain.Resend(ctx, a.tx, a.blockhash.ContextSlot)
	}
	return s.cfg.Chain.Send(ctx, a.tx, rpc.SendOptions{MinContextSlot: a.blockhash.ContextSlot})
}

const markSent = `UPDATE attempts SET sent = sent + 1, reason = $2 WHERE message = ANY ($1::bytea[])`

// noteRefusal keeps why a node would not take the attempt. Where a payee of a
// payout broke it, that payee is held: the position is then passed without
// paying anybody, and the others are paid after it.
func (s *Service) noteRefusal(ctx context.Context, a *attempt, why *rpc.TransactionError) error {
	a.sent = true
	if a.reason == why.Error() {
		return nil
	}
	a.reason = why.Error()
	s.log.Warn("attempt refused by simulation", "kind", a.kind.String(), "signature", a.signature.String(), "reason", a.reason)
	payee, memo, broken, err := s.brokenPayee(ctx, a, why)
	if err != nil {
		return err
	}
	err = s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
		if _, err := tx.Exec(ctx, markSent, [][]byte{a.message[:]}, a.reason); err != nil {
			return fmt.Errorf("note a refusal: %w", err)
		}
		if broken {
			return s.holdFor(ctx, tx, a.kind, memo, payee, a.reason)
		}
		return nil
	})
	if err == nil && broken {
		s.emit(Event{Kind: EventHeld, Payee: payee, Detail: a.reason})
	}
	return err
}

// brokenPayee tells whom the failed instruction of an attempt pays, and its memo. A
// claim's wallet is not held: it pays itself.
func (s *Service) brokenPayee(ctx context.Context, a *attempt, why *rpc.TransactionError) (payee ionet.Key, memo string, ok bool, err error) {
	if a.kind == chain.KindClaim {
		return payee, "", false, nil
	}
	d, err := chain.Decode(a.tx)
	if err != nil {
		return payee, "", false, fmt.Errorf("read an attempt: %w", err)
	}
	i, ok := d.Plan.MovementAt(why.Instruction)
	if !ok || d.Plan.Movements[i].Op != chain.Transfer {
		return payee, "", false, nil
	}
	var found []byte
	account := d.Plan.Movements[i].Destination
	err = s.pool.QueryRow(ctx, selectPayeeOf, a.message[:], account[:]).Scan(&found)
	if errors.Is(err, pgx.ErrNoRows) {
		return payee, "", false, nil
	}
	if err != nil {
		return payee, "", false, fmt.Errorf("find the payee of %s: %w", account, err)
	}
	return ionet.Key(found), d.Plan.Memo, true, nil
}

const selectPayeeOf = `
SELECT p.payee FROM payments p JOIN attempt_steps t ON t.content = p.content
WHERE t.message = $1 AND p.account = $2 LIMIT 1`

// liveAttempts returns all attempts whose outcome is open, the oldest first,
// each with those of its steps whose position is open.
func (s *Service) liveAttempts(ctx context.Context) ([]attempt, error) {
	rows, err := s.pool.Query(ctx, selectLive)
	if err != nil {
		return nil, fmt.Errorf("load live attempts: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanAttempt)
	if err != nil {
		return nil, fmt.Errorf("load live attempts: %w", err)
	}
	return list, nil
}

const selectLive = `
SELECT a.message, a.kind, a.transaction, a.signature, a.blockhash, a.last_valid_height, a.context_slot, a.sent, a.reason, a.created_at,
    array_agg(c.lane ORDER BY c.lane), array_agg(c.bytes ORDER BY c.lane)
FROM attempts a JOIN attempt_steps p ON p.message = a.message JOIN contents c ON c.hash = p.content AND c.state = 'open'
WHERE a.state = 'live' GROUP BY a.message ORDER BY a.created_at, a.message`

func scanAttempt(row pgx.CollectableRow) (attempt, error) {
	var a attempt
	var kind int16
	var message, signature, blockhash []byte
	var height, slot int64
	var sent int32
	var lanes []string
	var contents [][]byte
	if err := row.Scan(&message, &kind, &a.tx, &signature, &blockhash, &height, &slot, &sent, &a.reason, &a.created, &lanes, &contents); err != nil {
		return a, err
	}
	a.message, a.kind, a.signature, a.sent = ionet.Hash(message), chain.Kind(kind), chain.Signature(signature), sent > 0
	a.blockhash = rpc.Blockhash{Hash: ionet.Key(blockhash), LastValidHeight: uint64(height), ContextSlot: uint64(slot)}
	for i, data := range contents {
		c, err := chain.ParseContent(data)
		if err != nil {
			return a, err
		}
		a.steps = append(a.steps, step{lane{name: lanes[i], address: c.Lane, position: c.N, c: c.C}, c})
	}
	return a, nil
}

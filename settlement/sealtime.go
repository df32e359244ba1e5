package settlement

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/proofs"
)

const markSealTime = `UPDATE policies SET sealed_at = $2 WHERE epoch = $1 AND sealed_at IS NULL`

// noteSealTime reads the time of epoch k's seal and stores it. Where an endpoint did not
// answer, that error stands until Config.SealRetry is over: one that hangs would hold up
// every pass, and with it the payouts, for as long as a call may take. An answer, such as
// that the transaction is not there yet, costs nothing: the next pass asks again.
func (s *Service) noteSealTime(ctx context.Context, k uint64) (int64, error) {
	u := s.untimedEpoch(k)
	if u.failure != nil && s.now().Before(u.retryAt) {
		return 0, u.failure
	}
	at, err := s.readSealTime(ctx, k)
	if err != nil {
		if silent := (*rpc.TransportError)(nil); errors.As(err, &silent) && ctx.Err() == nil {
			u.failure, u.retryAt = err, s.now().Add(s.cfg.SealRetry)
		}
		return 0, err
	}
	// The chain's answer never changes: whoever stops here, or comes second, reads and
	// stores the same.
	err = s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
		_, err := tx.Exec(ctx, markSealTime, int64(k), at)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("store the time of the seal: %w", err)
	}
	delete(s.untimed, k)
	s.log.Info("the seal of an epoch that announces a policy has a time", "epoch", k, "sealed_at", at)
	return at, nil
}

const selectSealedPosition = `
SELECT l.address, l.slot, c.bytes, coalesce(c.signature, e.signature, '') FROM lanes l
JOIN contents c ON c.lane = l.name AND c.position = $1 AND c.state = 'won'
LEFT JOIN epochs e ON e.epoch = $1
WHERE l.name = 'epoch'`

// untimed is an epoch whose seal's time could not be read yet. A signature that history
// told is kept, so that no pass walks there again while an endpoint lacks it.
type untimed struct {
	warned    bool
	signature chain.Signature // zero: not looked for
	failure   error           // where an endpoint did not answer
	retryAt   time.Time       // until then failure is the answer
}

// untimedEpoch returns what is known of an untimed epoch; the pass is ours.
func (s *Service) untimedEpoch(k uint64) *untimed {
	u := s.untimed[k]
	if u == nil {
		u = &untimed{}
		s.untimed[k] = u
	}
	return u
}

// warnUntimed tells once that the time of epoch k's seal could not be read.
func (s *Service) warnUntimed(k uint64, err error) {
	if u := s.untimedEpoch(k); !u.warned && !errors.Is(err, errNotLeader) {
		u.warned = true
		s.log.Warn("when an epoch that announces a policy was sealed is not known: all endpoints are asked again and again", "epoch", k, "error", err)
	}
}

// readSealTime returns the block time of the transaction that sealed epoch k: the one
// that stepped the epoch lane from K(k). A signature that we hold finds it, or else the
// lane's history; the step proves it.
func (s *Service) readSealTime(ctx context.Context, k uint64) (int64, error) {
	l := lane{name: epochLane, position: k}
	var address, encoded, signature []byte
	var slot int64
	if err := s.pool.QueryRow(ctx, selectSealedPosition, int64(k)).Scan(&address, &slot, &encoded, &signature); err != nil {
		return 0, fmt.Errorf("read the content that sealed epoch %d: %w", k, err)
	}
	content, err := chain.ParseContent(encoded)
	if err != nil {
		return 0, fmt.Errorf("read the content that sealed epoch %d: %w", k, err)
	}
	l.address, l.c = ionet.Key(address), content.C
	if len(signature) > 0 {
		at, err := s.stepTime(ctx, l, chain.Signature(signature))
		if !errors.Is(err, rpc.ErrNotFound) {
			return at, err
		}
	}
	u := s.untimedEpoch(k)
	if u.signature.IsZero() {
		at, err := s.findStep(ctx, l, uint64(slot), 0)
		if err != nil {
			return 0, fmt.Errorf("find the transaction that sealed epoch %d: %w: if this lasts, give endpoints with full history only (--rpc)", k, err)
		}
		u.signature = at.landing.signature
	}
	at, err := s.stepTime(ctx, l, u.signature)
	if errors.Is(err, rpc.ErrNotFound) {
		err = fmt.Errorf("%w: if this lasts, give endpoints with full history only (--rpc)", err)
	}
	return at, err
}

// stepTime returns the block time of a transaction, which must have passed l's position.
// It decides for ever which policy rules, so one endpoint alone does not tell it: all
// must have the transaction, and at the same time.
func (s *Service) stepTime(ctx context.Context, l lane, signature chain.Signature) (int64, error) {
	t, err := s.cfg.Chain.Landed(ctx, signature)
	if err != nil {
		return 0, err
	}
	d, err := chain.Decode(t.Bytes)
	if err != nil {
		return 0, fmt.Errorf("transaction %s: %w", signature, err)
	}
	from, err := s.public(ctx, l.c)
	if err != nil {
		return 0, err
	}
	for _, st := range d.Plan.Steps {
		if st.Lane == l.address && st.From == from && t.Err == nil {
			return t.Time, nil
		}
	}
	return 0, fmt.Errorf("transaction %s did not pass position %d of lane %s", signature, l.position, l.name)
}

const sealPolicies = `UPDATE policies SET epoch = $1 WHERE id = ANY ($2::bytea[])`

// sealAnnouncements notes, with the seal of a book, which announcements it holds.
// When that was, by the chain, is read before the next epoch closes.
func sealAnnouncements(ctx context.Context, tx pgx.Tx, in *proofs.Inputs) error {
	var ids [][]byte
	for i := range in.Statements {
		if e := &in.Statements[i].Envelope; e.Kind == proofs.KindPolicy {
			id := e.ID()
			ids = append(ids, id[:])
		}
	}
	if len(ids) == 0 {
		return nil
	}
	tag, err := tx.Exec(ctx, sealPolicies, int64(in.Epoch), ids)
	if err == nil && tag.RowsAffected() != int64(len(ids)) {
		err = fmt.Errorf("the book announces %d, %d are stored", len(ids), tag.RowsAffected())
	}
	if err != nil {
		return fmt.Errorf("note the announced policies: %w", err)
	}
	return nil
}

// An announcement that arrived in a sealed epoch and is not in its book.
const selectOvertaken = `SELECT version, first_epoch FROM policies WHERE arrival_epoch = $1 AND epoch IS NULL ORDER BY version`

// overtaken lists the announcements of epoch k that its sealed book does not have, in
// words: a seal that this database had forgotten landed after they were acked.
func overtaken(ctx context.Context, tx pgx.Tx, k uint64) ([]string, error) {
	rows, err := tx.Query(ctx, selectOvertaken, int64(k))
	if err != nil {
		return nil, fmt.Errorf("look for overtaken announcements: %w", err)
	}
	var list []string
	var version, first int64
	_, err = pgx.ForEachRow(rows, []any{&version, &first}, func() error {
		list = append(list, fmt.Sprintf("version %d for epoch %d, but was sealed without it: it never counts, announce it again with a higher version", version, first))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for overtaken announcements: %w", err)
	}
	return list, nil
}

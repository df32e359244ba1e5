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
)

// sealLane carries the seals of the receipt log.
const sealLane = "seal"

// SealState says what became of a checkpoint.
type SealState string

// A waiting checkpoint ends in one of the two others; a passed one may be sealed by
// an attempt that this database forgot.
const (
	SealWaiting SealState = "waiting" // to be sealed, unless a newer one is first
	SealSealed  SealState = "sealed"  // final on the seal lane
	SealPassed  SealState = "passed"  // a larger one was sealed, which commits to it too
)

// Checkpoint is the state of the receipt log that a seal commits to.
type Checkpoint struct {
	Size uint64
	Root ionet.Hash
	Fees ionet.Amount // running total of all receipts
}

// follows returns why c can't come after was: a log and its fees never get less, and
// one size has one root.
func (c Checkpoint) follows(was Checkpoint) error {
	switch {
	case c.Size < was.Size:
		return fmt.Errorf("%w: %d receipts after %d", ErrLogWentBack, c.Size, was.Size)
	case c.Size == was.Size && c != was:
		return fmt.Errorf("%w: of %d receipts the root was %s and fees %s, now %s and %s", ErrLogWentBack, c.Size, was.Root, was.Fees, c.Root, c.Fees)
	case c.Fees.Cmp(was.Fees) < 0:
		return fmt.Errorf("%w: fees of %s after %s", ErrLogWentBack, c.Fees, was.Fees)
	}
	return nil
}

// ErrLogWentBack reports a checkpoint that does not follow from one before it: the
// receipt log was restored from a copy, or is another one.
var ErrLogWentBack = errors.New("the checkpoint does not follow from the one before it")

// Seal is a checkpoint and what became of it.
type Seal struct {
	Checkpoint
	State    SealState
	Position uint64 // of the seal lane; of a sealed one
	Asked    time.Time
}

// SealReceipts asks for a seal of the receipt log: whoever leads sends it, or one of
// a newer checkpoint. The same one again changes nothing; one that does not follow
// from all that were asked for, or that the chain has, is ErrLogWentBack.
func (s *Service) SealReceipts(ctx context.Context, c Checkpoint) error {
	if c.Size > 1<<62 {
		return fmt.Errorf("seal receipts: a log of %d receipts", c.Size)
	}
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		// The lane's row makes one wait for the other where two ask at once, or where a
		// seal is resolved.
		if err := tx.QueryRow(ctx, lockSealLane).Scan(new(int64)); err != nil {
			return fmt.Errorf("lock the seal lane: %w", err)
		}
		newest, known, err := newestSeal(ctx, tx)
		if err != nil {
			return err
		}
		if known {
			if err := c.follows(newest); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, insertSeal, int64(c.Size), c.Root[:], c.Fees.Int64(), s.now())
		return err
	})
	if err != nil {
		return fmt.Errorf("seal receipts: %w", err)
	}
	return nil
}

const lockSealLane = `SELECT position FROM lanes WHERE name = 'seal' FOR UPDATE`

const insertSeal = `
INSERT INTO seals (size, root, fees, state, asked_at) VALUES ($1, $2, $3, 'waiting', $4)
ON CONFLICT (size) DO NOTHING`

// newestSeal returns the largest checkpoint that is known.
func newestSeal(ctx context.Context, q querier) (c Checkpoint, known bool, err error) {
	c, err = scanCheckpoint(q.QueryRow(ctx, selectNewestSeal))
	if errors.Is(err, pgx.ErrNoRows) {
		return c, false, nil
	}
	if err != nil {
		return c, false, fmt.Errorf("read the newest checkpoint: %w", err)
	}
	return c, true, nil
}

const selectNewestSeal = `SELECT size, root, fees FROM seals ORDER BY size DESC LIMIT 1`

const selectWaitingSeal = `SELECT size, root, fees FROM seals WHERE state = 'waiting' ORDER BY size DESC LIMIT 1`

func scanCheckpoint(row pgx.Row) (Checkpoint, error) {
	var size, fees int64
	var root []byte
	if err := row.Scan(&size, &root, &fees); err != nil {
		return Checkpoint{}, err
	}
	total, err := ionet.NewAmount(uint64(fees))
	return Checkpoint{uint64(size), ionet.Hash(root), total}, err
}

// sealReceiptsDue seals the newest checkpoint that waits, once all records below it that
// go into memos are final there; see loginline.go. The lane needs no fence: neither moves
// anything, and of two for one position either is true.
func (s *Service) sealReceiptsDue(ctx context.Context, lanes []lane, live []attempt) error {
	l := laneNamed(lanes, sealLane)
	if _, ok := liveOn(live, l, anyAttempt); ok {
		return nil
	}
	c, err := scanCheckpoint(s.pool.QueryRow(ctx, selectWaitingSeal))
	waits := err == nil
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("look for a checkpoint to seal: %w", err)
	}
	_, last, _ := s.receipts.now()
	if !waits && last.Size == 0 {
		return nil
	}
	run, err := s.nextInline(ctx, max(last.Size, c.Size)) // what a seal was asked for was published
	if err != nil {
		return fmt.Errorf("look for receipts to put into a memo: %w", err)
	}
	if n := len(run.records); n == maxInline || n > 0 && waits && run.first < c.Size {
		d, err := s.inlineDraft(l, run)
		if err != nil {
			return err
		}
		return s.launch(ctx, d)
	}
	if !waits || run.first < c.Size {
		return nil
	}
	prev, err := s.lastSeal(ctx)
	if err != nil {
		return err
	}
	memo := proofs.SealMemo{Size: c.Size, Root: c.Root, Fees: c.Fees, Prev: prev}
	return s.launch(ctx, draft{kind: chain.KindSeal, memo: memo.String(), lanes: []lane{l}})
}

// lastSeal returns H of the memo of the newest seal that is final, zeros before the
// first.
func (s *Service) lastSeal(ctx context.Context) (ionet.Hash, error) {
	var encoded []byte
	err := s.pool.QueryRow(ctx, selectLastSeal, sealLane, int16(chain.KindSeal)).Scan(&encoded)
	if errors.Is(err, pgx.ErrNoRows) {
		return ionet.Hash{}, nil
	}
	if err != nil {
		return ionet.Hash{}, fmt.Errorf("read the last seal: %w", err)
	}
	content, err := chain.ParseContent(encoded)
	if err != nil {
		return ionet.Hash{}, fmt.Errorf("read the last seal: %w", err)
	}
	return ionet.HashOf([]byte(content.Memo)), nil
}

const selectLastSeal = `
SELECT bytes FROM contents WHERE lane = $1 AND kind = $2 AND state = 'won'
ORDER BY position DESC LIMIT 1`

// applySeal notes that a checkpoint is final on the seal lane, also where another
// database asked for it. What the chain has stands: a checkpoint that contradicts it
// is replaced, and the receipt log finds out by the error of its next one.
func (s *Service) applySeal(ctx context.Context, tx pgx.Tx, r *resolved) error {
	parsed, err := proofs.ParseMemo(r.content.Memo)
	if err != nil {
		return err
	}
	m, ok := parsed.(proofs.SealMemo)
	if !ok {
		return fmt.Errorf("memo %q is not that of a receipt seal", r.content.Memo)
	}
	var contradicted int64
	err = tx.QueryRow(ctx, countContradicted, int64(m.Size), m.Root[:], m.Fees.Int64()).Scan(&contradicted)
	if err != nil {
		return fmt.Errorf("compare the checkpoints: %w", err)
	}
	if contradicted > 0 {
		s.log.Warn("the chain has a seal that contradicts a checkpoint of this database", "size", m.Size, "root", m.Root.String(), "position", r.lane.position)
	}
	var b pgx.Batch
	b.Queue(markSealedCheckpoint, int64(m.Size), m.Root[:], m.Fees.Int64(), int64(r.lane.position), s.now())
	b.Queue(passCheckpoints, int64(m.Size))
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("note the seal: %w", err)
	}
	return nil
}

const countContradicted = `
SELECT count(*) FROM seals WHERE size = $1 AND (root <> $2 OR fees <> $3) OR size < $1 AND fees > $3 OR size > $1 AND fees < $3`

const markSealedCheckpoint = `
INSERT INTO seals (size, root, fees, state, position, asked_at) VALUES ($1, $2, $3, 'sealed', $4, $5)
ON CONFLICT (size) DO UPDATE SET root = excluded.root, fees = excluded.fees, state = 'sealed', position = excluded.position`

const passCheckpoints = `UPDATE seals SET state = 'passed' WHERE state = 'waiting' AND size < $1`

// Seals returns the newest checkpoints, the largest first.
func (s *Service) Seals(ctx context.Context, limit int) ([]Seal, error) {
	rows, err := s.front.Query(ctx, selectSeals, limit)
	if err != nil {
		return nil, fmt.Errorf("load the seals: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Seal, error) {
		var v Seal
		var size, fees, position int64
		var root []byte
		if err := row.Scan(&size, &root, &fees, &v.State, &position, &v.Asked); err != nil {
			return v, err
		}
		total, err := ionet.NewAmount(uint64(fees))
		v.Checkpoint, v.Position = Checkpoint{uint64(size), ionet.Hash(root), total}, uint64(position)
		return v, err
	})
	if err != nil {
		return nil, fmt.Errorf("load the seals: %w", err)
	}
	return list, nil
}

const selectSeals = `SELECT size, root, fees, state, coalesce(position, 0), asked_at FROM seals ORDER BY size DESC LIMIT $1`

package settlement

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// sweepEvery is how often what outsiders left behind is deleted: claims that were
	// prepared and can't land any more, offers that nobody landed.
	sweepEvery = time.Minute

	// sweepAfter is how many blocks past its last valid height a prepared claim is
	// kept, so that its status can still be asked for.
	sweepAfter = 300

	// offersKept is how long an offer is kept, so that what became of it can be seen.
	offersKept = 24 * time.Hour

	// maxSwept is how many offers one sweep deletes.
	maxSwept = 5000
)

const sweepPrepared = `DELETE FROM prepared_claims WHERE last_valid_height < $1`

// An offer is in nobody's way once its position is passed. With it goes its content,
// where no other transaction ever carried that, and the debts that were freed. The ledger
// keeps what it posted, and the published store the content.
const sweepOffers = `
WITH gone AS (
    SELECT a.message FROM attempts a
    WHERE a.offered AND a.state IN ('dead', 'lost') AND a.created_at < $1
      AND NOT EXISTS (SELECT 1 FROM attempt_steps p JOIN contents c ON c.hash = p.content WHERE p.message = a.message AND c.state = 'open')
    ORDER BY a.created_at LIMIT $2),
alone AS (
    SELECT DISTINCT c.hash FROM gone g JOIN attempt_steps p ON p.message = g.message JOIN contents c ON c.hash = p.content
    WHERE c.state = 'lost'
      AND NOT EXISTS (SELECT 1 FROM attempt_steps q WHERE q.content = c.hash AND q.message NOT IN (SELECT message FROM gone))
      AND NOT EXISTS (SELECT 1 FROM payments y WHERE y.content = c.hash AND y.state <> 'freed')),
freed AS (DELETE FROM payments y USING alone WHERE y.content = alone.hash),
steps AS (DELETE FROM attempt_steps p USING gone WHERE p.message = gone.message),
lost AS (DELETE FROM contents c USING alone WHERE c.hash = alone.hash)
DELETE FROM attempts a USING gone WHERE a.message = gone.message`

// sweepClaims deletes them. It is called in passes only, one at a time.
func (s *Service) sweepClaims(ctx context.Context) error {
	now := s.now()
	if now.Before(s.swept.Add(sweepEvery)) {
		return nil
	}
	head, err := s.cfg.Chain.FinalizedHead(ctx)
	if err != nil {
		return fmt.Errorf("read the finalized height: %w", err)
	}
	err = s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
		if _, err := tx.Exec(ctx, sweepPrepared, int64(head.BlockHeight)-sweepAfter); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, sweepOffers, now.Add(-offersKept), maxSwept)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete old claims: %w", err)
	}
	s.swept = now
	return nil
}

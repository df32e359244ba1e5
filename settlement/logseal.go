package settlement

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/robfig/cron/v3"
)

// sealSchedule returns when seals of the receipt log are asked for of their own accord;
// nil: never.
func (c Config) sealSchedule() cron.Schedule {
	switch {
	case c.SealSchedule != nil:
		return c.SealSchedule
	case c.SealEvery > 0:
		return every(c.SealEvery)
	}
	return nil
}

// keepLog publishes, compares and asks for seals every Config.CheckpointEvery until ctx
// ends. A pass waits for the chain, a checkpoint does not.
func (s *Service) keepLog(ctx context.Context) {
	started, last := s.now(), ""
	for {
		err := s.keepLogOnce(ctx, started)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && last != "":
			s.log.Info("the receipt log is published again")
			last = ""
		case err != nil && err.Error() != last:
			last = err.Error()
			s.log.Warn("the receipt log was not published and will be tried again", "error", err)
		}
		if sleep(ctx, s.cfg.CheckpointEvery) != nil {
			return
		}
	}
}

func (s *Service) keepLogOnce(ctx context.Context, started time.Time) error {
	if s.leaseNumber() == 0 {
		return s.LookAtLog(ctx)
	}
	if err := s.PublishLog(ctx); err != nil {
		return err
	}
	return s.requestOwnSeal(ctx, started)
}

// requestOwnSeal asks for a seal of what is published where the schedule has come since
// the last one was asked for, or since started, or the log has grown enough. While one
// waits for its transaction no other is asked for.
func (s *Service) requestOwnSeal(ctx context.Context, started time.Time) error {
	stand, last, head := s.receipts.now()
	if stand != logAgrees || head.Size == 0 || head.Size != last.Size {
		return nil
	}
	size, asked, waits, err := s.lastAsked(ctx, started)
	if err != nil || waits || size >= head.Size {
		return err
	}
	schedule, count := s.cfg.sealSchedule(), s.cfg.SealReceiptsCount
	if (schedule == nil || s.now().Before(schedule.Next(asked))) && (count == 0 || head.Size-size < count) {
		return nil
	}
	return s.SealReceipts(ctx, head.Checkpoint)
}

// lastAsked returns the largest checkpoint that a seal was asked for, when, and whether
// it waits; one of size 0 at never, if never.
func (s *Service) lastAsked(ctx context.Context, never time.Time) (size uint64, asked time.Time, waits bool, err error) {
	var n int64
	var state SealState
	err = s.pool.QueryRow(ctx, selectLastAsked).Scan(&n, &asked, &state)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, never, false, nil
	}
	if err != nil {
		return 0, asked, false, fmt.Errorf("look for the last seal of the receipt log: %w", err)
	}
	return uint64(n), asked.UTC(), state == SealWaiting, nil
}

const selectLastAsked = `SELECT size, asked_at, state FROM seals ORDER BY size DESC LIMIT 1`

package settlement

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/robfig/cron/v3"
)

// ParsePayoutCron reads a cron expression of five fields (minute, hour, day of month,
// month, day of week), or a word such as @daily, for Config.PayoutSchedule. Times are
// UTC unless it begins with CRON_TZ=<zone>. One that never comes is refused.
func ParsePayoutCron(expression string) (cron.Schedule, error) {
	s, err := cron.ParseStandard(expression)
	if err != nil {
		return nil, fmt.Errorf("read cron expression %.100q: %w", expression, err)
	}
	if s.Next(time.Now().UTC()).IsZero() {
		return nil, fmt.Errorf("read cron expression %.100q: it never comes", expression)
	}
	return s, nil
}

// every is a schedule that is due so long after the last time.
type every time.Duration

// Next implements cron.Schedule.
func (e every) Next(t time.Time) time.Time { return t.Add(time.Duration(e)) }

// payoutSchedule returns when payout runs are asked for of their own accord, and how
// often to look; nil: never.
func (c Config) payoutSchedule() (cron.Schedule, time.Duration) {
	switch {
	case c.PayoutSchedule != nil:
		return c.PayoutSchedule, payoutTick
	case c.PayoutEvery > 0:
		return every(c.PayoutEvery), min(c.PayoutEvery, time.Minute)
	}
	return nil, 0
}

// payoutTick is how late a scheduled run may begin.
const payoutTick = 10 * time.Second

// checkSchedules refuses two answers to one question.
func (c Config) checkSchedules() error {
	if c.PayoutSchedule != nil && c.PayoutEvery != 0 {
		return errors.New("open settlement: payout runs are asked for by a schedule or so often, not by both")
	}
	if c.SealSchedule != nil && c.SealEvery != 0 {
		return errors.New("open settlement: seals of the receipt log are asked for by a schedule or so often, not by both")
	}
	return nil
}

// NextPayout returns when the next payout run is asked for of its own accord; zero
// where none ever is. Before the first run it counts from the start, as the run does.
func (s *Service) NextPayout(ctx context.Context) (time.Time, error) {
	schedule, _ := s.cfg.payoutSchedule()
	if schedule == nil {
		return time.Time{}, nil
	}
	_, last, err := s.lastRun(ctx, time.Unix(0, s.began.Load()))
	return schedule.Next(last), err
}

// requestOwnPayout asks for a run where none is open and the schedule has come since
// the last, or since started: a restart delays no run, and what was missed meanwhile
// is one run. Every instance ticks; only the leader asks.
func (s *Service) requestOwnPayout(ctx context.Context, started time.Time) {
	schedule, _ := s.cfg.payoutSchedule()
	if schedule == nil || !s.view.isReady() {
		return
	}
	open, last, err := s.lastRun(ctx, started)
	if err == nil && !open && !s.now().Before(schedule.Next(last)) {
		_, err = s.RequestPayout(ctx)
	}
	if err != nil && ctx.Err() == nil {
		s.log.Warn("no payout run was asked for", "error", err)
	}
}

// lastRun tells whether a run is open and when the last was asked for: never, if never.
func (s *Service) lastRun(ctx context.Context, never time.Time) (open bool, last time.Time, err error) {
	if err := s.pool.QueryRow(ctx, selectLastRun, never).Scan(&open, &last); err != nil {
		return false, last, fmt.Errorf("look for the last payout run: %w", err)
	}
	return open, last.UTC(), nil
}

const selectLastRun = `
SELECT coalesce(bool_or(done_at IS NULL), false), coalesce(max(asked_at), $1) FROM payout_runs`

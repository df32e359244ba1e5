package settlement

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/robfig/cron/v3"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// Run settles until ctx ends: a pass every Config.Poll, one at once when an
// epoch may close or a lane moved, and payout runs as Config.PayoutSchedule or PayoutEvery says. Errors
// of passes are logged and the pass repeated. When ctx ends the pass at hand is
// cut off, which is safe, and the lease released.
func (s *Service) Run(ctx context.Context) {
	wake := make(chan struct{}, 1)
	ask := func() {
		select {
		case wake <- struct{}{}:
		default: // a pass is asked for already
		}
	}
	tick := cron.New(cron.WithLogger(cron.DiscardLogger))
	tick.Schedule(closings{s.clock, func() func(uint64) time.Time { return s.dueTimes(ctx) }}, cron.FuncJob(ask))
	hints := s.cfg.Chain.Watch(ctx, s.laneAddresses())
	go func() {
		for range hints { // a lane moved, as far as a websocket tells
			ask()
		}
	}()
	if schedule, look := s.cfg.payoutSchedule(); schedule != nil {
		started := s.now()
		s.began.Store(started.UnixNano())
		tick.Schedule(cron.Every(look), cron.FuncJob(func() { s.requestOwnPayout(ctx, started) }))
	}
	tick.Start()
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		s.keep(ctx)
	}()
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		s.keepLog(ctx)
	}()
	s.loop(ctx, wake)
	<-kept
	<-logged
	<-tick.Stop().Done()
	s.view.reset()
	done, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := s.Release(done); err != nil {
		s.log.Warn("lease is left to expire", "error", err)
	}
}

func (s *Service) laneAddresses() []ionet.Key {
	var list []ionet.Key
	for _, l := range s.cfg.Network.Lanes {
		list = append(list, l.Address)
	}
	return list
}

// closings is a cron schedule: the moments at which an epoch may close. The
// chain's time decides then; passes go on asking while it lags, and by themselves
// find what is due where a changed grace moved a moment.
type closings struct {
	clock ionet.Clock
	due   func() func(k uint64) time.Time // the epochs' ends and their policies' graces, as far as known now
}

// Next returns the first of those moments after t.
func (c closings) Next(t time.Time) time.Time {
	due := c.due()
	k, _, ok := c.clock.At(t)
	if !ok {
		k = 1
	}
	for k > 1 && due(k-1).After(t) {
		k--
	}
	return due(k)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func collectSignatures(rows pgx.Rows) ([]chain.Signature, error) {
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (chain.Signature, error) {
		var b []byte
		if err := row.Scan(&b); err != nil {
			return chain.Signature{}, err
		}
		return chain.Signature(b), nil
	})
}

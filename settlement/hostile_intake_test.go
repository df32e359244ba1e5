package settlement

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Requests that store overlap without end; each holds the intake row for a
// while. A freeze must get it all the same, and none may wait for ever.
func TestFreezeIsNotStarvedByIntake(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	config, err := pgxpool.ParseConfig(m.url)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 24
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	busy := m.Service
	for i := range 24 {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * 5 * time.Millisecond)
			for ctx.Err() == nil {
				if open, err := busy.awaitFreeze(ctx); err != nil || !open {
					continue
				}
				tx, err := pool.Begin(ctx)
				if err != nil {
					return
				}
				_, err = tx.Exec(ctx, lockIntake)
				time.Sleep(100 * time.Millisecond)
				if tx.Commit(context.WithoutCancel(ctx)) != nil || err != nil {
					return
				}
			}
		})
	}
	time.Sleep(200 * time.Millisecond) // they overlap now
	wait, stop := context.WithTimeout(t.Context(), 8*time.Second)
	err = m.Service.freeze(wait, 1)
	stop()
	cancel()
	wg.Wait()
	if err != nil {
		t.Fatalf("freeze under overlapping requests: %v", err)
	}
	if n := m.count(`SELECT frozen_through FROM intake`); n != 1 {
		t.Errorf("intake is frozen through %d, want 1", n)
	}
}

// A freeze that was announced and never came holds up no statement for longer
// than its time, and refuses none for good.
func TestAbandonedFreezeHoldsUpIntakeOnlyForAWhile(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("one", "gpu 0")
	b.exec(announceClosing, 1)
	if p := b.refuse(ProblemBusy, plain(h.delegation)[0]); p.Retry == 0 {
		t.Error("the problem does not say when to come again")
	}
	b.exec(`UPDATE closing SET ends_at = clock_timestamp() - interval '1 second'`)
	b.accept(h.delegation, h.inventory)
}

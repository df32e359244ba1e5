package settlement

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs"
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

// What was registered and never proved anything is not in the books.
func TestUnprovenRegistrationsStayOutOfTheBook(t *testing.T) {
	b := newBooks(t)
	worker, idler := b.newHost("worker", "gpu 0"), b.newHost("idler", "gpu 1")
	b.register(worker, idler)
	b.play(1, worker)
	in, err := b.gather(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if !in.Has(proofs.KindInventory, worker.inventory.ID()) {
		t.Error("the inventory of a worker that was heard is missing")
	}
	if in.Has(proofs.KindInventory, idler.inventory.ID()) || in.Has(proofs.KindDelegation, idler.delegation.ID()) {
		t.Error("the inputs hold registrations of a worker that proved nothing")
	}
}

// Registrations of one epoch have a budget; a known worker's proofs do not need
// it, and what was refused is taken in the next epoch.
func TestRegistrationsHaveABudget(t *testing.T) {
	b := newBooks(t)
	known, late := b.newHost("known", "gpu 0"), b.newHost("late", "gpu 1")
	b.register(known)
	b.toSample(1, 0)
	b.intake.budget = int64(b.count(`SELECT bytes FROM registered`)) + int64(len(late.delegation.Body))
	all := b.submit(plain(late.delegation, late.inventory, late.uptime(1, 0, nil), known.uptime(1, 0, nil))...)
	for i, r := range all[:3] {
		if r.Status != Refused || r.Problem.Type != ProblemBusy || r.Problem.Retry == 0 {
			t.Errorf("statement %d of the late one is %s: %v, want it refused as busy", i, r.Status, r.Problem)
		}
	}
	if all[3].Status != Accepted {
		t.Errorf("uptime of a known worker is %s: %v", all[3].Status, all[3].Problem)
	}
	if n := b.count(`SELECT (SELECT count(*) FROM statements) + (SELECT count(*) FROM uptimes)`); n != 3 {
		t.Errorf("%d statements are stored, want 3", n)
	}
	acked := b.submit(Submitted{late.delegation, ptr(b.ack(late.delegation, proofs.Arrival{Epoch: 1}))})
	if acked[0].Status != Accepted {
		t.Errorf("a delegation that was acked before is %s: %v", acked[0].Status, acked[0].Problem)
	}
	b.toSample(2, 0)
	b.accept(late.inventory)
}

func ptr[T any](v T) *T { return &v }

// Made-up slots cost no read of the chain when they are far from their sample,
// and one when they are near, however often they are named.
func TestMadeUpSlotsCostFewReads(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("one", "gpu 0")
	b.register(h)
	b.toSample(1, 2)
	ours, err := b.Beacon(t.Context(), 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	w := &wires{}
	var reads atomic.Int64
	w.before(func(method string) {
		if method == "getBlock" {
			reads.Add(1)
		}
	})
	b.rpc = w.client(t, b.node.URL())
	b.Service.cfg.Chain = b.rpc
	named := func(slot uint64) proofs.Envelope {
		h.previous = ionet.HashOf([]byte{byte(slot)})
		e := h.uptime(1, 2, func(u *proofs.Uptime) { u.BeaconSlot = slot })
		reads.Store(0) // making it reads the chain too
		return e
	}
	for _, slot := range []uint64{1, ours.Slot + 1_000_000, 1 << 60} {
		b.refuse(ProblemForeignBeacon, plain(named(slot))[0])
		if n := reads.Load(); n != 0 {
			t.Errorf("slot %d cost %d reads of the chain", slot, n)
		}
	}
	near := ours.Slot - 3
	b.submit(plain(named(near))...)
	b.submit(plain(named(near))...)
	if n := reads.Load(); n != 0 {
		t.Errorf("naming slot %d a second time cost %d reads of the chain", near, n)
	}
}

// A service on an older copy of its database acks no uptime statement before it
// knows which epochs the chain has sealed.
func TestNoUptimeBeforeTheEpochLaneIsKnown(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.pool.Reset()
	backup := pgtest.Copy(t, m.url)
	m.pool.Reset()
	k := m.seal(m.alice)
	late := m.bob.uptime(k, 5, nil)
	m.pool.Reset()
	pgtest.Restore(t, m.url, backup)
	m.reopen()
	if r := m.submit(plain(late)...)[0]; r.Status != Refused || r.Problem.Type != ProblemBusy {
		t.Fatalf("uptime of an epoch that the chain has sealed is %s: %v, want it refused as busy", r.Status, r.Problem)
	}
	m.fenceUp()
	if r := m.submit(plain(late)...)[0]; r.Status != Refused || r.Problem.Type != ProblemEpochClosed {
		t.Errorf("after recovery it is %s: %v, want the epoch closed", r.Status, r.Problem)
	}
}

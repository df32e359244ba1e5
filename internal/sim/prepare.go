package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement"
)

// play settles the first two epochs: all providers prove, and what the first one
// brought is paid to those who can be paid.
func (w *world) play(ctx context.Context) error {
	r := newRun(w, 0, base, w.store)
	defer r.close()
	if err := r.start(ctx, r.a); err != nil {
		return err
	}
	// Statements are taken once the epoch lane was read.
	if err := r.settleUntil(ctx, func() bool { return true }); err != nil {
		return err
	}
	if err := r.enroll(ctx); err != nil {
		return err
	}
	for k := uint64(1); k <= 2; k++ {
		if err := w.tickTo(w.clock.SampleStart(k, 1) + sampleSeconds - 1); err != nil {
			return err
		}
		if err := r.prove(ctx, k, 1, w.providers); err != nil {
			return err
		}
		if err := w.tickTo(w.clock.EpochEnd(k) + graceSeconds + 5); err != nil {
			return err
		}
		if err := r.settleUntil(ctx, func() bool { return r.status.Sealed >= k }); err != nil {
			return err
		}
		if k == 1 {
			if err := errors.Join(r.payAll(ctx), r.payIn(ctx)); err != nil {
				return err
			}
		}
	}
	if err := r.spendSome(ctx); err != nil {
		return err
	}
	if err := r.look(ctx); err != nil {
		return err
	}
	w.oracle, w.spending = r.oracle, r
	return nil
}

// spendSome lets renters spend a little, and some payees be paid their fees.
func (r *run) spendSome(ctx context.Context) error {
	for _, do := range []struct {
		times int
		what  func(*run, context.Context) (string, error)
	}{{4, (*run).openSession}, {8, (*run).openChannel}, {16, (*run).serveJobs}, {1, (*run).spoolFees}} {
		for range do.times {
			if _, err := do.what(r, ctx); err != nil {
				return err
			}
		}
	}
	if len(r.oracle.records) > 0 {
		return errors.New("a log was published before anybody did")
	}
	if err := r.a.service.PublishLog(ctx); err != nil {
		return err
	}
	if err := r.payAll(ctx); err != nil {
		return err
	}
	if err := r.look(ctx); err != nil {
		return err
	}
	if len(r.oracle.gotFees) == 0 {
		return errors.New("nobody was paid fees")
	}
	return nil
}

// inherit gives a run the sessions and channels that its world begins with.
func (r *run) inherit(w *world) {
	if w.spending == nil {
		return
	}
	was := w.spending
	same := map[*session]*session{}
	for _, s := range was.sessions {
		own := *s
		same[s] = &own
		r.sessions = append(r.sessions, &own)
	}
	for _, c := range was.seats {
		own := *c
		own.session = same[c.session]
		r.seats = append(r.seats, &own)
	}
	r.fees = slices.Clone(was.fees)
}

// payIn lets half of the renters pay in half of what they have.
func (r *run) payIn(ctx context.Context) error {
	for _, p := range r.world.providers[:renters] {
		holds, err := r.held(ctx, p.payee())
		if err != nil {
			return err
		}
		if p.number%2 == 0 || holds == 0 {
			continue
		}
		d, err := r.a.service.RequestDeposit(ctx, p.payee())
		if err != nil {
			return err
		}
		outcome, signature, err := r.sendAs(ctx, p.wallet, with(r.move(p.payee(), d.Vault, holds/2), d.Reference))
		if err != nil || outcome != "ok" {
			return fmt.Errorf("pay in: %s %w", outcome, err)
		}
		r.meant[signature] = []meant{{p.payee(), holds / 2}}
	}
	return nil
}

// enroll hands in the registrations of all providers.
func (r *run) enroll(ctx context.Context) error {
	for part := range slices.Chunk(r.world.providers, 200) {
		var list []settlement.Submitted
		for _, p := range part {
			list = append(list, settlement.Submitted{Envelope: p.delegation}, settlement.Submitted{Envelope: p.inventory})
		}
		if err := r.submit(ctx, list); err != nil {
			return fmt.Errorf("register providers: %w", err)
		}
	}
	return nil
}

// submit hands in statements, all of which must pass.
func (r *run) submit(ctx context.Context, list []settlement.Submitted) error {
	results, err := r.a.service.Submit(ctx, list)
	if err != nil {
		return err
	}
	for i, res := range results {
		if res.Status == settlement.Refused {
			return fmt.Errorf("%s is refused: %w", list[i].Envelope.Kind, res.Problem)
		}
	}
	return nil
}

// prove lets providers prove a sample, which must be taken.
func (r *run) prove(ctx context.Context, k uint64, sample uint16, list []*provider) error {
	b, err := r.beacon(ctx, k, sample)
	if err != nil {
		return err
	}
	var all []settlement.Submitted
	for _, p := range list {
		e, err := p.uptime(r.world.net.Network, k, sample, b)
		if err != nil {
			return err
		}
		all = append(all, settlement.Submitted{Envelope: e})
	}
	return r.submit(ctx, all)
}

// beacon returns the first finalized block of a sample.
func (r *run) beacon(ctx context.Context, k uint64, sample uint16) (proofs.Beacon, error) {
	start := r.world.clock.SampleStart(k, sample)
	block, err := r.world.clean.BlockAt(ctx, start, start+sampleSeconds)
	if err != nil {
		return proofs.Beacon{}, fmt.Errorf("find the block of sample %d of epoch %d: %w", sample, k, err)
	}
	return proofs.Beacon{Slot: block.Slot, Hash: block.Hash, Time: block.Time}, nil
}

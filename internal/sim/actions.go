package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement"
)

// action is something that may happen next. What it returns is a short text that
// follows from the seed alone; an error means that the simulation itself failed,
// or that something does not hold.
type action struct {
	name   string
	weight int
	do     func(*run, context.Context) (string, error)
}

// actions are all of them. Their order is part of what a seed means.
var actions = []action{
	{"pass", 30, (*run).passA},
	{"pass b", 6, (*run).passB},
	{"burst", 30, (*run).burst},
	{"time", 4, (*run).letTime},
	{"blocks", 5, (*run).letBlocks},
	{"epoch", 9, (*run).wholeEpoch},
	{"prove", 6, (*run).proveSome},
	{"spool", 3, (*run).resubmit},
	{"prepare", 12, (*run).prepareClaim},
	{"submit", 8, (*run).submitClaim},
	{"claim", 16, (*run).claimAtOnce},
	{"twin", 3, (*run).signTwin},
	{"payout", 9, (*run).requestPayout},
	{"offer", 5, (*run).offer},
	{"take", 4, (*run).take},
	{"deposit", 8, (*run).deposit},
	{"withdraw", 8, (*run).withdraw},
	{"session", 4, (*run).openSession},
	{"channel", 7, (*run).openChannel},
	{"jobs", 14, (*run).serveJobs},
	{"end", 2, (*run).endSpending},
	{"hand in", 3, (*run).spoolFees},
	{"publish", 4, (*run).publish},
	{"release", 3, (*run).release},
	{"seal", 3, (*run).sealReceipts},
	{"steal", 1, (*run).steal},
	{"resume", 3, (*run).resume},
	{"replay", 5, (*run).replay},
	{"close", 3, (*run).closeAccount},
	{"open", 3, (*run).openAccount},
	{"freeze", 2, (*run).freezeAccount},
	{"hand over", 1, (*run).handOver},
	{"gift", 3, (*run).gift},
	{"lamports", 2, (*run).giveLamports},
	{"fork", 6, (*run).fork},
	{"endpoint", 8, (*run).breakEndpoint},
	{"view", 5, (*run).blindEndpoint},
	{"lie", 4, (*run).corruptEndpoint},
	{"heal", 3, (*run).healEndpoint},
	{"fault", 9, (*run).armFault},
	{"kill", 2, (*run).kill},
	{"clock", 2, (*run).jump},
	{"backup", 2, (*run).backup},
	{"restore", 2, (*run).restore},
	{"amnesia", 3, (*run).amnesia},
}

// passA makes a pass of the first instance, after a little time; a dead one is
// started again first.
func (r *run) passA(ctx context.Context) (string, error) { return r.passOf(ctx, r.a) }

// passB makes a pass of the second one, beside the first.
func (r *run) passB(ctx context.Context) (string, error) { return r.passOf(ctx, r.b) }

func (r *run) passOf(ctx context.Context, i *instance) (string, error) {
	if err := r.world.tick(int64(r.rng.IntN(3)), 1+r.rng.IntN(4)); err != nil {
		return "", err
	}
	if err := r.recover(); err != nil {
		return "", err
	}
	r.remind(ctx)
	started := ""
	if !i.alive() {
		// Half of the time nobody is there until the former lease has run out.
		if r.rng.IntN(2) == 0 {
			if err := r.world.tick(leaseSeconds+1, 0); err != nil {
				return "", err
			}
		}
		if err := r.start(ctx, i); err != nil {
			return "", err
		}
		started = "started, "
	}
	err := r.pass(ctx, i)
	r.said(err)
	return started + class(err), nil
}

// burst makes passes one after the other, as a service does that is left alone.
func (r *run) burst(ctx context.Context) (string, error) {
	outcome := ""
	for range 2 + r.rng.IntN(8) {
		said, err := r.passA(ctx)
		if err != nil {
			return "", err
		}
		outcome += said[:1]
	}
	return outcome, nil
}

// wholeEpoch lets workers prove the present sample and time pass until the epoch
// is due.
func (r *run) wholeEpoch(ctx context.Context) (string, error) {
	k, sample, _ := r.world.clock.At(time.Unix(r.world.unix.Load(), 0))
	if err := r.world.tickTo(r.world.clock.SampleStart(k, sample) + sampleSeconds - 1); err != nil {
		return "", err
	}
	proved, err := r.proveSome(ctx)
	if err != nil {
		return "", err
	}
	outcome := ""
	for due := r.world.clock.EpochEnd(k) + graceSeconds + 1; ; {
		said, err := r.passA(ctx)
		if err != nil {
			return "", err
		}
		outcome += said[:1]
		now := r.world.unix.Load()
		if now >= due {
			return fmt.Sprintf("%d: %s, %s", k, proved, outcome), nil
		}
		if err := r.world.tickTo(min(due, now+leaseSeconds*2/3)); err != nil {
			return "", err
		}
	}
}

// letTime lets up to an epoch pass.
func (r *run) letTime(context.Context) (string, error) {
	seconds := int64(2 + r.rng.IntN(40))
	return fmt.Sprintf("%d s", seconds), r.world.tick(seconds, 0)
}

// letBlocks lets so many blocks pass that a blockhash is about to expire, or has.
func (r *run) letBlocks(context.Context) (string, error) {
	n := []int{20, 100, 140, 149, 150, 151, 160, 320}[r.rng.IntN(8)]
	return fmt.Sprintf("%d blocks", n), r.world.tick(0, n)
}

// spooled is a statement that its worker keeps until the epoch is sealed.
type spooled struct {
	epoch     uint64
	statement settlement.Submitted
}

// proveSome lets some workers prove the present sample.
func (r *run) proveSome(ctx context.Context) (string, error) {
	if !r.a.alive() {
		return "nobody listens", nil
	}
	k, sample, _ := r.world.clock.At(r.a.now())
	if r.a.skew != 0 {
		return "clock is wrong", nil
	}
	b, err := r.beacon(ctx, k, sample)
	if errors.Is(err, rpc.ErrNotYet) || errors.Is(err, rpc.ErrNoBlock) {
		return "no block yet", nil
	}
	if err != nil {
		return "", err
	}
	list, err := r.signSome(k, sample, b)
	if err != nil {
		return "", err
	}
	return r.hand(ctx, list), nil
}

// signSome signs the sample for workers that have not, and keeps the statements.
func (r *run) signSome(k uint64, sample uint16, b proofs.Beacon) ([]settlement.Submitted, error) {
	var list []settlement.Submitted
	for range 4 + r.rng.IntN(40) {
		p := r.world.providers[r.rng.IntN(len(r.world.providers))]
		at := proof{p.number, k, sample}
		if r.proved[at] {
			continue
		}
		r.proved[at] = true
		e, err := r.uptime(p, k, sample, b)
		if err != nil {
			return nil, err
		}
		list = append(list, settlement.Submitted{Envelope: e})
		r.spool = append(r.spool, spooled{k, settlement.Submitted{Envelope: e}})
	}
	return list, nil
}

// uptime signs a statement whose predecessor is this run's last of the worker.
func (r *run) uptime(p *provider, k uint64, sample uint16, b proofs.Beacon) (proofs.Envelope, error) {
	own := *p
	if id, ok := r.previous[p.number]; ok {
		own.previous = id
	}
	e, err := own.uptime(r.world.net.Network, k, sample, b)
	r.previous[p.number] = own.previous
	return e, err
}

// hand submits statements and says how many were taken.
func (r *run) hand(ctx context.Context, list []settlement.Submitted) string {
	if len(list) == 0 {
		return "nobody"
	}
	results, err := r.a.service.Submit(ctx, list)
	if err != nil {
		r.said(err)
		return class(err)
	}
	taken := 0
	for _, res := range results {
		if res.Status != settlement.Refused {
			taken++
		} else {
			r.said(res.Problem)
		}
	}
	return fmt.Sprintf("%d of %d taken", taken, len(list))
}

// resubmit hands in again what workers keep.
func (r *run) resubmit(ctx context.Context) (string, error) {
	if !r.a.alive() || r.a.skew != 0 {
		return "nobody listens", nil
	}
	k, _, _ := r.world.clock.At(r.a.now())
	r.spool = slices.DeleteFunc(r.spool, func(s spooled) bool { return s.epoch+3 < k })
	list := make([]settlement.Submitted, min(len(r.spool), settlement.MaxSubmitted))
	for i := range list {
		list[i] = r.spool[i].statement
	}
	return r.hand(ctx, list), nil
}

// handInAgain is resubmit at rest, where epochs that were closed meanwhile refuse.
func (r *run) handInAgain(ctx context.Context) error {
	if _, err := r.resubmit(ctx); err != nil {
		return err
	}
	r.handAllFees(ctx, r.a)
	return nil
}

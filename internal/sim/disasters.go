package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/internal/wires"
)

// replay lets a stranger send again any transaction that was ever sent.
func (r *run) replay(ctx context.Context) (string, error) {
	if len(r.sent) == 0 {
		return "nothing", nil
	}
	tx := r.sent[r.rng.IntN(len(r.sent))]
	if r.rng.IntN(2) == 0 {
		tx = r.sent[len(r.sent)-1]
	}
	d, err := chain.Decode(tx)
	if err != nil {
		return "", fmt.Errorf("an instance sent what is no transaction of ours: %w", err)
	}
	err = r.world.clean.Send(ctx, tx, rpc.SendOptions{SkipPreflight: true})
	r.said(err)
	return fmt.Sprintf("%s: %s", d.Plan.Kind, class(err)), nil
}

// armFault makes one of an instance's next steps fail, and at times the process
// with it.
func (r *run) armFault(context.Context) (string, error) {
	i := r.either()
	if i == nil {
		return "nobody lives", nil
	}
	f := wires.Fault{Step: 1 + r.rng.IntN(40), Outcome: wires.Outcome(r.rng.IntN(2)), Dies: r.rng.IntN(2) == 0}
	i.wires.Arm(f)
	return fmt.Sprintf("%s: step %d %s, dies %t", i.name, f.Step, f.Outcome, f.Dies), nil
}

// kill ends a process between two passes.
func (r *run) kill(context.Context) (string, error) {
	i := r.either()
	if i == nil {
		return "nobody lives", nil
	}
	i.stop()
	return i.name, nil
}

// maxSkew is how far an instance's clock may be off, in seconds.
const maxSkew = 120

// jump moves the clock of an instance, or puts it right.
func (r *run) jump(context.Context) (string, error) {
	i := []*instance{r.a, r.b}[r.rng.IntN(2)]
	i.skew = []int64{0, 0, 1, -3, 30, -30, maxSkew, -maxSkew}[r.rng.IntN(8)]
	return fmt.Sprintf("%s by %d s", i.name, i.skew), nil
}

// maxBackups bounds the copies of one run.
const maxBackups = 3

// backup copies the database as it is.
func (r *run) backup(ctx context.Context) (string, error) {
	n := len(r.backups)
	if n == maxBackups {
		return "enough", nil
	}
	name := r.backupName(n)
	if err := r.swap(ctx, r.database, name); err != nil {
		return "", err
	}
	r.backups = append(r.backups, name)
	return fmt.Sprint(n), nil
}

// restore puts a copy back: under the instances that run, or after they died.
func (r *run) restore(ctx context.Context) (string, error) {
	if len(r.backups) == 0 {
		return "none", nil
	}
	n := r.rng.IntN(len(r.backups))
	how := "under running instances"
	if r.rng.IntN(2) == 0 {
		r.a.stop()
		r.b.stop()
		how = "after all died"
	}
	return fmt.Sprintf("%d %s", n, how), r.swap(ctx, r.backups[n], r.database)
}

// swap copies a database, which ends all sessions of both.
func (r *run) swap(ctx context.Context, from, to string) error {
	if err := r.world.dbs.copy(ctx, from, to); err != nil {
		return err
	}
	r.eyes.Reset()
	for _, i := range []*instance{r.a, r.b} {
		if i.pool != nil {
			i.pool.Reset()
		}
	}
	return nil
}

// amnesia puts the database back to just before transactions were signed that
// nobody has seen yet. They land, if they can, some passes later.
func (r *run) amnesia(ctx context.Context) (string, error) {
	if !r.a.alive() {
		return "nobody lives", nil
	}
	name := r.database + "_amnesia"
	if err := r.swap(ctx, r.database, name); err != nil {
		return "", err
	}
	for _, f := range r.world.fronts {
		if _, err := f.Inject(localnet.Fault{Methods: []string{"sendTransaction"}, Do: localnet.Drop, Slots: 30}); err != nil {
			return "", err
		}
	}
	// What is forgotten is a claim, and then a run pays the wallet; or it is a run, and
	// then wallets claim.
	before := len(r.sent)
	first, then := (*run).claimAtOnce, (*run).requestPayout
	if r.rng.IntN(2) == 0 {
		first, then = then, first
	}
	did, err := first(r, ctx)
	if err != nil {
		return "", err
	}
	passed, err := r.passOf(ctx, r.a)
	if err != nil {
		return "", err
	}
	r.forgotten, r.forgottenFor = slices.Clone(r.sent[min(before, len(r.sent)):]), 2+r.rng.IntN(16)
	if r.rng.IntN(2) == 0 {
		r.a.stop()
	}
	for _, f := range r.world.fronts {
		for _, x := range f.Faults() {
			if x.Do == localnet.Drop && x.Slots == 30 {
				f.Remove(x.ID)
			}
		}
	}
	// The pass may have seen an epoch sealed and paid what it brought: the debts of the
	// database that goes were debts.
	if err := r.look(ctx); err != nil {
		return "", err
	}
	outcome := fmt.Sprintf("%s, %s, %d forgotten", did, passed, len(r.forgotten))
	if err := r.swap(ctx, name, r.database); err != nil {
		return "", err
	}
	// It has to lead again, and to be fenced, before anything is paid.
	for range 6 {
		if _, err := r.passA(ctx); err != nil {
			return "", err
		}
	}
	did, err = then(r, ctx)
	return outcome + "; " + did, err
}

// remind sends what was forgotten, once its time has come.
func (r *run) remind(ctx context.Context) {
	if len(r.forgotten) == 0 {
		return
	}
	if r.forgottenFor--; r.forgottenFor >= 0 {
		return
	}
	for _, tx := range r.forgotten {
		r.said(r.world.clean.Send(ctx, tx, rpc.SendOptions{SkipPreflight: true}))
	}
	r.tally.add("reminded transactions", len(r.forgotten))
	r.forgotten = nil
}

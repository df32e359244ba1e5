package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ionet-settlement/ionet/chain/rpc"
)

// A disturbance is one thing that goes wrong outside the chain, or that somebody does
// while things go wrong.
type disturbance struct {
	name string
	do   func(*siege, context.Context) error
}

// disturbances come in turn, each time in another order; what stands twice comes twice
// as often.
var disturbances = []disturbance{
	{"kill -9 of the service", (*siege).killService},
	{"kill -9 of the service", (*siege).killService},
	{"kill -9 of a signer", (*siege).killSigner},
	{"kill -9 of a worker", (*siege).killWorker},
	{"a second service comes or goes", (*siege).secondService},
	{"the database stops at once and starts again", (*siege).restartDatabase},
	{"a copy of the database is taken", (*siege).copyDatabase},
	{"the database is put back to the copy", (*siege).restoreDatabase},
	{"a claim", (*siege).claimSome},
	{"two wallets claim at once", (*siege).claimTwo},
	{"a claim is prepared and left", (*siege).leaveClaim},
	{"a payout run", (*siege).payoutsSome},
	{"a payout run", (*siege).payoutsSome},
	{"a deposit", (*siege).depositSome},
	{"a withdrawal", (*siege).withdrawSome},
	{"a release of unlocked tokens", (*siege).releaseSome},
	{"a stranger's gift to a vault", (*siege).giveSome},
	{"a payee closes his account", (*siege).closeAccount},
	{"a renter asks", (*siege).ask},
	{"a renter asks", (*siege).ask},
	{"kill -9 of the renter's proxy", (*siege).killProxy},
}

// siege is a stage while things go wrong.
type siege struct {
	*stage
	dice    *rand.Rand
	deck    []int       // of disturbances
	cluster *rpc.Client // the wallets' view of the chain
	copied  bool
	second  *child
	renter  int    // the provider who paid in last; 0: nobody yet
	asks    string // URL of the renter's proxy
	count   map[string]int
	outgoes []outgo // what the demo itself has sent out of the providers' accounts
}

// underFaults lets things go wrong until the time is over, then ends all that, has
// everybody paid, and holds what they have against what they earned. The chain has faults of
// its own meanwhile, from the same seed. That a wallet's command or a start fails is part
// of it; that the end does not hold is not.
func (s *stage) underFaults(ctx context.Context, length time.Duration, seed uint64) error {
	g, err := s.besiege(ctx, seed)
	if err != nil {
		return err
	}
	defer g.leave()
	s.tellFault("for %s, seed %d", length, seed)
	watch := watchPaying(ctx, g)
	defer watch.end()
	for end := time.Now().Add(length); time.Now().Before(end) && ctx.Err() == nil; {
		if err := pause(ctx, s.pace.between/10+time.Duration(g.dice.Int64N(int64(s.pace.between)))); err != nil {
			return err
		}
		g.strike(ctx, g.draw(), watch)
	}
	if err := g.calm(ctx); err != nil {
		return err
	}
	watch.end()
	for _, name := range slices.Sorted(maps.Keys(g.count)) {
		s.tellFault("%3d x %s%s", g.count[name], name, watch.after(name))
	}
	s.tellFault("%s", watch.summary())
	return g.settleUp(ctx)
}

// besiege prepares what the wallets need and lets the chain's own faults begin.
func (s *stage) besiege(ctx context.Context, seed uint64) (*siege, error) {
	cluster, err := rpc.New(rpc.Config{Endpoints: []string{s.rpc}})
	if err != nil {
		return nil, fmt.Errorf("open the chain: %w", err)
	}
	g := &siege{stage: s, dice: rand.New(rand.NewPCG(seed, 4)), cluster: cluster, count: map[string]int{}}
	if err := g.openSavings(ctx); err != nil {
		return nil, err
	}
	if err := g.letRent(ctx); err != nil {
		return nil, err
	}
	return g, s.command(ctx, fmt.Sprintf(`{"do":"chaos","chaos":{"seed":%d,"every":60,"longest":120}}`, seed))
}

// draw takes the next disturbance.
func (g *siege) draw() disturbance {
	if len(g.deck) == 0 {
		g.deck = g.dice.Perm(len(disturbances))
	}
	d := disturbances[g.deck[0]]
	g.deck = g.deck[1:]
	return d
}

// strike does one thing and tells what became of it.
func (g *siege) strike(ctx context.Context, d disturbance, watch *watch) {
	watch.struck(d.name)
	began := time.Now()
	outcome := "done"
	if err := d.do(g, ctx); err != nil {
		outcome = err.Error()
	}
	g.count[d.name]++
	g.tellFault("%s: %s, %s", d.name, outcome, time.Since(began).Round(100*time.Millisecond))
}

// tellFault writes a line as if it were a child's.
func (s *stage) tellFault(format string, args ...any) {
	s.say("faults", format, args...)
}

// calm ends the chain's faults and starts what lies down.
func (g *siege) calm(ctx context.Context) error {
	if err := g.command(ctx, `{"do":"calm"}`); err != nil {
		return err
	}
	g.leave()
	return g.serveAgain(ctx)
}

// leave ends what only a siege has started.
func (g *siege) leave() {
	if g.second != nil {
		g.second.kill()
		g.second = nil
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet/internal/devdb"
)

// fronts is how many RPC front ends the chain has where it is hostile. The service reads
// all of them; wallets and the auditor use the first.
const fronts = 3

// command gives the chain's admin interface a command.
func (s *stage) command(ctx context.Context, json string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.rpc+"/admin", bytes.NewReader([]byte(json)))
	if err != nil {
		return fmt.Errorf("command the chain: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("command the chain: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("command the chain: %s answers %s", json, resp.Status)
	}
	return nil
}

// A disturbance is one thing that goes wrong outside the chain, or that somebody does
// while things go wrong.
type disturbance struct {
	name string
	do   func(*siege, context.Context) error
}

// disturbances are drawn alike; what stands twice comes twice as often.
var disturbances = []disturbance{
	{"kill -9 of the service", (*siege).killService},
	{"kill -9 of the service", (*siege).killService},
	{"a second service beside it", (*siege).secondService},
	{"the database stops at once and starts again", (*siege).restartDatabase},
	{"a copy of the database is taken", (*siege).copyDatabase},
	{"the database is put back to the copy", (*siege).restoreDatabase},
	{"kill -9 of a worker", (*siege).killWorker},
	{"a claim", (*siege).claimSome},
	{"a claim", (*siege).claimSome},
	{"a payout run", (*siege).payoutsSome},
	{"a payout run", (*siege).payoutsSome},
}

// siege is a stage while things go wrong.
type siege struct {
	*stage
	dice   *rand.Rand
	copied bool
	second *child
	count  map[string]int
}

// underFaults lets things go wrong until the time is over, then ends all that and waits
// until everybody is paid. The chain has faults of its own meanwhile, from the same seed.
// That a wallet's command or a start fails is part of it; that the end does not hold is not.
func (s *stage) underFaults(ctx context.Context, length time.Duration, seed uint64) error {
	g := &siege{stage: s, dice: rand.New(rand.NewPCG(seed, 4)), count: map[string]int{}}
	if err := s.command(ctx, fmt.Sprintf(`{"do":"chaos","chaos":{"seed":%d,"every":60,"longest":120}}`, seed)); err != nil {
		return err
	}
	fmt.Fprintf(s.show, "%s  %-9s for %s, seed %d\n", time.Now().Format("15:04:05"), "faults", length, seed)
	for end := time.Now().Add(length); time.Now().Before(end) && ctx.Err() == nil; {
		if err := pause(ctx, time.Duration(500+g.dice.IntN(5000))*time.Millisecond); err != nil {
			return err
		}
		d := disturbances[g.dice.IntN(len(disturbances))]
		err := d.do(g, ctx)
		g.count[d.name]++
		outcome := "done"
		if err != nil {
			outcome = err.Error()
		}
		fmt.Fprintf(s.show, "%s  %-9s %s: %s\n", time.Now().Format("15:04:05"), "faults", d.name, outcome)
	}
	return g.end(ctx)
}

// end heals the chain, starts what lies down, and has everybody paid.
func (g *siege) end(ctx context.Context) error {
	if err := g.command(ctx, `{"do":"calm"}`); err != nil {
		return err
	}
	if g.second != nil {
		g.second.kill()
	}
	if err := g.serveAgain(ctx); err != nil {
		return err
	}
	head, err := g.api.Head(ctx)
	if err != nil {
		return err
	}
	if err := g.sealed(ctx, head.Sealed+2); err != nil {
		return err
	}
	if err := g.claim(ctx, 1); err != nil {
		return err
	}
	if err := g.payoutsRun(ctx); err != nil {
		return err
	}
	for _, name := range slices.Sorted(keysOf(g.count)) {
		fmt.Fprintf(g.show, "%s  %-9s %3d x %s\n", time.Now().Format("15:04:05"), "faults", g.count[name], name)
	}
	return nil
}

func keysOf(m map[string]int) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// serveAgain starts the service until it stays: while the chain is hostile a start may
// fail, as its first questions go unanswered.
func (g *siege) serveAgain(ctx context.Context) error {
	for try := range 20 {
		if g.service.running() {
			return nil
		}
		wait, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := g.serve(wait)
		cancel()
		if err == nil {
			return nil
		}
		g.service.kill()
		if err := pause(ctx, time.Duration(try+1)*200*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("the service does not start any more; see %s", g.log.Name())
}

func (g *siege) killService(ctx context.Context) error {
	g.service.kill()
	if err := pause(ctx, time.Duration(g.dice.IntN(3000))*time.Millisecond); err != nil {
		return err
	}
	return g.serveAgain(ctx)
}

// secondService starts another instance for a while, or kills the one that is there.
func (g *siege) secondService(context.Context) error {
	if g.second != nil {
		g.second.kill()
		g.second = nil
		return nil
	}
	var err error
	g.second, err = g.start("second", "ionetd", g.serveArgs("127.0.0.1:0")...)
	return err
}

// restartDatabase is a crash of the server: it writes no checkpoint.
func (g *siege) restartDatabase(ctx context.Context) error {
	at, err := url.Parse(g.db.URL())
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(at.Port())
	if err != nil {
		return err
	}
	now, cancel := context.WithCancel(ctx)
	cancel()
	if err := g.db.Stop(now); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	g.db, err = devdb.Start(ctx, devdb.Config{Dir: filepath.Join(g.dir, "postgres"), Port: port})
	return err
}

const (
	liveName = "ionet"
	copyName = "ionet_copy"
)

func (g *siege) copyDatabase(ctx context.Context) error {
	err := g.db.Snapshot(ctx, liveName, copyName)
	g.copied = g.copied || err == nil
	return err
}

// restoreDatabase forgets all that happened since the copy, under the running service.
func (g *siege) restoreDatabase(ctx context.Context) error {
	if !g.copied {
		return g.copyDatabase(ctx)
	}
	return g.db.Snapshot(ctx, copyName, liveName)
}

func (g *siege) killWorker(ctx context.Context) error {
	i := g.dice.IntN(hosts)
	g.workers[i].kill()
	if err := pause(ctx, time.Duration(g.dice.IntN(2000))*time.Millisecond); err != nil {
		return err
	}
	w, err := g.start(g.workers[i].name, "ionet-worker", g.workers[i].cmd.Args[1:]...)
	if err == nil {
		g.workers[i] = w
	}
	return err
}

func (g *siege) claimSome(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return g.claim(wait, 1+g.dice.IntN(hosts))
}

func (g *siege) payoutsSome(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return g.payoutsRun(wait)
}

// rpcFlags names the chain's front ends to a command.
func (s *stage) rpcFlags() []string {
	var flags []string
	for _, url := range append([]string{s.rpc}, s.otherRPC...) {
		flags = append(flags, "--rpc", url)
	}
	return flags
}

// readFronts reads the addresses of the chain's other front ends.
func (s *stage) readFronts(ctx context.Context, count int) error {
	for i := 1; i < count; i++ {
		url, err := s.chain.line(ctx, fmt.Sprintf("front %d rpc ", i))
		if err != nil {
			return err
		}
		s.otherRPC = append(s.otherRPC, strings.TrimSpace(url))
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

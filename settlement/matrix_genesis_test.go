package settlement

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/emissions"
	iwires "github.com/ionet-settlement/ionet/internal/wires"
	"github.com/ionet-settlement/ionet/proofs/audit"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement/genesis"
)

// genesisKind opens the lanes and mints the genesis supply. No service runs yet and
// there is no database: an operator's command does it, and is given again.
func genesisKind() matrixKind { return matrixKind{name: "lane opening and genesis", alone: runGenesis} }

// genesisFaults are those that such a command can meet.
var genesisFaults = []string{
	"killed before", "killed after", "request lost", "answer lost", "RPC error",
	"landed late", "forked, lands again", "forked, never lands", "RPC lies", "two instances", "gifts",
}

// birth is the making of one network.
type birth struct {
	t     *testing.T
	node  *localnet.Node
	clean *rpc.Client
	store *publish.Folder
	net   *genesis.Prepared
	wires *wires
}

// runGenesis makes one network over wires that fail at step n, and finishes it over
// good ones.
func runGenesis(t *testing.T, f matrixFault, n int) (steps []string, met string) {
	b := newBirth(t)
	fault := iwires.Fault{}
	if n > 0 {
		fault = b.fault(f.name, n)
	}
	fault.Step = n
	b.wires.Count(iwires.Every)
	b.wires.Arm(fault)
	err := b.try(b.wires, 60)
	steps = b.wires.Steps()
	if met = b.wires.Disarm(); met == "" && err != nil && !errors.Is(err, errSlow) {
		t.Fatalf("genesis without a fault: %v", err)
	}
	b.heal(f.name)
	for try := 0; b.try(b.wires, 600) != nil; try++ {
		if try == 5 {
			t.Fatalf("genesis does not come to its end: %v", b.try(b.wires, 600))
		}
	}
	b.check()
	return steps, met
}

func newBirth(t *testing.T) *birth {
	t.Helper()
	node, err := arenaNode()
	if err != nil {
		t.Fatal(err)
	}
	b := &birth{t: t, node: node, wires: &wires{}}
	schedule, err := emissions.Hourly(8)
	if err == nil {
		schedule, err = schedule.Shorten(shortEpochs)
	}
	if err != nil {
		t.Fatal(err)
	}
	if b.store, err = publish.NewFolder(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	b.net, err = genesis.Prepare(t.Context(), genesis.Config{
		Dir: t.TempDir(), Name: "birth", Cluster: ionet.Key(node.GenesisHash()), Start: time.Unix(handTime.Load()+100_000, 0), Schedule: schedule,
		EpochSeconds: testSamples * testSample, Samples: testSamples, PayLanes: 2, ClaimLanes: 2, Policy: []byte(testPolicy),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.clean = b.dial(nil, node.URL())
	return b
}

func (b *birth) dial(w *wires, endpoints ...string) *rpc.Client {
	b.t.Helper()
	cfg := rpc.Config{Endpoints: endpoints, Pause: time.Millisecond, Rounds: 1}
	if w != nil {
		cfg.Transport = w
	}
	c, err := rpc.New(cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(c.Close)
	return c
}

// errSlow reports a command that its operator stopped.
var errSlow = errors.New("genesis was stopped")

// try gives the command over w, while slots pass, and stops it after some.
func (b *birth) try(w *wires, slots int) error {
	ctx, cancel := context.WithCancel(b.t.Context())
	defer cancel()
	done := make(chan error, 1)
	client := b.dial(w, b.node.URL()+"/a", b.node.URL()+"/b")
	go func() {
		done <- genesis.Run(ctx, b.net, genesis.Options{Chain: client, Store: b.store, Airdrop: true, Poll: time.Millisecond})
	}()
	for range slots {
		select {
		case err := <-done:
			return err
		case <-time.After(time.Millisecond):
			if err := b.node.Advance(3); err != nil {
				b.t.Error(err)
			}
		}
	}
	cancel()
	select {
	case err := <-done:
		if err == nil {
			return nil
		}
	case <-time.After(100 * time.Millisecond): // it waits for the folder, which another run holds
	}
	return errSlow
}

func (b *birth) fault(name string, n int) iwires.Fault {
	f := iwires.Fault{Outcome: iwires.Pass, Refusal: iwires.RefusalOf(n)}
	switch name {
	case "killed before":
		f.Outcome, f.Dies = iwires.Lost, true
	case "killed after":
		f.Outcome, f.Dies = iwires.Unheard, true
	case "request lost":
		f.Outcome = iwires.Lost
	case "answer lost":
		f.Outcome = iwires.Unheard
	case "RPC error":
		f.Outcome = iwires.Refused
	case "landed late":
		f.Before = func(string) { b.wires.Drop(true) }
	case "forked, lands again":
		f.After = func(string) { b.fork() }
	case "forked, never lands":
		f.After = func(string) { b.fork(); b.wires.Drop(true) }
	case "RPC lies":
		f.Before = func(string) { b.lie() }
	case "two instances":
		f.Before = func(string) { b.try(&wires{}, 15) }
	case "gifts":
		f.Before = func(string) { b.give() }
	}
	return f
}

func (b *birth) fork() {
	for n := arenaDepth; n > 0 && b.node.Fork(n) != nil; n-- {
	}
}

// lie makes one endpoint say that the genesis has landed.
func (b *birth) lie() {
	lane, _ := b.net.Network.Lane(epochLane)
	c := chain.FirstC(lane)
	first := b.net.Keys.Secret.Public(c)
	b.wires.Twist(func(_, endpoint string, answer []byte) []byte {
		if len(endpoint) > 0 && endpoint[len(endpoint)-1] == 'a' {
			return twistKeys(answer, map[ionet.Key]ionet.Key{first: {1, 2, 3}})
		}
		return answer
	})
}

// give prefunds what is going to be made.
func (b *birth) give() {
	n := b.net.Network
	keys := []ionet.Key{n.Mint, n.Vaults.Reward, n.Vaults.Fee}
	for _, l := range n.Lanes {
		keys = append(keys, l.Address)
	}
	for _, k := range keys {
		if _, err := b.node.Airdrop(solana.PublicKey(k), 2_000_000); err != nil {
			b.t.Error(err)
		}
	}
}

// heal ends the fault: what was dropped lands in the last block that takes it, or
// is let expire.
func (b *birth) heal(name string) {
	b.t.Helper()
	late := b.wires.Dropped()
	if name == "landed late" && len(late) > 0 {
		if err := b.node.Advance(1); err != nil {
			b.t.Fatal(err)
		}
		for _, tx := range late {
			if err := b.clean.Send(b.t.Context(), tx, rpc.SendOptions{SkipPreflight: true}); err != nil {
				b.t.Logf("land late: %v", err)
			}
		}
	}
	if name == "forked, never lands" {
		if err := b.node.Advance(blockhashLife); err != nil {
			b.t.Fatal(err)
		}
	}
	b.wires.Drop(false)
	b.wires.Twist(nil)
	if err := b.node.Advance(2 * arenaDepth); err != nil {
		b.t.Fatal(err)
	}
}

// check holds supply and lanes against the network file, and lets the auditor see it.
func (b *birth) check() {
	b.t.Helper()
	if err := b.node.Advance(2 * arenaDepth); err != nil {
		b.t.Fatal(err)
	}
	n := b.net.Network
	keys := []ionet.Key{n.Mint}
	for _, l := range n.Lanes {
		keys = append(keys, l.Address)
	}
	list, _, err := b.clean.Accounts(b.t.Context(), keys, rpc.Finalized, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	mint, err := chain.ParseMint(list[0].Owner, list[0].Data)
	if err != nil || mint.Supply != n.Schedule.Genesis.Base() {
		b.t.Errorf("supply is %d, %v, want %s", mint.Supply, err, n.Schedule.Genesis)
	}
	for i, l := range n.Lanes {
		state, err := chain.ParseLane(list[1+i].Owner, list[1+i].Data)
		if first := b.net.Keys.Secret.Public(chain.FirstC(l.Address)); err != nil || (state == first) == (l.Name == epochLane) {
			b.t.Errorf("lane %s is at %s, %v, its first key is %s", l.Name, state, err, first)
		}
	}
	r, err := audit.Run(b.t.Context(), audit.Config{Chain: b.clean, Store: b.store, Mint: n.Mint})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range slices.Concat(r.Findings, r.Unchecked) {
		b.t.Error(f)
	}
}

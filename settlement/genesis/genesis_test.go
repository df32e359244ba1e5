package genesis

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/publish"
)

// node is one local chain for all tests of this package, with fast slots.
var node *localnet.Node

func TestMain(m *testing.M) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	var err error
	if node, err = localnet.Start(ctx, localnet.Config{SlotTime: 4 * time.Millisecond}); err != nil {
		fmt.Fprintln(os.Stderr, "start local chain:", err)
		os.Exit(1)
	}
	code := m.Run()
	cancel()
	if err := node.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "stop local chain:", err)
		code = 1
	}
	os.Exit(code)
}

func newClient(t testing.TB, cfg rpc.Config) *rpc.Client {
	t.Helper()
	cfg.Endpoints = []string{node.URL()}
	c, err := rpc.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func testConfig(dir, name string) Config {
	schedule, err := emissions.Hourly(8)
	if err == nil {
		schedule, err = schedule.Shorten(1000) // to hash it is what Prepare takes time for
	}
	if err != nil {
		panic(err)
	}
	return Config{Dir: dir, Schedule: schedule, Name: name, Cluster: ionet.Key(node.GenesisHash()), Start: time.Now().Add(time.Minute), EpochSeconds: 3600, Samples: 60, PayLanes: 2, ClaimLanes: 2}
}

// checkSupply compares the chain, at finalized, with the network file.
func checkSupply(t testing.TB, p *Prepared) {
	t.Helper()
	ctx, c := context.Background(), newClient(t, rpc.Config{})
	keys := []ionet.Key{p.Network.Mint}
	for _, a := range p.Network.Allocation {
		keys = append(keys, a.Account)
	}
	list, _, err := c.Accounts(ctx, keys, rpc.Finalized, 0)
	if err != nil {
		t.Fatal(err)
	}
	mint, err := chain.ParseMint(list[0].Owner, list[0].Data)
	if err != nil || mint.Supply != p.Network.Schedule.Genesis.Base() {
		t.Fatalf("supply is %d, %v, want %s", mint.Supply, err, p.Network.Schedule.Genesis)
	}
	for i, a := range p.Network.Allocation {
		s, err := chain.ParseTokenAccount(list[i+1].Owner, list[i+1].Data)
		if err != nil || s.Amount != a.Amount.Base() {
			t.Errorf("allocation %s: got %d, %v, want %s", a.Category, s.Amount, err, a.Amount)
		}
	}
	if err := func() error {
		for e, err := range c.History(ctx, chain.GenesisReference(p.Network.Mint), chain.Signature{}, 0) {
			if err != nil {
				return err
			}
			tx, err := c.Transaction(ctx, e.Signature)
			if err != nil {
				return err
			}
			if _, err := chain.Decode(tx.Bytes); err != nil {
				return err
			}
		}
		return nil
	}(); err != nil {
		t.Errorf("history of the genesis reference: %v", err)
	}
}

func TestGenesisAndAgain(t *testing.T) {
	ctx := context.Background()
	p, err := Prepare(ctx, testConfig(t.TempDir(), "again"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := publish.NewFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		o := Options{Chain: newClient(t, rpc.Config{}), Store: store, Airdrop: true, Poll: 5 * time.Millisecond, Log: t.Logf}
		if err := Run(ctx, p, o); err != nil {
			t.Fatal(err)
		}
		checkSupply(t, p)
	}
}

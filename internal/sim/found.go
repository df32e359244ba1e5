package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/internal/wires"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement/genesis"
)

// found makes the genesis, with the same keys each time. The chain moves by a slot
// with each call, so that the same calls see the same blocks.
func (w *world) found(ctx context.Context, dir string) error {
	if err := writeKeys(dir); err != nil {
		return err
	}
	schedule, err := emissions.Hourly(8)
	if err == nil {
		schedule, err = schedule.Shorten(1000) // to hash it is what Prepare takes time for
	}
	if err != nil {
		return err
	}
	w.net, err = genesis.Prepare(ctx, genesis.Config{
		Dir: dir, Name: "simulation", Cluster: ionet.Key(w.node.GenesisHash()), Start: time.Unix(beginning+2*sampleSeconds, 0), Schedule: schedule,
		EpochSeconds: samples * sampleSeconds, Samples: samples, PayLanes: payLanes, ClaimLanes: claimLanes, Policy: []byte(policyFile),
		Beneficiaries: map[string][]ionet.Beneficiary{
			"research":  {{Wallet: beneficiary(0), Parts: 2}, {Wallet: beneficiary(1), Parts: 3}, {Wallet: beneficiary(2), Parts: 7}},
			"community": {{Wallet: beneficiary(3), Parts: 1}},
			"core":      {{Wallet: beneficiary(4), Parts: 1}},
		},
		Now: func() time.Time { return time.Unix(w.unix.Load(), 0) },
	})
	if err != nil {
		return err
	}
	w.clock = w.net.Network.Clock()
	store, err := publish.NewFolder(w.store)
	if err != nil {
		return err
	}
	var moving wires.Wires
	var advanced error
	moving.Hook(func(string) { advanced = errors.Join(advanced, w.node.Advance(1)) })
	c, err := rpc.New(rpc.Config{Endpoints: []string{w.node.URL()}, Transport: &moving})
	if err != nil {
		return err
	}
	defer c.Close()
	if w.clean, err = rpc.New(rpc.Config{Endpoints: []string{w.node.URL()}}); err != nil {
		return err
	}
	for _, key := range []ed25519.PrivateKey{w.net.Keys.Operator, strangerKey()} {
		if _, err := w.node.Airdrop(solana.PublicKey(chain.PublicOf(key)), 100_000_000_000); err != nil {
			return err
		}
	}
	err = genesis.Run(ctx, w.net, genesis.Options{Chain: c, Store: store, Airdrop: true, Poll: time.Microsecond})
	return errors.Join(err, advanced)
}

// writeKeys puts keys that follow from their names where the genesis looks for them.
func writeKeys(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	names := []string{"operator", "fees", "service", "lane"}
	for _, category := range []string{"seed", "series_a", "core", "research", "community"} {
		names = append(names, "allocation-"+category)
	}
	for _, name := range names {
		if err := chain.WriteKeypair(filepath.Join(dir, name+".json"), keyOf(name)); err != nil {
			return err
		}
	}
	return chain.WriteSecret(filepath.Join(dir, "lane-secret.json"), chain.Secret(ionet.HashOf([]byte("io/sim/secret"))))
}

// beneficiary is a wallet that gets what a genesis category unlocks.
func beneficiary(n int) ionet.Key { return chain.PublicOf(keyOf(fmt.Sprint("beneficiary ", n))) }

// strangerKey is a key that has lamports, and nothing to do with the network.
func strangerKey() ed25519.PrivateKey { return keyOf("stranger") }

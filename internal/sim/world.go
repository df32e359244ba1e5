package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/system"
	"github.com/gagliardetto/solana-go/programs/token"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/settlement"
	"github.com/ionet-settlement/ionet/settlement/genesis"
)

// Shape of the network: an epoch is a minute of six samples.
const (
	samples       = 6
	sampleSeconds = 10
	graceSeconds  = 20
	leaseSeconds  = 20
	finality      = 8 // blocks behind the newest; so many may fork away
	payLanes      = 3
	claimLanes    = 3
	renters       = 12            // of the providers' wallets that pay in too
	endpoints     = 2             // of the chain, that instances use
	beginning     = 1_800_000_000 // Unix seconds
)

const policyFile = `version = 1
first_epoch = 1
draw = "schedule"
[samples]
minimum = 1
late_after = 1
late_limit = 2
[close]
grace_seconds = 20
[simulated]
earn = true
[binding]
idle_epochs = 24
[stake]
minimum_per_multiplier = "0"
[fees]
network_basis_points = 250
grace_seconds = 60
[payout]
minimum = "0"
[[pools]]
name = "community"
basis_points = 2500
[[pools]]
name = "enterprise"
basis_points = 7500
[[models]]
name = "h100"
pool = "enterprise"
multiplier_milli = 10000
match = ["NVIDIA H100 80GB HBM3"]
[[models]]
name = "rtx-4090"
pool = "community"
multiplier_milli = 1250
match = ["NVIDIA GeForce RTX 4090"]
`

// world is the network that every seed begins with: a chain and a database
// after two epochs in which all providers earned, some were paid, and some of these
// paid in as renters.
type world struct {
	node      *localnet.Node
	unix      atomic.Int64 // the chain's clock, seconds
	clean     *rpc.Client  // a way to the chain that no fault touches
	net       *genesis.Prepared
	clock     ionet.Clock
	dbs       *databases
	store     string // folder of the published files
	providers []*provider
	oracle    *oracle
	began     int64 // the clock when the world was ready
	snapshot  *localnet.Snapshot
	fronts    []*localnet.Front       // the endpoints that instances use; the node's own is truthful
	accounts  map[ionet.Key]ionet.Key // payees by token account; made when first asked for
	spending  *run                    // who has sessions and channels when a seed begins; nil: nobody
}

// base is the database that every seed's is a copy of.
const base = "base"

// newWorld makes it, with files under dir and databases beside the one at admin.
func newWorld(ctx context.Context, admin, prefix, dir string, providers int) (_ *world, err error) {
	w := &world{store: filepath.Join(dir, "store"), dbs: &databases{admin: admin, prefix: prefix, made: map[string]bool{}}}
	w.unix.Store(beginning)
	now := func() time.Time { return time.Unix(w.unix.Load(), 0) }
	w.node, err = localnet.Start(ctx, localnet.Config{SlotTime: -1, FinalityDepth: finality, Now: now, Seed: 1})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close(context.WithoutCancel(ctx)))
		}
	}()
	for range endpoints {
		f, err := w.node.Front(localnet.FrontConfig{})
		if err != nil {
			return nil, err
		}
		w.fronts = append(w.fronts, f)
	}
	for _, step := range []func() error{
		func() error { return w.dbs.create(ctx, base) },
		func() error { return w.found(ctx, filepath.Join(dir, "keys")) },
		func() error { return w.register(ctx, providers) },
		func() error { return w.play(ctx) },
	} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("prepare the world: %w", err)
		}
	}
	w.began, w.snapshot = w.unix.Load(), w.node.Snapshot()
	return w, nil
}

func (w *world) close(ctx context.Context) error {
	if w.clean != nil {
		w.clean.Close()
	}
	return errors.Join(w.dbs.dropAll(ctx), w.node.Close())
}

// config is the configuration of an instance, without its connections.
func (w *world) config() settlement.Config {
	n := w.net
	return settlement.Config{
		Network: n.Network, NetworkFile: n.NetworkFile, Policy: n.Policy, PolicyFile: n.PolicyFile,
		Keys:    settlement.Keys{Operator: n.Keys.Operator, Fees: n.Keys.Fees, Service: n.Keys.Service, Lane: n.Keys.Secret, Allocation: n.Managed()},
		Senders: 1, BlockhashAge: -1, SealRetry: -1, // slots pass here while the clock stands
		HeldRetry: 30 * time.Second, LeaseTime: leaseSeconds * time.Second,
	}
}

// tick lets seconds pass with two blocks in each, and as many more as are asked for.
func (w *world) tick(seconds int64, slots int) error {
	for range seconds {
		w.unix.Add(1)
		if err := w.node.Advance(2); err != nil {
			return err
		}
	}
	return w.node.Advance(slots)
}

// tickTo lets time pass until unix.
func (w *world) tickTo(unix int64) error { return w.tick(max(0, unix-w.unix.Load()), 0) }

// register makes the providers, gives their wallets lamports, and opens the token
// accounts of four of five, as many at a time as fit a transaction.
func (w *world) register(ctx context.Context, count int) error {
	var open []ionet.Key
	for i := range count {
		p, err := newProvider(w.net.Network, i)
		if err != nil {
			return err
		}
		w.providers = append(w.providers, p)
		if _, err := w.node.Airdrop(solana.PublicKey(p.payee()), 1_000_000_000); err != nil {
			return err
		}
		if i%5 > 0 {
			open = append(open, p.payee())
		}
	}
	stranger := strangerKey()
	for part := range slices.Chunk(append(open, chain.PublicOf(stranger)), 8) {
		if err := w.openAccounts(ctx, w.net.Network.Mint, stranger, part...); err != nil {
			return err
		}
	}
	return w.makeForeignToken(ctx)
}

// makeForeignToken makes a token that has nothing to do with the network, gives the
// stranger all of it, and the wallet that deposits go to an account for it.
func (w *world) makeForeignToken(ctx context.Context) error {
	stranger, mint := strangerKey(), foreignMint()
	us, it := solana.PublicKey(chain.PublicOf(stranger)), solana.PublicKey(chain.PublicOf(mint))
	rent, err := w.clean.MinimumRent(ctx, chain.MintSize)
	if err != nil {
		return err
	}
	if err := w.landAs(ctx, []solana.Instruction{
		system.NewCreateAccountInstruction(rent, chain.MintSize, solana.TokenProgramID, us, it).Build(),
		token.NewInitializeMint2Instruction(0, us, solana.PublicKey{}, it).Build(),
	}, stranger, mint); err != nil {
		return err
	}
	if err := w.openAccounts(ctx, ionet.Key(it), stranger, ionet.Key(us), w.net.Network.Keys.Fees); err != nil {
		return err
	}
	account := solana.PublicKey(chain.TokenAccount(ionet.Key(us), ionet.Key(it)))
	return w.landAs(ctx, []solana.Instruction{token.NewMintToInstruction(1_000_000, it, account, us, nil).Build()}, stranger)
}

// sign builds a transaction of anybody's instructions; the first key pays.
func (w *world) sign(ctx context.Context, list []solana.Instruction, keys ...ed25519.PrivateKey) ([]byte, error) {
	hash, err := w.clean.LatestBlockhash(ctx)
	if err != nil {
		return nil, err
	}
	tx, err := solana.NewTransaction(list, solana.Hash(hash.Hash), solana.TransactionPayer(solana.PublicKey(chain.PublicOf(keys[0]))))
	if err != nil {
		return nil, err
	}
	_, err = tx.Sign(func(k solana.PublicKey) *solana.PrivateKey {
		for _, key := range keys {
			if private := solana.PrivateKey(key); private.PublicKey() == k {
				return &private
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return tx.MarshalBinary()
}

// landAs sends such a transaction, which must succeed, and makes a slot of it.
func (w *world) landAs(ctx context.Context, list []solana.Instruction, keys ...ed25519.PrivateKey) error {
	tx, err := w.sign(ctx, list, keys...)
	if err != nil {
		return err
	}
	if err := w.clean.Send(ctx, tx, rpc.SendOptions{}); err != nil {
		return err
	}
	return w.node.Advance(1)
}

// openAccounts opens the token accounts of owners at the cost of payer.
func (w *world) openAccounts(ctx context.Context, mint ionet.Key, payer ed25519.PrivateKey, owners ...ionet.Key) error {
	hash, err := w.clean.LatestBlockhash(ctx)
	if err != nil {
		return err
	}
	message, err := chain.AccountCreation{
		FeePayer: chain.PublicOf(payer), Mint: mint, Owners: owners, Blockhash: hash.Hash,
		Budget: chain.Budget{ComputeUnits: 400_000, LoadedBytes: 4 << 20},
	}.Message()
	if err != nil {
		return err
	}
	return w.land(ctx, message, payer)
}

// land signs a message, sends it and makes a slot of it.
func (w *world) land(ctx context.Context, message []byte, keys ...ed25519.PrivateKey) error {
	tx, missing, err := chain.SignMessage(message, keys...)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("sign: key of %s is missing", missing[0])
	}
	if err := w.clean.Send(ctx, tx, rpc.SendOptions{}); err != nil {
		return err
	}
	return w.node.Advance(1)
}

// copyStore makes a run's own copy of the published files.
func (w *world) copyStore(to string) error {
	return os.CopyFS(to, os.DirFS(w.store))
}

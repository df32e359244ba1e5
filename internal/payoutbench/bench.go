package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/gagliardetto/solana-go"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/internal/devdb"
	"github.com/ionet-settlement/ionet/migrations"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement"
	"github.com/ionet-settlement/ionet/settlement/genesis"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// debt is what each payee is owed: above the shipped policy's minimum.
const debt = 10_000_000_000

// bench is a network whose ledger owes many payees.
type bench struct {
	dir     string
	node    *localnet.Node
	db      *devdb.DB
	pool    *pgxpool.Pool
	client  *rpc.Client
	net     *genesis.Prepared
	service *settlement.Service
	meters  meters
	payees  []ionet.Key
	clock   atomic.Int64 // Unix seconds, for the service
	out     io.Writer
}

func setUp(ctx context.Context, payees, lanes int, out io.Writer) (b *bench, err error) {
	b = &bench{out: out}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.dir, err = os.MkdirTemp("", "payoutbench-*"); err != nil {
		return nil, err
	}
	if err := os.Chmod(b.dir, 0o755); err != nil { // PostgreSQL may run as another user
		return nil, err
	}
	b.clock.Store(time.Now().Unix())
	b.node, err = localnet.Start(ctx, localnet.Config{SlotTime: -1, Now: func() time.Time { return time.Unix(b.clock.Load(), 0) }})
	if err != nil {
		return nil, err
	}
	if b.client, err = rpc.New(rpc.Config{Endpoints: []string{b.node.URL()}, Transport: &b.meters}); err != nil {
		return nil, err
	}
	if b.db, err = devdb.Start(ctx, devdb.Config{Dir: filepath.Join(b.dir, "postgres")}); err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(b.db.URL())
	if err != nil {
		return nil, err
	}
	config.ConnConfig.Tracer = tracer{&b.meters}
	if b.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, err
	}
	if err := migrations.Apply(ctx, b.pool); err != nil {
		return nil, err
	}
	if err := b.genesis(ctx, lanes); err != nil {
		return nil, err
	}
	return b, b.owe(ctx, payees)
}

// genesis makes the network and a service on it.
func (b *bench) genesis(ctx context.Context, lanes int) error {
	store, err := publish.NewFolder(filepath.Join(b.dir, "published"))
	if err != nil {
		return err
	}
	schedule, err := emissions.Hourly(8)
	if err == nil {
		schedule, err = schedule.Shorten(1000)
	}
	if err != nil {
		return err
	}
	b.net, err = genesis.Prepare(ctx, genesis.Config{
		Dir: filepath.Join(b.dir, "keys"), Name: "bench", Cluster: ionet.Key(b.node.GenesisHash()), Start: time.Unix(b.clock.Load()+3600, 0),
		Schedule: schedule, PayLanes: lanes, ClaimLanes: 1,
	})
	if err != nil {
		return err
	}
	err = b.whileSlotsPass(func() error {
		return genesis.Run(ctx, b.net, genesis.Options{Chain: b.client, Store: store, Airdrop: true, Poll: time.Millisecond})
	})
	if err != nil {
		return err
	}
	operator := solana.PublicKey(b.net.Network.Keys.Operator)
	if _, err := b.node.Airdrop(operator, 100_000_000_000); err != nil {
		return err
	}
	b.service, err = settlement.New(ctx, settlement.Config{
		Pool: b.pool, Chain: b.client, Store: store, Network: b.net.Network, NetworkFile: b.net.NetworkFile, Policy: b.net.Policy, PolicyFile: b.net.PolicyFile,
		Keys: settlement.Keys{Operator: b.net.Keys.Operator, Fees: b.net.Keys.Fees, Service: b.net.Keys.Service, Lane: b.net.Keys.Secret},
		Now:  func() time.Time { return time.Unix(b.clock.Load(), 0) }, ResendEvery: -1,
	})
	return err
}

func (b *bench) whileSlotsPass(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	for {
		select {
		case err := <-done:
			return err
		case <-time.After(time.Millisecond):
			if err := b.node.Advance(1); err != nil {
				return err
			}
		}
	}
}

// owe makes the payees' token accounts, the vault's tokens and the ledger's debts.
func (b *bench) owe(ctx context.Context, payees int) error {
	began := time.Now()
	b.payees = make([]ionet.Key, payees)
	mint := solana.PublicKey(b.net.Network.Mint)
	const part = 20_000
	for from := 0; from < payees; from += part {
		accounts := map[solana.PublicKey]localnet.Account{}
		entry := ledger.Entry{ID: ionet.HashOf([]byte("bench"), binary.LittleEndian.AppendUint64(nil, uint64(from))), Kind: "bench"}
		for i := from; i < min(from+part, payees); i++ {
			seed := sha256.Sum256(binary.LittleEndian.AppendUint64([]byte("payee"), uint64(i)))
			payee := chain.PublicOf(ed25519.NewKeyFromSeed(seed[:]))
			b.payees[i] = payee
			accounts[solana.PublicKey(chain.TokenAccount(payee, b.net.Network.Mint))] = tokenAccount(mint, payee, 0)
			entry.Transfers = append(entry.Transfers, ledger.Transfer{Debit: ledger.VaultReward(), Credit: ledger.Owed(payee), Amount: amount(debt)})
		}
		if err := b.node.SetAccounts(accounts); err != nil {
			return err
		}
		err := pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
			_, err := ledger.Post(ctx, tx, entry, time.Unix(b.clock.Load(), 0))
			return err
		})
		if err != nil {
			return err
		}
	}
	n := b.net.Network
	err := b.node.SetAccounts(map[solana.PublicKey]localnet.Account{
		solana.PublicKey(n.Vaults.Reward): tokenAccount(mint, n.Keys.Operator, uint64(payees)*debt),
	})
	if err != nil {
		return err
	}
	if _, err := b.pool.Exec(ctx, `ANALYZE`); err != nil {
		return err
	}
	fmt.Fprintf(b.out, "%d payees with an account, each owed %d base units: made in %s\n", payees, debt, time.Since(began).Round(time.Second))
	return b.node.Advance(40)
}

func amount(n uint64) ionet.Amount {
	a, err := ionet.NewAmount(n)
	if err != nil {
		panic(err) // a constant
	}
	return a
}

// tokenAccount is an initialized account of the token program.
func tokenAccount(mint solana.PublicKey, owner ionet.Key, held uint64) localnet.Account {
	data := make([]byte, chain.TokenAccountSize)
	copy(data, mint[:])
	copy(data[32:], owner[:])
	binary.LittleEndian.PutUint64(data[64:], held)
	data[108] = 1
	return localnet.Account{Lamports: 1_488_440, Owner: solana.TokenProgramID, Data: data}
}

// settle has the service pay everybody and measures its passes.
func (b *bench) settle(ctx context.Context) (result, error) {
	for range 20 { // the lease, and the fence
		if err := b.pass(ctx); err != nil {
			return result{}, err
		}
	}
	before := b.lamports()
	id, err := b.service.RequestPayout(ctx)
	if err != nil {
		return result{}, err
	}
	b.meters = meters{}
	r := result{payees: len(b.payees)}
	for shown := 0; ; {
		began := time.Now()
		if err := b.service.Settle(ctx); err != nil {
			return r, err
		}
		run, err := b.service.PayoutRun(ctx, id)
		r.took += time.Since(began)
		r.passes++
		if err != nil {
			return r, err
		}
		if run.Done {
			if run.Payees != len(b.payees) {
				return r, fmt.Errorf("%d of %d payees were paid", run.Payees, len(b.payees))
			}
			break
		}
		if run.Payees >= shown+100_000 {
			shown = run.Payees
			fmt.Fprintf(b.out, "  %d paid after %s\n", run.Payees, r.took.Round(time.Second))
		}
		if err := b.slots(40); err != nil {
			return r, err
		}
	}
	r.database, r.chain, r.ownCode = b.meters.database.busy, b.meters.chain.busy, r.took-b.meters.both.busy
	r.databaseCalls, r.chainCalls = b.meters.database.calls, b.meters.chain.calls
	r.lamports = before - b.lamports()
	err = b.pool.QueryRow(ctx, `SELECT count(*) FROM contents WHERE kind = $1 AND state = 'won'`, int16(chain.KindPayout)).Scan(&r.transactions)
	return r, err
}

// lamports is what the fee payer has.
func (b *bench) lamports() uint64 {
	return b.node.Account(solana.PublicKey(b.net.Network.Keys.Operator)).Lamports
}

func (b *bench) pass(ctx context.Context) error {
	if err := b.service.Settle(ctx); err != nil {
		return err
	}
	return b.slots(40)
}

// slots makes blocks until what was sent is final, and moves the clock a second.
func (b *bench) slots(n int) error {
	b.clock.Add(1)
	return b.node.Advance(n)
}

func (b *bench) close() error {
	var errs []error
	if b.client != nil {
		b.client.Close()
	}
	if b.pool != nil {
		b.pool.Close()
	}
	if b.db != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		errs = append(errs, b.db.Stop(ctx))
	}
	if b.node != nil {
		errs = append(errs, b.node.Close())
	}
	if b.dir != "" {
		errs = append(errs, os.RemoveAll(b.dir))
	}
	return errors.Join(errs...)
}

package settlement

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/token"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement/genesis"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// arenaDepth is the finality of the matrix's chain: what is confirmed can be
// forked away there, unlike on the chain of the other tests.
const arenaDepth = 4

// arenaNode is that chain, shared by all arenas of the process.
var arenaNode = sync.OnceValues(func() (*localnet.Node, error) {
	handTime.CompareAndSwap(0, 1_800_000_000)
	now := func() time.Time { return time.Unix(handTime.Load(), 0) }
	return localnet.Start(context.Background(), localnet.Config{SlotTime: -1, FinalityDepth: arenaDepth, Now: now})
})

// arena is a network in which cell after cell of the matrix is run. What it opens
// lives longer than a cell, so its life is its own, not that of a cell's test.
type arena struct {
	*machine
	carol  *host                // is paid by payouts, as bob is
	dora   *host                // keeps what others move out of their accounts
	erin   *host                // gets withdrawals and unlocks, earns nothing
	hidden map[ionet.Key]uint64 // base units that a payee has moved out of the wallet's account
	slots  int                  // that go by after a pass
	last   error                // of the last pass
	faulty bool                 // a fault is about
	absent bool                 // nobody asks for anything while the fault is about
	funded bool                 // the vault holds more than is owed
	opened []func()             // end what the present process holds
	life   testing.TB           // of what outlives a cell
	own    *pgxpool.Pool        // see direct
	server *server              // whose database it is; nil: that of all tests
	ownURL string

	publishes bool // the receipt log, after each pass
	spender   *spender
	seats     []*seat // channels of its, of kinds fees and receipts

	log         uint64   // size of the sealed log of receipts
	withdrawals int      // so far
	offers      int      // of claims that a wallet took
	released    []uint64 // base units of seed, by month
}

// newArena makes a network whose schedule has so many epochs that no cell reaches
// its end.
func newArena(t *testing.T, url string) *arena {
	t.Helper()
	return newArenaWith(t, url, func(*genesis.Config) {})
}

// newArenaWith makes a network on an empty database, with hosts, all but alice's with token accounts.
func newArenaWith(t *testing.T, url string, change func(*genesis.Config)) *arena {
	t.Helper()
	node, err := arenaNode()
	if err != nil {
		t.Fatal(err)
	}
	schedule, err := emissions.Hourly(8)
	if err == nil {
		schedule, err = schedule.Shorten(4000)
	}
	if err != nil {
		t.Fatal(err)
	}
	a := &arena{machine: &machine{wires: &wires{}, wallet: map[ionet.Key]ed25519.PrivateKey{}}, hidden: map[ionet.Key]uint64{}, slots: arenaDepth + 1, life: t}
	a.books = &books{t: t, node: node, url: url, first: handTime.Load() + testSample, depth: arenaDepth}
	if a.store, err = publish.NewFolder(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if a.clean, err = rpc.New(rpc.Config{Endpoints: []string{node.URL()}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.clean.Close)
	t.Cleanup(a.shut)
	cfg := genesis.Config{
		Dir: t.TempDir(), Name: "matrix", Cluster: ionet.Key(node.GenesisHash()), Start: time.Unix(a.first, 0), Schedule: schedule,
		EpochSeconds: testSamples * testSample, Samples: testSamples, PayLanes: 2, ClaimLanes: 2, Policy: []byte(testPolicy),
	}
	change(&cfg)
	if a.net, err = genesis.Prepare(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	a.whileChainMoves(func() error {
		return genesis.Run(t.Context(), a.net, genesis.Options{Chain: a.clean, Store: a.store, Airdrop: true, Poll: time.Millisecond})
	})
	a.start()
	a.goTo(a.first)
	a.people()
	a.rest()
	return a
}

// people are the hosts and who else has a wallet.
func (a *arena) people() {
	a.alice, a.bob, a.carol = a.newPaid("alice", "gpu a"), a.newPaid("bob", "gpu b"), a.newPaid("carol", "gpu c")
	a.dora, a.erin = a.newPaid("dora", "gpu d"), a.newPaid("erin", "gpu e")
	a.register(a.alice, a.bob, a.carol)
	for _, h := range []*host{a.bob, a.carol, a.dora, a.erin} {
		a.openAccount(h)
	}
}

// keep returns a copy of the database as it is now.
func (a *arena) keep() string {
	defer a.pool.Reset()
	if a.server != nil {
		return a.server.copy(a.url)
	}
	return pgtest.Copy(a.life, a.url)
}

// putTo puts the arena's database back to a copy.
func (a *arena) putTo(copy string) {
	if a.server != nil {
		a.server.restore(a.url, copy)
		return
	}
	pgtest.Restore(a.life, a.url, copy)
}

// start opens a service on the arena's database, as a new process would, after
// the former one is gone; it has to wait for the former one's lease.
func (a *arena) start() {
	a.t.Helper()
	a.shut()
	a.wires.Disarm()
	a.Service = a.launchProcess(a.wires, nil, a.node.URL()+"/a", a.node.URL()+"/b")
	a.outlast()
}

// outlast lets a lease expire that nobody renews.
func (a *arena) outlast() {
	a.goTo(handTime.Load() + max(int64(a.cfg.LeaseTime/time.Second), testGrace) + 1)
}

// shut ends what the present process holds: its sessions and connections.
func (a *arena) shut() {
	for _, end := range a.opened {
		end()
	}
	a.opened = nil
}

// launchProcess opens a service over w.
func (a *arena) launchProcess(w *wires, settings map[string]string, endpoints ...string) *Service {
	a.t.Helper()
	pool, err := w.Pool(context.Background(), a.url, settings)
	if err != nil {
		a.t.Fatal(err)
	}
	client, err := rpc.New(rpc.Config{Endpoints: endpoints, Transport: w, Pause: time.Millisecond, Rounds: 1})
	if err != nil {
		a.t.Fatal(err)
	}
	a.opened = append(a.opened, func() { endPool(pool); client.Close() })
	if w == a.wires {
		a.rpc = client
	}
	cfg := a.config(pool)
	cfg.Chain, cfg.HeldRetry, cfg.Senders = client, time.Second, 1
	s, err := New(a.t.Context(), cfg)
	if err != nil {
		a.t.Fatal(err)
	}
	return s
}

// endPool closes a pool, without waiting for what a cut connection still holds.
func endPool(p *pgxpool.Pool) { go p.Close() }

// settleOnce makes one pass, which may fail while a fault is about, and lets slots go by.
func (a *arena) settleOnce() {
	a.t.Helper()
	a.last = a.Settle(a.t.Context())
	if a.publishes {
		a.last = errors.Join(a.last, a.PublishLog(a.t.Context()))
	}
	a.advance(a.slots)
}

// Passes that anything may take at most: a dead attempt takes 40. While a fault
// lasts, nobody waits for the end.
const (
	maxPasses   = 400
	underFaults = 16
)

// goOn makes passes until done, or until the process is dead. Where that takes
// too long it fails, unless a fault may be why.
func (a *arena) goOn(what string, done func() bool) {
	a.t.Helper()
	for n := range maxPasses {
		if a.wires.IsCut() || a.faulty && (a.absent || n >= underFaults) || done() {
			return
		}
		if n%50 == 49 {
			a.release()
		}
		a.settleOnce()
	}
	a.t.Fatalf("not reached after %d passes: %s\nlast pass: %v\n%s", maxPasses, what, a.last, a.state())
}

// release lets time pass, so that held payees are tried again.
func (a *arena) release() { a.goTo(handTime.Load() + 2) }

// rest makes passes until nothing is open: the service is ready, no epoch is due,
// and a further pass finds nothing to do and nothing wrong.
func (a *arena) rest() {
	a.t.Helper()
	quiet := 0
	a.goOn("nothing is open", func() bool {
		if !a.view.isReady() || a.last != nil || !a.isIdle() {
			quiet = 0
			return false
		}
		quiet++
		return quiet > 1
	})
}

func (a *arena) isIdle() bool {
	var open int
	err := a.pool.QueryRow(a.t.Context(), `
SELECT (SELECT count(*) FROM attempts WHERE state = 'live') + (SELECT count(*) FROM payments WHERE state = 'signed')
     + (SELECT count(*) FROM payout_runs WHERE done_at IS NULL)
     + (SELECT count(*) FROM epochs WHERE state <> 'sealed' AND state <> 'open')`).Scan(&open)
	return err == nil && open == 0
}

// state describes the database for a cell that failed.
func (a *arena) state() string {
	rows, err := a.direct().Query(a.t.Context(), `
SELECT 'lane ' || name || ' position ' || position || ' fenced ' || fenced FROM lanes
UNION ALL SELECT 'attempt kind ' || kind || ' ' || state || ' sent ' || sent || ' ' || reason FROM attempts WHERE state IN ('live')
UNION ALL SELECT 'payment kind ' || kind || ' ' || amount FROM payments WHERE state = 'signed'
UNION ALL SELECT 'held ' || reason FROM held_payees
UNION ALL SELECT 'epoch ' || epoch || ' ' || state FROM epochs WHERE state <> 'sealed'
UNION ALL SELECT 'balance ' || account || ' ' || balance FROM ledger_balances WHERE balance <> 0`)
	if err != nil {
		return err.Error()
	}
	defer rows.Close()
	text := ""
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return text + err.Error()
		}
		text += line + "\n"
	}
	return text
}

// plainPool opens a pool of the test's own on the arena's database.
func (a *arena) plainPool() *pgxpool.Pool {
	pool, err := pgxpool.New(context.Background(), a.url)
	if err != nil {
		a.t.Fatal(err)
	}
	a.life.Cleanup(pool.Close)
	return pool
}

// pays returns what is owed to hosts or on its way to them.
func (a *arena) pays(hosts ...*host) uint64 {
	var sum uint64
	for _, h := range hosts {
		for _, of := range []ledger.Account{ledger.Owed(h.payout), ledger.InFlight(h.payout)} {
			b, err := ledger.Balance(a.t.Context(), a.pool, of)
			if err != nil {
				return 1 // it can't be told now
			}
			sum += b.Base()
		}
	}
	return sum
}

// earn plays the next epoch with hosts and seals it.
func (a *arena) earn(hosts ...*host) {
	a.t.Helper()
	k := a.playNext(hosts...)
	a.goOn(fmt.Sprintf("epoch %d is sealed", k), func() bool { return a.at(epochLane) > k })
}

// at returns a lane's position in the database, 0 where that can't be asked.
func (a *arena) at(lane string) uint64 {
	var n int64
	if err := a.pool.QueryRow(a.t.Context(), `SELECT position FROM lanes WHERE name = $1`, lane).Scan(&n); err != nil {
		return 0
	}
	return uint64(n)
}

// payOut asks for a payout run, where none is open, and makes passes until
// nothing is owed to hosts.
func (a *arena) payOut(hosts ...*host) {
	a.t.Helper()
	a.goOn("hosts are paid", func() bool {
		if a.pays(hosts...) == 0 && a.view.isReady() {
			return true
		}
		var open int
		if err := a.pool.QueryRow(a.t.Context(), `SELECT count(*) FROM payout_runs WHERE done_at IS NULL`).Scan(&open); err == nil && open == 0 {
			a.RequestPayout(a.t.Context()) // unheard, it is asked for again
		}
		return false
	})
}

// claimOf makes claims and passes until nothing is owed to h.
func (a *arena) claimOf(h *host) {
	a.t.Helper()
	a.goOn("the claim is paid", func() bool {
		if a.pays(h) == 0 && a.view.isReady() {
			return true
		}
		if p, err := a.PrepareClaim(a.t.Context(), h.payout); err == nil {
			_, err = a.SubmitClaim(a.t.Context(), a.signClaim(h, p))
			if err != nil && !errors.As(err, new(*Problem)) {
				a.last = err
			}
		}
		return false
	})
}

// bySolana lands instructions of a payee's own.
func (a *arena) bySolana(h *host, list ...solana.Instruction) {
	a.t.Helper()
	hash, err := a.clean.LatestBlockhash(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	tx, err := solana.NewTransaction(list, solana.Hash(hash.Hash), solana.TransactionPayer(solana.PublicKey(h.payout)))
	if err != nil {
		a.t.Fatal(err)
	}
	key := solana.PrivateKey(a.wallet[h.payout])
	if _, err := tx.Sign(func(solana.PublicKey) *solana.PrivateKey { return &key }); err != nil {
		a.t.Fatal(err)
	}
	raw, err := tx.MarshalBinary()
	if err != nil {
		a.t.Fatal(err)
	}
	if err := a.clean.Send(a.t.Context(), raw, rpc.SendOptions{}); err != nil {
		a.t.Fatal(err)
	}
}

// transferOut is the instruction that moves base units from h's account.
func (a *arena) transferOut(h *host, to ionet.Key, amount uint64) solana.Instruction {
	from := chain.TokenAccount(h.payout, a.net.Network.Mint)
	return token.NewTransferInstruction(amount, solana.PublicKey(from), solana.PublicKey(to), solana.PublicKey(h.payout), nil).Build()
}

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
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement/genesis"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// machine is a whole network on the hand-moved chain: genesis made for real,
// hosts that prove, and a service whose wires a test can cut.
type machine struct {
	*books
	wires  *wires
	alice  *host // claims with her wallet
	bob    *host // is paid by payouts: has a token account
	wallet map[ionet.Key]ed25519.PrivateKey
	gave   map[ionet.Key]uint64 // base units that payees paid in
	events []Event
	clean  *rpc.Client // the test's own, never cut
	mu     sync.Mutex
}

// newMachine makes a network of two pay and two claim lanes and two hosts.
func newMachine(t testing.TB) *machine {
	t.Helper()
	return newMachineUnder(t, testPolicy)
}

func newMachineUnder(t testing.TB, policy string) *machine {
	t.Helper()
	return newMachineWith(t, policy, func(*genesis.Config) {})
}

// newMachineWith makes a network whose configuration is changed first, and a
// service that holds the keys of these members of its multisigs.
func newMachineWith(t testing.TB, policy string, change func(*genesis.Config), members ...ed25519.PrivateKey) *machine {
	t.Helper()
	node, err := handNode()
	if err != nil {
		t.Fatal(err)
	}
	schedule, err := emissions.Hourly(8)
	if err == nil {
		schedule, err = schedule.Shorten(1000) // to hash it is what Prepare takes time for
	}
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{wires: &wires{}, wallet: map[ionet.Key]ed25519.PrivateKey{}, gave: map[ionet.Key]uint64{}}
	m.books = &books{t: t, node: node, url: pgtest.NewURL(t), first: handTime.Load() + testSample, members: members}
	if m.store, err = publish.NewFolder(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	m.clean, err = rpc.New(rpc.Config{Endpoints: []string{node.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.clean.Close)
	cfg := genesis.Config{
		Dir: t.TempDir(), Name: "machine", Cluster: ionet.Key(node.GenesisHash()), Start: time.Unix(m.first, 0), Schedule: schedule,
		EpochSeconds: testSamples * testSample, Samples: testSamples, PayLanes: 2, ClaimLanes: 2, Policy: []byte(policy),
	}
	change(&cfg)
	if m.net, err = genesis.Prepare(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	m.whileChainMoves(func() error {
		return genesis.Run(t.Context(), m.net, genesis.Options{Chain: m.clean, Store: m.store, Airdrop: true, Poll: time.Millisecond})
	})
	m.reopen()
	m.goTo(m.first)
	m.alice, m.bob = m.newPaid("alice", "gpu a"), m.newPaid("bob", "gpu b")
	m.register(m.alice, m.bob)
	m.openAccount(m.bob)
	return m
}

// newPaid makes a host whose payout wallet is a key with lamports.
func (m *machine) newPaid(name string, devices ...string) *host {
	m.t.Helper()
	h := m.newHost(name, devices...)
	m.wallet[h.payout] = keyOf("payout " + name)
	if _, err := m.node.Airdrop(solana.PublicKey(h.payout), 1_000_000_000); err != nil {
		m.t.Fatal(err)
	}
	m.advance(2)
	return h
}

// whileChainMoves runs f while slots pass.
func (m *machine) whileChainMoves(f func() error) {
	m.t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	for {
		select {
		case err := <-done:
			if err != nil {
				m.t.Fatal(err)
			}
			return
		case <-time.After(2 * time.Millisecond):
			m.advance(1)
		}
	}
}

func (m *machine) advance(slots int) {
	m.t.Helper()
	if err := m.node.Advance(slots); err != nil {
		m.t.Fatal(err)
	}
}

// openAccount opens the token account of a host's payout wallet, at its cost.
func (m *machine) openAccount(h *host) {
	m.t.Helper()
	hash, err := m.clean.LatestBlockhash(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	message, err := chain.AccountCreation{
		FeePayer: h.payout, Mint: m.net.Network.Mint, Owners: []ionet.Key{h.payout}, Blockhash: hash.Hash,
		Budget: chain.Budget{ComputeUnits: 200_000, LoadedBytes: 2 << 20},
	}.Message()
	if err != nil {
		m.t.Fatal(err)
	}
	m.land(message, m.wallet[h.payout])
}

// land signs and sends a message that must succeed.
func (m *machine) land(message []byte, keys ...ed25519.PrivateKey) {
	m.t.Helper()
	tx, missing, err := chain.SignMessage(message, keys...)
	if err != nil || len(missing) > 0 {
		m.t.Fatalf("sign: %v, missing %v", err, missing)
	}
	if err := m.clean.Send(m.t.Context(), tx, rpc.SendOptions{}); err != nil {
		m.t.Fatal(err)
	}
	m.advance(2)
}

// reopen starts a new service on the same database and chain, as a process
// that is started again after a kill -9: it has to wait for the old lease.
func (m *machine) reopen() {
	m.t.Helper()
	m.wires.disarm()
	m.openOn(m.wires.pool(m.t, m.url), m.wires.client(m.t, m.node.URL()))
	m.goTo(handTime.Load() + max(int64(m.cfg.LeaseTime/time.Second), testGrace) + 1)
}

func (m *machine) openOn(pool *pgxpool.Pool, client *rpc.Client) {
	m.t.Helper()
	m.rpc = client
	cfg := m.config(pool)
	cfg.Events = func(e Event) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.events = append(m.events, e)
	}
	s, err := New(m.t.Context(), cfg)
	if err != nil {
		m.t.Fatal(err)
	}
	m.Service = s
}

// saw reports whether an event of that kind was emitted since the test began.
func (m *machine) saw(kind EventKind) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.events {
		if e.Kind == kind {
			return true
		}
	}
	return false
}

// pass makes one pass and lets two slots go by. Only a cut wire may fail it.
func (m *machine) pass() {
	m.t.Helper()
	m.mayFail("pass", func() error { return m.Settle(m.t.Context()) })
	m.advance(2)
}

// mayFail runs f, which may only fail by a fault of the wires, and reports
// whether it succeeded.
func (m *machine) mayFail(what string, f func() error) bool {
	m.t.Helper()
	before := m.wires.failed()
	err := f()
	if err != nil && m.wires.failed() == before && !isCutError(err) {
		m.t.Fatalf("%s: %v", what, err)
	}
	return err == nil
}

// isCutError reports whether something failed because of the test's fault: by the
// wire itself, or by a connection or lease that the fault left behind.
func isCutError(err error) bool {
	var transport *rpc.TransportError
	return errors.Is(err, errWire) || errors.Is(err, errNotLeader) || errors.As(err, &transport)
}

// until makes passes until done, at most limit of them.
func (m *machine) until(what string, done func() bool) {
	m.t.Helper()
	for range 400 {
		if done() {
			return
		}
		m.pass()
	}
	m.t.Fatalf("not reached after 400 passes: %s\n%s", what, m.dump())
}

// dump describes the database for a failed test.
func (m *machine) dump() string {
	o, err := m.Overview(m.t.Context())
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%+v\nlast pass: %v", o, m.Settle(m.t.Context()))
}

// fenceUp makes passes until the service is ready.
func (m *machine) fenceUp() {
	m.t.Helper()
	m.until("lanes are fenced", m.view.isReady)
}

// seal plays the next whole epoch with hosts and makes passes until it is sealed.
func (m *machine) seal(hosts ...*host) uint64 {
	m.t.Helper()
	k := m.playNext(hosts...)
	m.until(fmt.Sprintf("epoch %d is sealed", k), func() bool { return m.position(epochLane) > k })
	return k
}

// playNext plays the next whole epoch and moves the clock to where it is due.
func (m *machine) playNext(hosts ...*host) uint64 {
	m.t.Helper()
	k, _, _ := m.clock.At(time.Unix(handTime.Load(), 0))
	m.play(k+1, hosts...)
	m.toClose(k + 1)
	return k + 1
}

func (m *machine) position(lane string) uint64 {
	return uint64(m.count(`SELECT position FROM lanes WHERE name = $1`, lane))
}

func (m *machine) balance(a ledger.Account) uint64 {
	m.t.Helper()
	b, err := ledger.Balance(m.t.Context(), m.pool, a)
	if err != nil {
		m.t.Fatal(err)
	}
	return b.Base()
}

func (m *machine) owed(h *host) uint64 { return m.balance(ledger.Owed(h.payout)) }

// signClaim signs a prepared claim with the wallet of h.
func (m *machine) signClaim(h *host, p Prepared) []byte {
	m.t.Helper()
	tx, err := chain.CoSign(p.Transaction, m.wallet[h.payout])
	if err != nil {
		m.t.Fatal(err)
	}
	return tx
}

// tryClaim prepares, signs and hands in a claim; false where a problem or a
// cut wire was in the way.
func (m *machine) tryClaim(ctx context.Context, h *host) (Claim, bool) {
	m.t.Helper()
	var c Claim
	ok := m.mayFail("claim", func() error {
		p, err := m.PrepareClaim(ctx, h.payout)
		if err == nil {
			c, err = m.SubmitClaim(ctx, m.signClaim(h, p))
		}
		if problem := (*Problem)(nil); errors.As(err, &problem) {
			return errWire // somebody has to try again, as after a cut
		}
		return err
	})
	return c, ok
}

// claimAll makes passes and claims until nothing is owed to h or on its way.
func (m *machine) claimAll(h *host) {
	m.t.Helper()
	for range 400 {
		if m.wires.isCut() {
			return
		}
		if m.owed(h)+m.balance(ledger.InFlight(h.payout)) == 0 {
			return
		}
		m.tryClaim(m.t.Context(), h) // one that died is prepared again
		m.pass()
	}
	m.t.Fatalf("claim of %s does not settle\n%s", h.payout, m.dump())
}

// payAll asks for a payout run and makes passes until it is over.
func (m *machine) payAll() {
	m.t.Helper()
	var id [16]byte
	if !m.mayFail("payout run", func() (err error) {
		id, err = m.RequestPayout(m.t.Context())
		return err
	}) {
		return
	}
	m.until("payout run is over", func() bool {
		if m.wires.isCut() {
			return true
		}
		r, err := m.PayoutRun(m.t.Context(), id)
		return err == nil && r.Done
	})
}

// onChain returns the base units in the token account of a wallet, finalized.
func (m *machine) onChain(owner ionet.Key) uint64 {
	m.t.Helper()
	a, _, err := m.clean.TokenBalance(m.t.Context(), chain.TokenAccount(owner, m.net.Network.Mint), m.net.Network.Mint, rpc.Finalized, 0)
	if errors.Is(err, chain.ErrNoAccount) {
		return 0
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return a.Base()
}

// checkBooks holds all books against each other and against the chain. Nothing
// may be on its way.
func (m *machine) checkBooks() {
	m.t.Helper()
	ctx := m.t.Context()
	if err := ledger.TrialBalance(ctx, m.pool); err != nil {
		m.t.Error(err)
	}
	if n := m.count(`SELECT count(*) FROM attempts WHERE state = 'live'`); n != 0 {
		m.t.Errorf("%d attempts are live", n)
	}
	if n := m.count(`SELECT count(*) FROM payments WHERE state = 'signed'`); n != 0 {
		m.t.Errorf("%d payments are open", n)
	}
	vault := m.onChain(m.net.Network.Authorities.Reward)
	if got := m.balance(ledger.VaultReward()); got != vault {
		m.t.Errorf("ledger says that the vault holds %d, it holds %d", got, vault)
	}
	m.checkMinted(vault)
	for payee := range m.wallet {
		earned := uint64(m.count(`SELECT coalesce(sum(v.amount), 0)::bigint FROM verdicts v JOIN epochs e USING (epoch) WHERE v.payee = $1 AND e.state = 'sealed'`, payee[:]))
		paid := uint64(m.count(`SELECT coalesce(sum(amount), 0)::bigint FROM payments WHERE payee = $1 AND state = 'paid' AND kind <> $2`, payee[:], int16(chain.KindFees)))
		fees := uint64(m.count(`SELECT coalesce(sum(amount), 0)::bigint FROM payments WHERE payee = $1 AND state = 'paid' AND kind = $2`, payee[:], int16(chain.KindFees)))
		owed := m.balance(ledger.Owed(payee))
		if chain := m.onChain(payee) + m.gave[payee]; earned != paid+owed || chain != paid+fees {
			m.t.Errorf("payee %s earned %d, is owed %d, was paid %d and %d of fees by the books, %d on chain", payee, earned, owed, paid, fees, chain)
		}
	}
	m.checkLanes()
}

// checkMinted: what was ever minted is the genesis supply and the epochs' sums.
func (m *machine) checkMinted(vault uint64) {
	m.t.Helper()
	list, _, err := m.clean.Accounts(m.t.Context(), []ionet.Key{m.net.Network.Mint}, rpc.Finalized, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	mint, err := chain.ParseMint(list[0].Owner, list[0].Data)
	if err != nil {
		m.t.Fatal(err)
	}
	sealed := uint64(m.count(`SELECT coalesce(sum(sum), 0)::bigint FROM epochs WHERE state = 'sealed'`))
	if want := m.net.Network.Schedule.Genesis.Base() + sealed; mint.Supply != want {
		m.t.Errorf("supply is %d, genesis and %d of sealed epochs are %d", mint.Supply, sealed, want)
	}
}

// checkLanes walks the contents of each lane from position 0: one winner each,
// published, C as the lane's row has it, and the key on chain that follows.
func (m *machine) checkLanes() {
	m.t.Helper()
	ctx := m.t.Context()
	lanes, err := m.loadLanes(ctx)
	if err != nil {
		m.t.Fatal(err)
	}
	final, err := m.readFinal(ctx, lanes)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, l := range lanes {
		rows, err := m.pool.Query(ctx, `SELECT hash, bytes, state FROM contents WHERE lane = $1 AND state = 'won' ORDER BY position`, l.name)
		if err != nil {
			m.t.Fatal(err)
		}
		list, err := pgx.CollectRows(rows, scanContent)
		if err != nil {
			m.t.Fatal(err)
		}
		c := chain.FirstC(l.address)
		for n, won := range list {
			if won.N != uint64(n) || won.C != c {
				m.t.Errorf("lane %s: winner %d is for position %d", l.name, n, won.N)
			}
			if _, err := m.store.Get(ctx, publish.ContentName(won.hash)); err != nil {
				m.t.Errorf("lane %s position %d: %v", l.name, n, err)
			}
			c = won.Next()
		}
		if uint64(len(list)) != l.position || c != l.c || final.states[l.name] != m.net.Keys.Secret.Public(c) {
			m.t.Errorf("lane %s is at position %d with %d winners; on chain %s, expected %s", l.name, l.position, len(list), final.states[l.name], m.net.Keys.Secret.Public(c))
		}
	}
}

package settlement

import (
	"context"
	"crypto/ed25519"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gagliardetto/solana-go"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement/genesis"
)

// These tests of the books run on a real chain and a real database under a clock
// that only they move. Nothing is sent: a test seals an epoch by marking its
// content as the winner, as resolving does.

// handTime is the clock of this file's chain, in Unix seconds.
var handTime atomic.Int64

// handNode is that chain. It is shared, because its clock can't go back; it ends
// with the process.
var handNode = sync.OnceValues(func() (*localnet.Node, error) {
	handTime.Store(1_800_000_000)
	now := func() time.Time { return time.Unix(handTime.Load(), 0) }
	return localnet.Start(context.Background(), localnet.Config{SlotTime: -1, FinalityDepth: 1, Now: now})
})

// Shape of the test network: an epoch is a minute of six samples.
const (
	testSamples = 6
	testSample  = 10 // seconds
	testGrace   = 20
)

const testPolicy = `version = 1
first_epoch = 1
draw = "schedule"
[samples]
minimum = 3
late_after = 1
late_limit = 2
[close]
grace_seconds = 20
[simulated]
earn = true
[binding]
idle_epochs = 3
[stake]
minimum_per_multiplier = "0"
[fees]
network_basis_points = 0
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

// books is a service with its network, database, store and chain.
type books struct {
	*Service
	t       testing.TB
	net     *genesis.Prepared
	node    *localnet.Node
	url     string
	store   *publish.Folder
	rpc     *rpc.Client
	first   int64                // start of epoch 1
	depth   int                  // of the chain's finality; 1 where zero
	members []ed25519.PrivateKey // of multisigs, that the service holds
}

// newBooks makes a network that starts at the next sample from now on.
func newBooks(t testing.TB) *books {
	t.Helper()
	return newBooksUnder(t, testPolicy)
}

func newBooksUnder(t testing.TB, policy string) *books {
	t.Helper()
	return newBooksOn(t, policy, pgtest.NewURL(t))
}

// newBooksOn makes one on a migrated database.
func newBooksOn(t testing.TB, policy, url string) *books {
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
	b := &books{t: t, node: node, url: url, first: handTime.Load() + testSample}
	b.net, err = genesis.Prepare(t.Context(), genesis.Config{
		Dir: t.TempDir(), Name: "books", Cluster: ionet.Key(node.GenesisHash()), Start: time.Unix(b.first, 0), Schedule: schedule,
		EpochSeconds: testSamples * testSample, Samples: testSamples, PayLanes: 1, ClaimLanes: 1, Policy: []byte(policy),
	})
	if err != nil {
		t.Fatal(err)
	}
	if b.store, err = publish.NewFolder(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	b.rpc, err = rpc.New(rpc.Config{Endpoints: []string{node.URL()}, Pause: time.Millisecond, Rounds: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.rpc.Close)
	b.open(pgtest.Open(t, b.url))
	b.exec(`UPDATE lanes SET position = 1 WHERE name = 'epoch'`) // the genesis landed
	b.placeLane()
	b.goTo(b.first)
	return b
}

// placeLane puts the epoch lane on the chain, with the key of the C that the database has.
func (b *books) placeLane() {
	b.t.Helper()
	lane, _ := b.net.Network.Lane(epochLane)
	key := b.net.Keys.Secret.Public(chain.FirstC(lane))
	data := make([]byte, chain.MintSize)
	data[0] = 1 // an authority follows
	copy(data[4:], key[:])
	data[45] = 1 // initialized
	err := b.node.SetAccount(solana.PublicKey(lane), localnet.Account{Lamports: 10_000_000, Owner: solana.TokenProgramID, Data: data})
	if err != nil {
		b.t.Fatal(err)
	}
}

// config is the service's configuration on a pool.
func (b *books) config(pool *pgxpool.Pool) Config {
	cfg := Config{
		Pool: pool, Chain: b.rpc, Store: b.store, Network: b.net.Network, NetworkFile: b.net.NetworkFile, Policy: b.net.Policy, PolicyFile: b.net.PolicyFile,
		Keys:         Keys{Operator: b.net.Keys.Operator, Fees: b.net.Keys.Fees, Service: b.net.Keys.Service, Members: b.members, Lane: b.net.Keys.Secret, Allocation: b.net.Managed()},
		Now:          func() time.Time { return time.Unix(handTime.Load(), 0) },
		BlockhashAge: -1, SealRetry: -1, ResendEvery: -1, // slots pass here while the clock stands
	}
	cfg.Signers = testSigners(b.t, cfg)
	return cfg
}

// open starts a service on a pool, as a new process would.
func (b *books) open(pool *pgxpool.Pool) {
	b.t.Helper()
	s, err := New(b.t.Context(), b.config(pool))
	if err != nil {
		b.t.Fatal(err)
	}
	b.Service = s
}

// on returns the same network with a service on another database.
func (b *books) on(url string) *books {
	b.t.Helper()
	other := *b
	other.url = url
	other.open(pgtest.Open(b.t, url))
	return &other
}

// copyDatabase returns the address of a copy of the database as it is now.
func (b *books) copyDatabase() string {
	b.t.Helper()
	b.pool.Reset()
	url := pgtest.Copy(b.t, b.url)
	b.pool.Reset() // the copy ended all sessions
	return url
}

func (b *books) exec(sql string, args ...any) {
	b.t.Helper()
	if _, err := b.pool.Exec(b.t.Context(), sql, args...); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
}

// count runs a query that returns one number.
func (b *books) count(sql string, args ...any) (n int) {
	b.t.Helper()
	if err := b.pool.QueryRow(b.t.Context(), sql, args...).Scan(&n); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// goTo moves the clock, leaving a finalized block in each sample on the way.
func (b *books) goTo(unix int64) {
	b.t.Helper()
	for {
		if err := b.node.Advance(1 + max(b.depth, 1)); err != nil {
			b.t.Fatal(err)
		}
		now := handTime.Load()
		if now >= unix {
			return
		}
		handTime.Store(min(unix, now+testSample-(now-b.first)%testSample))
	}
}

// toSample moves the clock to the last second of a sample.
func (b *books) toSample(k uint64, sample uint16) {
	b.t.Helper()
	b.goTo(b.clock.SampleStart(k, sample))
	b.goTo(b.clock.SampleStart(k, sample) + testSample - 1)
}

func plain(envelopes ...proofs.Envelope) []Submitted {
	out := make([]Submitted, len(envelopes))
	for i, e := range envelopes {
		out[i].Envelope = e
	}
	return out
}

func (b *books) submit(submitted ...Submitted) []Result {
	b.t.Helper()
	results, err := b.Submit(b.t.Context(), submitted)
	if err != nil {
		b.t.Fatalf("submit: %v", err)
	}
	if len(results) != len(submitted) {
		b.t.Fatalf("submit of %d statements has %d results", len(submitted), len(results))
	}
	return results
}

// accept submits statements that must pass and returns their results.
func (b *books) accept(envelopes ...proofs.Envelope) []Result {
	b.t.Helper()
	results := b.submit(plain(envelopes...)...)
	for i, r := range results {
		if r.Status != Accepted {
			b.t.Fatalf("%s %s is %s: %v", envelopes[i].Kind, r.ID, r.Status, r.Problem)
		}
		b.checkAck(envelopes[i], r)
	}
	return results
}

// checkAck holds the ack against the statement and the service's key.
func (b *books) checkAck(e proofs.Envelope, r Result) proofs.Arrival {
	b.t.Helper()
	ack, err := proofs.ParseAck(r.Ack.Body)
	if err != nil || r.Ack.Kind != proofs.KindAck || ack.Statement != e.ID() || r.Ack.Signer != b.net.Network.Keys.Service || r.Ack.Verify(b.net.Network.ID()) != nil {
		b.t.Fatalf("ack of %s %s is not a valid one: %v", e.Kind, e.ID(), err)
	}
	return ack.Arrival
}

// refuse submits one statement and returns the problem, which must be of a type.
func (b *books) refuse(kind string, s Submitted) *Problem {
	b.t.Helper()
	r := b.submit(s)[0]
	if r.Status != Refused || r.Problem == nil || r.Problem.Type != kind {
		b.t.Fatalf("%s is %s (%v), want refused as %s", s.Envelope.Kind, r.Status, r.Problem, kind)
	}
	if b.count(`SELECT count(*) FROM statements WHERE id = $1`, r.ID[:]) != 0 || b.hasUptime(r.ID) {
		b.t.Fatalf("the refused %s is stored", s.Envelope.Kind)
	}
	return r.Problem
}

// uptimes returns all uptime statements of the table.
func (b *books) uptimes() map[ionet.Hash]uptimeRow {
	b.t.Helper()
	rows, err := b.pool.Query(b.t.Context(), `SELECT `+uptimeColumns+` FROM uptimes u`+uptimeNames)
	if err != nil {
		b.t.Fatal(err)
	}
	all := map[ionet.Hash]uptimeRow{}
	err = scanUptimes(rows, func(r *uptimeRow) error {
		all[r.id] = *r
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

func (b *books) hasUptime(id ionet.Hash) bool {
	_, ok := b.uptimes()[id]
	return ok
}

func (b *books) register(hosts ...*host) {
	b.t.Helper()
	for _, h := range hosts {
		b.accept(h.delegation, h.inventory)
	}
}

// play lets hosts prove each sample of epoch k.
func (b *books) play(k uint64, hosts ...*host) {
	b.t.Helper()
	for sample := range uint16(testSamples) {
		b.toSample(k, sample)
		var all []proofs.Envelope
		for _, h := range hosts {
			all = append(all, h.uptime(k, sample, nil))
		}
		if len(all) > 0 {
			b.accept(all...)
		}
	}
}

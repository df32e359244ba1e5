package settlement

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
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
	t     testing.TB
	net   *genesis.Prepared
	node  *localnet.Node
	url   string
	store *publish.Folder
	rpc   *rpc.Client
	first int64 // start of epoch 1
}

// newBooks makes a network that starts at the next sample from now on.
func newBooks(t testing.TB) *books {
	t.Helper()
	node, err := handNode()
	if err != nil {
		t.Fatal(err)
	}
	schedule, err := emissions.Hourly(8)
	if err != nil {
		t.Fatal(err)
	}
	schedule.Epochs = 1000 // to hash it is what Prepare takes time for
	b := &books{t: t, node: node, url: pgtest.NewURL(t), first: handTime.Load() + testSample}
	b.net, err = genesis.Prepare(t.Context(), genesis.Config{
		Dir: t.TempDir(), Name: "books", Cluster: ionet.Key(node.GenesisHash()), Start: time.Unix(b.first, 0), Schedule: schedule,
		EpochSeconds: testSamples * testSample, Samples: testSamples, PayLanes: 1, ClaimLanes: 1, Policy: []byte(testPolicy),
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
	b.goTo(b.first)
	return b
}

// config is the service's configuration on a pool.
func (b *books) config(pool *pgxpool.Pool) Config {
	return Config{
		Pool: pool, Chain: b.rpc, Store: b.store, Network: b.net.Network, NetworkFile: b.net.NetworkFile, Policy: b.net.Policy, PolicyFile: b.net.PolicyFile,
		Keys: Keys{Operator: b.net.Keys.Operator, Fees: b.net.Keys.Fees, Service: b.net.Keys.Service, Lane: b.net.Keys.Secret},
		Now:  func() time.Time { return time.Unix(handTime.Load(), 0) },
	}
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
		if err := b.node.Advance(2); err != nil {
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

// host is a worker with its provider.
type host struct {
	b          *books
	key        ed25519.PrivateKey
	provider   ed25519.PrivateKey
	payout     ionet.Key
	delegation proofs.Envelope
	inventory  proofs.Envelope
	devices    int
	previous   ionet.Hash
}

// keyOf makes a key from a name, so that a failing case can be told.
func keyOf(name string) ed25519.PrivateKey {
	seed := ionet.HashOf([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func uuidOf(name string) ionet.UUID {
	h := ionet.HashOf([]byte(name))
	return ionet.UUID(h[:16])
}

// newHost makes a host of one provider whose devices have these names; even ones
// are H100s, odd ones RTX 4090s.
func (b *books) newHost(name string, devices ...string) *host {
	b.t.Helper()
	h := &host{b: b, key: keyOf("worker " + name), provider: keyOf("provider " + name), payout: chain.PublicOf(keyOf("payout " + name)), devices: len(devices)}
	h.delegation = h.delegate(func(*proofs.Delegation) {})
	h.inventory = h.list(func(v *proofs.Inventory) {}, devices...)
	return h
}

func (h *host) worker() ionet.Key { return chain.PublicOf(h.key) }

func (h *host) delegate(change func(*proofs.Delegation)) proofs.Envelope {
	h.b.t.Helper()
	d := proofs.Delegation{Provider: chain.PublicOf(h.provider), Payout: h.payout, Workers: []ionet.Key{h.worker()}, Issued: h.b.first - 1000, Expires: h.b.first + 100_000}
	change(&d)
	text, err := d.Text(h.b.net.Network.ID())
	return h.b.signText(proofs.KindDelegation, h.provider, text, err)
}

func (b *books) signText(kind proofs.Kind, key ed25519.PrivateKey, text string, err error) proofs.Envelope {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	return proofs.Sign(b.net.Network.ID(), kind, key, []byte(text))
}

func (h *host) list(change func(*proofs.Inventory), devices ...string) proofs.Envelope {
	h.b.t.Helper()
	v := proofs.Inventory{Delegation: h.delegation.ID(), Simulated: true}
	for i, name := range devices {
		product := []string{"NVIDIA H100 80GB HBM3", "NVIDIA GeForce RTX 4090"}[i%2]
		v.Devices = append(v.Devices, proofs.InventoryDevice{UUID: uuidOf(name), Name: product, MemoryMiB: 81559, PCI: "00000000:01:00.0", CCMajor: 9, Driver: "580.95.05"})
	}
	slices.SortFunc(v.Devices, func(a, b proofs.InventoryDevice) int { return bytes.Compare(a.UUID[:], b.UUID[:]) })
	change(&v)
	body, err := v.Encode()
	if err != nil {
		h.b.t.Fatal(err)
	}
	return proofs.Sign(h.b.net.Network.ID(), proofs.KindInventory, h.key, body)
}

// beacon returns the first finalized block of a sample that has begun.
func (b *books) beacon(k uint64, sample uint16) proofs.Beacon {
	b.t.Helper()
	start := b.clock.SampleStart(k, sample)
	block, err := b.rpc.BlockAt(b.t.Context(), start, start+testSample)
	if err != nil {
		b.t.Fatalf("block of sample %d of epoch %d: %v", sample, k, err)
	}
	return proofs.Beacon{Slot: block.Slot, Hash: block.Hash, Time: block.Time}
}

// uptime signs a statement for a sample; change may spoil it.
func (h *host) uptime(k uint64, sample uint16, change func(*proofs.Uptime)) proofs.Envelope {
	h.b.t.Helper()
	beacon := h.b.beacon(k, sample)
	u := proofs.Uptime{
		Epoch: k, Sample: sample, BeaconSlot: beacon.Slot, BeaconHash: beacon.Hash, Previous: h.previous,
		Delegation: h.delegation.ID(), Inventory: h.inventory.ID(), Devices: make([]proofs.UptimeDevice, h.devices),
	}
	for i := range u.Devices {
		u.Devices[i] = proofs.UptimeDevice{Utilization: 50, MemoryMiB: 1024, Temperature: 60, PowerW: 300}
	}
	if change != nil {
		change(&u)
	}
	body, err := u.Encode()
	if err != nil {
		h.b.t.Fatal(err)
	}
	e := proofs.Sign(h.b.net.Network.ID(), proofs.KindUptime, h.key, body)
	h.previous = e.ID()
	return e
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
	if n := b.count(`SELECT count(*) FROM statements WHERE id = $1`, r.ID[:]); n != 0 {
		b.t.Fatalf("the refused %s is stored", s.Envelope.Kind)
	}
	return r.Problem
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

func (b *books) toClose(k uint64) {
	b.t.Helper()
	b.goTo(b.clock.EpochEnd(k) + testGrace)
}

// lead takes or renews the lease.
func (b *books) lead() {
	b.t.Helper()
	if held, err := b.hold(b.t.Context()); err != nil || !held {
		b.t.Fatalf("hold the lease: %v, %v", held, err)
	}
}

// closeDue closes the due epoch, which must be k.
func (b *books) closeDue(k uint64) *Closing {
	b.t.Helper()
	b.toClose(k)
	b.lead()
	c, err := b.CloseDue(b.t.Context())
	if err != nil || c == nil || c.Epoch != k {
		b.t.Fatalf("close epoch %d: %v, %v", k, c, err)
	}
	return c
}

// content is what the epoch lane carries at the position of c.
func (b *books) content(c *Closing) chain.Content {
	lane, _ := b.net.Network.Lane("epoch")
	return chain.Content{Kind: chain.KindEpoch, Lane: lane, N: c.Epoch, C: chain.FirstC(lane), Movements: c.Movements, Memo: c.Memo}
}

// seal does what resolving does with the epoch's winner.
func (b *books) sealAs(c *Closing, how func(ctx context.Context, tx pgx.Tx, content chain.Content) error) {
	b.t.Helper()
	content := b.content(c)
	hash := content.Hash()
	err := pgx.BeginFunc(b.t.Context(), b.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(b.t.Context(), `INSERT INTO contents (hash, lane, position, kind, bytes, state) VALUES ($1, 'epoch', $2, $3, $4, 'won') ON CONFLICT (hash) DO NOTHING`,
			hash[:], int64(c.Epoch), int16(content.Kind), content.Encode())
		if err != nil {
			return err
		}
		if err := how(b.t.Context(), tx, content); err != nil {
			return err
		}
		_, err = tx.Exec(b.t.Context(), `UPDATE lanes SET position = $1 WHERE name = 'epoch'`, int64(c.Epoch)+1)
		return err
	})
	if err != nil {
		b.t.Fatalf("seal epoch %d: %v", c.Epoch, err)
	}
}

var testSignature = chain.Signature{1, 2, 3}

const testSlot = 77

func (b *books) sealNow(c *Closing) {
	b.t.Helper()
	b.sealAs(c, func(ctx context.Context, tx pgx.Tx, _ chain.Content) error {
		return b.sealEpoch(ctx, tx, c.Epoch, testSignature, testSlot)
	})
}

// epochs plays, closes and seals the epochs from..to.
func (b *books) epochs(from, to uint64, hosts ...*host) {
	b.t.Helper()
	for k := from; k <= to; k++ {
		b.play(k, hosts...)
		b.sealNow(b.closeDue(k))
	}
}

// book reads the published book that a memo commits to.
func (b *books) book(c *Closing) *proofs.Book {
	b.t.Helper()
	m := b.memo(c)
	file, err := b.store.Get(b.t.Context(), publish.BookName(proofs.BookRoot(m.Inputs, m.Verdicts)))
	if err != nil {
		b.t.Fatal(err)
	}
	book, err := proofs.ParseBook(file)
	if err != nil {
		b.t.Fatal(err)
	}
	if book.Inputs.Root() != m.Inputs || book.VerdictsRoot() != m.Verdicts {
		b.t.Fatal("the book is not the one that the memo commits to")
	}
	return book
}

func (b *books) memo(c *Closing) proofs.EpochMemo {
	b.t.Helper()
	m, err := proofs.ParseMemo(c.Memo)
	if err != nil {
		b.t.Fatal(err)
	}
	return m.(proofs.EpochMemo)
}

// judged returns what the book's inputs come to.
func (b *books) judged(book *proofs.Book) *proofs.Judgement {
	b.t.Helper()
	emission, err := b.intake.schedule.Emission(book.Inputs.Epoch)
	if err != nil {
		b.t.Fatal(err)
	}
	j, err := proofs.Judge(book.Inputs, b.clock, emission)
	if err != nil {
		b.t.Fatal(err)
	}
	return j
}

// verdictOf returns the verdict on a host's device.
func verdictOf(t testing.TB, verdicts []proofs.Verdict, h *host, device string) proofs.Verdict {
	t.Helper()
	for _, v := range verdicts {
		if v.UUID == uuidOf(device) && v.Worker == h.worker() {
			return v
		}
	}
	t.Fatalf("no verdict on device %s of worker %s", device, h.worker())
	return proofs.Verdict{}
}

package audit

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement/genesis"
)

// node is one local chain for all tests. Its blocks' time is ours to set: it
// only moves forward.
var (
	node     *localnet.Node
	unixTime atomic.Int64
)

func TestMain(m *testing.M) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	unixTime.Store(1_763_888_400)
	var err error
	node, err = localnet.Start(ctx, localnet.Config{SlotTime: 2 * time.Millisecond, Now: func() time.Time { return time.Unix(unixTime.Load(), 0) }})
	if err != nil {
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

const testPolicy = `version = 1
first_epoch = 1
draw = "schedule"
[samples]
minimum = 3
late_after = 2
late_limit = 1
[close]
grace_seconds = 4
[simulated]
earn = true
[binding]
idle_epochs = 24
[[pools]]
name = "main"
basis_points = 10000
[[models]]
name = "h100"
pool = "main"
multiplier_milli = 10000
match = ["NVIDIA H100 80GB HBM3"]
`

// operator does by hand what the service does, and where a test says so, what
// the service never would.
type operator struct {
	t        testing.TB
	ctx      context.Context
	chain    *rpc.Client
	store    *publish.Folder
	dir      string
	p        *genesis.Prepared
	n        *ionet.Network
	schedule *emissions.Schedule
	lanes    map[string]*position
	policy   []byte // that the next epochs follow
	former   *proofs.Book
	memo     string // of the former epoch
	hosts    []*host
	balance  map[ionet.Key]uint64 // earned and not yet paid
}

// position is where a lane stands.
type position struct {
	n uint64
	c ionet.Hash
}

// found makes a network with three hosts under testPolicy.
func found(t testing.TB, name string) *operator {
	t.Helper()
	return foundUnder(t, name, []byte(testPolicy))
}

func foundUnder(t testing.TB, name string, policy []byte) *operator {
	t.Helper()
	return foundWith(t, name, policy, func(*genesis.Config) {})
}

// foundWith makes a network whose configuration is changed first.
func foundWith(t testing.TB, name string, policy []byte, change func(*genesis.Config)) *operator {
	t.Helper()
	o := &operator{t: t, ctx: t.Context(), dir: t.TempDir(), policy: policy, lanes: map[string]*position{}, balance: map[ionet.Key]uint64{}}
	var err error
	if o.chain, err = rpc.New(rpc.Config{Endpoints: []string{node.URL()}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.chain.Close)
	if o.store, err = publish.NewFolder(o.dir); err != nil {
		t.Fatal(err)
	}
	params, err := emissions.Hourly(8)
	if err != nil {
		t.Fatal(err)
	}
	cfg := genesis.Config{
		Dir: t.TempDir(), Name: name, Cluster: ionet.Key(node.GenesisHash()), Start: time.Unix(unixTime.Add(2), 0),
		EpochSeconds: 20, Samples: 5, PayLanes: 1, ClaimLanes: 1, Schedule: params, Policy: policy,
	}
	change(&cfg)
	if o.schedule, err = emissions.New(cfg.Schedule); err != nil {
		t.Fatal(err)
	}
	if o.p, err = genesis.Prepare(o.ctx, cfg); err != nil {
		t.Fatal(err)
	}
	o.n = o.p.Network
	err = genesis.Run(o.ctx, o.p, genesis.Options{Chain: o.chain, Store: o.store, Airdrop: true, Poll: 3 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		o.hosts = append(o.hosts, o.host(i))
	}
	o.readGenesis()
	return o
}

func (o *operator) readGenesis() {
	lane, _ := o.n.Lane("epoch")
	for e, err := range o.chain.History(o.ctx, chain.GenesisReference(o.n.Mint), chain.Signature{}, 0) {
		if err != nil {
			o.t.Fatal(err)
		}
		tx, err := o.chain.Transaction(o.ctx, e.Signature)
		if err != nil {
			o.t.Fatal(err)
		}
		d, err := chain.Decode(tx.Bytes)
		if err != nil {
			o.t.Fatal(err)
		}
		content, err := d.Content(lane, 0, chain.FirstC(lane))
		if err != nil {
			o.t.Fatal(err)
		}
		o.lanes["epoch"] = &position{1, content.Next()}
		o.memo = content.Memo
	}
}

// crook is what a dishonest operator changes of an epoch; each at its place.
type crook struct {
	inputs   func(in *proofs.Inputs)     // before judging
	hidden   func(in *proofs.Inputs)     // after judging
	verdicts func(v []proofs.Verdict)    // after judging
	memo     func(m *proofs.EpochMemo)   // before signing
	file     func(book []byte) []byte    // what is published as the book; nil: nothing
	mint     func(sum uint64) uint64     // what is minted
	early    bool                        // within the grace
	content  func(content []byte) []byte // what is published as the content
	sealed   func(signature string)      // told of the seal
}

// waitTime sets the chain's clock and waits until whole blocks had that time.
func (o *operator) waitTime(t int64) {
	if unixTime.Load() < t {
		unixTime.Store(t)
	}
	o.waitSlot(func() (uint64, error) { return node.Slot(), nil }, node.Slot()+3)
}

func (o *operator) waitSlot(slot func() (uint64, error), want uint64) {
	o.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if now, err := slot(); err != nil || now >= want {
			if err != nil {
				o.t.Fatal(err)
			}
			return
		}
	}
	o.t.Fatalf("slot %d did not come", want)
}

// waitFinal waits until what is on the chain now is final.
func (o *operator) waitFinal() {
	o.t.Helper()
	o.waitSlot(func() (uint64, error) {
		head, err := o.chain.FinalizedHead(o.ctx)
		return head.Slot, err
	}, node.Slot()+1)
}

// epoch lives through epoch k, judges and seals it.
func (o *operator) epoch(c crook) {
	o.t.Helper()
	k := o.lanes["epoch"].n
	in := o.collect(k)
	if c.inputs != nil {
		c.inputs(in)
	}
	if err := in.Sort(); err != nil {
		o.t.Fatal(err)
	}
	emission, err := o.schedule.Emission(k)
	if err != nil {
		o.t.Fatal(err)
	}
	j, err := proofs.Judge(in, proofs.Terms{Clock: o.n.Clock(), Decimals: o.n.Decimals, Emission: emission})
	if err != nil {
		o.t.Fatal(err)
	}
	if c.hidden != nil {
		c.hidden(in)
	}
	if c.verdicts != nil {
		c.verdicts(j.Verdicts)
	}
	book := &proofs.Book{Inputs: in, Verdicts: j.Verdicts}
	memo := proofs.EpochMemo{
		Epoch: k, Inputs: in.Root(), Verdicts: book.VerdictsRoot(), Count: uint64(len(j.Verdicts)),
		Policy: ionet.HashOf(in.Policy), Prev: ionet.HashOf([]byte(o.memo)),
	}
	for _, v := range j.Verdicts {
		if memo.Sum, err = memo.Sum.Add(v.Amount); err != nil {
			o.t.Fatal(err)
		}
		o.balance[v.Payee] += v.Amount.Base()
	}
	if c.memo != nil {
		c.memo(&memo)
	}
	o.publishBook(book, c)
	if !c.early {
		o.waitTime(o.n.Clock().EpochEnd(k) + 4)
	}
	o.seal(memo, c)
	o.former = book
}

// collect gathers what honest hosts say during epoch k.
func (o *operator) collect(k uint64) *proofs.Inputs {
	o.t.Helper()
	in := &proofs.Inputs{Network: o.n.ID(), Epoch: k, Policy: o.policy}
	clock := o.n.Clock()
	for s := range clock.Samples {
		o.waitTime(clock.SampleStart(k, s) + 1)
	}
	o.waitTime(clock.EpochEnd(k))
	o.waitFinal()
	for _, h := range o.hosts {
		in.Statements = append(in.Statements, h.delegation, h.inventory)
	}
	for s := range clock.Samples {
		start := clock.SampleStart(k, s)
		block, err := o.chain.BlockAt(o.ctx, start, start+clock.SampleSeconds())
		if err != nil {
			o.t.Fatalf("block of sample %d: %v", s, err)
		}
		beacon := proofs.Beacon{Slot: block.Slot, Hash: block.Hash, Time: block.Time}
		in.Beacons = append(in.Beacons, beacon)
		for _, h := range o.hosts {
			in.Statements = append(in.Statements, h.uptime(o, k, s, beacon))
		}
	}
	if o.former != nil {
		var err error
		if in.Bindings, err = proofs.NextBindings(o.former.Inputs, o.former.Verdicts); err != nil {
			o.t.Fatal(err)
		}
	}
	return in
}

func (o *operator) publishBook(book *proofs.Book, c crook) {
	o.t.Helper()
	file, err := proofs.EncodeBook(book)
	if err != nil {
		o.t.Fatal(err)
	}
	if c.file != nil {
		if file = c.file(file); file == nil {
			return
		}
	}
	if err := o.store.Put(o.ctx, publish.BookName(book.Root()), file); err != nil {
		o.t.Fatal(err)
	}
}

func (o *operator) seal(memo proofs.EpochMemo, c crook) {
	o.t.Helper()
	amount := memo.Sum.Base()
	if c.mint != nil {
		amount = c.mint(amount)
	}
	plan := chain.Plan{Kind: chain.KindEpoch, FeePayer: o.n.Keys.Operator, Memo: memo.String()}
	if amount > 0 {
		plan.Movements = []chain.Movement{{Op: chain.Mint, Source: o.n.Mint, Destination: o.n.Vaults.Reward, Amount: ionet.MustAmount(amount)}}
		plan.Owners = map[ionet.Key]ionet.Key{o.n.Mint: o.n.Keys.Operator}
	}
	signature := o.step("epoch", plan, c.content, o.p.Keys.Operator)
	o.waitFinal() // before the clock moves on: when a book was sealed decides what counts
	o.memo = plan.Memo
	if c.sealed != nil {
		c.sealed(signature)
	}
}

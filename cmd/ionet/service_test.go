package main

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement"
	"github.com/ionet-settlement/ionet/settlement/genesis"
	"github.com/ionet-settlement/ionet/web"
)

// town is a whole network whose slots run by themselves, but whose hours are moved
// by the test.
type town struct {
	t       *testing.T
	now     atomic.Int64
	start   int64
	rpc     string
	network *ionet.Network
	service *settlement.Service
	pool    *pgxpool.Pool
	server  string
	dir     string
}

// An epoch of the town is a minute of six samples.
const (
	townSamples = 6
	townSample  = 10
)

func (w *town) clock() time.Time { return time.Unix(w.now.Load(), 0) }

// townPolicy is the default one for few samples, and for epochs that close soon: a town
// that is less than five minutes ahead still takes requests that commands sign now.
func townPolicy() []byte {
	few := regexp.MustCompile(`(?m)^minimum\s*=\s*\d+`).ReplaceAll(emissions.DefaultPolicy(), []byte("minimum = 2"))
	return bytes.Replace(few, []byte("[close]\ngrace_seconds = 300"), []byte("[close]\ngrace_seconds = 60"), 1)
}

// openTown opens one whose first sample is about to begin.
func openTown(t *testing.T) *town {
	t.Helper()
	return openTownAt(t, -1, townSample, townPolicy())
}

// openTownAt opens one in which so many samples of a length in seconds are over.
func openTownAt(t *testing.T, over, sample int64, policy []byte) *town {
	t.Helper()
	ctx, w := t.Context(), &town{t: t, dir: t.TempDir()}
	w.now.Store(time.Now().Unix())
	w.start = w.now.Load() - over*sample
	node, err := localnet.Start(ctx, localnet.Config{SlotTime: 10 * time.Millisecond, FinalityDepth: 2, Now: w.clock})
	w.check(err)
	t.Cleanup(func() { node.Close() })
	w.rpc = node.URL()
	cluster, err := rpc.New(rpc.Config{Endpoints: []string{w.rpc}})
	w.check(err)
	schedule, err := emissions.Hourly(8)
	w.check(err)
	schedule, err = schedule.Shorten(100)
	w.check(err)
	prepared, err := genesis.Prepare(ctx, genesis.Config{
		Dir: t.TempDir(), Name: "town", Cluster: ionet.Key(node.GenesisHash()), Start: time.Unix(w.start, 0), Schedule: schedule,
		EpochSeconds: uint32(townSamples * sample), Samples: townSamples, PayLanes: 1, ClaimLanes: 1, Policy: policy,
	})
	w.check(err)
	store, err := publish.NewFolder(t.TempDir())
	w.check(err)
	w.check(genesis.Run(ctx, prepared, genesis.Options{Chain: cluster, Store: store, Airdrop: true, Poll: 5 * time.Millisecond}))
	w.network, w.pool = prepared.Network, pgtest.New(t)
	w.service, err = settlement.New(ctx, settlement.Config{
		Pool: w.pool, Chain: cluster, Store: store, Network: prepared.Network, NetworkFile: prepared.NetworkFile,
		Policy: prepared.Policy, PolicyFile: prepared.PolicyFile, Now: w.clock, Poll: 20 * time.Millisecond,
		CheckpointEvery: 20 * time.Millisecond, SealReceiptsCount: 1,
		Keys: settlement.Keys{Operator: prepared.Keys.Operator, Fees: prepared.Keys.Fees, Service: prepared.Keys.Service, Lane: prepared.Keys.Secret},
	})
	w.check(err)
	w.check(w.service.Settle(ctx)) // the database knows the genesis
	server := httptest.NewServer(web.Handler(web.Config{Service: w.service, Files: store.Dir(), Now: w.clock}))
	t.Cleanup(server.Close)
	w.server = server.URL
	return w
}

// settle runs the service's settle loop until the test ends.
func (w *town) settle() {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.service.Run(ctx) }()
	w.t.Cleanup(func() { cancel(); <-done })
}

func (w *town) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// do runs a command to its end.
func (w *town) do(args ...string) (string, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	var out, diagnostics bytes.Buffer
	err := run(ctx, args, &out, &diagnostics)
	return out.String(), err
}

// says runs a command that must succeed and print these lines; it returns all of them.
func (w *town) says(args []string, lines ...string) string {
	w.t.Helper()
	out, err := w.do(args...)
	if err != nil {
		w.t.Fatalf("ionet %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	for _, line := range lines {
		if !regexp.MustCompile(`(?m)` + line).MatchString(out) {
			w.t.Errorf("ionet %s has no line %q:\n%s", args[0], line, out)
		}
	}
	return out
}

// refuses runs a command that must fail with this error.
func (w *town) refuses(args []string, want string) {
	w.t.Helper()
	if out, err := w.do(args...); err == nil || !strings.Contains(err.Error(), want) {
		w.t.Errorf("ionet %s: got %v, want %q\n%s", strings.Join(args, " "), err, want, out)
	}
}

// envelopeIn reads a file that holds one signed statement.
func (w *town) envelopeIn(file string) proofs.Envelope {
	w.t.Helper()
	b, err := os.ReadFile(file)
	w.check(err)
	e, rest, err := proofs.ParseEnvelope(b)
	w.check(err)
	if len(rest) > 0 || e.Verify(w.network.ID()) != nil {
		w.t.Error("the file is not one signed statement")
	}
	return e
}

var gpu = ionet.UUID{0x6b, 7, 6: 0x40, 8: 0x80}

// prove has the worker prove its GPU in three samples of epoch 1.
func (w *town) prove(delegation proofs.Envelope, samples ...uint16) {
	w.t.Helper()
	id := w.network.ID()
	api, err := client.New(client.Config{Server: w.server, Network: id})
	w.check(err)
	body, err := proofs.Inventory{Delegation: delegation.ID(), Devices: []proofs.InventoryDevice{{
		UUID: gpu, Name: "NVIDIA H100 80GB HBM3", MemoryMiB: 81559, PCI: "00000000:01:00.0", CCMajor: 9, Driver: "570.86.15", VBIOS: "96.00.89.00.01", ECC: proofs.ModeOn,
	}}}.Encode()
	w.check(err)
	inventory := proofs.Sign(id, proofs.KindInventory, key("worker"), body)
	list := []client.Presented{{Statement: delegation}, {Statement: inventory}}
	var previous ionet.Hash
	for _, sample := range samples {
		w.now.Store(w.network.Clock().SampleStart(1, sample))
		b := w.beacon(sample)
		body, err := proofs.Uptime{
			Epoch: 1, Sample: sample, BeaconSlot: b.Slot, BeaconHash: b.Hash, Previous: previous, Delegation: delegation.ID(), Inventory: inventory.ID(),
			Devices: []proofs.UptimeDevice{{Utilization: 90, MemoryMiB: 70_000, Temperature: 66, PowerW: 610, SMMHz: 1755, MemoryMHz: 2619, Processes: 1}},
		}.Encode()
		w.check(err)
		e := proofs.Sign(id, proofs.KindUptime, key("worker"), body)
		previous = e.ID()
		list = append(list, client.Presented{Statement: e})
	}
	results, err := api.Submit(w.t.Context(), list)
	w.check(err)
	isBusy := func(r client.Result) bool { return r.Problem != nil && r.Problem.Kind() == client.Busy }
	for range 1000 { // until the service knows what is sealed
		if !slices.ContainsFunc(results, isBusy) {
			break
		}
		time.Sleep(10 * time.Millisecond)
		results, err = api.Submit(w.t.Context(), list)
		w.check(err)
	}
	for i, r := range results {
		if r.Status == client.Refused {
			w.t.Fatalf("statement %d: %v", i, r.Problem)
		}
	}
}

func (w *town) beacon(sample uint16) proofs.Beacon {
	w.t.Helper()
	for range 1000 {
		if b, err := w.service.Beacon(w.t.Context(), 1, sample); err == nil {
			return b
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatalf("sample %d gets no beacon", sample)
	return proofs.Beacon{}
}

// waitSealed moves on to the epoch's close and waits for its seal.
func (w *town) waitSealed(epoch uint64) {
	w.t.Helper()
	policy, err := w.service.Policy(w.t.Context())
	w.check(err)
	w.now.Store(w.network.Clock().EpochEnd(epoch) + int64(policy.Close.GraceSeconds) + 1)
	for range 3000 {
		if e, err := w.service.Epoch(w.t.Context(), epoch); err == nil && string(e.State) == client.EpochSealed {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatalf("epoch %d is not sealed", epoch)
}

// statuses: a withdrawal is found by both of its ids, and one that waits for a token
// account tells how to open it.
func (w *town) statuses(wallet, said string) {
	w.t.Helper()
	with := func(args ...string) []string { return append(args, "--server", w.server, "--status") }
	id := regexp.MustCompile(`(?m)^withdrawal ([0-9a-f]{32})`).FindStringSubmatch(said)[1]
	request := regexp.MustCompile(`(?m)^[A-Za-z ]+: ([0-9a-f]{32})$`).FindStringSubmatch(said)[1]
	for _, args := range [][]string{append(with("withdraw"), id), append(with("withdraw", "--wallet", wallet), request)} {
		w.says(args, `^withdrawal `+id+` of `+wallet+`, 0\.25000000 IO to `+wallet+`: paid$`)
	}
	w.refuses(append(with("withdraw"), request), "if it is the id in the signed text, give --wallet too")
	w.refuses(append(with("withdraw", "--wallet", wallet), strings.Repeat("0", 32)), "nor has one of the newest of wallet "+wallet)
	api, err := client.New(client.Config{Server: w.server})
	w.check(err)
	renter, err := ionet.ParseKey(wallet)
	w.check(err)
	r, err := api.Renter(w.t.Context(), renter)
	w.check(err)
	i := slices.IndexFunc(r.Withdrawals, func(w client.Withdrawal) bool { return w.To.String() == public("nobody").String() })
	w.eventually("the service says what the withdrawal waits for", func() bool {
		out, err := w.do(append(with("withdraw"), r.Withdrawals[i].ID.String())...)
		return err == nil && strings.Contains(out, "open it with the key of wallet "+public("nobody").String()+": ionet account open --keypair <file> --rpc <url> --mint "+w.network.Mint.String())
	})
}

// TestProvider is a provider's life, by commands alone.
func TestProvider(t *testing.T) {
	w := openTown(t)
	wallet, poor, file := filepath.Join(w.dir, "wallet.json"), filepath.Join(w.dir, "poor.json"), filepath.Join(w.dir, "delegation")
	server := []string{"--server", w.server}
	with := func(args ...string) []string { return append(args, server...) }
	w.says([]string{"keygen", "--out", wallet}, `^wallet \S+ in `)
	w.says([]string{"keygen", "--out", poor}, `^wallet `)
	secret, err := chain.ReadKeypair(wallet)
	w.check(err)
	payee := chain.PublicOf(secret).String()

	// One signature for two hosts, one of them named twice.
	worker, other := public("worker").String(), public("other host").String()
	w.says(with("delegate", "--keypair", wallet, "--worker", worker, "--worker", other, "--worker", worker, "--out", file),
		`^io-settlement v1: delegation$`, `^Worker: `+worker+`$`, `^Worker: `+other+`$`, `^delegation [0-9a-f]{64} accepted$`, `^written to `, `^next, on each of these hosts: ionet-worker run --server `+w.server+` --provider `+payee+`$`)
	w.refuses(with("delegate", "--keypair", wallet, "--worker", worker, "--out", file), "--out: "+file+" exists and is not overwritten")
	w.refuses(with("delegate", "--keypair", wallet, "--worker", worker, "--worker", payee), "--worker "+payee+" is the wallet itself")
	delegation := w.envelopeIn(file)
	w.refuses(with("delegate", "--keypair", wallet, "--worker", worker, "--days", "500"), "--days: want a whole number, 1..400")

	w.settle()
	w.prove(delegation, 0, 1, 2)
	w.refuses(with("why", "--device", gpu.String(), "--epoch", "1"), client.UnknownEpoch)
	w.waitSealed(1)
	w.says(with("emissions", "--hash"), `^`+w.network.Schedule.Hash.String()+`$`)
	w.says(with("emissions", "--by", "epoch", "--to", "1"), `^network town: genesis 5,000,000,000, cap 5,00\d,\d{3},\d{3}\.\d+, 100 epochs from `)
	w.says(with("epochs"), `^epoch +state +emission`, `^1 +sealed +\d+\.\d{8} +\d+\.\d{8} +\d+\.\d{8} +schedule +1 +\S{60,}`)
	w.says(with("balance", "--wallet", payee), `earned +\d*[1-9]\d*\.\d{8} +IO`, `paid +0\.00000000 +IO`)
	w.says(with("why", "--device", gpu.String(), "--epoch", "1"), `rule 0 accepted: `, `3 samples, weight 30000, \d+\.\d{8} IO to `+payee, `^  evidence [0-9a-f]{64}: hash of the ids of the device's samples$`, `^proven against [0-9a-f]{64}`)
	w.says(with("earnings", "--provider", payee), `^wallet `+payee+`, epochs 1 to 1, amounts in IO$`, `^1 +\S+Z +1 +1 +\d*[1-9]\d*\.\d{8}$`, `^0 accepted +1 +1 `, `^earned \d*[1-9]\d*\.\d{8} IO$`)
	w.says(with("earnings", "--provider", payee, "--csv"), `^1,`+epochTime(w.network, 1)+`,`+gpu.String()+`,`+worker+`,`+payee+`,`+payee+`,0,accepted,3,30000,\d+\.\d{8},\d+$`)
	w.says(with("earnings", "--provider", public("nobody").String()), `^no device of wallet \S+ has a verdict in the sealed epochs from 1 to 1$`)
	w.refuses(with("why", "--device", (ionet.UUID{9}).String(), "--epoch", "1"), client.UnknownDevice)

	w.says([]string{"account", "open", "--keypair", poor, "--rpc", w.rpc, "--mint", w.network.Mint.String(), "--airdrop"}, `is open$`)
	w.says([]string{"account", "open", "--keypair", poor, "--rpc", w.rpc, "--mint", w.network.Mint.String()}, `is open$`)
	w.refuses(with("claim", "--keypair", poor), client.NothingToClaim)
	w.says(with("claim", "--pay-url"), `^solana:`+w.server+`/v1/pay/claim$`, `https links only`)
	w.refuses(with("claim"), "--keypair: name the key file")
	w.says(with("claim", "--keypair", wallet, "--rpc", w.rpc, "--airdrop"), `^claim of \d+\.\d{8} IO on lane claim-0`, `^paid: final in slot \d+`)
	w.says(with("balance", "--wallet", payee), `claimable +0\.00000000 +IO`)
	w.refuses(with("claim", "--keypair", wallet), client.NothingToClaim)
	api, err := client.New(client.Config{Server: w.server})
	w.check(err)
	paid, err := api.Payments(t.Context(), 10)
	w.check(err)
	if len(paid) != 1 || paid[0].Kind != "claim" || paid[0].State != "paid" || paid[0].Payee.String() != payee || paid[0].Signature == "" {
		t.Errorf("payments: %+v", paid)
	}

	// A renter pays in and gets a part of it back.
	w.refuses(with("deposit"), "--wallet is missing")
	w.refuses(with("deposit", "--keypair", wallet), "--amount is missing")
	w.says(with("deposit", "--wallet", payee, "--amount", "1.5"), `^reference \S+ of wallet `+payee, `^solana:\S+spl-token=`+w.network.Mint.String()+`&amount=1\.50000000$`)
	w.says(with("deposit", "--keypair", wallet, "--amount", "1.5", "--rpc", w.rpc), `^credited: 1\.50000000 IO, final in slot \d+`)
	w.refuses(with("deposit", "--keypair", wallet, "--amount", "1.5"), "--rpc is missing")
	w.refuses(with("deposit", "--wallet", payee, "--amount", "0.0"), "--amount: 0.0 is nothing")
	w.refuses(with("deposit", "--wallet", payee, "--amount", "1,5"), `amount "1,5" is not a token amount with at most 8 decimals`)
	w.refuses(with("deposit", "--keypair", poor, "--amount", "1.5", "--rpc", w.rpc), " has 0.00000000 IO, 1.50000000 IO are to be paid (refused by simulation")
	broke := filepath.Join(w.dir, "broke.json")
	w.says([]string{"keygen", "--out", broke}, `^wallet `)
	w.refuses(with("deposit", "--keypair", broke, "--amount", "1.5", "--rpc", w.rpc), "wallet "+w.walletOf(broke)+" has 0 lamports and needs 895880: 5000 for the fee")
	w.refuses(with("deposit", "--keypair", broke, "--amount", "1.5", "--rpc", w.rpc, "--airdrop"), "pay in: wallet "+w.walletOf(broke)+" has no token account of mint "+w.network.Mint.String())
	w.refuses(with("deposit", "--wallet", payee, "--airdrop"), "--airdrop is for the wallet that pays")
	w.refuses(with("withdraw", "--keypair", wallet, "--amount", "0.5", "--to", public("nobody").String(), "--wait", "0s"), "look again: ionet withdraw --server "+w.server+" --status ")
	said := w.says(with("withdraw", "--keypair", wallet, "--amount", "0.25"), `^To: `+payee+`$`, `^paid: final in slot \d+, transaction \S{60,}`)
	w.refuses(with("withdraw", "--keypair", wallet, "--amount", "1.5"), client.Insufficient)
	w.refuses(with("withdraw", "--keypair", wallet, "--amount", "1.5"), "Amount is 1.50000000 IO (150000000 base units)")
	w.statuses(payee, said)
	w.refuses(with("withdraw", "--keypair", wallet, "--amount", "0"), "--amount: 0 is nothing")
	w.refuses(with("withdraw", "--keypair", wallet, "--amount", "1", "--wait=-1s"), "--wait -1s is negative")
	w.refuses(with("withdraw", "--keypair", wallet, "--amount", "1", "--expires", "0s"), "--expires 0s")
	w.refuses(with("withdraw", "--amount", "1"), "--keypair is missing")
	w.refuses(with("withdraw", "--status", "x"), "--status x: want the 32 hex digits")
	w.refuses(with("withdraw", "--status", strings.Repeat("0", 32)), client.UnknownWithdrawal)
	w.says(with("balance", "--wallet", payee), `prepaid, unspent +\d+\.\d+ IO`, `being withdrawn +0\.50000000 IO`)

	// A service that shows another verdict than the one sealed is found out.
	_, err = w.pool.Exec(t.Context(), `UPDATE verdicts SET samples = samples + 1`)
	w.check(err)
	w.refuses(with("why", "--device", gpu.String(), "--epoch", "1"), "the seal does not commit to")
}

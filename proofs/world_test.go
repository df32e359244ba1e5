package proofs

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
)

// testNetwork is the network of all tests.
var testNetwork = ionet.HashOf([]byte("a network for tests"))

// testClock has epochs of 50 s in 5 samples.
var testClock = ionet.Clock{Start: 1_763_888_400, Length: 50, Samples: 5}

// testPolicy asks for 3 samples of 5, lets 1 arrive more than 1 sample late and
// knows three models in two pools.
const testPolicy = `version = 1
first_epoch = 1
draw = "schedule"
[samples]
minimum = 3
late_after = 1
late_limit = 1
[close]
grace_seconds = 5
[simulated]
earn = false
[binding]
idle_epochs = 3
[[pools]]
name = "community"
basis_points = 500
[[pools]]
name = "enterprise"
basis_points = 9500
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
[[models]]
name = "a10"
pool = "enterprise"
multiplier_milli = 0
match = ["NVIDIA A10"]
`

// targetPolicy draws by a target of 8 cents, on observations of up to 2 epochs ago.
var targetPolicy = strings.Replace(testPolicy, `draw = "schedule"`,
	fmt.Sprintf("draw = \"target\"\ntarget = { key = %q, micro_usd = 80000, max_age_epochs = 2 }", public("oracle")), 1)

const (
	h100    = "NVIDIA H100 80GB HBM3"
	rtx4090 = "NVIDIA GeForce RTX 4090"
	a10     = "NVIDIA A10"
)

// key returns a key pair that depends on name alone.
func key(name string) ed25519.PrivateKey {
	seed := ionet.HashOf([]byte("test key " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(name string) ionet.Key { return ionet.Key(key(name).Public().(ed25519.PublicKey)) }

// device returns a UUID that sorts by n.
func device(n int) (u ionet.UUID) {
	binary.BigEndian.PutUint64(u[:], uint64(n))
	copy(u[8:], "testtest")
	return u
}

// world builds the inputs of one epoch.
type world struct {
	t  testing.TB
	in *Inputs
}

const worldEpoch = 7

func newWorld(t testing.TB) *world {
	w := &world{t: t, in: &Inputs{Network: testNetwork, Epoch: worldEpoch, Policy: []byte(testPolicy)}}
	for s := range testClock.Samples {
		w.in.Beacons = append(w.in.Beacons, w.beacon(s))
	}
	return w
}

// beacon is the block of a sample: at its third second.
func (w *world) beacon(sample uint16) Beacon {
	slot := worldEpoch*1000 + uint64(sample)
	return Beacon{Slot: slot, Hash: ionet.Key(ionet.HashOf([]byte(fmt.Sprint("block ", slot)))), Time: testClock.SampleStart(worldEpoch, sample) + 2}
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// add signs a body and adds the statement to the inputs.
func (w *world) add(kind Kind, signer string, body []byte, at Arrival) ionet.Hash {
	e := Sign(testNetwork, kind, key(signer), body)
	w.in.Statements = append(w.in.Statements, Statement{Arrival: at, Envelope: e})
	return e.ID()
}

func sortKeys(keys []ionet.Key) []ionet.Key {
	for i := range keys {
		for j := i; j > 0 && string(keys[j-1][:]) > string(keys[j][:]); j-- {
			keys[j-1], keys[j] = keys[j], keys[j-1]
		}
	}
	return keys
}

// delegate adds a delegation of the workers that lasts from issued to expires.
func (w *world) delegate(provider string, issued, expires int64, workers ...string) ionet.Hash {
	var keys []ionet.Key
	for _, name := range workers {
		keys = append(keys, public(name))
	}
	d := Delegation{Provider: public(provider), Payout: public(provider + " payout"), Workers: sortKeys(keys), Issued: issued, Expires: expires}
	text := must[string](w.t)(d.Text(testNetwork))
	return w.add(KindDelegation, provider, []byte(text), Arrival{1, 0})
}

func (w *world) revoke(provider string, delegation ionet.Hash, at Arrival) ionet.Hash {
	r := Revocation{Provider: public(provider), Delegation: delegation, Issued: testClock.Start}
	return w.add(KindRevocation, provider, []byte(must[string](w.t)(r.Text(testNetwork))), at)
}

func (w *world) release(provider, worker string, dev ionet.UUID, at Arrival) ionet.Hash {
	r := Release{Provider: public(provider), Worker: public(worker), Device: dev, Issued: testClock.Start}
	return w.add(KindRelease, provider, []byte(must[string](w.t)(r.Text(testNetwork))), at)
}

// price adds an observation of that epoch, made in its tenth second.
func (w *world) price(signer string, epoch, microUSD uint64) ionet.Hash {
	p := Price{Epoch: epoch, Observed: testClock.EpochStart(epoch) + 9, MicroUSD: microUSD}
	return w.add(KindPrice, signer, must[[]byte](w.t)(p.Encode()), Arrival{epoch, 1})
}

// askForJobs gives the policy its idle table.
func (w *world) askForJobs(utilization uint8, samples uint16) {
	table := fmt.Sprintf("idle = { utilization = %d, samples = %d }\n[samples]", utilization, samples)
	w.in.Policy = []byte(strings.Replace(string(w.in.Policy), "[samples]", table, 1))
}

// job adds a job that the worker served then.
func (w *world) job(worker string, served int64) ionet.Hash {
	j := Job{Channel: public("channel"), Served: served, Model: "m", Units: 1, Price: ionet.MustAmount(2), Per: 1,
		Fee: ionet.MustAmount(2), After: ionet.MustAmount(2), Cumulative: ionet.MustAmount(2)}
	return w.add(KindJob, worker, must[[]byte](w.t)(j.Encode()), Arrival{worldEpoch, 1})
}

// batch adds a batch of jobs.
func (w *world) batch(worker string, served int64) ionet.Hash {
	b := JobBatch{Channel: public("channel"), Served: served, Count: 9}
	return w.add(KindJobBatch, worker, must[[]byte](w.t)(b.Encode()), Arrival{worldEpoch, 1})
}

// host is a worker with its inventory.
type host struct {
	*world
	name       string
	delegation ionet.Hash
	inventory  ionet.Hash
	devices    int
	previous   ionet.Hash
}

// gpu is one device of a host.
type gpu struct {
	n    int
	name string
}

func (w *world) host(name string, delegation ionet.Hash, gpus ...gpu) *host {
	return w.hostAt(name, delegation, Arrival{worldEpoch - 1, 0}, false, gpus...)
}

func (w *world) hostAt(name string, delegation ionet.Hash, at Arrival, simulated bool, gpus ...gpu) *host {
	inv := Inventory{Delegation: delegation, Simulated: simulated}
	for _, g := range gpus {
		inv.Devices = append(inv.Devices, InventoryDevice{
			UUID: device(g.n), Name: g.name, MemoryMiB: 81559, PCI: "00000000:01:00.0", CCMajor: 9, Driver: "580.65.06", VBIOS: "96.00.89.00.01", ECC: ModeOn,
		})
	}
	id := w.add(KindInventory, name, must[[]byte](w.t)(inv.Encode()), at)
	return &host{world: w, name: name, delegation: delegation, inventory: id, devices: len(gpus)}
}

// statement returns what an honest worker says of a sample.
func (h *host) statement(sample uint16) Uptime {
	b := h.beacon(sample)
	u := Uptime{
		Epoch: worldEpoch, Sample: sample, BeaconSlot: b.Slot, BeaconHash: b.Hash,
		Previous: h.previous, Delegation: h.delegation, Inventory: h.inventory,
	}
	for i := range h.devices {
		u.Devices = append(u.Devices, UptimeDevice{Utilization: 97, MemoryMiB: 70000, Temperature: int16(60 + i), PowerW: 650, SMMHz: 1755, MemoryMHz: 2619, Processes: 1})
	}
	return u
}

// say adds an uptime statement that arrives late samples after its own.
func (h *host) say(u Uptime, late int) ionet.Hash {
	at := int(testClock.Ordinal(u.Epoch, u.Sample)) + late
	n := int(testClock.Samples)
	id := h.add(KindUptime, h.name, must[[]byte](h.t)(u.Encode()), Arrival{Epoch: uint64(at/n) + 1, Sample: uint16(at % n)})
	h.previous = id
	return id
}

// work says what an honest worker says in these samples.
func (h *host) work(samples ...uint16) []ionet.Hash {
	var ids []ionet.Hash
	for _, s := range samples {
		ids = append(ids, h.say(h.statement(s), 0))
	}
	return ids
}

// always is a time span around all of the tests' epochs.
func always() (issued, expires int64) { return testClock.Start - 1000, testClock.Start + 100_000 }

func (w *world) honest(provider string, worker string, gpus ...gpu) *host {
	issued, expires := always()
	return w.host(worker, w.delegate(provider, issued, expires, worker), gpus...)
}

var testEmission = ionet.MustAmount(1_000_003)

var testTerms = Terms{Clock: testClock, Decimals: 8, Emission: testEmission}

// judge sorts, passes the inputs through their bytes, and judges.
func (w *world) judge() *Judgement {
	w.t.Helper()
	if err := w.in.Sort(); err != nil {
		w.t.Fatal(err)
	}
	in, err := ParseInputs(w.in.Records())
	if err != nil {
		w.t.Fatal(err)
	}
	return must[*Judgement](w.t)(Judge(in, testTerms))
}

// summary shows verdicts as "device worker rule samples amount" lines.
func summary(names []string, verdicts []Verdict) string {
	who := map[ionet.Key]string{}
	for _, n := range names {
		who[public(n)] = n
	}
	var b strings.Builder
	for _, v := range verdicts {
		fmt.Fprintf(&b, "%d %s %s %d %s\n", binary.BigEndian.Uint64(v.UUID[:8]), who[v.Worker], v.Rule.Name(), v.Samples, v.Amount)
	}
	return b.String()
}

package web

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement"
	"github.com/ionet-settlement/ionet/settlement/genesis"
)

// node is one local chain for all tests of this package.
var node *localnet.Node

func TestMain(m *testing.M) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	var err error
	if node, err = localnet.Start(ctx, localnet.Config{SlotTime: 10 * time.Millisecond}); err != nil {
		fmt.Fprintln(os.Stderr, "start local chain:", err)
		os.Exit(1)
	}
	code := m.Run()
	cancel()
	node.Close()
	os.Exit(code)
}

// house is a service on real parts behind a real HTTP server.
type house struct {
	t       *testing.T
	url     string
	pool    *pgxpool.Pool
	network *ionet.Network
	service *settlement.Service
	folder  string
	keys    genesis.Keys
}

func open(t *testing.T) *house {
	t.Helper()
	return openUnder(t, nil)
}

// openUnder opens one with a policy, the default one when nil.
func openUnder(t *testing.T, policy []byte) *house {
	t.Helper()
	ctx := t.Context()
	cluster, err := rpc.New(rpc.Config{Endpoints: []string{node.URL()}})
	check(t, err)
	prepared, err := genesis.Prepare(ctx, genesis.Config{
		Dir: t.TempDir(), Name: "doors", Cluster: ionet.Key(node.GenesisHash()), Start: time.Now().Add(-20 * time.Second).Truncate(time.Second),
		EpochSeconds: 3600, Samples: 1800, PayLanes: 1, ClaimLanes: 1, Policy: policy,
	})
	check(t, err)
	h := &house{t: t, network: prepared.Network, pool: pgtest.New(t), folder: t.TempDir(), keys: prepared.Keys}
	store, err := publish.NewFolder(h.folder)
	check(t, err)
	check(t, genesis.Run(ctx, prepared, genesis.Options{Chain: cluster, Store: store, Airdrop: true, Poll: 5 * time.Millisecond}))
	h.service, err = settlement.New(ctx, settlement.Config{
		Pool: h.pool, Chain: cluster, Store: store, Network: prepared.Network, NetworkFile: prepared.NetworkFile,
		Policy: prepared.Policy, PolicyFile: prepared.PolicyFile,
		Keys: settlement.Keys{Operator: prepared.Keys.Operator, Fees: prepared.Keys.Fees, Service: prepared.Keys.Service, Lane: prepared.Keys.Secret},
	})
	check(t, err)
	check(t, h.service.Settle(ctx)) // the database knows the genesis
	server := httptest.NewServer(Handler(Config{Service: h.service, Files: h.folder}))
	t.Cleanup(server.Close)
	h.url = server.URL
	return h
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// keyOf makes a key from a name.
func keyOf(name string) ed25519.PrivateKey {
	seed := ionet.HashOf([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func (h *house) sign(kind proofs.Kind, by string, body []byte) proofs.Envelope {
	return proofs.Sign(h.network.ID(), kind, keyOf(by), body)
}

func (h *house) delegation(network ionet.Hash, provider, worker string) proofs.Envelope {
	h.t.Helper()
	now := time.Now().Unix()
	d := proofs.Delegation{
		Provider: chain.PublicOf(keyOf(provider)), Payout: chain.PublicOf(keyOf(provider)),
		Workers: []ionet.Key{chain.PublicOf(keyOf(worker))}, Issued: now - 60, Expires: now + 3600,
	}
	text, err := d.Text(network)
	check(h.t, err)
	return h.sign(proofs.KindDelegation, provider, []byte(text))
}

func (h *house) inventory(worker string, delegation ionet.Hash, device byte) proofs.Envelope {
	h.t.Helper()
	body, err := proofs.Inventory{Delegation: delegation, Devices: []proofs.InventoryDevice{{
		UUID: ionet.UUID{device}, Name: "NVIDIA H100 80GB HBM3", MemoryMiB: 81559, PCI: "00000000:01:00.0", CCMajor: 9, Driver: "570.1", VBIOS: "96.00.89.00.01", ECC: proofs.ModeOn,
	}}}.Encode()
	check(h.t, err)
	return h.sign(proofs.KindInventory, worker, body)
}

func (h *house) uptime(worker string, at, beaconOf uint16, delegation, inventory ionet.Hash) proofs.Envelope {
	h.t.Helper()
	b := h.beacon(beaconOf)
	body, err := proofs.Uptime{
		Epoch: 1, Sample: at, BeaconSlot: b.Slot, BeaconHash: b.Hash, Delegation: delegation, Inventory: inventory,
		Devices: []proofs.UptimeDevice{{Utilization: 50, MemoryMiB: 1000, Temperature: 60, PowerW: 300, SMMHz: 1755, MemoryMHz: 2619, Processes: 1}},
	}.Encode()
	check(h.t, err)
	return h.sign(proofs.KindUptime, worker, body)
}

// beacon waits for the sample's beacon.
func (h *house) beacon(sample uint16) proofs.Beacon {
	h.t.Helper()
	for {
		b, err := h.service.Beacon(h.t.Context(), 1, sample)
		if err == nil {
			return b
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-h.t.Context().Done():
			h.t.Fatalf("beacon of sample %d: %v", sample, err)
		}
	}
}

// now returns the current sample.
func (h *house) now() uint16 {
	_, s, _ := h.network.Clock().At(time.Now())
	return s
}

// request is what somebody outside sends.
type request struct {
	method, path, media string
	network             string // header Io-Network; "" the right one
	body                []byte
}

func (h *house) send(r request) (*http.Response, []byte) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), r.method, h.url+r.path, bytes.NewReader(r.body))
	check(h.t, err)
	req.Header.Set("Content-Type", r.media)
	if r.network == "" {
		r.network = client.NetworkText(h.network.ID())
	}
	req.Header.Set(client.NetworkHeader, r.network)
	res, err := http.DefaultClient.Do(req)
	check(h.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	check(h.t, err)
	return res, body
}

func statement(e proofs.Envelope) request {
	return request{method: http.MethodPost, path: "/v1/statements", media: client.StatementsMediaType, body: e.Append(nil)}
}

func asJSON(path, body string) request {
	return request{method: http.MethodPost, path: path, media: "application/json", body: []byte(body)}
}

func (h *house) accept(e proofs.Envelope) ionet.Hash {
	h.t.Helper()
	res, body := h.send(statement(e))
	var out client.Results
	if res.StatusCode != http.StatusOK || json.Unmarshal(body, &out) != nil || len(out.Results) != 1 || out.Results[0].Status == client.Refused {
		h.t.Fatalf("%s: status %d, %s", e.Kind, res.StatusCode, body)
	}
	return e.ID()
}

// TestDoors: whatever comes in wrong is refused as a problem with a stable type
// and a sentence that names field and rule, and nothing of it is stored.
func TestDoors(t *testing.T) {
	h := open(t)
	delegation := h.accept(h.delegation(h.network.ID(), "ann", "host"))
	inventory := h.accept(h.inventory("host", delegation, 1))
	first := h.now()
	good := h.uptime("host", first, first, delegation, inventory)
	h.accept(good)
	bound := chain.PublicOf(keyOf("other host"))
	_, err := h.pool.Exec(t.Context(), `INSERT INTO bindings (uuid, worker, since, last) VALUES ($1, $2, 1, 1)`, append([]byte{9}, make([]byte, 15)...), bound[:])
	check(t, err)
	before := h.rows()

	forged := h.uptime("host", first, first, delegation, inventory)
	forged.Signature[40] ^= 1
	stale := h.beacon(first)
	for time.Now().Unix() < h.network.Clock().SampleStart(1, first+1) {
		time.Sleep(20 * time.Millisecond)
	}
	foreign := ionet.HashOf([]byte("another network"))
	early, err := proofs.Uptime{Epoch: 1, Sample: 1700, BeaconSlot: stale.Slot, BeaconHash: stale.Hash, Delegation: delegation, Inventory: inventory, Devices: make([]proofs.UptimeDevice, 1)}.Encode()
	check(t, err)
	invented, err := proofs.Uptime{Epoch: 1, Sample: first, BeaconSlot: stale.Slot, BeaconHash: bound, Delegation: delegation, Inventory: inventory, Devices: make([]proofs.UptimeDevice, 1)}.Encode()
	check(t, err)
	two, err := proofs.Uptime{Epoch: 1, Sample: first, BeaconSlot: stale.Slot, BeaconHash: stale.Hash, Delegation: delegation, Inventory: inventory, Devices: make([]proofs.UptimeDevice, 2)}.Encode()
	check(t, err)

	cases := []doorCase{
		{"wrong signature", statement(forged), 403, client.WrongSignature, `signature`},
		{"wrong network in the header", request{method: "POST", path: "/v1/statements", media: client.StatementsMediaType, network: ionet.Key(foreign).String(), body: good.Append(nil)}, 409, client.WrongNetwork, client.NetworkHeader},
		{"wrong network in a text", statement(h.delegation(foreign, "ann", "host")), 409, client.WrongNetwork, `Network`},
		{"unknown worker", statement(h.uptime("nobody", first, first, delegation, inventory)), 404, client.UnknownWorker, `worker`},
		{"somebody else's delegation", statement(h.inventory("thief", delegation, 2)), 403, client.ForeignDelegation, `delegation`},
		{"stale beacon", statement(h.uptime("host", first+1, first, delegation, inventory)), 422, client.StaleBeacon, `beacon`},
		{"invented beacon", statement(h.sign(proofs.KindUptime, "host", invented)), 422, client.ForeignBeacon, `beacon`},
		{"future sample", statement(h.sign(proofs.KindUptime, "host", early)), 425, client.FutureSample, `sample`},
		{"wrong number of devices", statement(h.sign(proofs.KindUptime, "host", two)), 422, client.WrongDeviceCount, `devices`},
		{"device bound to another", statement(h.inventory("host", delegation, 9)), 409, client.DeviceBound, `devices\[0\]\.uuid`},
		{"a kind with a door of its own", statement(h.sign(proofs.KindDispute, "host", []byte("x"))), 422, client.UnknownKind, `dispute`},
		{"an offer that is none", statement(h.sign(proofs.KindOffer, "host", []byte("x"))), 422, client.MalformedStatement, `offer`},
		{"half an envelope", request{method: "POST", path: "/v1/statements", media: client.StatementsMediaType, body: good.Append(nil)[:50]}, 400, client.MalformedEnvelope, `envelope 0`},
		{"no envelope", request{method: "POST", path: "/v1/statements", media: client.StatementsMediaType}, 400, client.MalformedEnvelope, `no envelope`},
		{"too large a body", request{method: "POST", path: "/v1/statements", media: client.StatementsMediaType, body: make([]byte, client.MaxStream+1)}, 413, client.BodyTooLarge, `67108864 bytes`},
		{"other media type", request{method: "POST", path: "/v1/statements", media: "application/json", body: []byte("{}")}, 415, client.WrongMediaType, `Content-Type`},
		{"malformed JSON", asJSON("/v1/claims", `{"wallet":`), 400, client.MalformedJSON, `.`},
		{"missing field", asJSON("/v1/claims", `{}`), 400, client.MalformedJSON, `wallet`},
		{"unknown field", asJSON("/v1/claims", `{"wallet":"`+bound.String()+`","amount":"5"}`), 400, client.MalformedJSON, `amount`},
		{"not a key", asJSON("/v1/claims", `{"wallet":"0OIl"}`), 400, client.MalformedJSON, `wallet|key`},
		{"too large JSON", asJSON("/v1/claims", `{"wallet":"`+strings.Repeat("1", 70<<10)+`"}`), 413, client.BodyTooLarge, `.`},
		{"a claim that is none", asJSON("/v1/claims/submit", `{"transaction":"AAAA"}`), 409, client.ClaimChanged, `transaction`},
		{"unknown claim", request{method: "GET", path: "/v1/claims/" + foreign.String()}, 404, client.UnknownClaim, `claim`},
		{"bad parameter", request{method: "GET", path: "/v1/beacon?epoch=one&sample=1"}, 422, client.InvalidParameter, `epoch`},
		{"missing parameter", request{method: "GET", path: "/v1/beacon?epoch=1"}, 422, client.InvalidParameter, `sample`},
		{"bad key in the path", request{method: "GET", path: "/v1/providers/xyz"}, 422, client.InvalidParameter, `key`},
		{"a price that nobody asked for", statement(h.price("host", proofs.Price{Epoch: 1, Observed: h.network.Clock().EpochStart(1), MicroUSD: 1})), 409, client.NoPriceAsked, `body\.epoch.*schedule`},
		{"epoch without a price", request{method: "GET", path: "/v1/prices/1"}, 404, client.UnknownPrice, `epoch 1`},
		{"price of no epoch", request{method: "GET", path: "/v1/prices/-1"}, 422, client.InvalidParameter, `epoch`},
		{"epoch without books", request{method: "GET", path: "/v1/epochs/1"}, 404, "unknown-epoch", `epoch 1`},
		{"nothing here", request{method: "GET", path: "/v2"}, 404, client.NotFound, `/v2`},
		{"wrong method", request{method: "DELETE", path: "/v1/head"}, 405, client.WrongMethod, `GET`},
		{"out of the store", request{method: "GET", path: "/files/..%2f..%2fetc/passwd"}, 404, client.NotFound, `.`},
		{"no such file", request{method: "GET", path: "/files/books/none.zst"}, 404, client.NotFound, `books/none.zst`},
	}
	h.refuseAll(cases)
	if after := h.rows(); after != before {
		t.Errorf("the refused left rows behind: %s, before %s", after, before)
	}
}

// doorCase is a request that is refused.
type doorCase struct {
	name    string
	request request
	status  int
	kind    string
	detail  string // regular expression: field and rule
}

func (h *house) refuseAll(cases []doorCase) {
	for _, c := range cases {
		h.t.Run(c.name, func(t *testing.T) {
			res, body := h.send(c.request)
			var p client.Problem
			if got := res.Header.Get("Content-Type"); got != client.ProblemMediaType {
				t.Fatalf("Content-Type %q, want %q; status %d, body %s", got, client.ProblemMediaType, res.StatusCode, body)
			}
			if err := json.Unmarshal(body, &p); err != nil {
				t.Fatalf("problem %s: %v", body, err)
			}
			if res.StatusCode != c.status || p.Status != c.status || p.Kind() != c.kind || !strings.HasPrefix(p.Type, client.ProblemPrefix) || p.Title == "" {
				t.Errorf("got %d %s, want %d %s; %s", res.StatusCode, p.Type, c.status, c.kind, body)
			}
			if !regexp.MustCompile(c.detail).MatchString(p.Detail) {
				t.Errorf("detail %q does not name %q", p.Detail, c.detail)
			}
		})
	}
}

// rows counts what intake stores.
func (h *house) rows() string {
	h.t.Helper()
	var n [5]int
	err := h.pool.QueryRow(h.t.Context(), `SELECT (SELECT count(*) FROM statements), (SELECT count(*) FROM delegations),
		(SELECT count(*) FROM inventories), (SELECT count(*) FROM inventory_devices), (SELECT count(*) FROM prices)`).Scan(&n[0], &n[1], &n[2], &n[3], &n[4])
	check(h.t, err)
	return fmt.Sprint(n)
}

// TestRoundTrip: what package client reads is what the service has.
func TestRoundTrip(t *testing.T) {
	h := open(t)
	ctx := t.Context()
	c, err := client.New(client.Config{Server: h.url, Network: h.network.ID()})
	check(t, err)
	n, _, err := c.NetworkFile(ctx)
	check(t, err)
	if n.ID() != h.network.ID() {
		t.Errorf("network file has id %s, want %s", n.ID(), h.network.ID())
	}
	published, err := c.File(ctx, publish.NetworkName(h.network.ID()))
	check(t, err)
	if ionet.HashOf(published) != h.network.ID() {
		t.Error("the published network file is another")
	}
	head, err := c.Head(ctx)
	check(t, err)
	if head.Epoch != 1 || ionet.Hash(head.Network) != h.network.ID() {
		t.Errorf("head is %+v", head)
	}
	delegation := h.delegation(h.network.ID(), "ann", "host")
	inventory := h.inventory("host", delegation.ID(), 1)
	sample := h.now()
	up := h.uptime("host", sample, sample, delegation.ID(), inventory.ID())
	list := []client.Presented{{Statement: delegation}, {Statement: inventory}, {Statement: up}, {Statement: up}}
	results, err := c.Submit(ctx, list)
	check(t, err)
	for i, want := range []string{client.Accepted, client.Accepted, client.Accepted, client.Duplicate} {
		if results[i].Status != want {
			t.Errorf("statement %d is %s, want %s: %v", i, results[i].Status, want, results[i].Problem)
		}
	}
	ack, _, err := proofs.ParseEnvelope(results[2].Ack)
	check(t, err)
	check(t, ack.Verify(h.network.ID()))
	if a, err := proofs.ParseAck(ack.Body); err != nil || a.Statement != up.ID() || ack.Signer != h.network.Keys.Service {
		t.Errorf("ack is of %s by %s: %v", a.Statement, ack.Signer, err)
	}
	again, err := c.Submit(ctx, []client.Presented{{Statement: up, Ack: &ack}})
	check(t, err)
	if second := arrivalIn(t, again[0].Ack); second != arrivalIn(t, results[2].Ack) {
		t.Error("the same statement got an ack with another arrival")
	}
	w, err := c.Worker(ctx, chain.PublicOf(keyOf("host")))
	check(t, err)
	if w.LastStatement != up.ID() || w.Devices != 1 || w.Inventory != inventory.ID() {
		t.Errorf("worker is %+v", w)
	}
	rules, err := c.Rules(ctx)
	if err != nil || len(rules) != len(proofs.Rules()) {
		t.Errorf("%d rules, %v", len(rules), err)
	}
	for i, r := range rules {
		if rule := proofs.Rule(i); r.Rule != uint16(i) || r.Name != rule.Name() || r.Text != rule.Text() || r.Evidence != rule.Evidence() || r.Evidence == "" {
			t.Errorf("rule %d is %+v", i, r)
		}
	}
	if p, err := c.Provider(ctx, w.Payee); err != nil || !p.Earned.IsZero() || p.Decimals != 8 {
		t.Errorf("provider is %+v, %v", p, err)
	}
	if _, doc := h.send(request{method: "GET", path: "/openapi.json"}); !bytes.Contains(doc, []byte(`"/v1/statements"`)) || !bytes.Contains(doc, []byte(`"/v1/claims/submit"`)) {
		t.Error("/openapi.json does not list the whole API")
	}
	for _, path := range []string{"/", "/healthz", "/metrics", "/openapi.json"} {
		if res, body := h.send(request{method: "GET", path: path}); res.StatusCode != 200 || len(body) == 0 {
			t.Errorf("%s: status %d", path, res.StatusCode)
		}
	}
}

// arrivalIn is what an ack's envelope tells.
func arrivalIn(t *testing.T, b []byte) proofs.Arrival {
	t.Helper()
	e, _, err := proofs.ParseEnvelope(b)
	check(t, err)
	ack, err := proofs.ParseAck(e.Body)
	check(t, err)
	return ack.Arrival
}

package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement"
	"github.com/ionet-settlement/ionet/settlement/genesis"
	"github.com/ionet-settlement/ionet/web"
)

const shortPolicy = `version = 1
first_epoch = 1
draw = "schedule"
[samples]
minimum = 3
late_after = 5
late_limit = 10
[close]
grace_seconds = 20
[simulated]
earn = true
[binding]
idle_epochs = 24
[stake]
minimum_per_multiplier = "0"
[fees]
network_basis_points = 0
[payout]
minimum = "0"
[[pools]]
name = "all"
basis_points = 10000
[[models]]
name = "h100"
pool = "all"
multiplier_milli = 10000
match = ["NVIDIA H100 80GB HBM3"]
`

// serveOn runs the real service on a real chain that goes on by itself, with samples of
// two seconds, and returns its URL. While lying is set it names blocks that are none.
func serveOn(t *testing.T, node *localnet.Node, lying *atomic.Bool) string {
	t.Helper()
	schedule, err := emissions.Hourly(8)
	check(t, err)
	schedule, err = schedule.Shorten(1000)
	check(t, err)
	p, err := genesis.Prepare(t.Context(), genesis.Config{
		Dir: t.TempDir(), Name: "hosts", Cluster: ionet.Key(node.GenesisHash()), Start: time.Now().Add(4 * time.Second).Truncate(time.Second),
		Schedule: schedule, EpochSeconds: 20, Samples: 10, PayLanes: 1, ClaimLanes: 1, Policy: []byte(shortPolicy),
	})
	check(t, err)
	store, err := publish.NewFolder(t.TempDir())
	check(t, err)
	cluster, err := rpc.New(rpc.Config{Endpoints: []string{node.URL()}})
	check(t, err)
	t.Cleanup(cluster.Close)
	check(t, genesis.Run(t.Context(), p, genesis.Options{Chain: cluster, Store: store, Airdrop: true}))
	svc, err := settlement.New(t.Context(), settlement.Config{
		Pool: pgtest.New(t), Chain: cluster, Store: store, Network: p.Network, NetworkFile: p.NetworkFile, Policy: p.Policy, PolicyFile: p.PolicyFile,
		Keys: settlement.Keys{Operator: p.Keys.Operator, Fees: p.Keys.Fees, Service: p.Keys.Service, Lane: p.Keys.Secret},
	})
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { svc.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	h := web.Handler(web.Config{Service: svc, Files: store.Dir()})
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/beacon" || !lying.Load() {
			h.ServeHTTP(rw, r)
			return
		}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r)
		var b client.Beacon
		if answer.Code == http.StatusOK && json.Unmarshal(answer.Body.Bytes(), &b) == nil {
			b.Blockhash[5] ^= 1
			rw.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(rw).Encode(b)
			return
		}
		h.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestFirstHour is what a new host does: init, run, a signature elsewhere, statements over
// blocks that its own endpoint has too, and a service that lies for a while.
func TestFirstHour(t *testing.T) {
	node, err := localnet.Start(t.Context(), localnet.Config{SlotTime: 50 * time.Millisecond, FinalityDepth: 4})
	check(t, err)
	t.Cleanup(func() { _ = node.Close() })
	var lying atomic.Bool
	server, wallet, dir := serveOn(t, node, &lying), newWallet(t), filepath.Join(t.TempDir(), "host")
	provider := chain.PublicOf(wallet).String()
	out, err := do(t, "init", "--server", server, "--dir", dir, "--simulate", "2", "--provider", provider)
	check(t, err)
	said, stop := start(t, "--server", server, "--dir", dir, "--simulate", "2", "--rpc", node.URL())
	said.waitFor(t, `^waiting for wallet `+provider)
	e := delegate(t, server, wallet, workerLine.FindStringSubmatch(out)[1])
	said.waitFor(t, `^delegation `+e.ID().String())
	said.waitFor(t, `^registered 2 devices`)
	said.waitFor(t, `^statement accepted: epoch \d+ sample \d+`)
	lying.Store(true)
	said.waitFor(t, `^FALSE BEACON for epoch \d+ sample \d+, asking again: .*the chain has`)
	lying.Store(false)
	accepted(t, said, 2)
	// A copy of the folder, as a backup that somebody starts on another host, ends.
	copied := filepath.Join(t.TempDir(), "copy")
	check(t, os.CopyFS(copied, os.DirFS(dir)))
	check(t, os.Chmod(filepath.Join(copied, "key.json"), 0o600))
	accepted(t, said, 1)
	_, err = do(t, "run", "--server", server, "--dir", copied, "--simulate", "2", "--rpc", node.URL())
	if err == nil || !strings.Contains(err.Error(), "ANOTHER PROCESS SIGNS WITH THIS HOST'S KEY") {
		t.Errorf("a copy of the folder: %v", err)
	}
	stop()
	for _, bad := range []string{"refused", "OMISSION", "BAD ACK", "EQUIVOCATION"} {
		if strings.Contains(said.String(), bad) {
			t.Errorf("%s in\n%s", bad, said)
		}
	}
}

// accepted waits until n more statements are.
func accepted(t *testing.T, said *output, n int) {
	t.Helper()
	goal := strings.Count(said.String(), "statement accepted") + n
	for range 3000 {
		if strings.Count(said.String(), "statement accepted") >= goal {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("no %d more statements are accepted:\n%s", n, said)
}

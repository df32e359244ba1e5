package main

import (
	"crypto/ed25519"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/worker"
)

func newWallet(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, wallet, err := ed25519.GenerateKey(nil)
	check(t, err)
	return wallet
}

// delegate has a wallet sign for workers and hands that in, as the page does.
func delegate(t *testing.T, server string, wallet ed25519.PrivateKey, workers ...string) proofs.Envelope {
	t.Helper()
	api, err := client.New(client.Config{Server: server})
	check(t, err)
	ask := client.DelegationAsk{Provider: chain.PublicOf(wallet)}
	for _, w := range workers {
		key, err := ionet.ParseKey(w)
		check(t, err)
		ask.Workers = append(ask.Workers, key)
	}
	text, err := api.DelegationText(t.Context(), ask)
	check(t, err)
	network := ionet.Hash(text.Network)
	e := proofs.Sign(network, proofs.KindDelegation, wallet, []byte(text.Text))
	results, err := api.ForNetwork(network).Submit(t.Context(), []client.Presented{{Statement: e}})
	check(t, err)
	if results[0].Problem != nil {
		t.Fatal(results[0].Problem)
	}
	return e
}

var (
	workerLine = regexp.MustCompile(`(?m)^worker (\S+)$`)
	linkLine   = regexp.MustCompile(`(?m)^  (http\S+/delegate#\S+)$`)
)

// TestOneSignature has two hosts wait for one signature of their provider's wallet, and
// take no stranger's.
func TestOneSignature(t *testing.T) {
	server, wallet := serve(t), newWallet(t)
	provider := chain.PublicOf(wallet).String()
	dirs := []string{filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "two")}

	out, err := do(t, "init", "--server", server, "--dir", dirs[0], "--simulate", "2", "--provider", provider, "--days", "30")
	check(t, err)
	workers := []string{workerLine.FindStringSubmatch(out)[1]}
	if link := linkLine.FindStringSubmatch(out); link == nil || link[1] != server+"/delegate#worker="+workers[0]+"&provider="+provider+"&days=30" {
		t.Errorf("init shows link %q:\n%s", link, out)
	}
	if !strings.Contains(out, "ionet delegate --server "+server) || !strings.Contains(out, "--worker "+workers[0]) {
		t.Errorf("init does not say how a wallet file signs:\n%s", out)
	}
	one, stopOne := start(t, "--server", server, "--dir", dirs[0], "--simulate", "2")
	one.waitFor(t, `^waiting for wallet `+provider+` to delegate to worker `+workers[0])
	if link := linkLine.FindStringSubmatch(one.String()); link == nil || !strings.HasSuffix(link[1], "&days=30") {
		t.Errorf("run forgot what init was told: %q", link)
	}
	two, stopTwo := start(t, "--server", server, "--dir", dirs[1], "--simulate", "2", "--seed", "3", "--provider", provider)
	two.waitFor(t, `^waiting for wallet `+provider)
	workers = append(workers, workerLine.FindStringSubmatch(two.String())[1])

	// Anybody can delegate anybody's host to himself; that is told, and not taken.
	stranger := newWallet(t)
	delegate(t, server, stranger, workers...)
	wrong := "wallet " + chain.PublicOf(stranger).String() + " delegated this worker, this folder waits for " + provider
	for _, said := range []*output{one, two} {
		said.waitFor(t, `^trouble: `+wrong+`: sign with wallet `+provider)
	}
	status, err := do(t, "status", "--dir", dirs[0], "--server", server)
	check(t, err)
	wantLine(t, "status", status, `no delegation: this folder waits for wallet `+provider+` to sign:$`)
	wantLine(t, "status", status, `  `+regexp.QuoteMeta(server+"/delegate#worker="+workers[0]+"&provider="+provider+"&days=30")+`$`)
	wantLine(t, "status", status, `trouble: `+wrong)
	status, err = do(t, "status", "--dir", dirs[0])
	check(t, err)
	wantLine(t, "status alone", status, `  \(--server <URL> shows the link for that\)$`)
	doctor, err := do(t, "doctor", "--dir", dirs[0], "--server", server, "--simulate", "2")
	if err == nil {
		t.Errorf("doctor finds nothing wrong:\n%s", doctor)
	}
	wantLine(t, "doctor", doctor, `fail  delegation   wallet `+provider+` has not delegated to worker `+workers[0]+` yet`)
	wantLine(t, "doctor", doctor, ` +fix: .*`+regexp.QuoteMeta(server+"/delegate#worker="+workers[0]+"&provider="+provider+"&days=30"))
	wantLine(t, "doctor", doctor, `warn  provider     `+wrong)
	for _, said := range []*output{one, two} {
		if strings.Contains(said.String(), "registered") {
			t.Fatalf("a host took a stranger's delegation:\n%s", said)
		}
	}
	e := delegate(t, server, wallet, workers...)
	for _, said := range []*output{one, two} {
		said.waitFor(t, `^delegation `+e.ID().String()+` by `+provider)
		said.waitFor(t, `^registered 2 devices`)
	}
	stopOne()
	stopTwo()
	// From now on it needs nobody.
	again, stop := start(t, "--server", server, "--dir", dirs[0], "--simulate", "2")
	again.waitFor(t, `^device GPU-`)
	stop()
	if strings.Contains(again.String(), "waiting for wallet") {
		t.Errorf("it waits for a delegation that it has:\n%s", again)
	}
}

// TestWaitingEnds stops a host that waits, and one whose service is away.
func TestWaitingEnds(t *testing.T) {
	server, dir := serve(t), filepath.Join(t.TempDir(), "host")
	_, err := do(t, "init", "--server", server, "--dir", dir, "--simulate", "1", "--provider", chain.PublicOf(newWallet(t)).String())
	check(t, err)
	said, stop := start(t, "--server", server, "--dir", dir, "--simulate", "1")
	said.waitFor(t, `^waiting for wallet .*no delegation`)
	stop()
	said.waitFor(t, `^stopped$`)
	away := httptest.NewServer(http.NotFoundHandler())
	away.Close()
	said, stop = start(t, "--server", away.URL, "--dir", dir, "--simulate", "1")
	said.waitFor(t, `^waiting for wallet `)
	stop()
}

// TestOtherProvider: a folder works for one wallet until it is told otherwise by name.
func TestOtherProvider(t *testing.T) {
	server, dir := serve(t), filepath.Join(t.TempDir(), "host")
	first, second := newWallet(t), newWallet(t)
	file := filepath.Join(t.TempDir(), "second.json")
	check(t, chain.WriteKeypair(file, second))
	_, err := do(t, "init", "--server", server, "--dir", dir, "--simulate", "1", "--provider", chain.PublicOf(first).String())
	check(t, err)
	if _, err := do(t, "init", "--server", server, "--dir", dir, "--simulate", "1", "--keypair", file); err == nil || !strings.Contains(err.Error(), "works for provider "+chain.PublicOf(first).String()) {
		t.Errorf("another wallet's delegation: %v", err)
	}
	out, err := do(t, "init", "--server", server, "--dir", dir, "--simulate", "1", "--keypair", file, "--provider", chain.PublicOf(second).String())
	check(t, err)
	f, err := worker.ReadFolder(dir)
	check(t, err)
	if e, err := f.Delegation(); err != nil || e.Signer != chain.PublicOf(second) {
		t.Errorf("named, it is not taken: %v\n%s", err, out)
	}
}

// TestForeignRPC gives run an endpoint of another cluster, and one that is away.
func TestForeignRPC(t *testing.T) {
	server, dir, file := serve(t), filepath.Join(t.TempDir(), "host"), filepath.Join(t.TempDir(), "wallet.json")
	check(t, chain.WriteKeypair(file, newWallet(t)))
	node, err := localnet.Start(t.Context(), localnet.Config{SlotTime: -1})
	check(t, err)
	t.Cleanup(func() { _ = node.Close() })
	args := []string{"--server", server, "--dir", dir, "--simulate", "1", "--keypair", file, "--rpc"}
	if _, err := do(t, append([]string{"run"}, append(args, node.URL())...)...); err == nil || !strings.Contains(err.Error(), "is of cluster") {
		t.Errorf("another cluster: %v", err)
	}
	said, stop := start(t, append(args, "http://127.0.0.1:1")...)
	said.waitFor(t, `^trouble: --rpc: `)
	said.waitFor(t, `^registered 1 devices`)
	stop()
}

// TestAnotherNetworksService: a folder that joined a network refuses the service of
// another one before it shows or asks for anything.
func TestAnotherNetworksService(t *testing.T) {
	server, other, dir := serve(t), serve(t), filepath.Join(t.TempDir(), "host")
	provider := chain.PublicOf(newWallet(t)).String()
	_, err := do(t, "init", "--server", server, "--dir", dir, "--simulate", "1", "--provider", provider)
	check(t, err)
	for _, command := range [][]string{{"init", "--simulate", "1", "--provider", provider}, {"run", "--simulate", "1"}, {"status"}} {
		out, err := do(t, append(command, "--server", other, "--dir", dir)...)
		if err == nil || !strings.HasPrefix(err.Error(), other+" serves network ") || !strings.Contains(err.Error(), "give the --server of that network, or another --dir") {
			t.Errorf("%s: %v\n%s", command[0], err, out)
		}
		if strings.Contains(out, "/delegate#") && command[0] != "status" {
			t.Errorf("%s shows a link of the other service:\n%s", command[0], out)
		}
	}
}

// TestProviderAndKeypair: a wallet file signs where --provider names it too, and where
// that names another one nothing changes.
func TestProviderAndKeypair(t *testing.T) {
	server, dir, file := serve(t), filepath.Join(t.TempDir(), "host"), filepath.Join(t.TempDir(), "wallet.json")
	wallet, other := newWallet(t), chain.PublicOf(newWallet(t)).String()
	check(t, chain.WriteKeypair(file, wallet))
	args := []string{"init", "--server", server, "--dir", dir, "--simulate", "1", "--keypair", file, "--provider"}
	if _, err := do(t, append(args, other)...); err == nil || !strings.Contains(err.Error(), "names "+other+": leave --provider out") {
		t.Errorf("another provider: %v", err)
	}
	f, err := worker.ReadFolder(dir)
	check(t, err)
	if p, err := f.Provider(); err != nil || !p.IsZero() {
		t.Errorf("the folder works for %s, %v", p, err)
	}
	out, err := do(t, append(args, chain.PublicOf(wallet).String())...)
	check(t, err)
	if e, err := f.Delegation(); err != nil || e.Signer != chain.PublicOf(wallet) || !strings.Contains(out, "by "+chain.PublicOf(wallet).String()) || strings.Contains(out, "has to sign") {
		t.Errorf("the wallet file did not sign: %v\n%s", err, out)
	}
	signed := filepath.Join(dir, "delegation")
	if _, err := do(t, "init", "--server", server, "--dir", dir, "--simulate", "1", "--delegation", signed, "--provider", other); err == nil || !strings.Contains(err.Error(), "names "+other) {
		t.Errorf("another wallet's delegation: %v", err)
	}
	if p, err := f.Provider(); err != nil || p != chain.PublicOf(wallet) {
		t.Errorf("the folder works for %s, %v", p, err)
	}
}

// TestInitPrintsItsOwnRun: the run that init shows has the same folder and devices.
func TestInitPrintsItsOwnRun(t *testing.T) {
	server, dir := serve(t), filepath.Join(t.TempDir(), "host")
	provider := chain.PublicOf(newWallet(t)).String()
	out, err := do(t, "init", "--server", server, "--dir", dir, "--simulate", "2", "--seed", "7", "--provider", provider)
	check(t, err)
	wantLine(t, "init", out, regexp.QuoteMeta("ionet-worker run --server "+server+" --dir "+dir+" --simulate 2 --seed 7 waits for that."))
}

package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/mr-tron/base58"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement"
	"github.com/ionet-settlement/ionet/settlement/genesis"
	"github.com/ionet-settlement/ionet/web"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"ionet-worker": main}) }

// Every command's --help has an example of that command.
func TestHelpHasExamples(t *testing.T) {
	parser, err := kong.New(&commands{}, kong.Name("ionet-worker"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range parser.Model.Leaves(false) {
		if _, examples, found := strings.Cut(n.Detail, "xamples:\n"); !found || !strings.Contains(examples, "  "+n.FullPath()) {
			t.Errorf("%s --help has no example", n.FullPath())
		}
	}
}

func TestScripts(t *testing.T) { testscript.Run(t, testscript.Params{Dir: "testdata"}) }

// serve runs the real service on a database of its own and returns its URL. Its chain
// can't be reached: registration needs none.
func serve(t *testing.T) string {
	t.Helper()
	server, _ := serveWith(t)
	return server
}

// serveWith is serve, and tells the database.
func serveWith(t *testing.T) (string, *pgxpool.Pool) {
	t.Helper()
	pool := pgtest.New(t)
	p, err := genesis.Prepare(t.Context(), genesis.Config{
		Dir: t.TempDir(), Name: "hosts", Cluster: ionet.Key{1}, Start: time.Now().Add(-time.Minute).Truncate(time.Second),
		EpochSeconds: 3600, Samples: 60, PayLanes: 1, ClaimLanes: 1,
	})
	check(t, err)
	store, err := publish.NewFolder(t.TempDir())
	check(t, err)
	nowhere, err := rpc.New(rpc.Config{Endpoints: []string{"http://127.0.0.1:1"}, Rounds: 1})
	check(t, err)
	svc, err := settlement.New(t.Context(), settlement.Config{
		Pool: pool, Chain: nowhere, Store: store, Network: p.Network, NetworkFile: p.NetworkFile, Policy: p.Policy, PolicyFile: p.PolicyFile,
		Keys: settlement.Keys{Operator: p.Keys.Operator, Fees: p.Keys.Fees, Service: p.Keys.Service, Lane: p.Keys.Secret},
	})
	check(t, err)
	server := httptest.NewServer(web.Handler(web.Config{Service: svc, Files: store.Dir()}))
	t.Cleanup(server.Close)
	return server.URL, pool
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// output is a command's standard output, which a test waits for a line of.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (o *output) waitFor(t *testing.T, line string) {
	t.Helper()
	for range 3000 {
		if regexp.MustCompile(`(?m)` + line).MatchString(o.String()) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("no line %q in\n%s", line, o)
}

// do runs a command to its end.
func do(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out, diagnostics output
	err := run(t.Context(), args, &out, &diagnostics)
	return out.String(), err
}

// start runs `ionet-worker run` until the returned function stops it.
func start(t *testing.T, args ...string) (*output, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, done := &output{}, make(chan error, 1)
	go func() { done <- run(ctx, append([]string{"run"}, args...), out, &output{}) }()
	return out, func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}
}

// TestForeignWallet delegates with a wallet that signs texts elsewhere.
func TestForeignWallet(t *testing.T) {
	server, dir := serve(t), filepath.Join(t.TempDir(), "host")
	_, wallet, err := ed25519.GenerateKey(nil)
	check(t, err)
	provider := chain.PublicOf(wallet).String()

	if _, err := do(t, "run", "--server", server, "--dir", dir, "--simulate", "2"); err == nil || !strings.Contains(err.Error(), "no wallet has delegated") {
		t.Errorf("run without a delegation: %v", err)
	}
	if _, err := do(t, "init", "--server", server, "--dir", dir, "--simulate", "2", "--signature", strings.Repeat("1", 64)); err == nil || !strings.Contains(err.Error(), "--provider first") {
		t.Errorf("a signature without a text: %v", err)
	}
	out, err := do(t, "init", "--server", server, "--dir", dir, "--simulate", "2", "--provider", provider)
	check(t, err)
	begin, end := strings.Index(out, "io-settlement v1: delegation"), strings.Index(out, "\n\nthen:")
	if begin < 0 || end < begin || strings.Count(out, "\ndevice GPU-") != 2 {
		t.Fatalf("init shows no text to sign or not two devices:\n%s", out)
	}
	text := out[begin:end]
	if _, err := do(t, "init", "--server", server, "--dir", dir, "--signature", base58.Encode(ed25519.Sign(wallet, []byte(text+"\n")))); err == nil || !strings.Contains(err.Error(), "exactly this text") {
		t.Errorf("a signature over another text: %v", err)
	}
	out, err = do(t, "init", "--server", server, "--dir", dir, "--signature", base58.Encode(ed25519.Sign(wallet, []byte(text))))
	check(t, err)
	if !strings.Contains(out, "by "+provider+", pays "+provider) {
		t.Errorf("init shows no delegation:\n%s", out)
	}
	said, stop := start(t, "--server", server, "--dir", dir, "--simulate", "2", "--seed", "3")
	said.waitFor(t, `^registered 2 devices`)
	stop()
	said.waitFor(t, `^stopped$`)
}

// TestWalletFile does all with one command; a second start goes on with what is there.
func TestWalletFile(t *testing.T) {
	server, dir, wallet := serve(t), filepath.Join(t.TempDir(), "host"), filepath.Join(t.TempDir(), "wallet.json")
	_, key, err := ed25519.GenerateKey(nil)
	check(t, err)
	check(t, chain.WriteKeypair(wallet, key))
	args := []string{"--server", server, "--dir", dir, "--keypair", wallet, "--simulate", "2"}
	said, stop := start(t, args...)
	said.waitFor(t, `^registered 2 devices`)
	if _, err := do(t, append([]string{"run"}, args...)...); err == nil || !strings.Contains(err.Error(), "another process works in this folder") {
		t.Errorf("second process: %v", err)
	}
	status, err := do(t, "status", "--dir", dir, "--server", server)
	check(t, err)
	for _, want := range []string{`^worker `, `^network hosts `, `^delegation [0-9a-f]{64} by `, `^spool 0 statements`, `^last sample read: epoch 1 sample `, `^service: last statement`} {
		if !regexp.MustCompile(`(?m)` + want).MatchString(status) {
			t.Errorf("status has no line %q:\n%s", want, status)
		}
	}
	stop()
	worker, _, _ := strings.Cut(said.String(), "\n")
	again, stop := start(t, args...)
	again.waitFor(t, `^device GPU-`)
	stop()
	if !strings.HasPrefix(again.String(), worker+"\n") {
		t.Errorf("the second start has another key: %s", again)
	}
	after, err := do(t, "status", "--dir", dir)
	check(t, err)
	line := regexp.MustCompile(`(?m)^delegation .*$`)
	if line.FindString(after) != line.FindString(status) {
		t.Errorf("the wallet signed a new delegation though the old one serves:\n%s\n%s", status, after)
	}
	if _, err := do(t, "run", "--server", serve(t), "--dir", filepath.Join(t.TempDir(), "other"), "--simulate", "2", "--delegation", filepath.Join(dir, "delegation")); err == nil || !strings.Contains(err.Error(), "another network") {
		t.Errorf("another host's delegation: %v", err)
	}
}

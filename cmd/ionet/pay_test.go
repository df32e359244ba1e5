package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/internal/nodedeps"
	"github.com/ionet-settlement/ionet/proofs"
)

// The npm clients that the local chain is tested with.
const clients = "../../chain/localnet/testdata/clients"

// payFolder holds pay.mjs beside the installed npm clients.
func payFolder(t *testing.T) string {
	t.Helper()
	project := fstest.MapFS{}
	for _, name := range []string{"package.json", "package-lock.json"} {
		b, err := os.ReadFile(filepath.Join(clients, name))
		if err != nil {
			t.Fatal(err)
		}
		project[name] = &fstest.MapFile{Data: b, Mode: 0o644}
	}
	installed, err := nodedeps.Ensure(t.Context(), "localnet-clients", project)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(installed, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(filepath.Join("testdata", "pay.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pay.mjs"), script, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A wallet app that knows nothing of us claims by the link that the command prints.
func TestSolanaPay(t *testing.T) {
	dir := payFolder(t)
	w := openTown(t)
	file := filepath.Join(w.dir, "wallet.json")
	w.says([]string{"keygen", "--out", file}, `^wallet `)
	secret, err := chain.ReadKeypair(file)
	w.check(err)
	wallet := chain.PublicOf(secret)
	out := filepath.Join(w.dir, "delegation")
	w.says([]string{"delegate", "--server", w.server, "--keypair", file, "--worker", public("worker").String(), "--out", out}, `accepted$`)
	b, err := os.ReadFile(out)
	w.check(err)
	delegation, _, err := proofs.ParseEnvelope(b)
	w.check(err)
	w.settle()
	w.prove(delegation, 0, 1, 2)
	w.waitSealed(1)
	text, err := w.do("claim", "--server", w.server, "--pay-url")
	w.check(err)
	link := regexp.MustCompile(`(?m)^solana:\S+$`).FindString(text)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "pay.mjs", link, w.rpc, file, w.network.Mint.String())
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasSuffix(string(out), "ok\n") {
		t.Fatalf("%v:\n%s", err, out)
	}
	api, err := client.New(client.Config{Server: w.server})
	w.check(err)
	for range 1000 { // the service finds it on the lane
		p, err := api.Provider(t.Context(), wallet)
		w.check(err)
		if !p.Paid.IsZero() && p.Paid == p.Earned {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the claim that the wallet sent is not paid in the service's books")
}

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs/audit"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement/genesis"
)

func command(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, &out, &errs)
	return status, out.String(), errs.String()
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return lines[len(lines)-1]
}

func TestUsage(t *testing.T) {
	status, out, _ := command(t, "--help")
	for _, want := range []string{"Exit status", "Examples:", "--rpc", "--mint", "--store", "--json"} {
		if !strings.Contains(out, want) {
			t.Errorf("--help says nothing of %s", want)
		}
	}
	if status != 0 {
		t.Errorf("--help: status %d, want 0", status)
	}
	mint := ionet.Key{1}.String()
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "missing flags"},
		{[]string{"--rpc", "http://127.0.0.1:1", "--mint", "no key", "--store", "."}, "--mint"},
		{[]string{"--rpc", "http://127.0.0.1:1", "--mint", mint, "--store", filepath.Join(t.TempDir(), "nothing")}, "ionet-audit: --store: open store: "},
		{[]string{"--rpc", "http://127.0.0.1:1", "--mint", mint, "--store", t.TempDir(), "--timeout", "2s"}, "127.0.0.1:1"},
		{[]string{"--rpc", "http://127.0.0.1:1", "--mint", mint, "--store", t.TempDir(), "--timeout", "1ns"}, "ionet-audit: --timeout 1ns: "},
		{[]string{"--rpc", "http://127.0.0.1:1", "--mint", mint, "--store", t.TempDir(), "--timeout", "-1s"}, "--timeout -1s: want 0 for never, or more"},
		{[]string{"--rpc", "http://127.0.0.1:1", "--mint", mint, "--store", ""}, "--store is given with an empty value"},
		{[]string{"--rpc", "not a URL", "--mint", mint, "--store", t.TempDir()}, "--rpc, number 1 of 1: want an http(s) URL"},
	} {
		if status, _, errs := command(t, c.args...); status != 2 || !strings.Contains(errs, c.want) {
			t.Errorf("%q: status %d, stderr %q, want 2 and a word about %s", c.args, status, errs, c.want)
		}
	}
}

// A network that has just been founded, looked at through the command.
func TestNewNetwork(t *testing.T) {
	node, err := localnet.Start(t.Context(), localnet.Config{SlotTime: 2 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { node.Close() })
	dir := t.TempDir()
	n := found(t, node, dir)
	args := []string{"--rpc", node.URL(), "--mint", n.Mint.String(), "--store", dir}

	status, out, errs := command(t, append(args, "--progress")...)
	if want := "0 epochs, 0 verdicts, 0 payouts: all hold"; status != 0 || lastLine(out) != want || !strings.Contains(errs, n.Name) {
		t.Errorf("status %d, last line %q, want 0 and %q; progress %q", status, lastLine(out), want, errs)
	}
	status, out, _ = command(t, append(args, "--json")...)
	var r audit.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != 0 || r.Network != n.ID() {
		t.Errorf("--json: status %d, network %s, %v", status, r.Network, err)
	}
	// Two endpoints: each is asked, and each must tell a history that holds.
	status, out, errs = command(t, append(args, "--rpc", "http://127.0.0.1:1/?api-key=secret")...)
	if host := strings.TrimPrefix(node.URL(), "http://"); status != 2 || !strings.Contains(out, "by the RPC "+host+":\n") || !strings.Contains(out, "by the RPC 127.0.0.1:1:\n") {
		t.Errorf("with an endpoint that is not there: status %d, want 2; %s", status, out)
	}
	if !strings.Contains(errs, "--rpc 127.0.0.1:1: ") || strings.Contains(out+errs, "secret") {
		t.Errorf("with an endpoint that is not there: %s", errs)
	}

	contents, err := filepath.Glob(filepath.Join(dir, "contents", "*"))
	if err != nil || len(contents) != 1 {
		t.Fatalf("contents %v, %v", contents, err)
	}
	good, err := os.ReadFile(contents[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(contents[0]); err != nil {
		t.Fatal(err)
	}
	if status, out, _ = command(t, args...); status != 2 || !strings.Contains(out, "not checked:") || !strings.HasSuffix(lastLine(out), "not checked") {
		t.Errorf("a missing file: status %d, output %q", status, out)
	}
	if err := os.WriteFile(contents[0], append(good, 0), 0o644); err != nil {
		t.Fatal(err)
	}
	if status, out, _ = command(t, args...); status != 1 || !strings.Contains(out, "rule content") || !strings.HasSuffix(lastLine(out), "1 finding") {
		t.Errorf("a spoiled file: status %d, output %q", status, out)
	}
	if status, _, errs = command(t, append(args, "--timeout", "1ns")...); status == 0 || errs == "" {
		t.Errorf("out of time: status %d, stderr %q", status, errs)
	}
}

func found(t *testing.T, node *localnet.Node, dir string) *ionet.Network {
	t.Helper()
	store, err := publish.NewFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rpc.New(rpc.Config{Endpoints: []string{node.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	schedule, err := emissions.Hourly(8)
	if err == nil {
		schedule, err = schedule.Shorten(100)
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := genesis.Prepare(t.Context(), genesis.Config{
		Dir: t.TempDir(), Name: "command", Cluster: ionet.Key(node.GenesisHash()), Start: time.Now(), PayLanes: 1, ClaimLanes: 1, Schedule: schedule,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := genesis.Run(t.Context(), p, genesis.Options{Chain: client, Store: store, Airdrop: true, Poll: 3 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	return p.Network
}

package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain/localnet"
)

func runGenesis(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var out bytes.Buffer
	err := run(ctx, append([]string{"genesis"}, args...), &out, io.Discard)
	return out.String(), err
}

func TestGenesisCommand(t *testing.T) {
	node, err := localnet.Start(context.Background(), localnet.Config{SlotTime: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	dir := t.TempDir()
	args := []string{"--dir", filepath.Join(dir, "keys"), "--store", filepath.Join(dir, "published"), "--rpc", node.URL(),
		"--name", "test", "--epoch-seconds", "600", "--pay-lanes", "1", "--claim-lanes", "1"}

	if _, err := runGenesis(t, append(args, "--plan")...); err == nil || !strings.Contains(err.Error(), "ionetd genesis") {
		t.Errorf("plan without a folder: got %v, want a hint", err)
	}
	if _, err := runGenesis(t, args...); err == nil || !regexp.MustCompile(`operator \w{32,44} has 0 lamports and needs \d+: send it`).MatchString(err.Error()) {
		t.Errorf("genesis without lamports: got %v, want whom to pay", err)
	}
	past := []string{"--dir", filepath.Join(dir, "past"), "--store", dir, "--rpc", node.URL(), "--start", "2020-01-01T00:00:00Z"}
	if _, err := runGenesis(t, past...); err == nil || !strings.Contains(err.Error(), "--start 2020-01-01T00:00:00Z is past") {
		t.Errorf("a start that is past: got %v, want a refusal that names --start", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "past")); err == nil {
		t.Error("a refused genesis left a folder")
	}
	plan, err := runGenesis(t, append(args, "--plan")...)
	if err != nil || strings.Count(plan, "would be made") != 1+2+5+4 {
		t.Errorf("plan: %v, got\n%s", err, plan)
	}
	out, err := runGenesis(t, append(args, "--airdrop")...)
	if err != nil {
		t.Fatalf("%v, after\n%s", err, out)
	}
	file, err := os.ReadFile(filepath.Join(dir, "keys", "network.toml"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := ionet.ParseNetwork(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(out, "mint "+n.Mint.String()+"\n") || !strings.Contains(out, "final") {
		t.Errorf("genesis says\n%s", out)
	}
	if again, err := runGenesis(t, args...); err != nil || strings.Contains(again, "making") {
		t.Errorf("genesis again: %v, says\n%s", err, again)
	}
	if _, err := runGenesis(t, append(args, "--epoch-seconds", "1200")...); err == nil || !strings.Contains(err.Error(), "another network file") {
		t.Errorf("genesis of another epoch length: got %v, want a refusal", err)
	}
	for _, bad := range [][]string{{"--rpc", "nonsense"}, {"--decimals", "9"}, {"--policy", filepath.Join(dir, "none.toml")}, {"--allocation", "of_moon"}} {
		if _, err := runGenesis(t, append([]string{"--dir", t.TempDir(), "--store", t.TempDir(), "--rpc", node.URL()}, bad...)...); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
}

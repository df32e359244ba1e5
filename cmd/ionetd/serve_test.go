package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement"
)

// lines is an output that a test waits on.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// wait returns the rest of the first line that begins with prefix.
func (l *lines) wait(t *testing.T, prefix string, ended <-chan error) string {
	t.Helper()
	for {
		for line := range strings.Lines(l.String()) {
			if rest, ok := strings.CutPrefix(line, prefix); ok && strings.HasSuffix(rest, "\n") {
				return strings.TrimSpace(rest)
			}
		}
		select {
		case err := <-ended:
			t.Fatalf("ionetd ended: %v, after\n%s", err, l)
		case <-t.Context().Done():
			t.Fatalf("no line %q in\n%s", prefix, l)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// The service starts on a new network, fences, answers, and stops on a signal.
// Then the other commands find its work.
func TestServe(t *testing.T) {
	node, err := localnet.Start(t.Context(), localnet.Config{SlotTime: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	dir := t.TempDir()
	place := []string{"--dir", filepath.Join(dir, "keys"), "--store", filepath.Join(dir, "published"), "--rpc", node.URL()}
	made := append(slices.Concat(place, beneficiaries), "--name", "serve", "--epoch-seconds", "600", "--pay-lanes", "1", "--claim-lanes", "1", "--airdrop")
	if out, err := runGenesis(t, made...); err != nil {
		t.Fatalf("genesis: %v\n%s", err, out)
	}
	database := pgtest.NewURL(t)
	place = append(place, "--database", database)
	foreignStores(t, dir, place)
	command := func(name ...string) (string, error) {
		var out bytes.Buffer
		err := run(t.Context(), append(name, place...), &out, io.Discard)
		return out.String(), err
	}

	ctx, stop := context.WithCancel(t.Context())
	var out lines
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, append([]string{"serve", "--listen", "127.0.0.1:0"}, place...), &out, io.Discard)
	}()
	url := out.wait(t, "listening ", ended)
	if n := networkOf(t, dir); !strings.Contains(out.String(), "network serve ("+ionet.Key(n.ID()).String()+"), mint "+n.Mint.String()) {
		t.Errorf("serve does not name the network:\n%s", &out)
	}
	out.wait(t, "fence: ", ended)
	for path, want := range map[string]string{"/healthz": "ok", "/metrics": "ionetd_fenced 1", "/v1/head": `"sealed":0`} {
		if body, err := get(url + path); err != nil || !strings.Contains(body, want) {
			t.Errorf("%s: %v, lacks %q:\n%s", path, err, want, body)
		}
	}
	if got, err := command("payouts", "run"); err != nil || !strings.Contains(got, "paid 0.00000000 IO to 0 payees") {
		t.Errorf("payouts run: %v\n%s", err, got)
	}
	checkPayouts(t, url, command)
	checkUnlocks(t, command)
	checkPolicies(t, dir, command)
	if got, err := command("status"); err != nil || !strings.Contains(got, "claim-0") || strings.Contains(got, "fenced false") {
		t.Errorf("status: %v\n%s", err, got)
	}
	if got, err := command("deposits", "--all"); err != nil || !strings.Contains(got, "0 deposits") {
		t.Errorf("deposits: %v\n%s", err, got)
	}
	if got, err := command("resume", "--reason", "a test"); err != nil || !strings.Contains(got, "nothing is halted") {
		t.Errorf("resume: %v\n%s", err, got)
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("ionetd ended: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("ionetd does not stop")
	}
	// The lease was released, so that recovering needs not wait for it.
	if got, err := command("recover"); err != nil || !strings.Contains(got, "recovered") {
		t.Errorf("recover: %v\n%s", err, got)
	}
	bookless(t, filepath.Join(dir, "published"), database, command)
}

// bookless has the database name a sealed book, which only a published store that has it
// may be used with.
func bookless(t *testing.T, store, database string, command func(name ...string) (string, error)) {
	t.Helper()
	inputs, verdicts := ionet.HashOf([]byte("inputs")), ionet.HashOf([]byte("verdicts"))
	_, err := pgtest.Open(t, database).Exec(t.Context(), `
INSERT INTO epochs (epoch, state, emission, sum, unissued, policy, inputs_root, verdicts_root, verdicts, memo)
VALUES (1, 'sealed', 0, 0, 0, $1, $1, $2, 0, '')`, inputs[:], verdicts[:])
	if err != nil {
		t.Fatal(err)
	}
	want := "--store " + store + " lacks the book of epoch 1 that this database has sealed: is it the store of this network?"
	for _, name := range []string{"serve", "status", "recover"} {
		if got, err := command(name); err == nil || err.Error() != want {
			t.Errorf("%s without the book: %v, want %s\n%s", name, err, want, got)
		}
	}
	folder, err := publish.NewFolder(store)
	if err == nil {
		err = folder.Put(t.Context(), publish.BookName(proofs.BookRoot(inputs, verdicts)), []byte("book"))
	}
	if err != nil {
		t.Fatal(err)
	}
	if got, err := command("status"); err != nil {
		t.Errorf("status with the book: %v\n%s", err, got)
	}
}

// A store that genesis did not make is refused, and none is made.
func foreignStores(t *testing.T, dir string, place []string) {
	t.Helper()
	empty, changed, none := t.TempDir(), t.TempDir(), filepath.Join(dir, "nostore")
	names, err := filepath.Glob(filepath.Join(dir, "published", "network", "*"))
	if err != nil || len(names) != 1 {
		t.Fatalf("published networks are %v, %v", names, err)
	}
	if err := os.Mkdir(filepath.Join(changed, "network"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(changed, "network", filepath.Base(names[0])), []byte("version = 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for store, want := range map[string]string{
		none: "is not there: is --store the one of genesis?", empty: "of network serve: is --store the one of genesis?",
		changed: "one of them was changed", names[0]: "is not a folder", "": "--store",
	} {
		for _, command := range []string{"serve", "status"} {
			err := run(t.Context(), append(append([]string{command}, place...), "--store", store), io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s with store %q: got %v, want %q", command, store, err, want)
			}
		}
	}
	if _, err := os.Stat(none); err == nil {
		t.Error("a store was made")
	}
	if left, err := os.ReadDir(empty); err != nil || len(left) != 0 {
		t.Errorf("the empty store holds %v, %v", left, err)
	}
}

func get(url string) (string, error) {
	resp, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("status %d", resp.StatusCode))
	}
	return string(body), err
}

// checkPolicies announces a policy of a running service by commands alone.
func checkPolicies(t *testing.T, dir string, command func(name ...string) (string, error)) {
	t.Helper()
	write := func(name, version, first string) string {
		file := bytes.Replace(emissions.DefaultPolicy(), []byte("\nversion = 1\n"), []byte("\nversion = "+version+"\n"), 1)
		file = bytes.Replace(file, []byte("\nfirst_epoch = 1\n"), []byte("\nfirst_epoch = "+first+"\n"), 1)
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, file, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	next := write("next.toml", "2", "9")
	if got, err := command("policy", "announce", next, "--check"); err != nil || !strings.Contains(got, "the earliest first_epoch is 3, which begins at ") || !strings.Contains(got, "would be taken; nothing was announced") {
		t.Errorf("policy announce --check: %v\n%s", err, got)
	}
	if got, err := command("policy", "list"); err != nil || strings.Count(got, "\n") != 2 {
		t.Errorf("a check has announced a policy: %v\n%s", err, got)
	}
	for _, want := range []string{"announced policy version 2", "was announced before, in epoch 1"} {
		if got, err := command("policy", "announce", next); err != nil || !strings.Contains(got, want) {
			t.Errorf("policy announce: %v, lacks %q:\n%s", err, want, got)
		}
	}
	if got, err := command("policy", "announce", write("soon.toml", "3", "2")); err == nil || !strings.Contains(err.Error(), "first_epoch is 2, it must be 3 or later") {
		t.Errorf("policy announce for the next epoch: %v\n%s", err, got)
	}
	if got, err := command("policy", "announce", next, "--check"); err != nil || !strings.Contains(got, "was announced before, in epoch 1") {
		t.Errorf("policy announce --check of what is announced: %v\n%s", err, got)
	}
	if got, err := command("policy", "announce", write("soon.toml", "3", "2"), "--check"); err == nil || !strings.Contains(err.Error(), "soon.toml: ") || !strings.Contains(got, "the earliest first_epoch is 3") {
		t.Errorf("policy announce --check for the next epoch: %v\n%s", err, got)
	}
	got, err := command("policy", "list")
	if err != nil || !regexp.MustCompile(`(?m)^1 +1 +in force +at genesis +[0-9a-f]{64}\n2 +9 +announced +in epoch 1 +[0-9a-f]{64}$`).MatchString(got) {
		t.Errorf("policy list: %v\n%s", err, got)
	}
	if got, err := command("status"); err != nil || !regexp.MustCompile(`(?m)^policy +version 1 from epoch 1 on \([0-9a-f]{64}\); next version 2 from epoch 9 on, announced$`).MatchString(got) {
		t.Errorf("status: %v\n%s", err, got)
	}
}

// An operator's mistake is told with what mends it.
func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	full := []string{"--dir", dir, "--store", dir, "--rpc", "http://127.0.0.1:1", "--database", "postgres://nobody@127.0.0.1:1/none"}
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"no flags", []string{"serve"}, "--help, which names"},
		{"no such command", []string{"statu"}, `"statu" is no command: want serve, genesis, recover, payouts, unlocks, deposits, resume, policy, signer, status; see ionetd --help`},
		{"no network", append([]string{"serve"}, full...), "run ionetd genesis first"},
		{"payouts before they are asked for", append([]string{"serve", "--payout-every=-1h"}, full...), "--payout-every -1h0m0s is negative"},
		{"two answers", append([]string{"serve", "--payout-every=1h", "--payout-cron", "@daily"}, full...), "give one of them"},
		{"no time", append([]string{"serve", "--payout-cron", "every day"}, full...), `"0 3 * * *" is each day at 03:00 UTC`},
		{"a time that never comes", append([]string{"serve", "--payout-cron", "0 0 31 2 *"}, full...), "it never comes"},
		{"seals before they are asked for", append([]string{"serve", "--seal-every=-1m"}, full...), "--seal-every -1m0s is negative"},
		{"two answers about seals", append([]string{"serve", "--seal-every=1m", "--seal-cron", "@hourly"}, full...), "--seal-every and --seal-cron both say"},
		{"no time for seals", append([]string{"serve", "--seal-cron", "often"}, full...), `"*/15 * * * *" is each quarter of an hour`},
		{"checkpoints all the time", append([]string{"serve", "--checkpoint-every", "0s"}, full...), "--checkpoint-every 0s: want more than 0"},
		{"a schedule of seals", append([]string{"serve", "--seal-cron", "0 * * * *"}, full...), "run ionetd genesis first"},
		{"a schedule", append([]string{"serve", "--payout-cron", "0 3 * * *"}, full...), "run ionetd genesis first"},
		{"no network", append([]string{"payouts"}, full...), "run ionetd genesis first"},
		{"no time", append([]string{"payouts", "run", "--wait=-1s"}, full...), "--wait -1s is negative"},
		{"no time", append([]string{"unlocks", "release", "--wait=-1s"}, full...), "--wait -1s is negative"},
		{"no time", append([]string{"resume", "--reason", "a test", "--wait=-1s"}, full...), "--wait -1s is negative"},
		{"fewer than none", append([]string{"deposits", "--limit=-1"}, full...), "--limit: want a whole number, 1..100000"},
		{"too many", append([]string{"payouts", "--limit", "1001"}, full...), "--limit: want a whole number, 1..1000"},
		{"no network", append([]string{"recover"}, full...), "run ionetd genesis first"},
		{"no network", append([]string{"status"}, full...), "run ionetd genesis first"},
		{"no network", append([]string{"payouts", "run"}, full...), "run ionetd genesis first"},
		{"no network", append([]string{"policy", "list"}, full...), "run ionetd genesis first"},
		{"no policy file", append([]string{"policy", "announce"}, full...), "<file>"},
		{"no such policy file", append([]string{"policy", "announce", filepath.Join(dir, "none.toml")}, full...), "none.toml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := run(t.Context(), c.args, io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v: got %v, want a hint like %q", c.args, err, c.want)
			}
		})
	}
}

func TestPolicyDefault(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"policy", "default"}, &out, io.Discard); err != nil || !bytes.Equal(out.Bytes(), emissions.DefaultPolicy()) {
		t.Errorf("policy default: %v, prints\n%s", err, &out)
	}
}

func TestPriceLine(t *testing.T) {
	observer := ionet.Key{7}
	schedule, target := &emissions.Policy{}, &emissions.Policy{Target: &emissions.Target{Key: observer, MaxAgeEpochs: 2}}
	by := "; " + observer.String() + " observes it, with ionet price, and it holds for 3 epochs"
	closed := func(e settlement.Epoch) []settlement.Epoch {
		e.Epoch, e.Emission = 9, ionet.MustAmount(1234)
		return []settlement.Epoch{e}
	}
	for _, c := range []struct {
		policy *emissions.Policy
		newest []settlement.Epoch
		want   string
	}{
		{schedule, nil, ""},
		{schedule, closed(settlement.Epoch{Draw: emissions.DrawSchedule}), ""},
		{target, nil, "no epoch has closed by it yet" + by},
		{target, closed(settlement.Epoch{Draw: emissions.DrawSchedule}), "no epoch has closed by it yet" + by},
		{target, closed(settlement.Epoch{Draw: emissions.DrawTarget}), "MISSING: epoch 9 closed without one, nothing of its 12.34 IO is minted" + by},
		{target, closed(settlement.Epoch{Draw: emissions.DrawTarget, PriceEpoch: 8, MicroUSD: 1_050_000}), "$1.050000 for a token, observed in epoch 8, for epoch 9" + by},
		{schedule, closed(settlement.Epoch{Draw: emissions.DrawTarget}), "MISSING: epoch 9 closed without one, nothing of its 12.34 IO is minted"},
	} {
		if got := priceLine(c.policy, c.newest, 2); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"genesis", "--help"}, {"recover", "--help"}, {"payouts", "--help"}, {"payouts", "list", "--help"}, {"payouts", "run", "--help"}, {"policy", "announce", "--help"}, {"policy", "list", "--help"}, {"policy", "default", "--help"}, {"status", "--help"}} {
		var out bytes.Buffer
		if err := run(t.Context(), args, &out, io.Discard); err != nil || !strings.Contains(out.String(), "Usage: ionetd") || !strings.Contains(out.String(), "Examples:") {
			t.Errorf("%v: %v\n%s", args, err, &out)
		}
	}
}

func TestEndpointLine(t *testing.T) {
	for _, c := range []struct {
		e    rpc.EndpointHealth
		want string
	}{
		{rpc.EndpointHealth{Host: "a", Slot: 9, Latency: 3 * time.Millisecond}, "a, slot 9, answers in 3ms"},
		{rpc.EndpointHealth{Host: "a", Latency: time.Millisecond, Behind: true}, "a, answers in 1ms, BEHIND the others"},
		{rpc.EndpointHealth{Host: "a", InRow: 2, Last: "connection refused"}, "a, FAILS: connection refused"},
		{rpc.EndpointHealth{Host: "a", Latency: time.Millisecond, PausedTo: time.Unix(1, 0)}, "a, answers in 1ms, asked to be left alone"},
	} {
		if got := endpointLine(c.e); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

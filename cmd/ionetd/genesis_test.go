package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

func runGenesis(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var out bytes.Buffer
	err := run(ctx, append([]string{"genesis"}, args...), &out, io.Discard)
	return out.String(), err
}

// planned runs --plan, which must succeed and leave no trace in dir.
func planned(t *testing.T, dir string, args ...string) string {
	t.Helper()
	before := tree(t, dir)
	out, err := runGenesis(t, append(args, "--plan")...)
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	if after := tree(t, dir); after != before {
		t.Errorf("a plan changed the folder from\n%sto\n%s", before, after)
	}
	return out
}

// tree lists all files below dir with their size and time of change.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil {
			b.WriteString(path + " " + strconv.FormatInt(info.Size(), 10) + " " + info.ModTime().String() + "\n")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// number is the first number after a label at the start of a plan's line.
func number(t *testing.T, plan, label string) uint64 {
	t.Helper()
	m := regexp.MustCompile(`(?m)^ *` + label + ` +(\d+)`).FindStringSubmatch(plan)
	if m == nil {
		t.Fatalf("plan has no %q:\n%s", label, plan)
	}
	n, err := strconv.ParseUint(m[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// balance is what a wallet has at finalized, once it is at least low.
func balance(t *testing.T, client *rpc.Client, wallet ionet.Key, low uint64) uint64 {
	t.Helper()
	for {
		list, _, err := client.Accounts(t.Context(), []ionet.Key{wallet}, rpc.Finalized, 0)
		if err != nil {
			t.Fatal(err)
		}
		if list[0].Lamports >= low {
			return list[0].Lamports
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// What an operator does: look at the plan, send what is lacking, run. The plan
// is right to the lamport, with and without a folder.
func TestGenesisCommand(t *testing.T) {
	node, err := localnet.Start(context.Background(), localnet.Config{SlotTime: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	client, err := rpc.New(rpc.Config{Endpoints: []string{node.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	dir := t.TempDir()
	place := []string{"--dir", filepath.Join(dir, "keys"), "--store", filepath.Join(dir, "published"), "--rpc", node.URL()}
	args := append(place[:len(place):len(place)], "--name", "test", "--epoch-seconds", "600", "--pay-lanes", "1", "--claim-lanes", "1",
		"--unlock", "research=linear:0..48", "--schedule", "monthly")

	first := planned(t, dir, args...)
	if n := strings.Count(first, "to be made"); n != 12+2+1+2+5+4 || !strings.Contains(first, "a new key in "+filepath.Join(dir, "keys", "operator.json")) {
		t.Errorf("plan without a folder has %d things to be made:\n%s", n, first)
	}
	_, err = runGenesis(t, append(args[:len(args):len(args)], "--start-in", "1s")...)
	asked := regexp.MustCompile(`operator (\w{32,44}) has 0 lamports and needs \d+: send it (\d+)`)
	if err == nil || !asked.MatchString(err.Error()) {
		t.Fatalf("genesis without lamports: got %v, want whom to pay", err)
	}
	operator, err := ionet.ParseKey(asked.FindStringSubmatch(err.Error())[1])
	if err != nil {
		t.Fatal(err)
	}
	// The start has passed while the lamports were on their way.
	for start := networkOf(t, dir).Start; time.Now().Unix() <= start; {
		time.Sleep(20 * time.Millisecond)
	}
	second := planned(t, dir, place...)
	if !strings.Contains(second, "1m0s after the run that writes the network file anew") {
		t.Errorf("plan does not say that the start is moved:\n%s", second)
	}
	if rich := planned(t, dir, append(place[:len(place):len(place)], "--airdrop")...); rich != second+"With --airdrop the cluster is asked for 10000000000 lamports first.\n" {
		t.Errorf("plan with an airdrop says\n%s", rich)
	}
	total, lacks := number(t, second, "total"), number(t, second, "operator lacks")
	if total != number(t, first, "total") || strings.Contains(second, "new key") {
		t.Errorf("plan of the folder differs from the one before it, or names new keys:\n%s", second)
	}
	if err := client.Airdrop(t.Context(), operator, lacks); err != nil {
		t.Fatal(err)
	}
	balance(t, client, operator, lacks)
	out, err := runGenesis(t, place...)
	if err != nil {
		t.Fatalf("%v, after\n%s", err, out)
	}
	if got := balance(t, client, operator, 1); lacks-got != total {
		t.Errorf("genesis cost %d lamports, planned were %d", lacks-got, total)
	}
	n := networkOf(t, dir)
	if left := n.Start - time.Now().Unix(); left < 1 || left > 60 || !strings.Contains(out, "is moved, because nothing refers to it yet") {
		t.Errorf("start is %d seconds ahead, want what is left of a minute; genesis says\n%s", left, out)
	}
	if n.Schedule.EpochsPerStep != 730 || n.Allocation[3].Unlock != "linear:0..48" || n.EpochSeconds != 600 {
		t.Errorf("network file is not what the flags say: %+v", n)
	}
	if !strings.HasSuffix(out, "mint "+n.Mint.String()+"\n") || !strings.Contains(out, "final") {
		t.Errorf("genesis says\n%s", out)
	}
	if again, err := runGenesis(t, append(args[:len(args):len(args)], "--start-in", "1s")...); err != nil || strings.Contains(again, "making") {
		t.Errorf("genesis again: %v, says\n%s", err, again)
	}
	if done := planned(t, dir, place...); !strings.Contains(done, "nothing is left to do: ") || strings.Contains(done, "to be made") {
		t.Errorf("plan of a finished network:\n%s", done)
	}
	contradictions(t, filepath.Join(dir, "keys", "network.toml"), args)
}

// networkOf reads the network file of the keys below dir.
func networkOf(t *testing.T, dir string) *ionet.Network {
	t.Helper()
	file, err := os.ReadFile(filepath.Join(dir, "keys", "network.toml"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := ionet.ParseNetwork(file)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Flags that contradict the network file are named, with both values.
func contradictions(t *testing.T, file string, args []string) {
	for _, c := range []struct{ flag, value, want string }{
		{"--epoch-seconds", "1200", "epoch_seconds: " + file + " says 600, --epoch-seconds gives 1200"},
		{"--name", "other", "name: " + file + " says test, --name gives other"},
		{"--decimals", "6", "decimals: " + file + " says 8, --decimals or the file of --schedule gives 6"},
		{"--schedule", "hourly", "schedule.epochs: " + file + " says 175200, --schedule gives 175319"},
		{"--claim-lanes", "2", "claim lanes: " + file + " says 1, --claim-lanes gives 2"},
		{"--samples", "300", "samples: " + file + " says 60, --samples gives 300"},
		{"--allocation", "of_genesis", "allocation of seed, amount: " + file + " says 100000000000000000, --allocation gives 62500000000000000"},
		{"--start", "2099-01-01T00:00:00Z", ", --start gives 2099-01-01T00:00:00Z; it can't be moved any more, because the genesis transaction is on the chain"},
	} {
		for _, plan := range []string{"--plan", "--plan=false"} {
			if _, err := runGenesis(t, append(args[:len(args):len(args)], c.flag, c.value, plan)...); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s %s %s: got %v, want %q in it", c.flag, c.value, plan, err, c.want)
			}
		}
	}
}

// fourMembers are public keys, which nobody needs to have.
func fourMembers() string {
	var keys []string
	for i := range byte(4) {
		seed := [32]byte{i + 1}
		keys = append(keys, chain.PublicOf(ed25519.NewKeyFromSeed(seed[:])).String())
	}
	return strings.Join(keys, ",")
}

// Wrong flags are refused by name, with what is allowed, before a folder is
// made.
func TestGenesisFlags(t *testing.T) {
	node, err := localnet.Start(context.Background(), localnet.Config{SlotTime: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "own.toml")
	const own = "decimals = 0\ngenesis = \"1000\"\ncap = \"1100\"\nepochs = 48\nfirst_year_rate = \"0.5\"\nsteps_per_year = 12\ndecay = \"0.01\"\nepochs_per_step = 4\n"
	if err := os.WriteFile(file, []byte(own), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "bad.toml")
	if err := os.WriteFile(bad, []byte(strings.Replace(own, "48", "49", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	low := filepath.Join(dir, "low.toml")
	if err := os.WriteFile(low, []byte(strings.Replace(own, "1100", "9999", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	args := func(more ...string) []string {
		return append([]string{"--dir", filepath.Join(dir, "keys"), "--store", filepath.Join(dir, "published"), "--rpc", node.URL()}, more...)
	}
	for _, c := range []struct{ flags, want string }{
		{"--rpc nonsense", "--rpc: "},
		{"--rpc nonsense", "is not an http(s) URL"},
		{"--timeout 0s", "--timeout 0s: want more than 0"},
		{"--timeout 1ns", "--timeout 1ns is over"},
		{"--dir " + file, "--dir " + file + " is not a folder"},
		{"--store " + file, "--store " + file + " is not a folder"},
		{"--epoch-seconds 20 --samples 5", "the policy that ships with this program (ionetd policy default prints it; --policy takes one of your own): policy: samples.minimum: 54"},
		{"--policy " + bad, "--policy " + bad + ": "},
		{"--allocation of_genesis --schedule " + low, "--schedule " + low + ": "},
		{"--schedule " + low, "--allocation: genesis supply 1000 does not cover"},
		{"--decimals 9", `--decimals: want a whole number, 0..8, not "9"`},
		{"--decimals x", `--decimals: want a whole number, 0..8, not "x"`},
		{"--pay-lanes 0", `--pay-lanes: want a whole number, 1..64, not "0"`},
		{"--claim-lanes 65", `--claim-lanes: want a whole number, 1..64, not "65"`},
		{"--samples 0", `--samples: want a whole number, 1..65535, not "0"`},
		{"--samples -1", `--samples: want a whole number, 1..65535, not "-1"`},
		{"--name Our_Net", `--name "Our_Net" is not 1..32 of a-z 0-9 -`},
		{"--samples 7", "--epoch-seconds 3600 is not a multiple of --samples 7"},
		{"--policy " + filepath.Join(dir, "none.toml"), "--policy: open"},
		{"--allocation of_moon", "--allocation of_moon: want of_cap or of_genesis"},
		{"--schedule daily", "--schedule daily: neither hourly nor monthly nor a file"},
		{"--schedule " + bad, "--schedule " + bad + ": schedule: epochs per step 4 does not divide the 49 epochs"},
		{"--decimals 8 --schedule " + file, "--decimals 8 contradicts --schedule " + file + ", which has decimals = 0"},
		{"--unlock seed", `--unlock: "seed" is not category=unlock`},
		{"--unlock seed=soon", `--unlock: category seed: unlock "soon": an unlock is "immediate", "cliff:M"`},
		{"--unlock seed=immediate --unlock seed=cliff:1", "--unlock: category seed is named twice"},
		{"--unlock friends=cliff:1", "--unlock friends=cliff:1: category is none of seed, series_a, core, research, community"},
		{"--mint-authority 2of2:x", "--mint-authority: 2of2 is said of 2 members, 1 are named"},
		{"--reward-authority operator", `--reward-authority: "operator" is not of the form 2of3:KEY,KEY,KEY`},
		{"--fee-authority 1of1:x", "--fee-authority: member: key"},
		{"--reward-authority 5of5:operator," + fourMembers(), "authorities.reward: m is 5, more than the 4 signers that a claim has room for"},
		{"--start 2020-01-01T00:00:00Z", "--start 2020-01-01T00:00:00Z is past"},
		{"--start 2020-01-01", "--start 2020-01-01T00:00:00Z is past"},
		{"--start soon", "--start soon: want a date such as 2026-12-01 or a time such as"},
		{"--start 2099-01-01T00:00:00.5Z", "want a whole second"},
		{"--start-in 0s", "--start-in 0s: want more than 0"},
		{"--start-in=-1m", "--start-in -1m0s: want more than 0"},
		{"--start 2099-01-01 --start-in 1m", "--start"},
	} {
		for _, plan := range []string{"--plan", "--plan=false"} {
			if _, err := runGenesis(t, args(append(strings.Fields(c.flags), plan)...)...); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s %s: got %v, want %q in it", c.flags, plan, err, c.want)
			}
		}
	}
	shared := planned(t, dir, args("--mint-authority", "3of4:"+fourMembers(), "--reward-authority", "2of5:operator,"+fourMembers())...)
	for _, want := range []string{
		"mint          any 3 of 4 members:", "reward vault  any 2 of 5 members:", "the operator, " + filepath.Join(dir, "keys", "operator.json"), "fee vault     one key, " + filepath.Join(dir, "keys", "fees.json"),
		"make mint multisig 3 of 4, reward multisig 2 of 5", ", and give the mint to its multisig", "address follows from a new key in " + filepath.Join(dir, "keys", "operator.json"),
	} {
		if !strings.Contains(shared, want) {
			t.Errorf("plan with multisigs lacks %q:\n%s", want, shared)
		}
	}
	plan := planned(t, dir, args("--schedule", file, "--allocation", "of_genesis")...)
	for _, want := range []string{"whether it can be made was not tried", "nothing on the chain holds the tokens back", "60 samples of 60 seconds", "decimals  0\n", "schedule of its own\n", "12 steps of 4", "125 tokens", "12.50% of it"} {
		if !strings.Contains(plan, want) {
			t.Errorf("plan of a schedule of its own lacks %q:\n%s", want, plan)
		}
	}
}

package localnet

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gagliardetto/solana-go"
)

// TestScriptRunsInItsSlots: by slot from genesis and from now, in order, what failed is
// listed and the rest goes on; by milliseconds too.
func TestScriptRunsInItsSlots(t *testing.T) {
	n := ownNode(t, Config{SlotTime: -1})
	key := newKey(t).PublicKey()
	begin := n.Slot()
	steps, err := ParseScript(fmt.Appendf(nil, `[
		{"after_slots":3,"command":{"do":"restore","name":"none"}},
		{"after_slots":3,"command":{"do":"account","key":"%[1]s","account":{"lamports":3}}},
		{"at_slot":%[2]d,"command":{"do":"lamports","key":"%[1]s","lamports":2}},
		{"at_slot":1,"command":{"do":"lamports","key":"%[1]s","lamports":1}}]`, key, begin+2))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.RunScript(steps); err != nil {
		t.Fatal(err)
	}
	for i, want := range []uint64{1, 2, 3, 3} {
		n.Advance(1)
		if got := n.Account(key).Lamports; got != want {
			t.Errorf("slot %d: got %d, want %d", i+1, got, want)
		}
	}
	if s := n.State(); len(s.Failures) != 1 || !strings.Contains(s.Failures[0], "no snapshot") || len(s.Script) != 0 {
		t.Errorf("afterwards: %+v", s)
	}
	if err := n.RunScript([]Step{{AfterMS: 1, Command: Command{Do: "rate", MS: 1}}}); err != nil {
		t.Fatal(err)
	}
	if !moves(n) {
		t.Error("a step by milliseconds did not run")
	}
}

// TestChaosEnds: every kind by chance, twice alike from one seed; calmed, the chain and
// its fronts are as new.
func TestChaosEnds(t *testing.T) {
	run := func() string {
		n := ownNode(t, Config{SlotTime: -1, FinalityDepth: 6, Seed: 2})
		f, _ := front(t, n)
		payer := n.faucet.PublicKey()
		if err := n.SetChaos(Chaos{Seed: 5, Every: 2, Longest: 8}); err != nil {
			t.Fatal(err)
		}
		var seen strings.Builder
		for range 400 {
			if _, err := n.Airdrop(solana.PublicKey{3}, 1_000_000); err != nil {
				t.Fatal(err)
			}
			n.Advance(1)
			s := n.State()
			if s.Fronts[0].Down {
				t.Fatal("chance closed the admin interface")
			}
			for i := range s.Fronts { // ports are chance
				s.Fronts[i].RPC, s.Fronts[i].Websocket = "", ""
			}
			seen.Write(encode(s))
		}
		if fails := n.State().Failures; len(fails) > 0 {
			t.Errorf("steps failed: %v", fails)
		}
		if err := n.Calm(); err != nil {
			t.Fatal(err)
		}
		for _, f := range n.State().Fronts {
			if f.Down || len(f.Faults) > 0 || string(encode(f.View)) != "{}\n" || f.Notices != (Notices{}) {
				t.Errorf("after the storm: %+v", f)
			}
		}
		balance := lamportsAt(t, n, payer, "processed")
		if vm, err := n.bank.svm.get(payer); err != nil || vm.Lamports != balance {
			t.Errorf("the virtual machine has %+v, %v, the chain %d", vm, err, balance)
		}
		_ = f
		return seen.String()
	}
	one, two := run(), run()
	if one != two {
		t.Error("one seed, two storms")
	}
}

func TestEveryChaosKindIsValid(t *testing.T) {
	n := ownNode(t, Config{SlotTime: -1, Seed: 2})
	front(t, n)
	for _, k := range ChaosKinds() {
		if err := n.SetChaos(Chaos{Seed: 1, Every: 1, Longest: 3, Only: []string{k}}); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Airdrop(solana.PublicKey{3}, 1_000_000); err != nil {
			t.Fatal(err)
		}
		n.Advance(3)
		if fails := n.State().Failures; len(fails) > 0 {
			t.Fatalf("%s: %v", k, fails)
		}
		if err := n.Calm(); err != nil {
			t.Fatal(err)
		}
	}
}

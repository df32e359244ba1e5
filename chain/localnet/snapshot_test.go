package localnet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/gagliardetto/solana-go"
)

// play does something that depends on everything a snapshot holds, and returns what
// clients saw of it.
func play(t *testing.T, n *Node, payer solana.PrivateKey, to solana.PublicKey) string {
	t.Helper()
	var seen bytes.Buffer
	for i := range uint64(6) {
		tx := build(t, n, []solana.PrivateKey{payer}, []solana.Instruction{transfer(2_000_000+i, payer.PublicKey(), to)})
		r := send(t, n, tx)
		fmt.Fprintln(&seen, r.slot, r.index, tx.Signatures[0], r.post)
		if i == 3 {
			if err := n.ForkWith(Fork{Slots: 2, Then: Again, After: 1}); err != nil {
				t.Fatal(err)
			}
		}
		n.Advance(1)
	}
	sig, err := n.Airdrop(to, 7)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&seen, sig)
	for _, c := range []string{"processed", "confirmed", "finalized"} {
		for _, method := range []string{"getEpochInfo", "getLatestBlockhash"} {
			var raw json.RawMessage
			ask(t, n, &raw, method, map[string]any{"commitment": c})
			fmt.Fprintln(&seen, string(raw))
		}
		fmt.Fprintln(&seen, lamportsAt(t, n, to, c), lamportsAt(t, n, payer.PublicKey(), c))
	}
	var list json.RawMessage
	ask(t, n, &list, "getSignaturesForAddress", to, map[string]any{"commitment": "confirmed"})
	fmt.Fprintln(&seen, string(list))
	return seen.String()
}

// From one snapshot the same calls give the same bytes, however often, and nothing of an
// earlier run is left in the virtual machine.
func TestRestoreRepeatsItself(t *testing.T) {
	n := ownNode(t, Config{SlotTime: -1, FinalityDepth: 4, Seed: 11})
	payer, to, other := funded(t, n), newKey(t).PublicKey(), newKey(t).PublicKey()
	n.Advance(3)
	send(t, n, build(t, n, []solana.PrivateKey{payer}, []solana.Instruction{transfer(3_000_000, payer.PublicKey(), to)}))
	s := n.Snapshot()
	want := play(t, n, payer, to)
	for range 3 {
		if err := n.SetAccount(other, Account{Lamports: 5}); err != nil {
			t.Fatal(err)
		}
		if err := n.Restore(s); err != nil {
			t.Fatal(err)
		}
		if a, err := n.bank.svm.get(other); err != nil || a != nil || n.Account(other) != nil {
			t.Fatalf("an account of another run is still there: %+v, %v", a, err)
		}
		if got := play(t, n, payer, to); got != want {
			t.Fatalf("got\n%s\nwant\n%s", got, want)
		}
	}
}

func TestRestoreRefusesAnotherChain(t *testing.T) {
	a, b := ownNode(t, Config{SlotTime: -1}), sharedNode(t)
	if err := a.Restore(b.Snapshot()); err == nil {
		t.Error("a snapshot of another chain was restored")
	}
}

// A seed decides every byte, the clock's included.
func TestSeedDecidesEverything(t *testing.T) {
	run := func(seed uint64) string {
		n := ownNode(t, Config{SlotTime: -1, Seed: seed})
		to := solana.PublicKey{1}
		n.Advance(2)
		sig, err := n.Airdrop(to, 1_000_000)
		if err != nil {
			t.Fatal(err)
		}
		n.Advance(2)
		var block, identity json.RawMessage
		if err := ask(t, n, &block, "getBlock", n.Slot()-2, map[string]any{"commitment": "confirmed", "maxSupportedTransactionVersion": 1}); err != nil {
			t.Fatal(err)
		}
		ask(t, n, &identity, "getIdentity")
		return fmt.Sprintln(n.GenesisHash(), sig, string(block), string(identity))
	}
	if one, two := run(5), run(5); one != two {
		t.Errorf("one seed, two chains:\n%s\n%s", one, two)
	}
	if run(5) == run(6) {
		t.Error("two seeds, one chain")
	}
	if one, two := run(0), run(0); one == two {
		t.Error("two chains without a seed are the same")
	}
}

// BenchmarkRestore restores a chain of 5,000 accounts and some history.
func BenchmarkRestore(b *testing.B) {
	n := ownNode(b, Config{SlotTime: -1})
	list := map[solana.PublicKey]Account{}
	for i := range 5000 {
		list[solana.PublicKey{1, byte(i), byte(i >> 8)}] = Account{Lamports: 1_000_000, Data: make([]byte, 165)}
	}
	if err := n.SetAccounts(list); err != nil {
		b.Fatal(err)
	}
	payer := funded(b, n)
	for range 2000 {
		send(b, n, build(b, n, []solana.PrivateKey{payer}, []solana.Instruction{transfer(2_000_000, payer.PublicKey(), solana.PublicKey{2})}))
		n.Advance(1)
	}
	s := n.Snapshot()
	for b.Loop() {
		for i := range 200 {
			if err := n.SetAccount(solana.PublicKey{1, byte(i)}, Account{Lamports: 5}); err != nil {
				b.Fatal(err)
			}
		}
		if err := n.Restore(s); err != nil {
			b.Fatal(err)
		}
	}
}

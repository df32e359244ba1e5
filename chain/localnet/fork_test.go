package localnet

import (
	"fmt"
	"maps"
	"testing"

	"github.com/gagliardetto/solana-go"
	"pgregory.net/rapid"
)

// lamportsAt asks for a balance over the RPC at a commitment.
func lamportsAt(t testing.TB, n *Node, key solana.PublicKey, c string) uint64 {
	t.Helper()
	var r struct{ Value uint64 }
	if err := ask(t, n, &r, "getBalance", key, map[string]any{"commitment": c}); err != nil {
		t.Fatal(err)
	}
	return r.Value
}

func TestEachCommitmentSeesItsOwnState(t *testing.T) {
	n := ownNode(t, Config{SlotTime: -1, FinalityDepth: 3, KeepSlots: -1})
	payer, to := funded(t, n), newKey(t).PublicKey()
	n.Advance(4)
	const step = 10_000_000
	for i := range uint64(8) { // one transfer a slot
		send(t, n, build(t, n, []solana.PrivateKey{payer}, []solana.Instruction{transfer(step, payer.PublicKey(), to)}))
		want := [3]uint64{(i + 1) * step, i * step, max(i, 2) - 2}
		want[2] *= step
		for j, c := range []string{"processed", "confirmed", "finalized"} {
			if got := lamportsAt(t, n, to, c); got != want[j] {
				t.Errorf("after %d transfers, %s: got %d, want %d", i+1, c, got, want[j])
			}
		}
		n.Advance(1)
	}
	n.Advance(3)
	if got := lamportsAt(t, n, to, "finalized"); got != 8*step {
		t.Errorf("finally: got %d", got)
	}
	if len(n.bank.accounts.pending) != 0 {
		t.Errorf("%d accounts still have preimages though all is final", len(n.bank.accounts.pending))
	}
}

func TestForkUndoesAccountsAndHistory(t *testing.T) {
	n := cleanNode(t, 8)
	payer := funded(t, n)
	keep, lose := newKey(t).PublicKey(), newKey(t).PublicKey()
	n.Advance(10)
	pay := func(to solana.PublicKey, lamports uint64) *solana.Transaction {
		tx := build(t, n, []solana.PrivateKey{payer}, []solana.Instruction{transfer(lamports, payer.PublicKey(), to)})
		send(t, n, tx)
		return tx
	}
	kept := pay(keep, 5_000_000)
	n.Advance(1)
	var hashes []solana.Hash
	lost := pay(lose, 6_000_000)
	pay(keep, 7_000_000)
	abandoned := n.Slot()
	n.Advance(1)
	h, _ := n.bank.hashFor(n.bank.open())
	hashes = append(hashes, h)
	pay(lose, 8_000_000)

	if err := n.Fork(2); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(lamportsAt(t, n, keep, "processed"), lamportsAt(t, n, lose, "processed"), lamportsAt(t, n, payer.PublicKey(), "processed")); got != "5000000 0 9994995000" {
		t.Errorf("balances: got %s", got)
	}
	vm, err := n.bank.svm.get(lose)
	if err != nil || vm != nil {
		t.Errorf("virtual machine still has the account: %+v, %v", vm, err)
	}
	var status struct{ Value []*struct{ Slot uint64 } }
	ask(t, n, &status, "getSignatureStatuses", []any{kept.Signatures[0], lost.Signatures[0]}, map[string]any{"searchTransactionHistory": true})
	if status.Value[0] == nil || status.Value[1] != nil {
		t.Errorf("statuses: got %v", status.Value)
	}
	var list []struct{ Signature solana.Signature }
	n.Advance(1)
	ask(t, n, &list, "getSignaturesForAddress", keep, map[string]any{"commitment": "confirmed"})
	if len(list) != 1 || list[0].Signature != kept.Signatures[0] {
		t.Errorf("history of the address: got %v", list)
	}
	if err := ask(t, n, nil, "getBlock", abandoned, map[string]any{"commitment": "confirmed", "maxSupportedTransactionVersion": 1}); err == nil || err.Code != codeSkipped {
		t.Errorf("block of an abandoned slot: got %v, want -32007", err)
	}
	var valid struct{ Value bool }
	ask(t, n, &valid, "isBlockhashValid", hashes[0], map[string]any{"commitment": "processed"})
	if valid.Value {
		t.Error("an abandoned block's hash is still valid")
	}

	// The same bytes may land again: their blockhash is older than the fork.
	send(t, n, lost)
	if got := lamportsAt(t, n, lose, "processed"); got != 6_000_000 {
		t.Errorf("sent again: got %d", got)
	}
}

func TestForkStopsAtTheFinalizedSlot(t *testing.T) {
	n := cleanNode(t, 4)
	n.Advance(3)
	for _, count := range []int{0, -1, 5, 1000} {
		if err := n.Fork(count); err == nil {
			t.Errorf("fork of %d slots was allowed", count)
		}
	}
	if err := n.Fork(4); err != nil {
		t.Errorf("fork of all that is not final: %v", err)
	}
}

// Whatever is sent, sealed and forked, the accounts at every slot since the finalized
// one are those that a copy taken at that slot's end shows, and the virtual machine
// holds what the newest shows.
func TestViewsAgainstCopies(t *testing.T) {
	n := cleanNode(t, 5)
	type state = map[solana.PublicKey]uint64
	var keys []solana.PublicKey
	var now state
	var copies map[uint64]state
	begin := func() { // with new accounts on the same chain
		keys, now, copies = nil, state{}, map[uint64]state{}
		for range 4 {
			keys = append(keys, newKey(t).PublicKey())
		}
		for s := n.bank.root; s < n.bank.open(); s++ {
			copies[s] = state{}
		}
	}
	seal := func() {
		copies[n.Slot()] = maps.Clone(now)
		n.Advance(1)
	}
	check := func(t *rapid.T) {
		for s := n.bank.root; s < n.bank.open(); s++ {
			if n.bank.blocks[s].skipped {
				continue
			}
			for i, k := range keys {
				var got uint64
				if a := n.bank.accounts.at(k, s); a != nil {
					got = a.Lamports
				}
				if got != copies[s][k] {
					t.Fatalf("account %d at slot %d: got %d, want %d", i, s, got, copies[s][k])
				}
			}
		}
		for i, k := range keys {
			a, err := n.bank.svm.get(k)
			if err != nil {
				t.Fatal(err)
			}
			var got uint64
			if a != nil {
				got = a.Lamports
			}
			if got != now[k] {
				t.Fatalf("account %d in the virtual machine: got %d, want %d", i, got, now[k])
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		begin()
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				k, v := rapid.SampledFrom(keys).Draw(t, "key"), rapid.Uint64Range(0, 3).Draw(t, "lamports")
				if err := n.SetAccount(k, Account{Lamports: v}); err != nil {
					t.Fatal(err)
				}
				now[k] = v
			},
			"seal": func(*rapid.T) { seal() },
			"fork": func(t *rapid.T) {
				count := rapid.IntRange(1, int(n.bank.open()-n.bank.root)).Draw(t, "slots")
				if err := n.Fork(count); err != nil {
					t.Fatal(err)
				}
				now = maps.Clone(copies[n.bank.confirmed()])
			},
			"": check,
		})
	})
}

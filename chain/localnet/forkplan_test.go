package localnet

import (
	"testing"

	"github.com/gagliardetto/solana-go"
)

// TestForkPlans: what became of a transaction that succeeded and of one that failed, both
// confirmed, then forked away.
func TestForkPlans(t *testing.T) {
	type fate struct{ landed, failed bool }
	for _, c := range []struct {
		name      string
		plan      Fork
		wait      int // slots
		good, bad fate
		again     bool // the same bytes land when they are sent again
	}{
		{"forgotten", Fork{}, 3, fate{}, fate{}, true},
		{"never", Fork{Then: Never}, 3, fate{}, fate{}, false},
		{"again at once", Fork{Then: Again}, 0, fate{true, false}, fate{true, false}, false},
		{"again after three slots", Fork{Then: Again, After: 3}, 3, fate{true, false}, fate{true, false}, false},
		{"turned", Fork{Then: Turned, Error: InstructionFailure(0, 9)}, 0, fate{true, true}, fate{true, false}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := cleanNode(t, 10)
			n.Advance(12)
			_, client := front(t, n)
			_, failing := front(t, n, Fault{Do: Fail, Count: 1})
			good, bad := payment(t, n), payment(t, n)
			n.Advance(1) // the payers' lamports must outlive the fork
			client.send(good)
			failing.send(bad)
			n.Advance(1)
			c.plan.Slots = 2
			if err := n.ForkWith(c.plan); err != nil {
				t.Fatal(err)
			}
			for range c.wait {
				if slot, _ := landed(n, good); slot != 0 {
					t.Error("landed too early")
				}
				n.Advance(1)
			}
			for i, tx := range []*solana.Transaction{good, bad} {
				want := []fate{c.good, c.bad}[i]
				slot, failure := landed(n, tx)
				if got := (fate{slot != 0, failure != nil}); got != want {
					t.Errorf("transaction %d: got %+v, want %+v (%v)", i, got, want, failure)
				}
			}
			if c.good.landed {
				return
			}
			if g := client.send(good); !accepted(g, good) {
				t.Errorf("sent again: got %+v", g)
			}
			if slot, _ := landed(n, good); (slot != 0) != c.again {
				t.Errorf("sent again: landed in slot %d", slot)
			}
		})
	}
}

// What lands again after a fork lands by the rules: not without the lamports that the
// fork took away, and not over a blockhash that it abandoned.
func TestAgainByTheRules(t *testing.T) {
	n := cleanNode(t, 10)
	n.Advance(12)
	rich := payment(t, n) // funded before the fork
	n.Advance(2)
	_, client := front(t, n)
	payer := rich.Message.AccountKeys[0]
	client.send(rich)
	poor := newKey(t)
	if err := n.SetAccount(poor.PublicKey(), Account{Lamports: 1e9}); err != nil {
		t.Fatal(err)
	}
	broke := build(t, n, []solana.PrivateKey{poor}, []solana.Instruction{transfer(1_000_000, poor.PublicKey(), payer)})
	client.send(broke)
	n.Advance(1)
	late := payment(t, n)
	client.send(late)
	if err := n.ForkWith(Fork{Slots: 2, Then: Again}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		tx   *solana.Transaction
		want bool
	}{"as before": {rich, true}, "payer's lamports are gone": {broke, false}, "blockhash is gone": {late, false}} {
		if slot, _ := landed(n, c.tx); (slot != 0) != c.want {
			t.Errorf("%s: landed in slot %d, want %v", name, slot, c.want)
		}
	}
}

func TestForkPlansAreChecked(t *testing.T) {
	n := cleanNode(t, 32)
	if err := n.ForkWith(Fork{Slots: 1, Then: "perhaps"}); err == nil {
		t.Error("an unknown fate was taken")
	}
}

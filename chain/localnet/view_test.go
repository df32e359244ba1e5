package localnet

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/gagliardetto/solana-go"
)

// seenBy is what a front says of a key's lamports at each commitment.
func seenBy(t *testing.T, c *client, key solana.PublicKey) string {
	t.Helper()
	var list []uint64
	for _, level := range []string{"processed", "confirmed", "finalized"} {
		var v struct{ Value uint64 }
		g := c.call("getBalance", key, map[string]any{"commitment": level})
		if err := json.Unmarshal(g.result, &v); err != nil {
			t.Fatalf("%+v: %v", g, err)
		}
		list = append(list, v.Value)
	}
	return fmt.Sprint(list)
}

// number reads a result that is one, or has one in a field.
func number(t *testing.T, g got, field string) uint64 {
	t.Helper()
	raw := g.result
	if field != "" {
		var o map[string]json.RawMessage
		if err := json.Unmarshal(raw, &o); err != nil {
			t.Fatalf("%+v: %v", g, err)
		}
		raw = o[field]
	}
	var n uint64
	if err := json.Unmarshal(raw, &n); err != nil {
		t.Fatalf("%+v: %v", g, err)
	}
	return n
}

func at(c string) map[string]any { return map[string]any{"commitment": c} }

// counting is a chain in which an account holds as many lamports as the slot's number,
// set in every slot.
func counting(t *testing.T, depth int) (*Node, solana.PublicKey, func(int)) {
	n := cleanNode(t, depth)
	key := newKey(t).PublicKey()
	tick := func(count int) {
		for range count {
			if err := n.SetAccount(key, Account{Lamports: n.Slot()}); err != nil {
				t.Fatal(err)
			}
			n.Advance(1)
		}
		if err := n.SetAccount(key, Account{Lamports: n.Slot()}); err != nil {
			t.Fatal(err)
		}
	}
	tick(50)
	return n, key, tick
}

// A front that lags shows at each commitment what the others showed so many slots ago,
// and takes what it is sent all the same.
func TestLaggingFront(t *testing.T) {
	n, key, tick := counting(t, 4)
	f, c := front(t, n)
	if err := f.SetView(View{Lags: []uint64{10}}); err != nil {
		t.Fatal(err)
	}
	tick(3)
	s := n.Slot()
	if got, want := seenBy(t, c, key), fmt.Sprint([]uint64{s - 10, s - 11, s - 14}); got != want {
		t.Errorf("balances: got %s, want %s", got, want)
	}
	if got := number(t, c.call("getSlot", at("finalized")), ""); got != s-14 {
		t.Errorf("finalized slot: got %d, want %d", got, s-14)
	}
	if got, want := number(t, c.call("getEpochInfo", at("confirmed")), "blockHeight"), n.bank.blocks[s-11].height; got != want {
		t.Errorf("height: got %d, want %d", got, want)
	}
	if g := c.call("getBalance", key, map[string]any{"commitment": "confirmed", "minContextSlot": s - 5}); g.fault == nil || g.fault.Code != codeContextSlot {
		t.Errorf("minContextSlot: got %+v", g)
	}
	if g := c.call("getBlock", s-5, map[string]any{"commitment": "confirmed"}); g.fault == nil || g.fault.Code != codeNotAvailable {
		t.Errorf("a block it has not: got %+v", g)
	}
	tx := payment(t, n) // over a blockhash that the front does not know yet
	if g := c.send(tx); !refused("BlockhashNotFound")(g, tx) {
		t.Errorf("preflight: got %+v", g)
	}
	c.call("sendTransaction", tx.MustToBase64(), map[string]any{"encoding": "base64", "skipPreflight": true})
	if slot, _ := landed(n, tx); slot != s {
		t.Errorf("landed in slot %d, want %d", slot, s)
	}
	var statuses struct{ Value []json.RawMessage }
	json.Unmarshal(c.call("getSignatureStatuses", []any{tx.Signatures[0]}).result, &statuses)
	if string(statuses.Value[0]) != "null" {
		t.Errorf("it knows what landed after its tip: %s", statuses.Value[0])
	}
	tick(10)
	json.Unmarshal(c.call("getSignatureStatuses", []any{tx.Signatures[0]}).result, &statuses)
	if string(statuses.Value[0]) == "null" {
		t.Error("it still does not know it")
	}
}

// TestJumpingFront: calls see the lags in turn, as behind a balancer.
func TestJumpingFront(t *testing.T) {
	n, _, _ := counting(t, 4)
	f, c := front(t, n)
	if err := f.SetView(View{Lags: []uint64{0, 30, 7}}); err != nil {
		t.Fatal(err)
	}
	s := n.Slot()
	var got []uint64
	for range 4 {
		got = append(got, number(t, c.call("getSlot", at("processed")), ""))
	}
	if want := fmt.Sprint([]uint64{s, s - 30, s - 7, s}); fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// A frozen front shows one state for ever, however far the chain goes on, and what it
// needed is forgotten once it is healed.
func TestFrozenFront(t *testing.T) {
	n, key, tick := counting(t, 4)
	f, c := front(t, n)
	if err := f.SetView(View{Frozen: true}); err != nil {
		t.Fatal(err)
	}
	s := n.Slot() - 1
	want := fmt.Sprint([]uint64{s, s - 1, s - 4})
	for range 4 {
		if got := seenBy(t, c, key); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		tick(60)
	}
	if err := f.Heal(); err != nil {
		t.Fatal(err)
	}
	tick(1)
	s = n.Slot()
	if got, want := seenBy(t, c, key), fmt.Sprint([]uint64{s, s - 1, s - 4}); got != want {
		t.Errorf("healed: got %s, want %s", got, want)
	}
	if kept := len(n.bank.accounts.pending[key]); kept > DefaultKeepSlots+5 {
		t.Errorf("%d states are still kept", kept)
	}
}

// A front that is frozen on a fork that is abandoned goes on showing it: a transaction
// failed there, and succeeded on the canonical one.
func TestMinorityFork(t *testing.T) {
	n := cleanNode(t, 8)
	n.Advance(10)
	f, c := front(t, n)
	_, honest := front(t, n)
	tx := payment(t, n)
	payer := tx.Message.AccountKeys[0]
	n.Advance(1)
	_, failing := front(t, n, Fault{Do: Fail, Count: 1})
	failing.send(tx)
	n.Advance(2)
	if err := f.SetView(View{Frozen: true}); err != nil {
		t.Fatal(err)
	}
	stood := n.Slot() - 1
	if err := n.ForkWith(Fork{Slots: 3, Then: Turned}); err != nil {
		t.Fatal(err)
	}
	n.Advance(20)
	for who, want := range map[*client]struct {
		status string
		left   uint64
	}{c: {"confirmed", 10*solana.LAMPORTS_PER_SOL - 5000}, honest: {"finalized", 10*solana.LAMPORTS_PER_SOL - 5000 - 1_000_000}} {
		var statuses struct {
			Value []struct {
				Err    json.RawMessage
				Status string `json:"confirmationStatus"`
			}
		}
		json.Unmarshal(who.call("getSignatureStatuses", []any{tx.Signatures[0]}).result, &statuses)
		if len(statuses.Value) != 1 || statuses.Value[0].Status != want.status || (string(statuses.Value[0].Err) == "null") != (who == honest) {
			t.Errorf("status: got %+v, want %s", statuses.Value, want.status)
		}
		if got := number(t, who.call("getBalance", payer, at("processed")), "value"); got != want.left {
			t.Errorf("payer: got %d, want %d", got, want.left)
		}
	}
	if got := number(t, c.call("getSlot", at("processed")), ""); got != stood {
		t.Errorf("the minority's slot: got %d, want %d", got, stood)
	}
	if g := c.call("simulateTransaction", payment(t, n).MustToBase64(), map[string]any{"encoding": "base64", "replaceRecentBlockhash": true, "commitment": "processed"}); g.fault != nil {
		t.Errorf("simulation: got %+v", g)
	}
	if err := f.Heal(); err != nil {
		t.Fatal(err)
	}
	if got := number(t, c.call("getBalance", payer, at("processed")), "value"); got != 10*solana.LAMPORTS_PER_SOL-5000-1_000_000 {
		t.Errorf("healed: got %d", got)
	}
}

// TestLies: what one front says against the truth, and that the chain is not touched.
func TestLies(t *testing.T) {
	n := cleanNode(t, 2)
	f, c := front(t, n)
	good, bad, never := payment(t, n), payment(t, n), payment(t, n)
	send(t, n, good)
	_, failing := front(t, n, Fault{Do: Fail, Count: 1})
	failing.send(bad)
	n.Advance(4)
	account, absent := newKey(t).PublicKey(), good.Message.AccountKeys[0]
	hash := solana.Hash{7}
	lies := Lies{
		Accounts:   map[solana.PublicKey]*Account{account: {Lamports: 77, Data: []byte{1}}, absent: nil},
		Signatures: map[solana.Signature]Fate{good.Signatures[0]: Failed, bad.Signatures[0]: Succeeded, never.Signatures[0]: Succeeded},
		Blockhash:  &hash, Ahead: 1000,
	}
	if err := f.SetView(View{Lies: lies}); err != nil {
		t.Fatal(err)
	}
	if got := seenBy(t, c, account); got != "[77 77 77]" {
		t.Errorf("made-up account: got %s", got)
	}
	if got := seenBy(t, c, absent); got != "[0 0 0]" {
		t.Errorf("denied account: got %s", got)
	}
	var many struct{ Value []json.RawMessage }
	json.Unmarshal(c.call("getMultipleAccounts", []any{account, absent}).result, &many)
	if len(many.Value) != 2 || string(many.Value[0]) == "null" || string(many.Value[1]) != "null" {
		t.Errorf("both: got %s", many.Value)
	}
	var statuses struct {
		Value []*struct{ Err json.RawMessage }
	}
	json.Unmarshal(c.call("getSignatureStatuses", []any{good.Signatures[0], bad.Signatures[0], never.Signatures[0]}).result, &statuses)
	if v := statuses.Value; v[0] == nil || string(v[0].Err) == "null" || v[1] == nil || string(v[1].Err) != "null" || v[2] == nil {
		t.Errorf("statuses: got %+v", v)
	}
	var shown struct{ Meta struct{ Err json.RawMessage } }
	json.Unmarshal(c.call("getTransaction", good.Signatures[0], at("confirmed")).result, &shown)
	if string(shown.Meta.Err) == "null" {
		t.Error("getTransaction tells the truth")
	}
	var latest struct {
		Value struct{ Blockhash solana.Hash }
	}
	json.Unmarshal(c.call("getLatestBlockhash").result, &latest)
	if latest.Value.Blockhash != hash {
		t.Errorf("blockhash: got %s", latest.Value.Blockhash)
	}
	if got := number(t, c.call("getSlot", at("processed")), ""); got != n.Slot()+1000 {
		t.Errorf("slot: got %d, want %d more than %d", got, 1000, n.Slot())
	}
	lies.Signatures = map[solana.Signature]Fate{good.Signatures[0]: Absent}
	if err := f.SetView(View{Lies: lies}); err != nil {
		t.Fatal(err)
	}
	if g := c.call("getTransaction", good.Signatures[0], at("confirmed")); string(g.result) != "null" {
		t.Errorf("denied transaction: got %+v", g)
	}
	if r := n.Account(absent); r == nil {
		t.Error("a lie changed the chain")
	}
	_, honest := front(t, n)
	if got := number(t, honest.call("getSlot", at("processed")), ""); got != n.Slot() {
		t.Errorf("another front: got %d", got)
	}
}

func TestViewsAreChecked(t *testing.T) {
	n := ownNode(t, Config{SlotTime: -1, KeepSlots: 5})
	f := n.own()
	n.Advance(20)
	for _, w := range []View{
		{Lags: []uint64{6}}, {FrozenAt: 1}, {Frozen: true, FrozenAt: n.Slot()}, {Frozen: true, FrozenAt: 1 << 40}, {Frozen: true, FrozenAt: 1},
		{Lies: Lies{Signatures: map[solana.Signature]Fate{{}: "perhaps"}}},
	} {
		if err := f.SetView(w); err == nil {
			t.Errorf("%+v was taken", w)
		}
	}
	if err := f.SetView(View{Lags: []uint64{5}}); err != nil {
		t.Error(err)
	}
}

// A closed front is gone, and the numbers of the others stay.
func TestFrontCloses(t *testing.T) {
	n := cleanNode(t, 4)
	gone, err := n.Front(FrontConfig{View: View{Frozen: true}})
	if err != nil {
		t.Fatal(err)
	}
	stays, c := front(t, n)
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	if g := (&client{t, gone.URL()}).call("getSlot"); g.err == nil {
		t.Errorf("it still answers: %+v", g)
	}
	if _, err := n.Apply(Command{Do: "fault", Front: gone.index, Fault: &Fault{Answer: TooMany}}); err == nil {
		t.Error("a closed front took a fault")
	}
	if _, err := n.Apply(Command{Do: "fault", Front: stays.index, Fault: &Fault{Answer: TooMany}}); err != nil {
		t.Error(err)
	}
	if g := c.call("getSlot"); g.status != 429 {
		t.Errorf("got %+v", g)
	}
	if err := n.own().Close(); err == nil {
		t.Error("the node's own front was closed")
	}
	if len(n.bank.pins) != 0 {
		t.Error("a closed front still holds old states")
	}
}

package localnet

import (
	"encoding/json"
	"testing"

	"github.com/gagliardetto/solana-go"
)

func TestFrontWithoutHistory(t *testing.T) {
	n := cleanNode(t, 2)
	f, c := front(t, n)
	tx := payment(t, n)
	send(t, n, tx)
	n.Advance(4)
	sig := tx.Signatures[0]
	status := func(search bool) (g got, known bool) {
		g = c.call("getSignatureStatuses", []any{sig}, map[string]any{"searchTransactionHistory": search})
		var v struct{ Value []json.RawMessage }
		json.Unmarshal(g.result, &v)
		return g, len(v.Value) == 1 && string(v.Value[0]) != "null"
	}
	if err := f.SetView(View{StatusSlots: new(uint64)}); err != nil {
		t.Fatal(err)
	}
	if _, known := status(false); known {
		t.Error("status without search: found")
	}
	if _, known := status(true); !known {
		t.Error("status with search: not found")
	}
	if err := f.SetView(View{NoHistory: true}); err != nil {
		t.Fatal(err)
	}
	if _, known := status(false); !known {
		t.Error("status from the cache: not found")
	}
	for _, call := range []got{
		first(status(true)), c.call("getTransaction", sig, at("confirmed")), c.call("getSignaturesForAddress", tx.Message.AccountKeys[0]),
		c.call("getBlock", n.Slot()-2, at("confirmed")), c.call("getBlockTime", n.Slot()-2),
	} {
		if call.fault == nil || call.fault.Code != codeNoHistory {
			t.Errorf("got %+v, want %d", call, codeNoHistory)
		}
	}
}

func TestPrunedHistory(t *testing.T) {
	n := cleanNode(t, 2)
	f, c := front(t, n)
	payer := funded(t, n)
	var txs []*solana.Transaction
	for i := range uint64(3) {
		txs = append(txs, build(t, n, []solana.PrivateKey{payer}, []solana.Instruction{transfer(1_000_000+i, payer.PublicKey(), solana.PublicKey{9})}))
		send(t, n, txs[i])
		n.Advance(4)
	}
	cut, _ := landed(n, txs[1])
	if err := f.SetView(View{HistoryFrom: cut}); err != nil {
		t.Fatal(err)
	}
	if got := number(t, c.call("getFirstAvailableBlock"), ""); got != cut {
		t.Errorf("first block: got %d, want %d", got, cut)
	}
	var list []struct{ Signature solana.Signature }
	json.Unmarshal(c.call("getSignaturesForAddress", payer.PublicKey()).result, &list)
	if len(list) != 2 || list[1].Signature != txs[1].Signatures[0] {
		t.Errorf("history: got %v", list)
	}
	if g := c.call("getTransaction", txs[0].Signatures[0], at("confirmed")); string(g.result) != "null" {
		t.Errorf("a pruned transaction: got %+v", g)
	}
	if g := c.call("getBlock", cut-1, at("confirmed")); g.fault == nil || g.fault.Code != codeCleanedUp {
		t.Errorf("a pruned block: got %+v", g)
	}
}

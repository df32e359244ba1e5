package localnet

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/gagliardetto/solana-go"
)

// TestSendFaults: what the sender hears, and what became of the transaction.
func TestSendFaults(t *testing.T) {
	n := cleanNode(t, 32)
	const gone = 0
	for _, c := range []struct {
		name   string
		fault  Fault
		heard  func(g got, tx *solana.Transaction) bool
		after  uint64 // slots in which it must not be there yet
		lands  bool
		failed bool
	}{
		{"accepted and dropped", Fault{Do: Drop}, accepted, 0, false, false},
		{"the answer is lost, it landed", Fault{Answer: Lost}, unheard, 0, true, false},
		{"the call hangs, it landed", Fault{Do: Run, Answer: Status, Status: 504}, func(g got, _ *solana.Transaction) bool { return g.status == 504 }, 0, true, false},
		{"refused, it never ran", Fault{Answer: TooMany}, func(g got, _ *solana.Transaction) bool { return g.status == 429 }, 0, false, false},
		{"refused, yet it landed", Fault{Do: Run, Answer: TooMany}, func(g got, _ *solana.Transaction) bool { return g.status == 429 }, 0, true, false},
		{"held for five slots", Fault{Do: Hold, After: 5}, accepted, 5, true, false},
		{"unheard and held for five slots", Fault{Do: Hold, After: 5, Answer: Lost}, unheard, 5, true, false},
		{"held until its last valid block", Fault{Do: HoldLast, Answer: Lost}, unheard, maxAge, true, false},
		{"held for too long", Fault{Do: Hold, After: maxAge + 2}, accepted, maxAge + 2, false, false},
		{"passes simulation and fails", Fault{Do: Fail, Error: InstructionFailure(0, 17)}, accepted, 0, true, true},
		{"held and fails", Fault{Do: Hold, After: 2, Error: InstructionFailure(0, 17)}, accepted, 2, true, true},
		{"blockhash not found", Fault{Do: Stale}, refused("BlockhashNotFound"), 0, false, false},
		{"fee payer short", Fault{Do: Broke}, refused("InsufficientFundsForFee"), 0, false, false},
		{"sent twice", Fault{Do: Twice}, refused("AlreadyProcessed"), 0, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.fault.Count, c.fault.Methods = 1, []string{"sendTransaction"}
			_, client := front(t, n, c.fault)
			tx := payment(t, n)
			if g := client.send(tx); !c.heard(g, tx) {
				t.Errorf("heard %+v", g)
			}
			for i := range c.after {
				if slot, _ := landed(n, tx); slot != gone {
					t.Fatalf("landed %d slots early", c.after-i)
				}
				n.Advance(1)
			}
			slot, failure := landed(n, tx)
			if (slot != gone) != c.lands || (failure != nil) != c.failed {
				t.Errorf("landed in slot %d, failure %v", slot, failure)
			}
			if c.failed && string(encode(failure)) != `{"InstructionError":[0,{"Custom":17}]}`+"\n" {
				t.Errorf("failed with %s", encode(failure))
			}
		})
	}
}

func accepted(g got, tx *solana.Transaction) bool {
	return g.fault == nil && string(g.result) == `"`+tx.Signatures[0].String()+`"`
}

func unheard(g got, _ *solana.Transaction) bool { return errors.Is(g.err, io.EOF) }

func refused(reason string) func(got, *solana.Transaction) bool {
	return func(g got, _ *solana.Transaction) bool {
		return g.fault != nil && g.fault.Code == codePreflight && bytes.Contains(encode(g.fault.Data), []byte(`"err":"`+reason+`"`))
	}
}

// A held transaction's last valid block is really the last: one block later the chain
// takes it no more, and that block's height is past what lastValidBlockHeight said.
func TestLastValidBlockIsTheLast(t *testing.T) {
	n := cleanNode(t, 32)
	_, client := front(t, n, Fault{Do: HoldLast, Count: 1, Methods: []string{"sendTransaction"}})
	var latest struct {
		Value struct{ LastValidBlockHeight uint64 }
	}
	held, late := payment(t, n), payment(t, n)
	ask(t, n, &latest, "getLatestBlockhash", map[string]any{"commitment": "processed"})
	client.send(held)
	for slot, _ := landed(n, held); slot == 0; slot, _ = landed(n, held) {
		n.Advance(1)
	}
	var height uint64
	ask(t, n, &height, "getBlockHeight", map[string]any{"commitment": "processed"})
	if height != latest.Value.LastValidBlockHeight+1 {
		t.Errorf("landed at height %d, last valid height %d", height, latest.Value.LastValidBlockHeight)
	}
	n.Advance(1)
	if g := client.send(late); !refused("BlockhashNotFound")(g, late) {
		t.Errorf("one block later: got %+v", g)
	}
}

// Sending again what is held changes nothing.
func TestHeldOnceHowOftenSent(t *testing.T) {
	n := cleanNode(t, 32)
	f, client := front(t, n, Fault{Do: Hold, After: 3, Methods: []string{"sendTransaction"}})
	tx := payment(t, n)
	for range 3 {
		client.send(tx)
		n.Advance(1)
	}
	slot, _ := landed(n, tx)
	if slot != n.Slot() {
		t.Errorf("landed in slot %d, want %d", slot, n.Slot())
	}
	if held := n.State().Held; len(held) != 0 {
		t.Errorf("still held: %+v", held)
	}
	f.Heal()
}

func TestReleaseLandsWhatIsHeld(t *testing.T) {
	n := cleanNode(t, 32)
	_, client := front(t, n, Fault{Do: Hold, After: 50, Methods: []string{"sendTransaction"}})
	tx := payment(t, n)
	client.send(tx)
	if held := n.State().Held; len(held) != 1 || held[0].Signature != tx.Signatures[0] {
		t.Errorf("held: got %+v", held)
	}
	if err := n.Release(); err != nil {
		t.Fatal(err)
	}
	if slot, _ := landed(n, tx); slot != n.Slot() {
		t.Errorf("landed in slot %d, want %d", slot, n.Slot())
	}
}

// A forced failure charges the fee and nothing else.
func TestForcedFailureCostsTheFee(t *testing.T) {
	n := cleanNode(t, 32)
	_, client := front(t, n, Fault{Do: Fail})
	payer, to := funded(t, n), newKey(t).PublicKey()
	tx := build(t, n, []solana.PrivateKey{payer}, []solana.Instruction{transfer(1_000_000, payer.PublicKey(), to)})
	client.send(tx)
	if a, b := lamportsAt(t, n, payer.PublicKey(), "processed"), lamportsAt(t, n, to, "processed"); a != 10*solana.LAMPORTS_PER_SOL-5000 || b != 0 {
		t.Errorf("payer %d, payee %d", a, b)
	}
	if vm, err := n.bank.svm.get(payer.PublicKey()); err != nil || vm.Lamports != 10*solana.LAMPORTS_PER_SOL-5000 {
		t.Errorf("the virtual machine has %+v, %v", vm, err)
	}
	n.Advance(1)
	var shown struct {
		Meta struct{ Err, LogMessages json.RawMessage }
	}
	if err := ask(t, n, &shown, "getTransaction", tx.Signatures[0], map[string]any{"commitment": "confirmed"}); err != nil || !strings.Contains(string(shown.Meta.Err), "InstructionError") {
		t.Errorf("shown: %+v, %v", shown, err)
	}
	if g := client.send(tx); !refused("AlreadyProcessed")(g, tx) {
		t.Errorf("sent again: got %+v", g)
	}
}

// A payer that is short lands nothing, forced failure or not.
func TestShortPayer(t *testing.T) {
	n := cleanNode(t, 32)
	_, client := front(t, n)
	tx := payment(t, n)
	if _, err := n.Apply(Command{Do: "lamports", Key: tx.Message.AccountKeys[0], Lamports: 4_000}); err != nil {
		t.Fatal(err)
	}
	if g := client.send(tx); !refused("InsufficientFundsForFee")(g, tx) {
		t.Errorf("got %+v", g)
	}
	skip := client.call("sendTransaction", tx.MustToBase64(), map[string]any{"encoding": "base64", "skipPreflight": true})
	if slot, _ := landed(n, tx); !accepted(skip, tx) || slot != 0 {
		t.Errorf("without preflight: got %+v, landed in %d", skip, slot)
	}
}

func TestFaultsAreChecked(t *testing.T) {
	f, _ := front(t, sharedNode(t))
	for _, x := range []Fault{
		{Do: "nothing"}, {Answer: "none"}, {Count: -1}, {Skip: -1}, {Percent: 101}, {DelayMS: -1}, {Answer: Status, Status: 99},
		{Do: Skip}, {Do: Skip, Answer: Cut}, {Answer: ErrorAnswer}, {Methods: []string{"getNothing"}},
	} {
		if _, err := f.Inject(x); err == nil {
			t.Errorf("%+v was taken", x)
		}
	}
}

package localnet

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/gagliardetto/solana-go"
)

// FuzzParseTx: what parses is canonical, and every part that execution and display use
// is within bounds.
func FuzzParseTx(f *testing.F) {
	k := newKey(f)
	ix := []solana.Instruction{transfer(1, k.PublicKey(), solana.PublicKey{1})}
	for _, v := range []solana.MessageVersion{solana.MessageVersionLegacy, solana.MessageVersionV0, solana.MessageVersionV1} {
		b, err := buildAt(f, solana.Hash{1}, []solana.PrivateKey{k}, ix, solana.TransactionMessageVersion(v)).MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tx, err := parseTx(b)
		if err != nil {
			return
		}
		again, err := tx.MarshalBinary()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("not canonical: %x, %v", again, err)
		}
		if !bytes.Contains(b, tx.message) || len(tx.message) == 0 {
			t.Fatal("message is no part of the transaction")
		}
		messageFee(&tx.Message)
		unitPrice(&tx.Message)
		memoOf(tx)
		if len(tx.Message.AddressTableLookups) > 0 {
			return // shown only once resolved
		}
		encode(showMessage(tx))
		encode(parseMessageFor(tx))
		tx.verify()
	})
}

// FuzzParseInstruction: any data and any number of accounts.
func FuzzParseInstruction(f *testing.F) {
	f.Add(byte(0), byte(3), []byte{2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0})
	f.Add(byte(1), byte(3), []byte{12, 1, 0, 0, 0, 0, 0, 0, 0, 8})
	f.Add(byte(2), byte(6), []byte{1})
	programs := []solana.PublicKey{solana.SystemProgramID, solana.TokenProgramID, solana.SPLAssociatedTokenAccountProgramID, memoV3}
	f.Fuzz(func(t *testing.T, program, accounts byte, data []byte) {
		keys := make([]solana.PublicKey, accounts)
		name, shown, ok := parseInstruction(programs[int(program)%len(programs)], keys, data)
		if ok && (name == "" || !json.Valid(encode(shown))) {
			t.Errorf("shown as %q %s", name, encode(shown))
		}
	})
}

// FuzzFrame: an answer of the virtual machine, cut or damaged anywhere.
func FuzzFrame(f *testing.F) {
	key := solana.PublicKey{1}
	f.Add(append(append([]byte{1, 0, 0, 0}, key[:]...), appendAccount(nil, &Account{Lamports: 1, Data: []byte{1, 2}})...))
	f.Fuzz(func(t *testing.T, b []byte) {
		found, err := (&frame{b: b}).accounts()
		if err == nil && len(b) >= 4 && len(found) > len(b) {
			t.Errorf("%d accounts in %d bytes", len(found), len(b))
		}
	})
}

// FuzzAnswer: any request body has an answer that is JSON, and the node lives on.
func FuzzAnswer(f *testing.F) {
	n := sharedNode(f)
	for m := range methods {
		f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"` + m + `","params":["11111111111111111111111111111111",{"commitment":"confirmed"}]}`))
		f.Add([]byte(`[{"jsonrpc":"2.0","id":1,"method":"` + m + `","params":[5,{"encoding":"jsonParsed"}]}]`))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if a := n.own().answer(body, n.own().call); a != nil && !json.Valid(a) {
			t.Errorf("answer is not JSON: %s", a)
		}
	})
}

// FuzzParseCommand: what parses is written and read again as the same command, and a
// step that has it is one command too.
func FuzzParseCommand(f *testing.F) {
	for _, s := range []string{
		`{"do":"pause"}`, `{"do":"advance","slots":5}`, `{"do":"fork","fork":{"slots":2,"then":"turned","error":{"InstructionError":[0,{"Custom":6}]}}}`,
		`{"do":"fault","front":-1,"fault":{"methods":["sendTransaction"],"do":"hold","after":4,"error":"AccountInUse","answer":"lost"}}`,
		`{"do":"view","view":{"lags":[1,2],"frozen":false,"lies":{"accounts":{"11111111111111111111111111111111":{"lamports":1,"data":"AQ=="}}}}}`,
		`{"do":"script","script":[{"at_slot":9,"command":{"do":"heal","front":1}}]}`, `{"do":"chaos","chaos":{"seed":18446744073709551615}}`, `{"do":"script","script":[]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCommand(b)
		if err != nil {
			return
		}
		written := encode(c)
		again, err := ParseCommand(written)
		if err != nil {
			t.Fatalf("%s, written as %s: %v", b, written, err)
		}
		if !bytes.Equal(encode(again), written) {
			t.Fatalf("got %s, want %s", encode(again), written)
		}
		if steps, err := ParseScript([]byte(`[{"after_ms":1,"command":` + string(written) + `}]`)); err == nil && (len(steps) != 1 || steps[0].Command.Do != c.Do) {
			t.Fatalf("as a step: %+v", steps)
		}
	})
}

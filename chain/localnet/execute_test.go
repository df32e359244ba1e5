package localnet

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/system"
	"github.com/gagliardetto/solana-go/programs/token"
)

func unitPriceIx(micro uint64) solana.Instruction {
	return solana.NewInstruction(solana.ComputeBudget, nil, binary.LittleEndian.AppendUint64([]byte{3}, micro))
}

func memoIx(text string, signer solana.PublicKey) solana.Instruction {
	return solana.NewInstruction(memoV3, solana.AccountMetaSlice{solana.Meta(signer).SIGNER()}, []byte(text))
}

// newMint makes a mint of 8 decimals, a token account for its authority and supply in it.
func newMint(t testing.TB, n *Node, authority solana.PrivateKey, supply uint64) (mint, account solana.PublicKey) {
	t.Helper()
	m, a := newKey(t), newKey(t)
	owner := authority.PublicKey()
	rent := func(size uint64) uint64 { return (size + rentOverhead) * n.bank.rentPerByte }
	send(t, n, build(t, n, []solana.PrivateKey{authority, m, a}, []solana.Instruction{
		system.NewCreateAccountInstruction(rent(mintSize), mintSize, solana.TokenProgramID, owner, m.PublicKey()).Build(),
		token.NewInitializeMint2Instruction(8, owner, owner, m.PublicKey()).Build(),
		system.NewCreateAccountInstruction(rent(tokenAccountSize), tokenAccountSize, solana.TokenProgramID, owner, a.PublicKey()).Build(),
		token.NewInitializeAccount3Instruction(owner, a.PublicKey(), m.PublicKey()).Build(),
		token.NewMintToInstruction(supply, m.PublicKey(), a.PublicKey(), owner, nil).Build(),
	}))
	return m.PublicKey(), a.PublicKey()
}

func TestFeeIsWhatTheRuntimeCharges(t *testing.T) {
	n := sharedNode(t)
	payer, to := funded(t, n), newKey(t).PublicKey()
	from := payer.PublicKey()
	move := transfer(1_000_000, from, to)
	cases := []struct {
		name string
		ixs  []solana.Instruction
		opts []solana.TransactionOption
		want uint64
	}{
		{"plain", []solana.Instruction{move}, nil, 5000},
		{"price and limit", []solana.Instruction{unitLimit(1001), unitPriceIx(1_500_000), move}, nil, 5000 + 1502},
		{"price without limit, builtins", []solana.Instruction{unitPriceIx(1_000_000), move}, nil, 5000 + 6000},
		{"price without limit, a program", []solana.Instruction{unitPriceIx(1_000_000), memoIx("x", from)}, nil, 5000 + 203_000},
		{"v0", []solana.Instruction{unitLimit(1000), unitPriceIx(3_000_000), move},
			[]solana.TransactionOption{solana.TransactionMessageVersion(solana.MessageVersionV0)}, 5000 + 3000},
		{"v1", []solana.Instruction{move}, []solana.TransactionOption{
			solana.TransactionMessageVersion(solana.MessageVersionV1),
			solana.TransactionV1Config(solana.TransactionConfig{}.WithComputeUnitLimit(1000).WithLoadedAccountsDataSizeLimit(1 << 16).WithPriorityFee(77)),
		}, 5077},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tx := build(t, n, []solana.PrivateKey{payer}, c.ixs, c.opts...)
			r := send(t, n, tx)
			if r.err != nil || r.fee != c.want {
				t.Errorf("charged: got %d, err %v, logs %v, want %d", r.fee, r.err, r.Logs, c.want)
			}
			if got := messageFee(&tx.Message); got != c.want {
				t.Errorf("foretold: got %d, want %d", got, c.want)
			}
			var answer struct{ Value uint64 }
			if err := ask(t, n, &answer, "getFeeForMessage", tx.Message.ToBase64(), map[string]any{"commitment": "processed"}); err != nil || answer.Value != c.want {
				t.Errorf("getFeeForMessage: got %d, %v, want %d", answer.Value, err, c.want)
			}
		})
	}
}

func TestV1ConfigLimits(t *testing.T) {
	n := sharedNode(t)
	payer, to := funded(t, n), newKey(t).PublicKey()
	v1 := solana.TransactionMessageVersion(solana.MessageVersionV1)
	full := solana.TransactionConfig{}.WithComputeUnitLimit(100_000).WithLoadedAccountsDataSizeLimit(1 << 20)
	cases := []struct {
		name   string
		config solana.TransactionConfig
		want   string
	}{
		{"enough", full, ``},
		{"no unit limit means none", solana.TransactionConfig{}.WithLoadedAccountsDataSizeLimit(1 << 20), `{"InstructionError":[0,"ComputationalBudgetExceeded"]}`},
		{"too few units", full.WithComputeUnitLimit(100), `{"InstructionError":[0,"ComputationalBudgetExceeded"]}`},
		{"no loaded data limit means none", solana.TransactionConfig{}.WithComputeUnitLimit(100_000), `"MaxLoadedAccountsDataSizeExceeded"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tx := build(t, n, []solana.PrivateKey{payer}, []solana.Instruction{transfer(1_000_000, payer.PublicKey(), to)}, v1, solana.TransactionV1Config(c.config))
			err := ask(t, n, nil, "sendTransaction", tx.MustToBase64(), map[string]any{"encoding": "base64", "preflightCommitment": "processed"})
			got := ""
			if err != nil {
				b, e := json.Marshal(err.Data.(map[string]any)["err"])
				if e != nil || err.Code != codePreflight {
					t.Fatalf("got %+v", err)
				}
				got = string(b)
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestFailedTransactionIsRecordedAndPays(t *testing.T) {
	n := sharedNode(t)
	payer := funded(t, n)
	tx := build(t, n, []solana.PrivateKey{payer}, []solana.Instruction{transfer(100*solana.LAMPORTS_PER_SOL, payer.PublicKey(), newKey(t).PublicKey())})
	err := ask(t, n, nil, "sendTransaction", tx.MustToBase64(), map[string]any{"encoding": "base64", "preflightCommitment": "processed"})
	if err == nil || err.Code != codePreflight || !strings.HasPrefix(err.Message, "Transaction simulation failed: Error processing Instruction 0: custom program error: 0x1") {
		t.Fatalf("preflight: got %+v", err)
	}
	data := err.Data.(map[string]any)
	if got := fmt.Sprint(data["err"]); got != "map[InstructionError:[0 map[Custom:1]]]" || data["unitsConsumed"].(float64) < 150 || len(data["logs"].([]any)) < 3 {
		t.Errorf("preflight data: got %v", data)
	}
	var sig string
	if err := ask(t, n, &sig, "sendTransaction", tx.MustToBase64(), map[string]any{"encoding": "base64", "skipPreflight": true}); err != nil {
		t.Fatal(err)
	}
	var status struct {
		Value []struct {
			Err                json.RawMessage
			ConfirmationStatus string
		}
	}
	if err := ask(t, n, &status, "getSignatureStatuses", []string{sig}); err != nil {
		t.Fatal(err)
	}
	if got := string(status.Value[0].Err); got != `{"InstructionError":[0,{"Custom":1}]}` || status.Value[0].ConfirmationStatus != "processed" {
		t.Errorf("status: got %s", got)
	}
	var balance struct{ Value uint64 }
	ask(t, n, &balance, "getBalance", payer.PublicKey(), map[string]any{"commitment": "processed"})
	if balance.Value != 10*solana.LAMPORTS_PER_SOL-5000 {
		t.Errorf("payer holds %d, want the fee gone", balance.Value)
	}
}

func TestWhatCannotLandLeavesNoTrace(t *testing.T) {
	n := sharedNode(t)
	payer, poor, to := funded(t, n), newKey(t), newKey(t).PublicKey()
	good := build(t, n, []solana.PrivateKey{payer}, []solana.Instruction{transfer(1_000_000, payer.PublicKey(), to)})
	send(t, n, good)
	forged := *good
	forged.Signatures = []solana.Signature{{1}}
	cases := []struct {
		name string
		tx   *solana.Transaction
		code int
		want string // data.err, or the message
	}{
		{"unknown blockhash", buildAt(t, solana.Hash{9}, []solana.PrivateKey{payer}, []solana.Instruction{transfer(1, payer.PublicKey(), to)}), codePreflight, "BlockhashNotFound"},
		{"payer unknown", build(t, n, []solana.PrivateKey{poor}, []solana.Instruction{transfer(1, poor.PublicKey(), to)}), codePreflight, "AccountNotFound"},
		{"duplicate", good, codePreflight, "AlreadyProcessed"},
		{"bad signature", &forged, codeSignature, "Transaction signature verification failure"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			before := n.bank.history.count
			err := ask(t, n, nil, "sendTransaction", c.tx.MustToBase64(), map[string]any{"encoding": "base64", "preflightCommitment": "processed"})
			if err == nil || err.Code != c.code {
				t.Fatalf("got %+v, want code %d", err, c.code)
			}
			got := err.Message
			if c.code == codePreflight {
				got = fmt.Sprint(err.Data.(map[string]any)["err"])
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			var sig solana.Signature
			if err := ask(t, n, &sig, "sendTransaction", c.tx.MustToBase64(), map[string]any{"encoding": "base64", "skipPreflight": true}); err != nil || sig != c.tx.Signatures[0] {
				t.Errorf("without preflight: got %s, %v, want its signature", sig, err)
			}
			if n.bank.history.count != before {
				t.Error("it left a trace")
			}
		})
	}
}

// A wallet can sign one message twice; the second signature is a duplicate too.
func TestDuplicatesAreToldByMessage(t *testing.T) {
	n := sharedNode(t)
	a, b := funded(t, n), funded(t, n)
	hash, _ := n.bank.hashFor(n.bank.open())
	ixs := []solana.Instruction{transfer(1_000_000, a.PublicKey(), b.PublicKey()), transfer(1_000_001, b.PublicKey(), a.PublicKey())}
	tx := buildAt(t, hash, []solana.PrivateKey{a, b}, ixs)
	send(t, n, tx)
	raw, err := tx.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	w, err := parseTx(raw)
	if err != nil {
		t.Fatal(err)
	}
	w.Signatures[0] = solana.Signature{1, 2, 3}
	if got := n.bank.admit(w, n.bank.open()); got != errAlreadyProcessed {
		t.Errorf("same message, other signature: got %v, want AlreadyProcessed", got)
	}
}

func TestBlockhashLivesFor150Blocks(t *testing.T) {
	n := ownNode(t, Config{SlotTime: -1, FinalityDepth: 4})
	payer := funded(t, n)
	var latest struct {
		Value struct {
			Blockhash            solana.Hash
			LastValidBlockHeight uint64
		}
	}
	if err := n.Advance(1); err != nil {
		t.Fatal(err)
	}
	if err := ask(t, n, &latest, "getLatestBlockhash", map[string]any{"commitment": "confirmed"}); err != nil {
		t.Fatal(err)
	}
	send1 := func(lamports uint64) string {
		tx := buildAt(t, latest.Value.Blockhash, []solana.PrivateKey{payer}, []solana.Instruction{transfer(lamports, payer.PublicKey(), payer.PublicKey())})
		err := ask(t, n, nil, "sendTransaction", tx.MustToBase64(), map[string]any{"encoding": "base64", "preflightCommitment": "processed"})
		if err == nil {
			return ""
		}
		return fmt.Sprint(err.Data.(map[string]any)["err"])
	}
	height := func() (h uint64) {
		ask(t, n, &h, "getBlockHeight", map[string]any{"commitment": "processed"})
		return h
	}
	for height() < latest.Value.LastValidBlockHeight {
		if err := n.Advance(1); err != nil {
			t.Fatal(err)
		}
	}
	if got := send1(1); got != "" {
		t.Errorf("in its last block: got %s", got)
	}
	n.Advance(1) // a validator accepts it once more: the 151st newest hash
	if got := send1(2); got != "" {
		t.Errorf("one block later: got %s", got)
	}
	n.Advance(1)
	if got := send1(3); got != "BlockhashNotFound" {
		t.Errorf("two blocks later: got %q, want BlockhashNotFound", got)
	}
}

// A transaction passes with the limit that its simulation says was loaded: clients put
// one into the other. It is the smallest such limit, but for upgradeable programs, whose
// code a validator counts and LiteSVM does not.
func TestLoadedSizeIsALimitThatPasses(t *testing.T) {
	n := sharedNode(t)
	payer := funded(t, n)
	mint, account := newMint(t, n, payer, 1000)
	for name, ix := range map[string]solana.Instruction{
		"system":    transfer(1_000_000, payer.PublicKey(), newKey(t).PublicKey()),
		"token":     token.NewTransferCheckedInstruction(1, 8, account, mint, account, payer.PublicKey(), nil).Build(),
		"memo":      memoIx("x", payer.PublicKey()),
		"no effect": transfer(0, payer.PublicKey(), payer.PublicKey()),
	} {
		simulate := func(limit uint32) (size uint32, failure string) {
			tx := build(t, n, []solana.PrivateKey{payer}, []solana.Instruction{ix}, solana.TransactionMessageVersion(solana.MessageVersionV1),
				solana.TransactionV1Config(solana.TransactionConfig{}.WithComputeUnitLimit(50_000).WithLoadedAccountsDataSizeLimit(limit)))
			var r struct {
				Value struct {
					Err  json.RawMessage
					Size uint32 `json:"loadedAccountsDataSize"`
				}
			}
			if err := ask(t, n, &r, "simulateTransaction", tx.MustToBase64(), map[string]any{"encoding": "base64", "commitment": "processed"}); err != nil {
				t.Fatal(err)
			}
			return r.Value.Size, string(r.Value.Err)
		}
		size, failure := simulate(10 << 20)
		if failure != "null" {
			t.Fatalf("%s: %s", name, failure)
		}
		if _, failure := simulate(size); failure != "null" {
			t.Errorf("%s: with its own size %d: %s", name, size, failure)
		}
		if name == "token" {
			if size < 100_000 {
				t.Errorf("token: %d does not count the program's code", size)
			}
		} else if _, failure := simulate(size - 1); failure != `"MaxLoadedAccountsDataSizeExceeded"` {
			t.Errorf("%s: with one byte less than %d: %s", name, size, failure)
		}
	}
}

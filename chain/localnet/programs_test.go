package localnet

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/token"
)

// tokenData is a token account's data as InitializeAccount3 leaves it.
func tokenData(mint, owner solana.PublicKey) []byte {
	d := make([]byte, tokenAccountSize)
	copy(d, mint[:])
	copy(d[32:], owner[:])
	d[108] = 1
	return d
}

// The token program is p-token: one v1 transaction holds an authority step, 57 payees
// and a memo, for a few thousand compute units and two signatures.
func TestV1PayoutOf57(t *testing.T) {
	n := sharedNode(t)
	money, lane, next := funded(t, n), newKey(t), newKey(t).PublicKey()
	mint, vault := newMint(t, n, money, 1_000_000)
	laneMint, _ := newMint(t, n, money, 0)
	send(t, n, build(t, n, []solana.PrivateKey{money}, []solana.Instruction{
		token.NewSetAuthorityInstruction(token.AuthorityMintTokens, lane.PublicKey(), laneMint, money.PublicKey(), nil).Build(),
	}))
	step := func(from solana.PrivateKey, to solana.PublicKey) solana.Instruction {
		return token.NewSetAuthorityInstruction(token.AuthorityMintTokens, to, laneMint, from.PublicKey(), nil).Build()
	}
	ixs := []solana.Instruction{step(lane, next)}
	for range 57 {
		payee := newKey(t).PublicKey()
		if err := n.SetAccount(payee, Account{Lamports: (tokenAccountSize + rentOverhead) * DefaultLamportsPerByte, Owner: solana.TokenProgramID, Data: tokenData(mint, payee)}); err != nil {
			t.Fatal(err)
		}
		ixs = append(ixs, token.NewTransferCheckedInstruction(7, 8, vault, mint, payee, money.PublicKey(), nil).Build())
	}
	ixs = append(ixs, solana.NewInstruction(memoV3, nil, []byte(strings.Repeat("m", 44))))
	v1 := []solana.TransactionOption{
		solana.TransactionMessageVersion(solana.MessageVersionV1),
		solana.TransactionV1Config(solana.TransactionConfig{}.WithComputeUnitLimit(20_000).WithLoadedAccountsDataSizeLimit(2 << 20)),
	}
	r := send(t, n, build(t, n, []solana.PrivateKey{money, lane}, ixs, v1...))
	if r.err != nil || r.fee != 10_000 || r.Units > 8_000 || len(r.tx.raw) > maxSizeV1 {
		t.Fatalf("got err %v, fee %d, %d units, %d bytes, logs %v", r.err, r.fee, r.Units, len(r.tx.raw), r.Logs)
	}
	if len(r.postTok) != 58 {
		t.Errorf("got %d token balances, want the vault's and 57", len(r.postTok))
	}
	var left struct{ Value struct{ Amount string } }
	if err := ask(t, n, &left, "getTokenAccountBalance", vault, map[string]any{"commitment": "processed"}); err != nil || left.Value.Amount != "999601" {
		t.Errorf("vault: got %s, %v", left.Value.Amount, err)
	}
	// Another transaction for the same position fails at its first instruction.
	loser := build(t, n, []solana.PrivateKey{money, lane}, append([]solana.Instruction{step(lane, newKey(t).PublicKey())}, ixs[1:3]...), v1...)
	if err := ask(t, n, nil, "sendTransaction", loser.MustToBase64(), map[string]any{"encoding": "base64", "skipPreflight": true}); err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(n.bank.history.byID[loser.Signatures[0]].err)
	if err != nil || string(got) != `{"InstructionError":[0,{"Custom":4}]}` {
		t.Errorf("loser: got %s, %v", got, err)
	}
}

// Every program that the README names is there and executable; so is the native mint.
func TestPrograms(t *testing.T) {
	n := sharedNode(t)
	for _, k := range []solana.PublicKey{
		solana.SystemProgramID, solana.TokenProgramID, solana.Token2022ProgramID, solana.SPLAssociatedTokenAccountProgramID,
		memoV1, memoV3, solana.AddressLookupTableProgramID, solana.ComputeBudget,
	} {
		if a := n.bank.accounts.now[k]; a == nil || !a.Executable {
			t.Errorf("program %s: got %+v", k, a)
		}
	}
	if m, ok := readMint(n.bank.accounts.now[solana.WrappedSol]); !ok || m.decimals != 9 {
		t.Errorf("native mint: got %+v %v", m, ok)
	}
}

// The child installs on every platform that LiteSVM is built for.
func TestLockNamesEveryPlatform(t *testing.T) {
	b, err := os.ReadFile("svm/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	var lock struct {
		Packages map[string]struct {
			Version  string
			Optional map[string]string `json:"optionalDependencies"`
		}
	}
	if err := json.Unmarshal(b, &lock); err != nil {
		t.Fatal(err)
	}
	platforms := lock.Packages["node_modules/litesvm"].Optional
	if len(platforms) != 6 {
		t.Errorf("litesvm has %d platforms, want 6", len(platforms))
	}
	for name, version := range platforms {
		if got := lock.Packages["node_modules/"+name].Version; got != version {
			t.Errorf("%s: got version %q, want %s", name, got, version)
		}
	}
}

package localnet

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gagliardetto/solana-go"
	ata "github.com/gagliardetto/solana-go/programs/associated-token-account"
	"github.com/gagliardetto/solana-go/programs/system"
	"github.com/gagliardetto/solana-go/programs/token"
)

// key names: k(1) is "1"+..., so that the expected JSON can be written by hand.
func k(n byte) solana.PublicKey { return solana.PublicKey{31: n} }

// names replaces the addresses k(n) by <n> in JSON.
func names(s string) string {
	for n := byte(1); n < 20; n++ {
		s = strings.ReplaceAll(s, `"`+k(n).String()+`"`, "<"+string('a'+rune(n)-1)+">")
	}
	return s
}

func TestParseInstruction(t *testing.T) {
	a, b, c, d := k(1), k(2), k(3), k(4)
	for _, e := range []struct {
		ix   solana.Instruction
		want string
	}{
		{system.NewCreateAccountInstruction(7, 82, c, a, b).Build(), `{"info":{"lamports":7,"newAccount":<b>,"owner":<c>,"source":<a>,"space":82},"type":"createAccount"}`},
		{system.NewTransferInstruction(9, a, b).Build(), `{"info":{"destination":<b>,"lamports":9,"source":<a>},"type":"transfer"}`},
		{system.NewAssignInstruction(b, a).Build(), `{"info":{"account":<a>,"owner":<b>},"type":"assign"}`},
		{system.NewAllocateInstruction(82, a).Build(), `{"info":{"account":<a>,"space":82},"type":"allocate"}`},
		{system.NewAllocateWithSeedInstruction(b, "lane", 82, c, a, b).Build(), `{"info":{"account":<a>,"base":<b>,"owner":<c>,"seed":"lane","space":82},"type":"allocateWithSeed"}`},
		{system.NewAssignWithSeedInstruction(b, "lane", c, a, b).Build(), `{"info":{"account":<a>,"base":<b>,"owner":<c>,"seed":"lane"},"type":"assignWithSeed"}`},
		{system.NewCreateAccountWithSeedInstruction(b, "s", 5, 6, d, a, c, b).Build(), `{"info":{"base":<b>,"lamports":5,"newAccount":<c>,"owner":<d>,"seed":"s","source":<a>,"space":6},"type":"createAccountWithSeed"}`},
		{token.NewInitializeMint2Instruction(8, b, c, a).Build(), `{"info":{"decimals":8,"freezeAuthority":<c>,"mint":<a>,"mintAuthority":<b>},"type":"initializeMint2"}`},
		{token.NewInitializeAccount3Instruction(c, a, b).Build(), `{"info":{"account":<a>,"mint":<b>,"owner":<c>},"type":"initializeAccount3"}`},
		{token.NewSetAuthorityInstruction(token.AuthorityMintTokens, b, a, c, nil).Build(), `{"info":{"authority":<c>,"authorityType":"mintTokens","mint":<a>,"newAuthority":<b>},"type":"setAuthority"}`},
		{token.NewMintToInstruction(11, a, b, c, nil).Build(), `{"info":{"account":<b>,"amount":"11","mint":<a>,"mintAuthority":<c>},"type":"mintTo"}`},
		{token.NewMintToCheckedInstruction(1_50000000, 8, a, b, c, nil).Build(), `{"info":{"account":<b>,"mint":<a>,"mintAuthority":<c>,"tokenAmount":{"amount":"150000000","decimals":8,"uiAmount":1.5,"uiAmountString":"1.5"}},"type":"mintToChecked"}`},
		{token.NewTransferInstruction(11, a, b, c, nil).Build(), `{"info":{"amount":"11","authority":<c>,"destination":<b>,"source":<a>},"type":"transfer"}`},
		{token.NewTransferCheckedInstruction(1, 0, a, b, c, d, []solana.PublicKey{k(5), k(6)}).Build(), `{"info":{"destination":<c>,"mint":<b>,"multisigAuthority":<d>,"signers":[<e>,<f>],"source":<a>,"tokenAmount":{"amount":"1","decimals":0,"uiAmount":1,"uiAmountString":"1"}},"type":"transferChecked"}`},
		{token.NewApproveInstruction(3, a, b, c, nil).Build(), `{"info":{"amount":"3","delegate":<b>,"owner":<c>,"source":<a>},"type":"approve"}`},
		{token.NewRevokeInstruction(a, b, nil).Build(), `{"info":{"owner":<b>,"source":<a>},"type":"revoke"}`},
		{token.NewBurnInstruction(3, a, b, c, nil).Build(), `{"info":{"account":<a>,"amount":"3","authority":<c>,"mint":<b>},"type":"burn"}`},
		{token.NewCloseAccountInstruction(a, b, c, nil).Build(), `{"info":{"account":<a>,"destination":<b>,"owner":<c>},"type":"closeAccount"}`},
		{token.NewFreezeAccountInstruction(a, b, c, nil).Build(), `{"info":{"account":<a>,"freezeAuthority":<c>,"mint":<b>},"type":"freezeAccount"}`},
		{token.NewSyncNativeInstruction(a).Build(), `{"info":{"account":<a>},"type":"syncNative"}`},
		{token.NewInitializeMultisig2Instruction(2, a, []solana.PublicKey{b, c}).Build(), `{"info":{"m":2,"multisig":<a>,"signers":[<b>,<c>]},"type":"initializeMultisig2"}`},
		{memoIx("text", a), `"text"`},
	} {
		data, err := e.ix.Data()
		if err != nil {
			t.Fatal(err)
		}
		var keys []solana.PublicKey
		for _, m := range e.ix.Accounts() {
			keys = append(keys, m.PublicKey)
		}
		_, got, ok := parseInstruction(e.ix.ProgramID(), keys, data)
		if s := names(strings.TrimSpace(string(encode(got)))); !ok || s != e.want {
			t.Errorf("got  %s\nwant %s", s, e.want)
		}
		if e.ix.ProgramID() == memoV3 {
			continue
		}
		// Cut short, or without its accounts, it is shown unparsed.
		for i := range len(data) {
			if _, v, ok := parseInstruction(e.ix.ProgramID(), keys, data[:i]); ok {
				t.Errorf("%x cut to %d bytes is shown as %s", data, i, encode(v))
			}
		}
		if _, v, ok := parseInstruction(e.ix.ProgramID(), nil, data); ok {
			t.Errorf("%x without accounts is shown as %s", data, encode(v))
		}
	}
}

func TestParseATA(t *testing.T) {
	ix := ata.NewCreateInstruction(k(1), k(2), k(3)).Build()
	data, err := ix.Data()
	if err != nil {
		t.Fatal(err)
	}
	var keys []solana.PublicKey
	for _, m := range ix.Accounts() {
		keys = append(keys, m.PublicKey)
	}
	name, got, ok := parseInstruction(ix.ProgramID(), keys, data)
	if !ok || name != "spl-associated-token-account" || !strings.Contains(names(string(encode(got))), `"mint":<c>,"source":<a>`) {
		t.Errorf("got %s %s", name, encode(got))
	}
}

func TestUnknownInstructionsAreShownRaw(t *testing.T) {
	for _, c := range []struct {
		program solana.PublicKey
		data    []byte
	}{
		{k(9), []byte{1}},
		{solana.ComputeBudget, []byte{2, 0, 0, 0, 0}},
		{solana.TokenProgramID, []byte{255, 1, 2, 3}}, // batch
		{solana.TokenProgramID, nil},
		{solana.SystemProgramID, []byte{99, 0, 0, 0}},
		{memoV3, []byte{0xff}},
	} {
		if name, v, ok := parseInstruction(c.program, []solana.PublicKey{k(1), k(2), k(3)}, c.data); ok {
			t.Errorf("%x of %s: shown as %s %s", c.data, c.program, name, encode(v))
		}
	}
}

func TestDecimal(t *testing.T) {
	for _, c := range []struct {
		n        uint64
		decimals int
		want     string
	}{
		{0, 0, "0"}, {0, 8, "0"}, {1, 8, "0.00000001"}, {100_000_000, 8, "1"}, {150_000_000, 8, "1.5"},
		{18_446_744_073_709_551_615, 0, "18446744073709551615"}, {18_446_744_073_709_551_615, 20, "0.18446744073709551615"}, {10, 1, "1"},
	} {
		if got := decimal(c.n, c.decimals); got != c.want {
			t.Errorf("%d / 10^%d: got %s, want %s", c.n, c.decimals, got, c.want)
		}
	}
}

func TestTxErrorsReadAsAgaveWritesThem(t *testing.T) {
	for _, c := range []struct{ child, want, text string }{
		{`7`, `"BlockhashNotFound"`, "BlockhashNotFound"},
		{`29`, `"MaxLoadedAccountsDataSizeExceeded"`, "Transaction exceeded max loaded accounts data size cap"},
		{`{"InstructionError":[3,{"Custom":4}]}`, `{"InstructionError":[3,{"Custom":4}]}`, "Error processing Instruction 3: custom program error: 0x4"},
		{`{"InstructionError":[0,7]}`, `{"InstructionError":[0,"MissingRequiredSignature"]}`, "Error processing Instruction 0: missing required signature for instruction"},
		{`{"InstructionError":[0,{"BorshIoError":"x"}]}`, `{"InstructionError":[0,"BorshIoError"]}`, "Error processing Instruction 0: Failed to serialize or deserialize account data"},
		{`{"InsufficientFundsForRent":2}`, `{"InsufficientFundsForRent":{"account_index":2}}`, "Transaction results in an account (2) with insufficient funds for rent"},
		{`{"DuplicateInstruction":1}`, `{"DuplicateInstruction":1}`, "Transaction contains a duplicate instruction (1) that is not allowed"},
		{`null`, `null`, ""},
	} {
		e, err := parseTxError(json.RawMessage(c.child))
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := json.Marshal(e); string(b) != c.want || e != nil && e.text != c.text {
			t.Errorf("%s: got %s %v, want %s %s", c.child, b, e, c.want, c.text)
		}
	}
	for _, bad := range []string{`35`, `-1`, `{}`, `{"InstructionError":[0,53]}`, `"x"`, `{"InstructionError":["a",1]}`} {
		if e, err := parseTxError(json.RawMessage(bad)); err == nil {
			t.Errorf("%s was read as %v", bad, e)
		}
	}
}

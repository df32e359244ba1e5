package localnet

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gagliardetto/solana-go"
)

func TestEnvelope(t *testing.T) {
	n := sharedNode(t)
	for _, c := range []struct{ name, body, want string }{
		{"single", `{"jsonrpc":"2.0","id":1,"method":"getHealth"}`, `{"jsonrpc":"2.0","result":"ok","id":1}`},
		{"id is kept", `{"jsonrpc":"2.0","id":"a\u0020b","method":"getHealth","params":[]}`, `{"jsonrpc":"2.0","result":"ok","id":"a\u0020b"}`},
		{"null id", `{"jsonrpc":"2.0","id":null,"method":"getHealth","params":null}`, `{"jsonrpc":"2.0","result":"ok","id":null}`},
		{"notification", `{"jsonrpc":"2.0","method":"getHealth"}`, ``},
		{"batch", `[{"jsonrpc":"2.0","id":1,"method":"getHealth"},{"jsonrpc":"2.0","method":"getHealth"},{"jsonrpc":"2.0","id":2,"method":"nope"}]`,
			`[{"jsonrpc":"2.0","result":"ok","id":1},{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":2}]`},
		{"empty batch", `[]`, `{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid request"},"id":null}`},
		{"not JSON", `{`, `{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null}`},
		{"no version", `{"id":1,"method":"getHealth"}`, `{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid request"},"id":1}`},
		{"named parameters", `{"jsonrpc":"2.0","id":1,"method":"getSlot","params":{}}`, "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32602,\"message\":\"`params` should be an array\"},\"id\":1}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := strings.TrimSpace(string(n.own().answer([]byte(c.body), n.own().call))); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestBadParameters(t *testing.T) {
	n := sharedNode(t)
	key := newKey(t).PublicKey().String()
	at := func(c string) map[string]any { return map[string]any{"commitment": c} }
	for _, c := range []struct {
		name, method string
		args         []any
		code         int
		message      string
	}{
		{"no address", "getAccountInfo", nil, codeParams, "parameter 0 is missing"},
		{"short address", "getBalance", []any{"abc"}, codeParams, "not an address"},
		{"unknown commitment", "getBalance", []any{key, at("recent")}, codeParams, "unknown commitment"},
		{"unknown encoding", "getAccountInfo", []any{solana.TokenProgramID, map[string]any{"encoding": "hex"}}, codeParams, "unknown encoding"},
		{"too large for base58", "getAccountInfo", []any{solana.SysVarSlotHashesPubkey, map[string]any{"encoding": "base58"}}, codeRequest, "less than 128 bytes"},
		{"context slot", "getBalance", []any{key, map[string]any{"minContextSlot": 1 << 40}}, codeContextSlot, "Minimum context slot"},
		{"too many accounts", "getMultipleAccounts", []any{make([]string, 101)}, codeParams, "max 100"},
		{"too many statuses", "getSignatureStatuses", []any{make([]string, 257)}, codeParams, "max 256"},
		{"bad signature", "getSignatureStatuses", []any{[]string{"x"}}, codeParams, "not a signature"},
		{"limit", "getSignaturesForAddress", []any{key, map[string]any{"limit": 1001}}, codeParams, "max 1000"},
		{"processed history", "getSignaturesForAddress", []any{key, at("processed")}, codeParams, "below `confirmed`"},
		{"processed transaction", "getTransaction", []any{solana.Signature{}, at("processed")}, codeParams, "below `confirmed`"},
		{"block in the future", "getBlock", []any{1 << 40}, codeNotAvailable, "Block not available"},
		{"block details", "getBlock", []any{1, map[string]any{"transactionDetails": "all"}}, codeParams, "transactionDetails"},
		{"negative slot", "getBlock", []any{-1}, codeParams, "parameter 0"},
		{"range", "getBlocks", []any{0, 1_000_000}, codeParams, "max 500000"},
		{"not a token account", "getTokenAccountBalance", []any{solana.TokenProgramID}, codeParams, "not a Token account"},
		{"no mint", "getTokenSupply", []any{key}, codeParams, "could not find mint"},
		{"not a token program", "getTokenAccountsByOwner", []any{key, map[string]any{"programId": key}}, codeParams, "unrecognized Token program"},
		{"filters", "getProgramAccounts", []any{key, map[string]any{"filters": []any{map[string]any{"dataSize": 1}, map[string]any{"dataSize": 1}, map[string]any{"dataSize": 1}, map[string]any{"dataSize": 1}, map[string]any{"dataSize": 1}}}}, codeParams, "max 4"},
		{"empty filter", "getProgramAccounts", []any{key, map[string]any{"filters": []any{map[string]any{}}}}, codeParams, "neither dataSize nor memcmp"},
		{"transaction encoding", "sendTransaction", []any{"AA", map[string]any{"encoding": "json"}}, codeParams, "unsupported encoding"},
		{"transaction bytes", "sendTransaction", []any{"AAAA", map[string]any{"encoding": "base64"}}, codeParams, "failed to deserialize"},
		{"verify and replace", "simulateTransaction", []any{emptyTransfer(t, n).MustToBase64(), map[string]any{"encoding": "base64", "sigVerify": true, "replaceRecentBlockhash": true}}, codeParams, "sigVerify may not be used"},
		{"rent of too much", "getMinimumBalanceForRentExemption", []any{1 << 40}, codeParams, "data length"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := ask(t, n, nil, c.method, c.args...)
			if err == nil || err.Code != c.code || !strings.Contains(err.Message, c.message) {
				t.Errorf("got %+v, want code %d and %q", err, c.code, c.message)
			}
		})
	}
}

func emptyTransfer(t testing.TB, n *Node) *solana.Transaction {
	t.Helper()
	k := funded(t, n)
	return build(t, n, []solana.PrivateKey{k}, []solana.Instruction{transfer(0, k.PublicKey(), k.PublicKey())})
}

func TestHTTP(t *testing.T) {
	n := sharedNode(t)
	do := func(method, path, body string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, n.URL()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", "https://wallet.example")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res
	}
	if res := do("OPTIONS", "/", ""); res.StatusCode != 204 || res.Header.Get("Access-Control-Allow-Origin") != "*" || res.Header.Get("Access-Control-Allow-Headers") != "*" {
		t.Errorf("OPTIONS: got %d %v", res.StatusCode, res.Header)
	}
	if res := do("GET", "/health", ""); res.StatusCode != 200 {
		t.Errorf("health: got %d", res.StatusCode)
	}
	if res := do("GET", "/", ""); res.StatusCode != 405 {
		t.Errorf("GET: got %d, want 405", res.StatusCode)
	}
	res := do("POST", "/", `{"jsonrpc":"2.0","id":1,"method":"getHealth"}`)
	body, err := io.ReadAll(res.Body)
	if err != nil || !bytes.Contains(body, []byte(`"ok"`)) || res.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("POST: got %s, %v", body, err)
	}
	if res := do("POST", "/", strings.Repeat(" ", maxBody+1)); res.StatusCode != 413 {
		t.Errorf("body too large: got %d, want 413", res.StatusCode)
	}
}

// A transaction that is not confirmed yet can't be built upon in a preflight at
// `confirmed` or later: the state of that slot is what counts.
func TestPreflightSeesItsCommitment(t *testing.T) {
	n := ownNode(t, Config{SlotTime: -1, FinalityDepth: 3})
	hash, _ := n.bank.hashFor(n.bank.root)
	payer := funded(t, n)
	tx := buildAt(t, hash, []solana.PrivateKey{payer}, []solana.Instruction{transfer(1, payer.PublicKey(), payer.PublicKey())})
	try := func(c string) string {
		err := ask(t, n, nil, "simulateTransaction", tx.MustToBase64(), map[string]any{"encoding": "base64", "commitment": c})
		if err != nil {
			return err.Message
		}
		var r struct {
			Value struct {
				Err  json.RawMessage
				Logs []string
			}
		}
		ask(t, n, &r, "simulateTransaction", tx.MustToBase64(), map[string]any{"encoding": "base64", "commitment": c})
		return string(r.Value.Err)
	}
	want := []map[string]string{
		{"processed": `null`, "confirmed": `"AccountNotFound"`, "finalized": `"AccountNotFound"`},
		{"processed": `null`, "confirmed": `null`, "finalized": `"AccountNotFound"`},
		{"processed": `null`, "confirmed": `null`, "finalized": `"AccountNotFound"`},
		{"processed": `null`, "confirmed": `null`, "finalized": `null`},
	}
	for i, w := range want {
		for c, e := range w {
			if got := try(c); got != e {
				t.Errorf("%d slots later, %s: got %s, want %s", i, c, got, e)
			}
		}
		n.Advance(1)
	}
	// Simulating in the past has put the present back.
	vm, err := n.bank.svm.get(payer.PublicKey())
	if err != nil || !same(vm, n.bank.accounts.now[payer.PublicKey()]) {
		t.Errorf("virtual machine: got %+v, %v", vm, err)
	}
}

// When the virtual machine is gone nothing is answered with a guess.
func TestLostVirtualMachine(t *testing.T) {
	n, err := Start(t.Context(), Config{SlotTime: -1})
	if err != nil {
		t.Fatal(err)
	}
	tx := emptyTransfer(t, n)
	if err := n.bank.svm.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		err := ask(t, n, nil, "sendTransaction", tx.MustToBase64(), map[string]any{"encoding": "base64", "preflightCommitment": "processed"})
		if err == nil || err.Code != codeInternal {
			t.Errorf("send: got %+v, want an internal error", err)
		}
	}
	if err := n.Close(); err == nil {
		t.Error("close says nothing of the killed child")
	}
}

package localnet

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/gagliardetto/solana-go"
	"github.com/gorilla/websocket"
)

// listener is a raw websocket client.
type listener struct {
	t    *testing.T
	ws   *websocket.Conn
	next int
	// notices that came while an answer was awaited
	early []heard
}

type heard struct {
	ID     *int
	Method string
	Result json.RawMessage
	Error  *rpcError
	Params struct {
		Result       json.RawMessage
		Subscription int
	}
}

func dial(t *testing.T, url string) *listener {
	t.Helper()
	ws, res, err := websocket.DefaultDialer.DialContext(t.Context(), url, http.Header{"Origin": {"https://wallet.example"}})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	t.Cleanup(func() { ws.Close() })
	return &listener{t: t, ws: ws}
}

func (l *listener) read() (h heard) {
	l.t.Helper()
	if err := l.ws.ReadJSON(&h); err != nil {
		l.t.Fatal(err)
	}
	return h
}

// ask calls a method and returns its answer.
func (l *listener) ask(method string, args ...any) heard {
	l.t.Helper()
	l.next++
	if args == nil {
		args = []any{}
	}
	if err := l.ws.WriteJSON(map[string]any{"jsonrpc": "2.0", "id": l.next, "method": method, "params": args}); err != nil {
		l.t.Fatal(err)
	}
	for {
		h := l.read()
		if h.ID != nil && *h.ID == l.next {
			return h
		}
		l.early = append(l.early, h)
	}
}

func (l *listener) notice() heard {
	l.t.Helper()
	if len(l.early) > 0 {
		h := l.early[0]
		l.early = l.early[1:]
		return h
	}
	return l.read()
}

// subscribe returns the number of a new subscription.
func (l *listener) subscribe(method string, args ...any) (id int) {
	l.t.Helper()
	h := l.ask(method, args...)
	if h.Error != nil {
		l.t.Fatalf("%s: %v", method, h.Error)
	}
	if err := json.Unmarshal(h.Result, &id); err != nil {
		l.t.Fatal(err)
	}
	return id
}

func TestSubscriptionsAtEachPortAndCommitment(t *testing.T) {
	n := ownNode(t, Config{SlotTime: -1, FinalityDepth: 2})
	for _, url := range []string{n.WSURL(), "ws" + n.URL()[len("http"):]} {
		l := dial(t, url)
		payer, to := funded(t, n), newKey(t).PublicKey()
		n.Advance(3) // the airdrop is no news any more
		tx := build(t, n, []solana.PrivateKey{payer}, []solana.Instruction{transfer(1_000_000, payer.PublicKey(), to)})
		kinds := map[int]string{}
		for _, c := range []string{"processed", "confirmed", "finalized"} {
			at := map[string]any{"commitment": c, "encoding": "base64"}
			kinds[l.subscribe("accountSubscribe", to, at)] = "account " + c
			kinds[l.subscribe("signatureSubscribe", tx.Signatures[0], at)] = "signature " + c
			kinds[l.subscribe("logsSubscribe", map[string]any{"mentions": []any{to}}, at)] = "logs " + c
			kinds[l.subscribe("programSubscribe", solana.SystemProgramID, map[string]any{"commitment": c, "encoding": "base64",
				"filters": []any{map[string]any{"dataSize": 0}}})] = "program " + c
		}
		send(t, n, tx)
		for _, c := range []struct {
			commitment string
			advance    int
			notices    int
		}{{"processed", 0, 5}, {"confirmed", 1, 5}, {"finalized", 1, 5}} {
			n.Advance(c.advance)
			got := map[string]int{}
			for range c.notices { // the program's are two: payer and payee
				got[kinds[l.notice().Params.Subscription]]++
			}
			want := map[string]int{"account " + c.commitment: 1, "signature " + c.commitment: 1, "logs " + c.commitment: 1, "program " + c.commitment: 2}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: got %v, want %v", c.commitment, got, want)
			}
		}
	}
}

func TestUnsubscribe(t *testing.T) {
	n := ownNode(t, Config{SlotTime: -1})
	l := dial(t, n.WSURL())
	slots, roots := l.subscribe("slotSubscribe"), l.subscribe("rootSubscribe")
	n.Advance(1)
	if got := fmt.Sprint(l.notice().Params.Subscription + l.notice().Params.Subscription); got != fmt.Sprint(slots+roots) {
		t.Errorf("notices of %s, want one of each", got)
	}
	if h := l.ask("slotUnsubscribe", slots); string(h.Result) != "true" {
		t.Errorf("unsubscribe: got %s %v", h.Result, h.Error)
	}
	if h := l.ask("slotUnsubscribe", slots); h.Error == nil || h.Error.Code != codeParams {
		t.Errorf("unsubscribe again: got %s %v", h.Result, h.Error)
	}
	n.Advance(1)
	if h := l.notice(); h.Params.Subscription != roots {
		t.Errorf("notice of %d, want only the root's", h.Params.Subscription)
	}
}

func TestAccountNoticeAfterFork(t *testing.T) {
	n := ownNode(t, Config{SlotTime: -1, FinalityDepth: 4})
	payer, to := funded(t, n), newKey(t).PublicKey()
	n.Advance(4)
	l := dial(t, n.WSURL())
	l.subscribe("accountSubscribe", to, map[string]any{"commitment": "processed", "encoding": "base64"})
	lamports := func() uint64 {
		var r struct{ Value struct{ Lamports uint64 } }
		if err := json.Unmarshal(l.notice().Params.Result, &r); err != nil {
			t.Fatal(err)
		}
		return r.Value.Lamports
	}
	send(t, n, build(t, n, []solana.PrivateKey{payer}, []solana.Instruction{transfer(3_000_000, payer.PublicKey(), to)}))
	if got := lamports(); got != 3_000_000 {
		t.Errorf("after the transfer: got %d", got)
	}
	if err := n.Fork(1); err != nil {
		t.Fatal(err)
	}
	if got := lamports(); got != 0 {
		t.Errorf("after the fork: got %d, want the account empty", got)
	}
}

func TestBadSubscriptions(t *testing.T) {
	n := sharedNode(t)
	l := dial(t, n.WSURL())
	for _, c := range []struct {
		method string
		args   []any
		code   int
	}{
		{"accountSubscribe", nil, codeParams},
		{"accountSubscribe", []any{"x"}, codeParams},
		{"logsSubscribe", []any{"some"}, codeParams},
		{"logsSubscribe", []any{map[string]any{"mentions": []any{}}}, codeParams},
		{"signatureSubscribe", []any{"x"}, codeParams},
		{"blockSubscribe", []any{map[string]any{}}, codeParams},
		{"blockSubscribe", []any{"all", map[string]any{"commitment": "processed"}}, codeParams},
		{"voteSubscribe", nil, codeMethod},
		{"getHealth", nil, codeMethod},
		{"accountUnsubscribe", []any{99}, codeParams},
		{"accountUnsubscribe", []any{1.5}, codeParams},
	} {
		if h := l.ask(c.method, c.args...); h.Error == nil || h.Error.Code != c.code {
			t.Errorf("%s %v: got %s %v, want code %d", c.method, c.args, h.Result, h.Error, c.code)
		}
	}
}

// Closing the node ends a client that never reads.
func TestCloseEndsClients(t *testing.T) {
	n, err := Start(t.Context(), Config{SlotTime: -1})
	if err != nil {
		t.Fatal(err)
	}
	l := dial(t, n.WSURL())
	l.subscribe("slotSubscribe")
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	for {
		if _, _, err := l.ws.ReadMessage(); err != nil {
			break
		}
	}
}

package localnet

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gagliardetto/solana-go"
)

// client is an HTTP client that tells everything it got.
type client struct {
	t   testing.TB
	url string
}

// got is one HTTP answer, or the reason why there is none.
type got struct {
	err    error
	status int
	header http.Header
	body   string
	result json.RawMessage
	fault  *rpcError
}

// front starts a front with one rule over the shared chain.
func front(t testing.TB, n *Node, faults ...Fault) (*Front, *client) {
	t.Helper()
	f, err := n.Front(FrontConfig{Faults: faults})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("close a front: %v", err)
		}
	})
	return f, &client{t, f.URL()}
}

// post sends a body on a connection of its own.
func (c *client) post(ctx context.Context, body string) (g got) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return got{err: err}
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	g = got{err: err, status: res.StatusCode, header: res.Header, body: string(b)}
	var answer struct {
		Result json.RawMessage
		Error  *rpcError
	}
	if json.Unmarshal(b, &answer) == nil {
		g.result, g.fault = answer.Result, answer.Error
	}
	return g
}

func (c *client) call(method string, args ...any) got {
	c.t.Helper()
	return c.post(c.t.Context(), callBody(c.t, method, args...))
}

func callBody(t testing.TB, method string, args ...any) string {
	t.Helper()
	if args == nil {
		args = []any{}
	}
	b, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": args})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// send sends a transaction with preflight at processed.
func (c *client) send(tx *solana.Transaction) got {
	c.t.Helper()
	return c.call("sendTransaction", tx.MustToBase64(), map[string]any{"encoding": "base64", "preflightCommitment": "processed"})
}

// landed is the slot in which the node has a transaction, and its error; 0: nowhere.
func landed(n *Node, tx *solana.Transaction) (slot uint64, failure *txError) {
	n.bank.mu.RLock()
	defer n.bank.mu.RUnlock()
	r := n.bank.history.byID[tx.Signatures[0]]
	if r == nil {
		return 0, nil
	}
	return r.slot, r.err
}

// payment is a signed transfer of its own payer.
func payment(t testing.TB, n *Node) *solana.Transaction {
	t.Helper()
	payer := funded(t, n)
	return build(t, n, []solana.PrivateKey{payer}, []solana.Instruction{transfer(1_000_000, payer.PublicKey(), newKey(t).PublicKey())})
}

// TestHTTPFaults: what a client gets of each answer, and that the next call is served.
func TestHTTPFaults(t *testing.T) {
	n := sharedNode(t)
	for _, c := range []struct {
		name  string
		fault Fault
		check func(got) bool
	}{
		{"429", Fault{Answer: TooMany}, func(g got) bool { return g.status == 429 && g.header.Get("Retry-After") == "" && g.fault != nil }},
		{"429 with Retry-After", Fault{Answer: TooMany, RetryAfter: 7}, func(g got) bool { return g.status == 429 && g.header.Get("Retry-After") == "7" }},
		{"500", Fault{Answer: Status}, func(g got) bool { return g.status == 500 && g.body == "" }},
		{"503", Fault{Answer: Status, Status: 503}, func(g got) bool { return g.status == 503 }},
		{"html of a gateway", Fault{Answer: HTML}, func(g got) bool { return g.status == 502 && strings.HasPrefix(g.body, "<html>") }},
		{"html that says 200", Fault{Answer: HTML, Status: 200}, func(g got) bool { return g.status == 200 && strings.HasPrefix(g.body, "<html>") }},
		{"cut JSON", Fault{Answer: Cut}, func(g got) bool {
			return g.status == 200 && strings.HasPrefix(g.body, `{"jsonrpc"`) && !json.Valid([]byte(g.body))
		}},
		{"reset", Fault{Answer: Reset}, func(g got) bool { return errors.Is(g.err, syscall.ECONNRESET) || errors.Is(g.err, io.EOF) }},
		{"lost", Fault{Answer: Lost}, func(g got) bool { return errors.Is(g.err, io.EOF) }},
		{"an RPC error", Fault{Answer: ErrorAnswer, Code: -32005, Message: "Node is behind by 9 slots", Data: json.RawMessage(`{"numSlotsBehind":9}`)},
			func(g got) bool {
				return g.status == 200 && g.fault != nil && g.fault.Code == -32005 && g.fault.Message == "Node is behind by 9 slots"
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.fault.Count = 1
			f, client := front(t, n, c.fault)
			if g := client.call("getSlot"); !c.check(g) {
				t.Errorf("struck: got %+v", g)
			}
			if g := client.call("getSlot"); g.status != 200 || g.fault != nil || len(g.result) == 0 {
				t.Errorf("afterwards: got %+v", g)
			}
			if left := f.Faults(); len(left) != 0 {
				t.Errorf("still in force: %+v", left)
			}
		})
	}
}

func TestHungCallEndsWithTheClient(t *testing.T) {
	n := sharedNode(t)
	_, client := front(t, n, Fault{Answer: Hang, Methods: []string{"getSlot"}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if g := client.post(ctx, callBody(t, "getSlot")); !errors.Is(g.err, context.DeadlineExceeded) {
		t.Errorf("got %+v", g)
	}
	if g := client.call("getHealth"); g.fault != nil || g.status != 200 {
		t.Errorf("another method: got %+v", g)
	}
}

func TestDelayedAnswerIsTheTrueOne(t *testing.T) {
	_, client := front(t, sharedNode(t), Fault{DelayMS: 30, Count: 1})
	begin := time.Now()
	if g := client.call("getHealth"); string(g.result) != `"ok"` || time.Since(begin) < 30*time.Millisecond {
		t.Errorf("got %+v after %s", g, time.Since(begin))
	}
}

func TestFrontGoesDownAndUp(t *testing.T) {
	f, client := front(t, sharedNode(t))
	ws := dial(t, f.WSURL())
	for range 2 {
		if err := f.Down(); err != nil {
			t.Fatal(err)
		}
		if g := client.call("getHealth"); !errors.Is(g.err, syscall.ECONNREFUSED) {
			t.Errorf("down: got %+v", g)
		}
		if err := f.Up(); err != nil {
			t.Fatal(err)
		}
		if g := client.call("getHealth"); string(g.result) != `"ok"` {
			t.Errorf("up: got %+v", g)
		}
	}
	if _, _, err := ws.ws.ReadMessage(); err == nil {
		t.Error("a websocket outlived the front's end")
	}
}

// TestWhichCallsAreStruck: methods, skipped ones, counts, batches, chance.
func TestWhichCallsAreStruck(t *testing.T) {
	n := sharedNode(t)
	f, client := front(t, n, Fault{Methods: []string{"getSlot"}, Skip: 1, Count: 2, Answer: TooMany})
	var seen []int
	for _, m := range []string{"getHealth", "getSlot", "getHealth", "getSlot", "getSlot", "getSlot"} {
		seen = append(seen, client.call(m).status)
	}
	if want := []int{200, 200, 200, 429, 429, 200}; !equal(seen, want) {
		t.Errorf("got %v, want %v", seen, want)
	}
	if _, err := f.Inject(Fault{Methods: []string{"getSlot"}, Count: 1, Answer: TooMany}); err != nil {
		t.Fatal(err)
	}
	batch := "[" + callBody(t, "getHealth") + "," + callBody(t, "getSlot") + "]"
	if g := client.post(t.Context(), batch); g.status != 429 {
		t.Errorf("batch: got %+v", g)
	}
	id, err := f.Inject(Fault{Answer: TooMany, Percent: 50})
	if err != nil {
		t.Fatal(err)
	}
	struck := 0
	for range 200 {
		if client.call("getHealth").status == 429 {
			struck++
		}
	}
	if struck < 60 || struck > 140 {
		t.Errorf("half of 200 calls: %d were struck", struck)
	}
	f.Remove(id)
	if g := client.call("getHealth"); g.status != 200 {
		t.Errorf("removed: got %+v", g)
	}
}

func equal(a, b []int) bool {
	return string(encode(a)) == string(encode(b))
}

func TestFaultEndsWithItsSlots(t *testing.T) {
	n := cleanNode(t, 32)
	_, client := front(t, n, Fault{Answer: TooMany, Slots: 2})
	for i, want := range []int{429, 429, 200} {
		if g := client.call("getHealth"); g.status != want {
			t.Errorf("slot %d: got %d, want %d", i, g.status, want)
		}
		n.Advance(1)
	}
}

// TestChanceComesFromTheSeed: the same calls at two chains of one seed are struck alike.
func TestChanceComesFromTheSeed(t *testing.T) {
	run := func() (seen []int) {
		n := ownNode(t, Config{SlotTime: -1, Seed: 3})
		_, client := front(t, n, Fault{Answer: TooMany, Percent: 40})
		for range 30 {
			seen = append(seen, client.call("getHealth").status)
		}
		return seen
	}
	if a, b := run(), run(); !equal(a, b) {
		t.Errorf("got %v and %v", a, b)
	}
}

// A front's port is free again once it is down.
func TestDownFreesThePort(t *testing.T) {
	f, _ := front(t, sharedNode(t))
	if err := f.Down(); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Up(); err == nil {
		t.Error("opened a port that is taken")
	}
	l.Close()
	if err := f.Up(); err != nil {
		t.Error(err)
	}
}

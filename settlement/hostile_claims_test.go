package settlement

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gagliardetto/solana-go"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

// swallow is a way to the chain that says yes to every simulation and, while
// on, keeps what is sent: localnet has no Lighthouse program, whose assertions
// would hold on mainnet.
type swallow struct {
	on    atomic.Bool
	sends atomic.Int64
	order []chain.Kind
	mu    sync.Mutex
}

func (w *swallow) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var q struct {
		Method string
		Params []json.RawMessage
	}
	if err := json.Unmarshal(body, &q); err != nil {
		return nil, err
	}
	reply := func(s string) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(s)), Request: r}, nil
	}
	switch {
	case q.Method == "simulateTransaction" && w.on.Load():
		return reply(`{"jsonrpc":"2.0","id":1,"result":{"context":{"slot":1},"value":{"err":null,"unitsConsumed":1000,"logs":[]}}}`)
	case q.Method == "sendTransaction" && w.on.Load():
		w.sends.Add(1)
		var text string
		if err := json.Unmarshal(q.Params[0], &text); err != nil {
			return nil, err
		}
		tx, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, err
		}
		if d, err := chain.Decode(tx); err == nil {
			w.mu.Lock()
			w.order = append(w.order, d.Plan.Kind)
			w.mu.Unlock()
		}
		return reply(`{"jsonrpc":"2.0","id":1,"result":"kept"}`)
	}
	again := r.Clone(r.Context())
	again.Body = io.NopCloser(bytes.NewReader(body))
	return http.DefaultTransport.RoundTrip(again)
}

// openSwallow starts the service anew behind w and waits until it is ready.
func (m *machine) openSwallow(w *swallow) {
	m.t.Helper()
	c, err := rpc.New(rpc.Config{Endpoints: []string{m.node.URL()}, Transport: w, Pause: time.Millisecond, Rounds: 1})
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(c.Close)
	m.wires.disarm()
	m.openOn(m.wires.pool(m.t, m.url), c)
	m.goTo(handTime.Load() + max(int64(m.cfg.LeaseTime/time.Second), testGrace) + 1)
	m.fenceUp()
}

// variant is a claim of alice's with an assertion of the n-th kind.
func (m *machine) variant(tx []byte, n int) []byte {
	m.t.Helper()
	lighthouse := solana.MustPublicKeyFromBase58("L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95")
	return m.extend(tx, solana.NewInstruction(lighthouse, nil, []byte(fmt.Sprint("assert ", n))))
}

// Each variant of a claim that a wallet signs would be one more transaction for
// us to send in every pass. Few are taken, and claims go out after all else.
func TestClaimVariantsAreBounded(t *testing.T) {
	m := newMachine(t)
	w := &swallow{}
	m.openSwallow(w)
	m.Service.cfg.Senders = 1
	m.seal(m.alice, m.bob)
	m.until("ready", m.view.isReady)
	p := m.prepare(m.alice)
	w.on.Store(true)
	taken := 0
	for i := range 20 {
		_, err := m.SubmitClaim(t.Context(), m.variant(p.Transaction, i))
		if err == nil {
			taken++
			continue
		}
		wantProblem(t, err, ProblemBusy)
	}
	if taken != maxLiveOfContent {
		t.Errorf("%d variants of one claim were taken, want %d", taken, maxLiveOfContent)
	}
	if _, err := m.RequestPayout(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.pass() // signs a payout
	w.mu.Lock()
	w.order = nil
	w.mu.Unlock()
	m.pass() // sends all again
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.order) != 1+maxLiveOfContent || w.order[0] != chain.KindPayout {
		t.Errorf("a pass sent %v, want the payout first and then %d claims", w.order, maxLiveOfContent)
	}
}

// The same claim handed in by many at once is answered the same to all.
func TestDoubleClickOnSubmit(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice)
	tx := m.signClaim(m.alice, m.prepare(m.alice))
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			c, err := m.SubmitClaim(t.Context(), tx)
			if err != nil || c.State != ClaimPending {
				t.Errorf("claim is %q, %v, want it pending", c.State, err)
			}
		})
	}
	wg.Wait()
	if n := m.count(`SELECT count(*) FROM attempts WHERE kind = $1`, int16(chain.KindClaim)); n != 1 {
		t.Errorf("%d attempts of one claim", n)
	}
	m.claimAll(m.alice)
	m.checkBooks()
}

// Claims that were prepared and never handed in do not stay.
func TestPreparedClaimsAreSwept(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice)
	p := m.prepare(m.alice)
	m.goTo(handTime.Load() + int64(sweepEvery/time.Second) + 1)
	m.pass()
	if n := m.count(`SELECT count(*) FROM prepared_claims`); n != 1 {
		t.Fatalf("%d prepared claims, want the one that lives", n)
	}
	m.exec(`UPDATE prepared_claims SET last_valid_height = 1`)
	m.advance(sweepAfter + 10)
	m.goTo(handTime.Load() + int64(sweepEvery/time.Second) + 1)
	m.pass()
	if n := m.count(`SELECT count(*) FROM prepared_claims`); n != 0 {
		t.Errorf("%d prepared claims can't land any more and are still kept", n)
	}
	_, err := m.ClaimStatus(t.Context(), p.Message)
	wantProblem(t, err, ProblemUnknownClaim)
}

// A wallet's claim does not wait for a lane that somebody else's claim holds.
func TestClaimTakesAFreeLane(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice)
	p := m.prepare(m.alice)
	lanes, err := m.claimLanes(t.Context(), m.alice.payout)
	if err != nil || len(lanes) != 2 || lanes[0].name != p.Lane {
		t.Fatalf("free lanes are %v, %v, want two, %s first", lanes, err, p.Lane)
	}
	if again := m.prepare(m.alice); again.Message != p.Message {
		t.Error("the same request gives another claim")
	}
	m.wires.dropping(true)
	if _, err := m.SubmitClaim(t.Context(), m.signClaim(m.alice, p)); err != nil {
		t.Fatal(err)
	}
	left, err := m.claimLanes(t.Context(), m.alice.payout)
	if err != nil || len(left) != 1 || left[0].name != lanes[1].name {
		t.Errorf("free lanes are %v, %v, want %s", left, err, lanes[1].name)
	}
	m.wires.dropping(false)
	m.claimAll(m.alice)
	m.checkBooks()
}

// Claims of many wallets share a blockhash, and none waits for another's.
func TestClaimsShareABlockhash(t *testing.T) {
	m := newMachine(t)
	m.cfg.BlockhashAge = 2 * time.Second
	var reads atomic.Int64
	m.wires.before(func(method string) {
		if method == "getLatestBlockhash" {
			reads.Add(1)
		}
	})
	for range 5 {
		if _, err := m.claimBlockhash(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := reads.Load(); n != 1 {
		t.Errorf("5 claims read %d blockhashes, want 1", n)
	}
	m.goTo(handTime.Load() + 3)
	if _, err := m.claimBlockhash(t.Context()); err != nil || reads.Load() != 2 {
		t.Errorf("after its time: %v, %d reads, want 2", err, reads.Load())
	}
}

// Inputs that are changed between judging and publishing are noticed.
func TestChangedInputsAreNotPublished(t *testing.T) {
	b := newBooks(t)
	h := b.newHost("one", "gpu 0")
	b.register(h)
	b.play(1, h)
	b.toClose(1)
	b.lead()
	if err := b.Service.freeze(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := b.judgeEpoch(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	b.exec(`UPDATE epochs SET inputs_root = sha256('other') WHERE epoch = 1`)
	if c, err := b.CloseDue(t.Context()); err == nil || !strings.Contains(err.Error(), "changed after judging") {
		t.Errorf("close gives %v, %v, want an error that tells of the change", c, err)
	}
}

// Outsiders who hold all their connections hold up no pass.
func TestSettlingHasItsOwnConnections(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	config, err := pgxpool.ParseConfig(m.url)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 1
	front, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	m.front = front
	k := m.playNext(m.alice) // statements come in over the outsiders' connections
	taken, err := front.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Release()
	m.until("the epoch is sealed", func() bool { return m.position(epochLane) > k })
}

package settlement

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// liar is an endpoint that shows one key where the chain has another.
type liar struct {
	mu       sync.Mutex
	from, to ionet.Key
}

func (l *liar) say(from, to ionet.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.from, l.to = from, to
}

// serve passes calls on to the node at url.
func (l *liar) serve(t *testing.T, url string) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, err := http.Post(url, "application/json", r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(l.twist(string(answer))))
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// twist changes the key in every account's data.
func (l *liar) twist(answer string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.from == l.to {
		return answer
	}
	words := strings.Split(answer, `"`)
	for i, word := range words {
		if data, err := base64.StdEncoding.DecodeString(word); err == nil && bytes.Contains(data, l.from[:]) {
			words[i] = base64.StdEncoding.EncodeToString(bytes.ReplaceAll(data, l.from[:], l.to[:]))
		}
	}
	return strings.Join(words, `"`)
}

// One endpoint alone can't make a payout final that never landed.
func TestOneEndpointDecidesNothing(t *testing.T) {
	m := newMachine(t)
	var l liar
	client, err := rpc.New(rpc.Config{Endpoints: []string{l.serve(t, m.node.URL()), m.node.URL()}, Transport: m.wires, Pause: time.Millisecond, Rounds: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	m.openOn(m.wires.pool(t, m.url), client)
	m.goTo(handTime.Load() + max(int64(m.cfg.LeaseTime/time.Second), testGrace) + 1)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	st := m.signedUnseen()[0].steps[0]
	l.say(m.net.Keys.Secret.Public(st.lane.c), m.net.Keys.Secret.Public(st.content.Next()))
	for range 3 {
		if err := m.Settle(t.Context()); err == nil || !strings.Contains(err.Error(), st.lane.name) {
			t.Errorf("a pass on endpoints that contradict each other: %v", err)
		}
		if got := m.position(st.lane.name); got != st.lane.position {
			t.Fatalf("lane %s went to position %d by the word of one endpoint", st.lane.name, got)
		}
	}
	l.say(ionet.Key{}, ionet.Key{})
	m.settleAll()
}

// The chain paid more than was owed. The books say so, payments end, and epochs
// go on: nothing stands for ever.
func TestOverpaidStopsPaymentsOnly(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	earned := m.owed(m.bob)
	backup := m.backup()
	m.reopen()
	m.payAll()
	// In the copy, half of what bob was paid since is owed to alice.
	m.putBack(backup)
	half, err := ionet.NewAmount(earned / 2)
	if err != nil {
		t.Fatal(err)
	}
	move := ledger.Entry{ID: ionet.HashOf([]byte("test")), Kind: "test", Transfers: []ledger.Transfer{{Debit: ledger.Owed(m.bob.payout), Credit: ledger.Owed(m.alice.payout), Amount: half}}}
	err = m.inTx(t.Context(), func(tx pgx.Tx) error {
		_, err := ledger.Post(t.Context(), tx, move, time.Now())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	m.reopen()
	m.until("the payout is imported", func() bool {
		err := m.Settle(t.Context())
		if err != nil && !errors.Is(err, ErrHalted) && !isCutError(err) {
			t.Fatal(err)
		}
		return m.balance(ledger.Overpaid()) > 0
	})
	if got := m.balance(ledger.Overpaid()); got != half.Base() || m.owed(m.bob) != 0 {
		t.Errorf("overpaid is %d, want %d; bob is owed %d", got, half.Base(), m.owed(m.bob))
	}
	k := m.playNext(m.alice)
	for range 20 {
		m.Settle(t.Context()) // each pass says that it is halted
		m.advance(1)
	}
	if m.position(epochLane) != k+1 {
		t.Errorf("the epoch lane is at position %d, want %d", m.position(epochLane), k+1)
	}
	if err := m.Settle(t.Context()); !errors.Is(err, ErrHalted) || !m.saw(EventHalted) {
		t.Errorf("a pass over an overpayment: %v", err)
	}
	_, err = m.PrepareClaim(t.Context(), m.alice.payout)
	wantProblem(t, err, ProblemBusy)
	if err := ledger.TrialBalance(t.Context(), m.pool); err != nil {
		t.Error(err)
	}
	if vault := m.onChain(m.net.Network.Keys.Operator); m.balance(ledger.VaultReward()) != vault {
		t.Errorf("ledger says that the vault holds %d, it holds %d", m.balance(ledger.VaultReward()), vault)
	}
	// A person has looked: it is written off, and payments go on.
	plan, err := m.PlanResume(t.Context())
	if err != nil || len(plan.Differences) != 1 || plan.Differences[0].What != "overpaid" {
		t.Fatalf("plan is %+v, %v, want what was overpaid", plan, err)
	}
	m.resumes(plan.Seen, false)
	m.fenceUp()
	if over, off := m.balance(ledger.Overpaid()), m.balance(ledger.WrittenOff()); over != 0 || off != half.Base() {
		t.Errorf("overpaid is %d, written off %d; want 0 and %s", over, off, half)
	}
}

// An instance that lost the lease in the middle of a pass reads another leader's
// books: that is no shortfall.
func TestLostLeaseIsNoShortfall(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	_, final, err := m.catchUp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	former := m.Service
	m.reopen()
	m.fenceUp()
	m.seal(m.alice, m.bob)
	if err := former.reconcile(t.Context(), final); !errors.Is(err, errNotLeader) || former.view.why() != "" {
		t.Errorf("a former leader's pass says: %v, %q", err, former.view.why())
	}
}

// What a person saw is compared with what is booked however either found it.
func TestSeenInAnyOrder(t *testing.T) {
	a, b := Difference{What: "debit", Books: "vault:reward", Amount: ionet.MustAmount(572)}, Difference{What: "credit", Books: "vault:fee", Amount: ionet.MustAmount(3)}
	if got, want := seenOf([]Difference{a, b}), seenOf([]Difference{b, a}); got != want {
		t.Errorf("%q one way, %q the other", got, want)
	}
}

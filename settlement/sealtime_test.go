package settlement

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/proofs"
)

// What an endpoint tells of transactions.
const (
	truth int32 = iota
	otherTime
	nothing
	silence // that it does not answer at all
	noLanes // and of accounts: that there are none
)

var anyAccounts = regexp.MustCompile(`(?s)"value":\[.*\]`)

// liar starts an endpoint that answers as the chain does, but for transactions.
func (m *machine) liar(tells *atomic.Int32) string {
	m.t.Helper()
	return m.counted(tells, new(atomic.Int32))
}

// counted is liar, and counts the transactions that it was asked for.
func (m *machine) counted(tells, asked *atomic.Int32) string {
	m.t.Helper()
	times := regexp.MustCompile(`"blockTime":\d+`)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		resp, err := http.Post(m.node.URL(), "application/json", bytes.NewReader(body))
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		if tells.Load() == noLanes && bytes.Contains(body, []byte("getMultipleAccounts")) {
			answer = anyAccounts.ReplaceAll(answer, []byte(`"value":[null]`))
		}
		if bytes.Contains(body, []byte("getTransaction")) {
			asked.Add(1)
			switch tells.Load() {
			case silence:
				w.WriteHeader(http.StatusBadGateway)
				return
			case otherTime:
				answer = times.ReplaceAll(answer, []byte(`"blockTime":1900000000`))
			case nothing:
				answer = []byte(`{"jsonrpc":"2.0","id":1,"result":null}`)
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(answer)
	}))
	m.t.Cleanup(server.Close)
	return server.URL
}

// Which policy rules follows from when a book was sealed, for ever: where two endpoints
// tell that differently, or one does not tell it, nobody decides, whichever is asked
// first. An epoch that the announcement can't rule closes meanwhile.
func TestSealTimeByEveryEndpoint(t *testing.T) {
	m := newMachine(t)
	var tells atomic.Int32
	liar := m.liar(&tells)
	for _, c := range []struct {
		endpoints []string
		tells     int32
	}{
		{[]string{liar, m.node.URL()}, otherTime},
		{[]string{m.node.URL(), liar}, otherTime},
		{[]string{m.node.URL(), liar}, nothing},
	} {
		m.openOn(m.pool, m.clientOf(c.endpoints...))
		var logged bytes.Buffer
		m.log = slog.New(slog.NewTextHandler(&logged, nil))
		m.goTo(m.clock.EpochStart(m.current() + 1))
		tells.Store(c.tells)
		m.fenceUp()
		k := m.current()
		version := uint64(1 + len(strings.Fields(m.states())))
		file := policyOf(version, k+2, h100Earns, h100IsNothing)
		m.announce(file)
		m.finishEpoch(m.alice)
		m.play(k+1, m.alice)
		m.toClose(k + 1)
		var said error
		for last := range 30 {
			if last == 20 {
				m.play(k+2, m.alice)
				m.toClose(k + 2)
			}
			said = m.Settle(t.Context())
			m.advance(2)
		}
		if said == nil || !strings.Contains(said.Error(), fmt.Sprintf("depends on when epoch %d was sealed", k)) {
			t.Errorf("a pass while the endpoints disagree says: %v", said)
		}
		if n := m.position(epochLane); n != k+2 {
			t.Errorf("the epoch lane is at %d, want %d: epoch %d needs no time of that seal", n, k+2, k+1)
		}
		if n := m.count(`SELECT count(*) FROM epochs WHERE epoch = $1`, int64(k+2)); n != 0 {
			t.Fatal("the epoch was closed though nobody knows its policy")
		}
		if n := strings.Count(logged.String(), "level=WARN msg=\"when an epoch"); n != 1 {
			t.Errorf("the disagreement was logged %d times, want once:\n%s", n, &logged)
		}
		if !strings.HasSuffix(m.states(), "announced") {
			t.Errorf("the policies are %q", m.states())
		}
		tells.Store(truth)
		m.untilSealed(k + 2)
		m.ruledBy(k+2, file, proofs.ZeroMultiplier)
	}
	m.settleAll()
	m.audited()
}

// An endpoint that does not answer is asked for the time of a seal once in Config.SealRetry,
// however many passes there are and however often each of them needs it; payouts go on.
func TestSilentEndpointIsLeftAlone(t *testing.T) {
	m := newMachine(t)
	var tells, asked atomic.Int32
	m.openOn(m.pool, m.clientOf(m.node.URL(), m.counted(&tells, &asked)))
	m.cfg.SealRetry = 25 * time.Second
	m.goTo(m.clock.EpochStart(m.current() + 1))
	m.fenceUp()
	k := m.current()
	file := policyOf(2, k+2, h100Earns, h100IsNothing)
	m.announce(file)
	tells.Store(silence)
	m.finishEpoch(m.alice, m.bob)
	m.until("the announcement is sealed", func() bool { return m.position(epochLane) > k })
	owed := m.owed(m.bob)
	m.payAll()
	if got := m.onChain(m.bob.payout); got == 0 || got != owed {
		t.Errorf("bob has %d, was owed %d", got, owed)
	}
	for _, want := range []int32{1, 2} {
		for range 5 {
			m.Settle(t.Context())
			m.advance(2)
		}
		if n := asked.Load(); n != want {
			t.Errorf("the silent endpoint was asked %d times, want %d", n, want)
		}
		m.goTo(handTime.Load() + 25)
	}
	// Who depends on the time gets the error, without asking.
	m.Settle(t.Context())
	before := asked.Load()
	if _, err := m.rulesAt(t.Context(), k+2); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("depends on when epoch %d was sealed", k)) {
		t.Errorf("the policy of epoch %d: %v", k+2, err)
	}
	if n := asked.Load(); n != before {
		t.Errorf("the silent endpoint was asked %d times more", n-before)
	}
	tells.Store(truth)
	m.goTo(handTime.Load() + 25)
	m.until("the time is known", func() bool {
		return m.count(`SELECT count(*) FROM policies WHERE sealed_at IS NOT NULL`) == 1
	})
}

// clientOf returns a client of endpoints that asks each once.
func (m *machine) clientOf(endpoints ...string) *rpc.Client {
	m.t.Helper()
	client, err := rpc.New(rpc.Config{Endpoints: endpoints, Pause: time.Millisecond, Rounds: 1})
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(client.Close)
	return client
}

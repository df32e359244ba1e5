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
)

// liar starts an endpoint that answers as the chain does, but for transactions.
func (m *machine) liar(tells *atomic.Int32) string {
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
		if bytes.Contains(body, []byte("getTransaction")) {
			switch tells.Load() {
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
		client, err := rpc.New(rpc.Config{Endpoints: c.endpoints, Pause: time.Millisecond, Rounds: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		m.openOn(m.pool, client)
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

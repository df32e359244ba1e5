package settlement

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet/chain/rpc"
)

// An endpoint that tells an absurd slot, at whatever call, is not believed: what the
// database keeps of slots stays within the chain, and passes go on without it.
func TestAbsurdSlot(t *testing.T) {
	for _, first := range []bool{true, false} {
		m := newMachine(t)
		honest, lying := (&liar{}).serve(t, m.node.URL()), m.node.URL()
		endpoints := []string{honest, lying}
		if first {
			endpoints = []string{lying, honest}
		}
		client, err := rpc.New(rpc.Config{Endpoints: endpoints, Transport: m.wires, Pause: time.Millisecond, Rounds: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		var on atomic.Bool
		m.wires.Twist(func(method, endpoint string, answer []byte) []byte {
			if method != "getMultipleAccounts" || !on.Load() || strings.TrimSuffix(endpoint, "/") != strings.TrimSuffix(lying, "/") {
				return answer
			}
			return []byte(strings.Replace(string(answer), `"slot":`, `"slot":900000000`, 1))
		})
		m.openOn(m.wires.pool(t, m.url), client)
		m.goTo(handTime.Load() + max(int64(m.cfg.LeaseTime/time.Second), testGrace) + 1)
		m.fenceUp()
		k := m.playNext(m.alice, m.bob)
		on.Store(true)
		for range 10 {
			_ = m.Settle(t.Context()) // may fail while it lies
			m.advance(2)
		}
		on.Store(false)
		if slot := m.count(`SELECT greatest((SELECT max(slot) FROM lanes), (SELECT coalesce(max(slot), 0) FROM scans))`); slot > 1_000_000 {
			t.Errorf("liar first %t: the database believes in slot %d", first, slot)
		}
		m.finish(k)
		m.reopen()
		m.settleAll()
	}
}

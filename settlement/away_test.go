package settlement

import (
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet/chain/rpc"
)

// With two endpoints a start makes no pass while one is away: nobody but the other one
// tells how far the chain is. The error, which serve logs, names the one that is away.
func TestStartNeedsTwoEndpoints(t *testing.T) {
	m := newMachine(t)
	const away = "127.0.0.1:1"
	client, err := rpc.New(rpc.Config{Endpoints: []string{m.node.URL(), "http://" + away}, Transport: m.wires, Pause: time.Millisecond, Rounds: 1, Cluster: m.net.Network.Cluster})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	m.openOn(m.wires.pool(t, m.url), client)
	m.goTo(handTime.Load() + max(int64(m.cfg.LeaseTime/time.Second), testGrace) + 1)
	err = m.Settle(t.Context())
	if err == nil {
		t.Fatal("a pass by the word of one of two endpoints")
	}
	for _, want := range []string{away, "1 of 2 endpoints", "--rpc"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the pass says %q, want %q in it", err, want)
		}
	}
	named := false
	for _, e := range m.Endpoints() {
		named = named || e.Host == away && e.InRow > 0 && e.Last != ""
	}
	if !named {
		t.Errorf("endpoints are %+v, want %s to fail", m.Endpoints(), away)
	}
}

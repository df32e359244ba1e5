package settlement

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/internal/pgtest"
)

// An endpoint that denies the lanes does not make an older database current, nor an empty
// one, wherever it stands among the endpoints: nothing is acked or announced there.
func TestDeniedLaneMakesNothingCurrent(t *testing.T) {
	m := newMachine(t)
	m.fenceUp()
	m.seal(m.alice)
	old, empty := m.backup(), pgtest.NewURL(t)
	m.seal(m.alice)
	var tells atomic.Int32
	liar := m.liar(&tells)
	tells.Store(noLanes)
	for _, c := range []struct {
		name, url string
		endpoints []string
	}{
		{"restored, the first denies", old, []string{liar, m.node.URL()}},
		{"restored, the last denies", old, []string{m.node.URL(), liar}},
		{"empty, the first denies", empty, []string{liar, m.node.URL()}},
		{"empty, the last denies", empty, []string{m.node.URL(), liar}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m.url = c.url
			m.openOn(pgtest.Open(t, c.url), m.clientOf(c.endpoints...))
			if current, err := m.isCurrent(t.Context()); err != nil || current {
				t.Errorf("the database is current: %t, %v", current, err)
			}
			var p *Problem
			if _, err := m.AnnouncePolicy(t.Context(), policyOf(2, m.current()+2)); !errors.As(err, &p) || p.Type != ProblemBusy {
				t.Errorf("announce: got %v, want busy", err)
			}
			if c.url == old {
				k := m.current() + 1
				m.toSample(k, 0)
				m.refuse(ProblemBusy, plain(m.alice.uptime(k, 0, nil))[0])
			}
		})
	}
}

// Before the genesis no lane is there, if every endpoint says so; after it there is one.
func TestCurrentBeforeTheGenesis(t *testing.T) {
	b := newBooks(t)
	down := httptest.NewServer(http.NotFoundHandler())
	defer down.Close()
	lane, _ := b.net.Network.Lane(epochLane)
	is := func(want bool) {
		t.Helper()
		if current, err := b.isCurrent(t.Context()); err != nil || current != want {
			t.Errorf("the database is current: %t, %v, want %t", current, err, want)
		}
	}
	is(true)
	if err := b.node.SetAccount(solana.PublicKey(lane), localnet.Account{}); err != nil {
		t.Fatal(err)
	}
	if err := b.node.Advance(2); err != nil {
		t.Fatal(err)
	}
	is(false)
	b.exec(`UPDATE lanes SET position = 0 WHERE name = 'epoch'`)
	is(true)
	m := machine{books: b}
	b.cfg.Chain = m.clientOf(b.node.URL(), down.URL)
	if current, err := b.isCurrent(t.Context()); err == nil {
		t.Errorf("with an endpoint that does not answer the database is current: %t", current)
	}
}

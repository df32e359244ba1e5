package web

import (
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// What goes out and what waits is told to everybody, and made anew once in two seconds.
func TestPayoutsAreTold(t *testing.T) {
	h := open(t)
	var clock atomic.Int64
	now := func() time.Time { return time.Unix(clock.Load(), 0) }
	clock.Store(time.Now().Unix())
	server := httptest.NewServer(Handler(Config{Service: h.service, Files: h.folder, Now: now}))
	t.Cleanup(server.Close)
	api, err := client.New(client.Config{Server: server.URL})
	check(t, err)
	p, err := api.Payouts(t.Context(), 10)
	check(t, err)
	if p.Minimum.IsZero() || p.Waiting != 0 || len(p.Runs) != 0 || p.Next != 0 {
		t.Errorf("of a new network: %+v", p)
	}

	// A payee is owed something, and a run is asked for.
	payee := chain.PublicOf(keyOf("payee"))
	tx, err := h.pool.Begin(t.Context())
	check(t, err)
	_, err = ledger.Post(t.Context(), tx, ledger.Entry{ID: ionet.HashOf([]byte("earned")), Kind: "test", Transfers: []ledger.Transfer{
		{Debit: ledger.VaultReward(), Credit: ledger.Owed(payee), Amount: p.Minimum},
	}}, now())
	check(t, err)
	check(t, tx.Commit(t.Context()))
	_, err = h.service.RequestPayout(t.Context())
	check(t, err)
	if again, err := api.Payouts(t.Context(), 10); err != nil || again.Waiting != 0 {
		t.Errorf("asked again at once: %+v, %v, want the answer as it was", again, err)
	}
	clock.Add(int64(payoutsFor / time.Second))
	if p, err = api.Payouts(t.Context(), 10); err != nil || p.Waiting != 1 || p.Due != p.Minimum || len(p.Runs) != 1 || p.Runs[0].Ended != 0 {
		t.Errorf("with a payee who waits: %+v, %v", p, err)
	}
	if _, err := api.Payouts(t.Context(), 101); !client.IsProblem(err, client.InvalidParameter) {
		t.Errorf("101 are asked for: %v", err)
	}
}

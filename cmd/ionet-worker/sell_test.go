package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// front is the reverse proxy that stands before a worker's address.
func front(t *testing.T) (endpoint string, leadTo func(string)) {
	t.Helper()
	var to atomic.Pointer[url.URL]
	proxy := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to.Load()) }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if to.Load() == nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, func(s string) {
		u, err := url.Parse(s)
		check(t, err)
		to.Store(u)
	}
}

// words is a back end that lists its model and answers with usage, by stream too.
func words(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"data":[{"id":"org/words"}]}`) })
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if !strings.Contains(string(body), `"stream":true`) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"choices":[{"index":0,"message":{"role":"assistant","content":"hello"}}],"usage":{"prompt_tokens":4,"completion_tokens":6}}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"}}]}\n\n")
		http.NewResponseController(w).Flush()
		io.WriteString(w, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":6}}\n\ndata: [DONE]\n\n")
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// credit gives a renter a balance, as a deposit does.
func credit(t *testing.T, pool *pgxpool.Pool, wallet ionet.Key, amount uint64) {
	t.Helper()
	tx, err := pool.Begin(t.Context())
	check(t, err)
	e := ledger.Entry{ID: ionet.HashOf([]byte("deposit"), wallet[:]), Kind: "deposit", Transfers: []ledger.Transfer{
		{Debit: ledger.VaultFee(), Credit: ledger.Renter(wallet), Amount: ionet.MustAmount(amount)},
	}}
	_, err = ledger.PostAll(t.Context(), tx, []ledger.Entry{e}, time.Now())
	check(t, err)
	check(t, tx.Commit(t.Context()))
}

// purse opens a session of a new wallet and a purse for it.
func purse(t *testing.T, server string, pool *pgxpool.Pool) *client.Purse {
	t.Helper()
	wallet, session := newWallet(t), newWallet(t)
	credit(t, pool, chain.PublicOf(wallet), 50_000_000)
	api, err := client.New(client.Config{Server: server})
	check(t, err)
	network, _, err := api.NetworkFile(t.Context())
	check(t, err)
	api = api.ForNetwork(network.ID())
	text, err := api.SessionText(t.Context(), client.SessionAsk{Renter: chain.PublicOf(wallet), Key: chain.PublicOf(session), Reserve: ionet.MustAmount(40_000_000)})
	check(t, err)
	e := proofs.Sign(network.ID(), proofs.KindSession, wallet, []byte(text.Text))
	results, err := api.Submit(t.Context(), []client.Presented{{Statement: e}})
	check(t, err)
	if results[0].Problem != nil {
		t.Fatal(results[0].Problem)
	}
	p, err := client.OpenPurse(client.PurseConfig{Service: api, Network: network, Key: ed25519.PrivateKey(session), Session: e, Dir: filepath.Join(t.TempDir(), "purse")})
	check(t, err)
	t.Cleanup(func() { p.Close() })
	return p
}

// TestSell runs a host that sells: by the real service, a renter's purse and a reverse
// proxy in front. Jobs go by themselves and, after a restart, in batches.
func TestSell(t *testing.T) {
	server, pool := serveWith(t)
	dir, wallet := filepath.Join(t.TempDir(), "host"), filepath.Join(t.TempDir(), "wallet.json")
	check(t, chain.WriteKeypair(wallet, newWallet(t)))
	endpoint, leadTo := front(t)
	offer := filepath.Join(t.TempDir(), "offer.toml")
	check(t, os.WriteFile(offer, fmt.Appendf(nil, `
endpoint = %q
capacity = 8
[[models]]
name = "words"
unit = "token"
price = "7"
per = 1
max_units = 100
backend = %q
upstream = "org/words"
`, endpoint, words(t)), 0o600))
	args := []string{"--server", server, "--dir", dir, "--keypair", wallet, "--simulate", "1", "--serve", "127.0.0.1:0", "--offer", offer}
	said, stop := start(t, args...)
	said.waitFor(t, `^serving renters at http://`)
	leadTo(regexp.MustCompile(`(?m)^serving renters at (\S+)$`).FindStringSubmatch(said.String())[1])

	p := purse(t, server, pool)
	api := p.Service()
	wait(t, "the offer is listed", func() bool {
		list, err := api.Offers(t.Context(), "words", 0)
		return err == nil && len(list) == 1
	})
	ask := func(stream bool) {
		t.Helper()
		body := fmt.Sprintf(`{"model":"words","messages":[{"role":"user","content":"hi"}],"max_tokens":10,"stream":%v}`, stream)
		a, err := p.Do(t.Context(), client.Inference{Path: client.PathChat, ContentType: "application/json", Body: []byte(body)})
		check(t, err)
		answer, err := io.ReadAll(a.Body)
		check(t, err)
		check(t, a.Body.Close())
		if !strings.Contains(string(answer), "hello") || strings.Contains(string(answer), `"usage"`) == stream {
			t.Errorf("answer is %s", answer)
		}
	}
	receipts := func(jobs uint64) func() bool {
		return func() bool {
			c, err := api.Channel(t.Context(), p.Channels()[0].Channel)
			return err == nil && c.Jobs == jobs && c.Spent.Base() == jobs*70
		}
	}
	for i := range 6 {
		ask(i%2 == 1)
	}
	wait(t, "six receipts", receipts(6))
	var status string
	wait(t, "all acks", func() bool {
		var err error
		status, err = do(t, "status", "--dir", dir)
		check(t, err)
		return strings.Contains(status, " 0 statements not acked")
	})
	wantLine(t, "status", status, `offer [0-9a-f]{12} of 1 models at `+endpoint+` until .*, the service has it`)
	wantLine(t, "status", status, `  words: 0\.00000007 IO per 1 tokens`)
	wantLine(t, "status", status, `fees 0\.00000420 IO of 6 jobs in 1 channels; 6 jobs are not sealed`)
	wantLine(t, "status", status, `channel `+p.Channels()[0].Channel.String()+` of renter `)
	doctor, _ := do(t, "doctor", "--dir", dir, "--server", server, "--simulate", "1", "--offer", offer)
	wantLine(t, "doctor", doctor, `ok    offer        1 models at `+endpoint)
	wantLine(t, "doctor", doctor, `ok    back end     http://\S+ answers for model words`)
	wantLine(t, "doctor", doctor, `ok    endpoint     `+endpoint+` is this worker`)
	stop()

	said, stop = start(t, append(args, "--batch-jobs", "4", "--batch-every", "1s", "--metrics", "127.0.0.1:0")...)
	said.waitFor(t, `^serving renters at http://`)
	leadTo(regexp.MustCompile(`(?m)^serving renters at (\S+)$`).FindStringSubmatch(said.String())[1])
	for i := range 6 {
		ask(i%2 == 0)
	}
	wait(t, "batches with all twelve", receipts(12))
	metrics := regexp.MustCompile(`(?m)^metrics (\S+)$`).FindStringSubmatch(said.String())[1]
	resp, err := http.Get(metrics)
	check(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	check(t, err)
	for _, want := range []string{`ionet_meter_fees_base_units_total 420`, `ionet_meter_requests_total{outcome="billed"} 6`, `ionet_meter_units_total{unit="token"} 60`, `ionet_meter_requests_in_flight 0`, `ionet_worker_build_info`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	doctor, _ = do(t, "doctor", "--dir", dir, "--simulate", "1", "--offer", filepath.Join(dir, "none"))
	wantLine(t, "doctor", doctor, `fail  offer        read offer file`)
	stop()
}

// wait waits for something that other processes bring about.
func wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !holds() {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

package client

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// These tests are about answers that the service itself never gives: those of
// balancers, cut connections, other programs. The service's own are tested in web.

var testNetwork = ionet.HashOf([]byte("client test network"))

// answering returns a client of a server that gives these answers in turn, the last
// one again and again, and how often it was asked.
func answering(t *testing.T, answers ...http.HandlerFunc) (*Client, *atomic.Int64) {
	t.Helper()
	asked := &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(asked.Add(1)) - 1
		answers[min(n, len(answers)-1)](w, r)
	}))
	t.Cleanup(server.Close)
	c, err := New(Config{Server: server.URL + "/", Network: testNetwork, Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return c, asked
}

func head(w http.ResponseWriter, _ *http.Request) {
	json.NewEncoder(w).Encode(Head{Epoch: 7, Network: ionet.Key(testNetwork)})
}

func problem(status int, kind, detail string, retry string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", ProblemMediaType+"; charset=utf-8")
		if retry != "" {
			w.Header().Set("Retry-After", retry)
		}
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(Problem{Type: ProblemPrefix + kind, Title: "A title", Status: status, Detail: detail})
	}
}

func html(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		io.WriteString(w, "<html>no</html>")
	}
}

func cut(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	io.WriteString(w, `{"epoch":`)
}

func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func TestRetries(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []http.HandlerFunc
		asked   int64
		want    string // of the error; "" none
	}{
		{"at once", []http.HandlerFunc{head}, 1, ""},
		{"a balancer, then well", []http.HandlerFunc{html(502), html(504), head}, 3, ""},
		{"busy, then well", []http.HandlerFunc{problem(429, Busy, "busy", "0"), head}, 2, ""},
		{"not the leader, then well", []http.HandlerFunc{problem(503, NotLeader, "not the leader", ""), head}, 2, ""},
		{"cut, hung up, then well", []http.HandlerFunc{cut, hangUp, head}, 3, ""},
		{"busy for ever", []http.HandlerFunc{problem(429, Busy, "too much at once", "0")}, 4, "too much at once"},
		{"a balancer for ever", []http.HandlerFunc{html(502)}, 4, "502 Bad Gateway"},
		{"a refusal is final", []http.HandlerFunc{problem(404, NotFound, "nothing here", ""), head}, 1, "nothing here"},
		{"an error of ours is final", []http.HandlerFunc{problem(500, Internal, "our fault", ""), head}, 1, "our fault"},
		{"another program", []http.HandlerFunc{html(404)}, 1, "404 Not Found"},
		{"a page instead of JSON", []http.HandlerFunc{html(200)}, 1, "another form"},
		{"a redirect", []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }}, 0, "redirect"},
	} {
		t.Run(c.name, func(t *testing.T) {
			api, asked := answering(t, c.answers...)
			h, err := api.Head(t.Context())
			if c.want == "" && (err != nil || h.Epoch != 7) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %+v, %v, want %q", h, err, c.want)
			}
			if c.asked > 0 && asked.Load() != c.asked {
				t.Errorf("asked %d times, want %d", asked.Load(), c.asked)
			}
		})
	}
}

func TestRetryEndsWithContext(t *testing.T) {
	api, asked := answering(t, problem(503, Busy, "busy", "3600"))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for asked.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	var p *Problem
	// The call ends in its wait, with the problem, or before it read the answer.
	_, err := api.Head(ctx)
	if waited := errors.As(err, &p) && p.Kind() == Busy; !waited && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the problem that it waits for", err)
	}
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
}

func TestProblem(t *testing.T) {
	api, _ := answering(t, problem(404, BeaconNotReady, "sample 3 has no block", "2"))
	_, err := api.Beacon(t.Context(), 1, 3)
	var p *Problem
	if !errors.As(err, &p) || p.RetryAfter != 2*time.Second || p.Status != 404 || !IsProblem(err, BeaconNotReady) || IsProblem(err, NotFound) {
		t.Errorf("got %v (%+v)", err, p)
	}
	if got, want := p.Error(), "sample 3 has no block (beacon-not-ready)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (&Problem{Type: "about:blank", Title: "A title"}).Error(); got != "A title (about:blank)" {
		t.Errorf("got %q", got)
	}
}

func statements(n int) []Presented {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	list := make([]Presented, n)
	for i := range list {
		list[i].Statement = proofs.Sign(testNetwork, proofs.KindUptime, key, fmt.Append(nil, "body ", i))
	}
	return list
}

// resultsFor answers every statement of the body as accepted, acks aside.
func resultsFor(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var out Results
	for len(body) > 0 {
		e, rest, err := proofs.ParseEnvelope(body)
		if err != nil {
			http.Error(w, err.Error(), 500)
			return
		}
		if body = rest; e.Kind != proofs.KindAck {
			out.Results = append(out.Results, Result{ID: e.ID(), Status: Accepted})
		}
	}
	json.NewEncoder(w).Encode(out)
}

func TestSubmit(t *testing.T) {
	list := statements(3)
	ack := proofs.SignAcks(testNetwork, ed25519.NewKeyFromSeed(make([]byte, 32)), proofs.Arrival{}, []ionet.Hash{list[1].Statement.ID()})[0]
	list[1].Ack = &ack
	var network string
	api, _ := answering(t, func(w http.ResponseWriter, r *http.Request) { network = r.Header.Get(NetworkHeader); resultsFor(w, r) })
	results, err := api.Submit(t.Context(), list)
	if err != nil || len(results) != 3 || results[2].ID != list[2].Statement.ID() {
		t.Errorf("got %v, %v", results, err)
	}
	if network != NetworkText(testNetwork) {
		t.Errorf("header %s is %q", NetworkHeader, network)
	}

	if _, err := api.ForNetwork(ionet.Hash{}).Submit(t.Context(), list); err == nil {
		t.Error("statements of no network are sent")
	}
}

// TestSubmitRefused: the one statement's problem is its result; a problem of many, or one
// that another attempt may mend, is an error.
func TestSubmitRefused(t *testing.T) {
	stale := problem(422, StaleBeacon, "the beacon is old", "")
	api, _ := answering(t, stale)
	results, err := api.Submit(t.Context(), statements(1))
	if err != nil || results[0].Status != Refused || results[0].Problem.Kind() != StaleBeacon || results[0].ID != statements(1)[0].Statement.ID() {
		t.Errorf("one statement: got %+v, %v", results, err)
	}
	if _, err := api.Submit(t.Context(), statements(2)); !IsProblem(err, StaleBeacon) {
		t.Errorf("two statements: got %v", err)
	}
	for name, answer := range map[string]http.HandlerFunc{
		"busy": problem(429, Busy, "busy", ""), "fault": problem(500, Internal, "fault", ""), "balancer": html(404),
	} {
		api, _ := answering(t, answer)
		if results, err := api.Submit(t.Context(), statements(1)); err == nil {
			t.Errorf("%s: got %+v, want an error", name, results)
		}
	}
}

// TestSubmitMismatch: answers to other statements than those sent are no answers.
func TestSubmitMismatch(t *testing.T) {
	list := statements(2)
	for name, out := range map[string]Results{
		"too few": {Results: []Result{{ID: list[0].Statement.ID()}}},
		"swapped": {Results: []Result{{ID: list[1].Statement.ID()}, {ID: list[0].Statement.ID()}}},
	} {
		api, _ := answering(t, func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(out) })
		if _, err := api.Submit(t.Context(), list); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestAnswerTooLarge(t *testing.T) {
	api, _ := answering(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 101)) })
	if _, err := api.do(t.Context(), call{method: "GET", path: "/", limit: 100}); err == nil || !strings.Contains(err.Error(), "more than 100 bytes") {
		t.Errorf("got %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, server := range []string{"", "example.com", "ftp://example.com", "http://", "http://a/?b=c", "http://a/#b", "http://a b"} {
		if _, err := New(Config{Server: server}); err == nil {
			t.Errorf("server %q is accepted", server)
		}
	}
}

// TestSecretsOfURL: what a service's URL may hold as a secret is in no message.
func TestSecretsOfURL(t *testing.T) {
	for server, host := range map[string]string{
		"https://someone:hunter2@a.example/?key=hunter2": "a.example",
		"https://a.example/#hunter2":                     "a.example",
		"someone:hunter2@a.example":                      "",
		"https://someone:hunter2@a.example/%zz":          "",
		"https://someone:hunter2@":                       "",
	} {
		_, err := New(Config{Server: server})
		if err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "someone") || !strings.Contains(err.Error(), host) {
			t.Errorf("server %q: got %v, want an error with host %q alone", server, err, host)
		}
	}
	asked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "someone" || password != "hunter2" || !strings.HasPrefix(r.URL.Path, "/hunter2/") {
			t.Errorf("asked for %s as %s, %s", r.URL, user, password)
		}
		io.WriteString(w, "no network file")
	}))
	host := strings.TrimPrefix(asked.URL, "http://")
	c, err := New(Config{Server: "http://someone:hunter2@" + host + "/hunter2/", Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	says := func(what string) {
		t.Helper()
		_, _, err := c.NetworkFile(t.Context())
		if err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "someone") || !strings.Contains(err.Error(), host) {
			t.Errorf("%s: got %v, want an error with host %s alone", what, err, host)
		}
	}
	says("another file")
	asked.Close()
	says("nobody there")
	if got, want := c.Server(), "http://"+host; got != want {
		t.Errorf("server is %q, want %q", got, want)
	}
}

func TestIDText(t *testing.T) {
	id := ID{1, 2, 255}
	text, err := id.MarshalText()
	var again ID
	if err != nil || again.UnmarshalText(text) != nil || again != id || len(text) != 32 {
		t.Errorf("%s parses to %s", text, again)
	}
	for _, bad := range []string{"", "00", strings.Repeat("0", 31), strings.Repeat("g", 32)} {
		if again.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("id %q is accepted", bad)
		}
	}
}

package rpc

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/localnet"
)

// twoHosts is a client of two endpoints, whose calls play answers, on a clock that the
// test moves.
func twoHosts(t *testing.T, play func(host string) (*http.Response, error)) (c *Client, s *script, clock *atomic.Int64) {
	t.Helper()
	clock = &atomic.Int64{}
	s = &script{play: func(_ int, host, _ string, _ func() (*http.Response, error)) (*http.Response, error) {
		return play(host)
	}}
	c = newClient(t, Config{
		Endpoints: []string{"http://a", "http://b"}, Transport: s, Pause: time.Millisecond, Rounds: 2,
		Now: func() time.Time { return time.Unix(1_800_000_000, clock.Load()) },
	})
	return c, s, clock
}

// asked returns the hosts that were called since the last time.
func (s *script) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var hosts []string
	for _, c := range s.calls {
		host, _, _ := strings.Cut(c, " ")
		hosts = append(hosts, host)
	}
	s.calls = nil
	return hosts
}

func TestReadsPreferTheHealthy(t *testing.T) {
	down := true
	c, s, clock := twoHosts(t, func(host string) (*http.Response, error) {
		if host == "a" && down {
			return reply(503, "<html>"), nil
		}
		return result("890880"), nil
	})
	read := func(want ...string) {
		t.Helper()
		if _, err := c.MinimumRent(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if got := s.asked(); !slices.Equal(got, want) {
			t.Errorf("asked %v, want %v", got, want)
		}
	}
	read("a", "b") // a fails
	read("b")      // and rests
	clock.Add(int64(firstRest))
	read("a", "b") // is tried again, fails again, rests longer
	clock.Add(int64(firstRest))
	read("b")
	h := c.Health()
	if h[0].Host != "a" || h[0].InRow != 2 || !h[0].Resting || h[0].Last == "" || h[1].InRow != 0 || h[1].Resting || h[1].Calls != 4 {
		t.Errorf("health is %+v", h)
	}
	down = false
	clock.Add(int64(longestRest))
	read("a") // comes back by itself
	read("a")
	if h := c.Health(); h[0].InRow != 0 || h[0].Resting {
		t.Errorf("health is %+v", h)
	}
}

// What holds everywhere is asked of every endpoint, however ill.
func TestHealthRemovesNobodyFromEverywhere(t *testing.T) {
	c, s, _ := twoHosts(t, func(host string) (*http.Response, error) {
		if host == "a" {
			return reply(503, ""), nil
		}
		return result(`{"absoluteSlot":9,"blockHeight":8}`), nil
	})
	for range 5 {
		if _, err := c.Heads(t.Context()); err == nil {
			t.Fatal("the heads of all are known without one of them")
		}
		got := s.asked()
		slices.Sort(got)
		if !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("asked %v", got)
		}
	}
}

func TestTooManyRequestsHoldsAllCallers(t *testing.T) {
	for name, header := range map[string][]string{"with Retry-After": {"Retry-After", "3"}, "without": nil} {
		t.Run(name, func(t *testing.T) {
			c, s, clock := twoHosts(t, func(host string) (*http.Response, error) {
				if host == "a" {
					return reply(429, "", header...), nil
				}
				return result("1"), nil
			})
			c.cfg.Pause = 100 * time.Millisecond // a pause is 2.5 s at most
			for range 3 {
				if _, err := c.MinimumRent(t.Context(), 0); err != nil {
					t.Fatal(err)
				}
			}
			if got := s.asked(); !slices.Equal(got, []string{"a", "b", "b", "b"}) {
				t.Errorf("asked %v", got)
			}
			if c.Health()[0].PausedTo.IsZero() {
				t.Error("a is not paused")
			}
			clock.Add(int64(longestRest))
			if _, err := c.MinimumRent(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			if got := s.asked(); !slices.Equal(got, []string{"a", "b"}) {
				t.Errorf("asked %v after the pause", got)
			}
		})
	}
}

// A call that must go to a paused endpoint waits, no longer than its context.
func TestPauseEndsWithContext(t *testing.T) {
	c, _, _ := twoHosts(t, func(string) (*http.Response, error) { return reply(429, "", "Retry-After", "5"), nil })
	c.cfg.Pause = time.Hour
	if _, err := c.Heads(t.Context()); err == nil {
		t.Fatal("429 is an answer")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Heads(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting ends with %v", err)
	}
}

// Which endpoint is behind shows in the slots of answers; it is asked last until it
// told of no slot for a while.
func TestReadsPreferTheNewest(t *testing.T) {
	slots := map[string]string{"a": "1000", "b": "2000"}
	c, s, clock := twoHosts(t, func(host string) (*http.Response, error) {
		return result(`{"context":{"apiVersion":"4.0.0","slot":` + slots[host] + `},"value":[null]}`), nil
	})
	read := func(want ...string) {
		t.Helper()
		if _, _, err := c.Accounts(t.Context(), []ionet.Key{{1}}, Confirmed, 0); err != nil {
			t.Fatal(err)
		}
		if got := s.asked(); !slices.Equal(got, want) {
			t.Errorf("asked %v, want %v", got, want)
		}
	}
	read("a")
	if _, err := c.Everywhere(t.Context(), []ionet.Key{{1}}); err == nil {
		t.Fatal("an account is a head")
	}
	c.endpoints[1].slot, c.endpoints[1].slotAt = 2000, c.cfg.Now()
	s.asked()
	read("b")
	if h := c.Health(); !h[0].Behind || h[1].Behind {
		t.Errorf("health is %+v", h)
	}
	slots["a"] = "2100"
	clock.Add(int64(sameWhile) + 1)
	read("a")
	if h := c.Health(); h[0].Behind {
		t.Errorf("health is %+v", h)
	}
}

func TestContextSlot(t *testing.T) {
	for answer, want := range map[string]uint64{
		`{"context":{"slot":12},"value":1}`:                       12,
		`{"context":{"apiVersion":"3.0.0","slot":345},"value":1}`: 345,
		`{"context":{"apiVersion":"3.0.0"},"value":{"slot":9}}`:   0,
		`{"slot":9}`:          0,
		`null`:                0,
		`{"context":{"slot":`: 0,
	} {
		if got := contextSlot([]byte(answer)); got != want {
			t.Errorf("%s: slot %d, want %d", answer, got, want)
		}
	}
}

func TestRateLimit(t *testing.T) {
	c := newClient(t, Config{
		Endpoints: []string{"http://a"}, Rate: 0.001, Burst: 3, Rounds: 1,
		Transport: &script{play: func(int, string, string, func() (*http.Response, error)) (*http.Response, error) {
			return result("1"), nil
		}},
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	passed := 0
	for range 5 {
		if _, err := c.MinimumRent(ctx, 0); err == nil {
			passed++
		}
	}
	if passed != 3 {
		t.Errorf("%d of 5 calls passed, want the 3 of the burst", passed)
	}
}

// An endpoint that gives a blockhash that nobody else knows, or a life that none has,
// is passed over.
func TestBlockhashNeedsSecondOpinion(t *testing.T) {
	front, err := node.Front(localnet.FrontConfig{})
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, Config{Endpoints: []string{front.URL(), node.URL()}, Pause: time.Millisecond})
	invented := solana.Hash{1, 2, 3}
	if err := front.SetView(localnet.View{Lies: localnet.Lies{Blockhash: &invented}}); err != nil {
		t.Fatal(err)
	}
	b, err := c.LatestBlockhash(t.Context())
	if err != nil || b.Hash == ionet.Key(invented) {
		t.Errorf("blockhash is %v, %v", b, err)
	}
	if err := front.SetView(localnet.View{Lies: localnet.Lies{Ahead: 100_000}}); err != nil {
		t.Fatal(err)
	}
	head, err := newClient(t, Config{}).FinalizedHead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if b, err = c.LatestBlockhash(t.Context()); err != nil || b.LastValidHeight > head.BlockHeight+2*blocksOfLife {
		t.Errorf("blockhash is %v at height %d, %v", b, head.BlockHeight, err)
	}
}

// A hint comes after an account changed, also when the connection was lost before.
func TestWatch(t *testing.T) {
	front, err := node.Front(localnet.FrontConfig{})
	if err != nil {
		t.Fatal(err)
	}
	key := wallet(t)
	account := chain.PublicOf(key)
	c := newClient(t, Config{Endpoints: []string{front.URL()}})
	ctx, cancel := context.WithCancel(t.Context())
	hints := c.Watch(ctx, []ionet.Key{account})
	change := func() {
		t.Helper()
		for {
			if _, err := node.Airdrop(solana.PublicKey(account), 1000); err != nil {
				t.Fatal(err)
			}
			select {
			case <-hints:
				return
			case <-time.After(300 * time.Millisecond): // not subscribed yet, or the notice was lost
			case <-t.Context().Done():
				t.Fatal("no hint")
			}
		}
	}
	change()
	if err := front.Down(); err != nil {
		t.Fatal(err)
	}
	if err := front.Up(); err != nil {
		t.Fatal(err)
	}
	for len(hints) > 0 {
		<-hints
	}
	change()
	cancel()
	for range hints { // is closed
	}
}

func TestWatchURL(t *testing.T) {
	for endpoint, want := range map[string]string{
		"http://127.0.0.1:8899":               "ws://127.0.0.1:8900",
		"http://[::1]:8899/x":                 "ws://[::1]:8900/x",
		"https://rpc.example/key?api=1":       "wss://rpc.example/key?api=1",
		"https://rpc.example:8443":            "wss://rpc.example:8443",
		"http://rpc.example":                  "ws://rpc.example",
		"https://api.mainnet-beta.solana.com": "wss://api.mainnet-beta.solana.com",
	} {
		if got := watchURL(endpoint); got != want {
			t.Errorf("%s: %s, want %s", endpoint, got, want)
		}
	}
}

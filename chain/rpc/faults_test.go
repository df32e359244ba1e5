package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// script is an http.RoundTripper that answers a call as the test says; forward
// carries it to the local chain. calls holds "host method" of each.
type script struct {
	mu    sync.Mutex
	calls []string
	play  func(n int, host, method string, forward func() (*http.Response, error)) (*http.Response, error)
}

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	var r request
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.calls = append(s.calls, req.URL.Host+" "+r.Method)
	n := len(s.calls)
	s.mu.Unlock()
	return s.play(n, req.URL.Host, r.Method, func() (*http.Response, error) {
		again, err := http.NewRequestWithContext(req.Context(), http.MethodPost, node.URL(), bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		again.Header = req.Header
		return http.DefaultTransport.RoundTrip(again)
	})
}

func reply(status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

func result(value string) *http.Response {
	return reply(200, `{"jsonrpc":"2.0","id":1,"result":`+value+`}`)
}

func refusal(code int, data string) *http.Response {
	return reply(200, fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"error":{"code":%d,"message":"m","data":%s}}`, code, data))
}

// faults are the ways in which an endpoint does not answer.
var faults = map[string]func(forward func() (*http.Response, error)) (*http.Response, error){
	"lost": func(func() (*http.Response, error)) (*http.Response, error) {
		return nil, errors.New("connection refused")
	},
	"unheard": func(forward func() (*http.Response, error)) (*http.Response, error) {
		if resp, err := forward(); err == nil {
			resp.Body.Close()
		}
		return nil, errors.New("connection reset")
	},
	"html": func(func() (*http.Response, error)) (*http.Response, error) {
		return reply(200, "<html>busy</html>"), nil
	},
	"html 502": func(func() (*http.Response, error)) (*http.Response, error) {
		return reply(502, "<html>bad gateway</html>"), nil
	},
	"empty": func(func() (*http.Response, error)) (*http.Response, error) { return reply(200, ""), nil },
	"429":   func(func() (*http.Response, error)) (*http.Response, error) { return reply(429, "slow down"), nil },
	"429 with after": func(func() (*http.Response, error)) (*http.Response, error) {
		return reply(429, "", "Retry-After", "0"), nil
	},
	"cut json": func(func() (*http.Response, error)) (*http.Response, error) {
		return reply(200, `{"jsonrpc":"2.0","id":1,"resu`), nil
	},
	"null result": func(func() (*http.Response, error)) (*http.Response, error) {
		return reply(200, `{"jsonrpc":"2.0","id":1}`), nil
	},
	"foreign id": func(func() (*http.Response, error)) (*http.Response, error) {
		return reply(200, `{"jsonrpc":"2.0","id":2,"result":1}`), nil
	},
	"other form": func(func() (*http.Response, error)) (*http.Response, error) { return result(`"text"`), nil },
	"cut body": func(func() (*http.Response, error)) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(io.MultiReader(strings.NewReader(`{"jsonrpc"`), brokenReader{}))}, nil
	},
	"unhealthy": func(func() (*http.Response, error)) (*http.Response, error) {
		return refusal(codeUnhealthy, `{"numSlotsBehind":42}`), nil
	},
	"too long": func(func() (*http.Response, error)) (*http.Response, error) {
		return result(`"` + strings.Repeat("x", 1<<20) + `"`), nil
	},
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func faultyClient(t *testing.T, s *script, endpoints ...string) *Client {
	t.Helper()
	return newClient(t, Config{Endpoints: endpoints, Transport: s, Pause: time.Millisecond, Timeout: 2 * time.Second, MaxBody: 1 << 19})
}

// A read survives any fault of one call, at one endpoint or at the first of two.
func TestReadsSurviveFaults(t *testing.T) {
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			s := &script{play: func(n int, _, _ string, forward func() (*http.Response, error)) (*http.Response, error) {
				if n == 1 {
					return fault(forward)
				}
				return forward()
			}}
			head, err := faultyClient(t, s, "http://one").FinalizedHead(context.Background())
			if err != nil || head.Slot == 0 {
				t.Errorf("one endpoint: got %+v, %v", head, err)
			}
			s.calls = nil
			if _, err := faultyClient(t, s, "http://one", "http://two").FinalizedHead(context.Background()); err != nil {
				t.Errorf("two endpoints: %v", err)
			}
			if want := []string{"one getEpochInfo", "two getEpochInfo"}; !slices.Equal(s.calls, want) {
				t.Errorf("calls: got %v, want %v", s.calls, want)
			}
		})
	}
}

// The outcome of a send is unknown whatever fault the answer has; it is never
// repeated at the same endpoint.
func TestSendFaultsAreUnknown(t *testing.T) {
	for name, fault := range faults {
		if name == "other form" { // taken, and the name it gives is not used
			continue
		}
		t.Run(name, func(t *testing.T) {
			s := &script{play: func(_ int, _, _ string, forward func() (*http.Response, error)) (*http.Response, error) {
				return fault(func() (*http.Response, error) { return result(`"x"`), nil })
			}}
			err := faultyClient(t, s, "http://one").Send(context.Background(), []byte{1}, SendOptions{})
			var unknown *UnknownError
			if !errors.As(err, &unknown) || len(s.calls) != 1 {
				t.Errorf("got %v after %v, want *UnknownError after one call", err, s.calls)
			}
		})
	}
}

// The transaction lands although nobody hears of it; a second endpoint then
// refuses the copy, which says nothing about the outcome.
func TestSendLandedButUnheard(t *testing.T) {
	c, key := newClient(t, Config{}), wallet(t)
	tx, hash, mint := mintTransaction(t, c, key, "unheard")
	s := &script{play: func(_ int, host, _ string, forward func() (*http.Response, error)) (*http.Response, error) {
		if host == "one" {
			return faults["unheard"](forward)
		}
		return refusal(codePreflight, `{"err":{"InstructionError":[3,{"Custom":0}]},"logs":[]}`), nil
	}}
	err := faultyClient(t, s, "http://one", "http://two").Send(context.Background(), tx, SendOptions{MinContextSlot: hash.ContextSlot})
	var unknown *UnknownError
	if !errors.As(err, &unknown) {
		t.Errorf("got %v, want *UnknownError", err)
	}
	awaitFinalized(t, c, mint)
}

// An endpoint that takes transactions and drops them in silence stands before an
// honest one: resending reaches both, so the transaction lands.
func TestResendPassesAnEndpointThatDrops(t *testing.T) {
	c, key := newClient(t, Config{}), wallet(t)
	tx, hash, mint := mintTransaction(t, c, key, "dropped")
	s := &script{play: func(_ int, host, _ string, forward func() (*http.Response, error)) (*http.Response, error) {
		if host == "one" {
			return result(`"sig"`), nil
		}
		return forward()
	}}
	two := faultyClient(t, s, "http://one", "http://two")
	if err := two.Send(context.Background(), tx, SendOptions{MinContextSlot: hash.ContextSlot}); err != nil {
		t.Fatal(err)
	}
	if err := two.Resend(context.Background(), tx, hash.ContextSlot); err != nil {
		t.Fatal(err)
	}
	awaitFinalized(t, c, mint)
}

func TestSendOutcomes(t *testing.T) {
	var refused *PreflightError
	var unknown *UnknownError
	for name, c := range map[string]struct {
		answer *http.Response
		want   func(error) bool
	}{
		"taken":     {result(`"sig"`), func(err error) bool { return err == nil }},
		"blockhash": {refusal(codePreflight, `{"err":"BlockhashNotFound","logs":[]}`), func(err error) bool { return errors.Is(err, ErrBlockhashNotFound) }},
		"processed": {refusal(codePreflight, `{"err":"AlreadyProcessed"}`), func(err error) bool { return errors.Is(err, ErrAlreadyProcessed) }},
		"custom": {refusal(codePreflight, `{"err":{"InstructionError":[2,{"Custom":17}]},"logs":["a"]}`), func(err error) bool {
			return errors.As(err, &refused) && refused.Err.Instruction == 2 && *refused.Err.Custom == 17
		}},
		"reason":            {refusal(codePreflight, `{"err":{"InstructionError":[0,"InvalidAccountData"]}}`), func(err error) bool { return errors.As(err, &refused) && refused.Err.Reason == "InvalidAccountData" }},
		"with detail":       {refusal(codePreflight, `{"err":{"InsufficientFundsForRent":{"account_index":0}}}`), func(err error) bool { return errors.As(err, &refused) && refused.Err.Instruction == -1 }},
		"preflight no data": {refusal(codePreflight, `null`), func(err error) bool { return errors.As(err, &unknown) }},
		"preflight odd":     {refusal(codePreflight, `{"err":[1]}`), func(err error) bool { return errors.As(err, &unknown) }},
		"node behind":       {refusal(codeMinContextSlot, `{"contextSlot":1}`), func(err error) bool { return errors.As(err, &unknown) }},
		"internal":          {refusal(codeInternal, `null`), func(err error) bool { return errors.As(err, &unknown) }},
	} {
		s := &script{play: func(int, string, string, func() (*http.Response, error)) (*http.Response, error) {
			return c.answer, nil
		}}
		if err := faultyClient(t, s, "http://one").Send(context.Background(), []byte{1}, SendOptions{}); !c.want(err) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestHungEndpoint(t *testing.T) {
	hung := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-hung:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(hung)
	c := newClient(t, Config{Endpoints: []string{server.URL, node.URL()}, Timeout: 50 * time.Millisecond})
	if _, err := c.FinalizedHead(context.Background()); err != nil {
		t.Errorf("read past a hung endpoint: %v", err)
	}
	if _, err := c.Everywhere(context.Background(), []ionet.Key{{1}}); err == nil {
		t.Error("Everywhere with a hung endpoint gives an answer")
	}
	if _, err := c.Heads(context.Background()); err == nil {
		t.Error("Heads with a hung endpoint gives an answer")
	}
	if _, err := c.GenesisHash(context.Background()); err == nil {
		t.Error("GenesisHash with a hung endpoint gives an answer")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.FinalizedHead(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("read after cancel: got %v, want context.Canceled", err)
	}
}

// An RPC error of the request itself is final: no retry hides it.
func TestRefusalsAreNotRetried(t *testing.T) {
	s := &script{play: func(int, string, string, func() (*http.Response, error)) (*http.Response, error) {
		return refusal(-32602, `null`), nil
	}}
	_, err := faultyClient(t, s, "http://one", "http://two").MinimumRent(context.Background(), 82)
	var node *Error
	if !errors.As(err, &node) || node.Code != -32602 || len(s.calls) != 1 {
		t.Errorf("got %v after %v, want the refusal after one call", err, s.calls)
	}
}

func TestErrorsHideEndpointSecrets(t *testing.T) {
	for name, fault := range faults {
		s := &script{play: func(int, string, string, func() (*http.Response, error)) (*http.Response, error) {
			return fault(func() (*http.Response, error) { return result(`1`), nil })
		}}
		c := faultyClient(t, s, "https://host/v2/topsecret?api-key=topsecret")
		_, err := c.FinalizedHead(context.Background())
		if err == nil || strings.Contains(err.Error(), "topsecret") || !strings.Contains(err.Error(), "host") {
			t.Errorf("%s: got %v, want an error that names the host and no key", name, err)
		}
	}
	if _, err := New(Config{Endpoints: []string{"ftp://host/topsecret"}}); err == nil || strings.Contains(err.Error(), "topsecret") {
		t.Errorf("New: got %v", err)
	}
}

// A balancer that gives an older state than asked for is not believed.
func TestOldAnswersAreRefused(t *testing.T) {
	s := &script{play: func(int, string, string, func() (*http.Response, error)) (*http.Response, error) {
		return result(`{"context":{"slot":9},"value":[null]}`), nil
	}}
	c := faultyClient(t, s, "http://one")
	if _, _, err := c.Accounts(context.Background(), []ionet.Key{{1}}, Finalized, 10); err == nil {
		t.Error("an answer of slot 9 is accepted for minContextSlot 10")
	}
	if list, slot, err := c.Accounts(context.Background(), []ionet.Key{{1}}, Finalized, 9); err != nil || slot != 9 || list[0].Exists() {
		t.Errorf("slot 9: got %v, %d, %v", list, slot, err)
	}
	if _, _, err := c.Accounts(context.Background(), []ionet.Key{{1}, {2}}, Finalized, 0); err == nil {
		t.Error("one account is accepted for two keys")
	}
}

// laneAnswer is a lane account with that authority.
func laneAnswer(slot uint64, authority ionet.Key) *http.Response {
	data := slices.Concat([]byte{1, 0, 0, 0}, authority[:], make([]byte, 8), []byte{0, 1}, make([]byte, 36))
	value, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	return result(fmt.Sprintf(`{"context":{"slot":%d},"value":[{"lamports":1,"owner":"%s","data":[%s,"base64"]}]}`, slot, chain.TokenProgram(), value))
}

// The dead rule, case by case: height and lane of two endpoints.
func TestCheckDead(t *testing.T) {
	from, other := ionet.Key{1}, ionet.Key{2}
	const last = 1000
	type view struct {
		height uint64
		slot   uint64 // of the accounts' answer; the head's is 5000
		lane   ionet.Key
		fault  string
	}
	for name, c := range map[string]struct {
		one, two view
		want     error // nil: dead; errAny: some error
	}{
		"both past":               {view{1001, 5000, from, ""}, view{1002, 5001, from, ""}, nil},
		"one at the last height":  {view{1001, 5000, from, ""}, view{1000, 5000, from, ""}, ErrAlive},
		"one far behind":          {view{1001, 5000, from, ""}, view{1, 5000, from, ""}, ErrAlive},
		"lane passed at one":      {view{1001, 5000, from, ""}, view{1001, 5000, other, ""}, ErrPassed},
		"passed and not past":     {view{900, 5000, other, ""}, view{900, 5000, other, ""}, ErrPassed},
		"state older than height": {view{1001, 5000, from, ""}, view{1001, 4999, from, ""}, errAny},
		"one does not answer":     {view{1001, 5000, from, ""}, view{1001, 5000, from, "lost"}, errAny},
		"one is unhealthy":        {view{1001, 5000, from, "unhealthy"}, view{1001, 5000, from, ""}, errAny},
		"one limits":              {view{1001, 5000, from, "429"}, view{1001, 5000, from, ""}, errAny},
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{play: func(_ int, host, method string, forward func() (*http.Response, error)) (*http.Response, error) {
				v := c.one
				if host == "two" {
					v = c.two
				}
				if method == "getEpochInfo" {
					return result(fmt.Sprintf(`{"absoluteSlot":5000,"blockHeight":%d}`, v.height)), nil
				}
				if v.fault != "" {
					return faults[v.fault](forward)
				}
				return laneAnswer(v.slot, v.lane), nil
			}}
			err := faultyClient(t, s, "http://one", "http://two").CheckDead(context.Background(), ionet.Key{9}, from, last)
			switch {
			case c.want == nil && err != nil, c.want == errAny && err == nil, c.want != nil && c.want != errAny && !errors.Is(err, c.want):
				t.Errorf("got %v, want %v", err, c.want)
			case c.want == errAny && (errors.Is(err, ErrAlive) || errors.Is(err, ErrPassed)):
				t.Errorf("got %v, want neither alive nor passed", err)
			}
		})
	}
}

var errAny = errors.New("any error")

func TestGenesisHashMustAgree(t *testing.T) {
	s := &script{play: func(_ int, host, _ string, _ func() (*http.Response, error)) (*http.Response, error) {
		return result(`"` + ionet.Key{host[0]}.String() + `"`), nil
	}}
	if _, err := faultyClient(t, s, "http://one", "http://two").GenesisHash(context.Background()); err == nil {
		t.Error("two clusters are accepted as one")
	}
}

func FuzzTransactionError(f *testing.F) {
	for _, s := range []string{`"A"`, `{"InstructionError":[0,{"Custom":4}]}`, `{"InstructionError":[1,"B"]}`, `{"C":{"account_index":0}}`, `{"InstructionError":[1,{"BorshIoError":"x"}]}`, `[]`, `null`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var e TransactionError
		if json.Unmarshal(b, &e) == nil && e.Error() == "" {
			t.Error("an error without text")
		}
	})
}

func FuzzParseAnswer(f *testing.F) {
	f.Add(200, []byte(`{"jsonrpc":"2.0","id":1,"result":{"context":{"slot":1},"value":[]}}`))
	f.Add(200, []byte(`{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}`))
	f.Add(503, []byte(`<html>`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		var out withContext[[]*accountJSON]
		_, err := parseAnswer(reply(status, ""), body, &out)
		var node *Error
		var transport *TransportError
		if err != nil && !errors.As(err, &node) && !errors.As(err, &transport) {
			t.Errorf("error %v is of neither class", err)
		}
	})
}

package wires

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// Refusal is an error of an RPC endpoint: one of those that endpoints really give.
type Refusal int

// Refusals, each without any effect.
const (
	Unavailable Refusal = iota // 503 with a page of HTML
	TooMany                    // 429 without Retry-After
	Behind                     // JSON-RPC error -32005, node is behind
	CutShort                   // an answer that ends in the middle
	refusals
)

// RefusalOf picks one of all refusals by a number.
func RefusalOf(n int) Refusal { return Refusal(n % int(refusals)) }

func (r Refusal) answer() (status int, body string) {
	switch r {
	case Unavailable:
		return http.StatusServiceUnavailable, "<html><body>503 Service Temporarily Unavailable</body></html>"
	case TooMany:
		return http.StatusTooManyRequests, "too many requests"
	case Behind:
		return http.StatusOK, `{"jsonrpc":"2.0","id":1,"error":{"code":-32005,"message":"Node is behind by 42 slots","data":{"numSlotsBehind":42}}}`
	}
	return http.StatusOK, `{"jsonrpc":"2.0","id":1,"resu`
}

// RoundTrip is http.RoundTripper: each request is a call of the chain.
func (w *Wires) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var call struct {
		Method string
		Params []json.RawMessage
	}
	if err := json.Unmarshal(body, &call); err != nil {
		return nil, fmt.Errorf("read a call of the chain: %w", err)
	}
	w.mu.Lock()
	drop, hook, mute, twist := w.drop && call.Method == "sendTransaction", w.hook, w.mute != "" && w.mute == call.Method, w.twist
	counted := call.Method == "sendTransaction"
	if w.counts != nil {
		counted = w.counts(call.Method)
	}
	w.mu.Unlock()
	if mute {
		return nil, ErrCut
	}
	if hook != nil {
		hook(call.Method)
	}
	m := met{outcome: Pass}
	if counted {
		m = w.step("rpc " + call.Method)
	} else if w.IsCut() {
		m.outcome = Lost
	}
	if drop && m.outcome != Lost {
		// The fault may have begun to drop just now, so it is asked for below too.
		return w.forget(r, call.Params, m)
	}
	switch m.outcome {
	case Lost:
		return nil, ErrCut
	case Refused:
		status, text := m.refusal.answer()
		return answer(r, status, text), nil
	}
	if w.dropsNow(call.Method) {
		return w.forget(r, call.Params, m)
	}
	return w.forward(r, body, call.Method, m, twist)
}

func (w *Wires) dropsNow(method string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.drop && method == "sendTransaction"
}

// forget answers as a node does that accepts a transaction and forgets it.
func (w *Wires) forget(r *http.Request, params []json.RawMessage, m met) (*http.Response, error) {
	var text string
	if len(params) > 0 && json.Unmarshal(params[0], &text) == nil {
		if tx, err := base64.StdEncoding.DecodeString(text); err == nil {
			w.mu.Lock()
			if !slices.ContainsFunc(w.dropped, func(b []byte) bool { return bytes.Equal(b, tx) }) {
				w.dropped = append(w.dropped, tx)
			}
			w.mu.Unlock()
		}
	}
	if m.after != nil {
		m.after()
	}
	if m.outcome == Unheard {
		return nil, fmt.Errorf("%w after sendTransaction", ErrCut)
	}
	return answer(r, http.StatusOK, `{"jsonrpc":"2.0","id":1,"result":"forgotten"}`), nil
}

func (w *Wires) forward(r *http.Request, body []byte, method string, m met, twist func(string, string, []byte) []byte) (*http.Response, error) {
	again := r.Clone(r.Context())
	again.Body = io.NopCloser(bytes.NewReader(body))
	resp, err := http.DefaultTransport.RoundTrip(again)
	if err != nil {
		return nil, err
	}
	if m.after != nil || m.outcome == Unheard || twist != nil {
		heard, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return nil, err
		}
		if m.after != nil {
			m.after()
		}
		if m.outcome == Unheard {
			return nil, fmt.Errorf("%w after %s", ErrCut, method)
		}
		if twist != nil {
			heard = twist(method, r.URL.String(), heard)
		}
		resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(heard)), int64(len(heard))
	}
	return resp, nil
}

func answer(r *http.Request, status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}
}

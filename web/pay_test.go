package web

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
)

// What a wallet meets at the doors of Solana Pay: every answer can be read from any
// origin, and a refusal has the word that wallets show. The way of a claim that is paid
// is cmd/ionet's test.
func TestPayDoors(t *testing.T) {
	h := open(t)
	call := func(method, path, body string, head ...string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, h.url+path, strings.NewReader(body))
		check(t, err)
		for i := 0; i < len(head); i += 2 {
			req.Header.Set(head[i], head[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		check(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		check(t, err)
		return resp, string(b)
	}
	wallet := chain.PublicOf(keyOf("nobody")).String()
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"preflight", http.MethodOptions, "/v1/pay/claim", "", http.StatusNoContent, ""},
		{"label", http.MethodGet, "/v1/pay/claim", "", http.StatusOK, `"label":"doors settlement"`},
		{"icon", http.MethodGet, "/v1/pay/icon.svg", "", http.StatusOK, "<svg "},
		{"another method", http.MethodPut, "/v1/pay/claim", "", http.StatusMethodNotAllowed, client.WrongMethod},
		{"another path", http.MethodGet, "/v1/pay/nothing", "", http.StatusNotFound, client.NotFound},
		{"no JSON", http.MethodPost, "/v1/pay/claim", "account", http.StatusBadRequest, client.MalformedJSON},
		{"no account", http.MethodPost, "/v1/pay/claim", "{}", http.StatusBadRequest, client.MalformedJSON},
		{"an account that is none", http.MethodPost, "/v1/pay/claim", `{"account":"x"}`, http.StatusBadRequest, client.MalformedJSON},
		{"not ready yet", http.MethodPost, "/v1/pay/claim", `{"account":"` + wallet + `"}`, http.StatusServiceUnavailable, client.NotLeader},
		{"a weak key", http.MethodPost, "/v1/pay/claim", `{"account":"11111111111111111111111111111111"}`, http.StatusUnprocessableEntity, client.WeakKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, body := call(c.method, c.path, c.body, "Content-Type", "application/json", "Origin", "https://wallet.example")
			if resp.StatusCode != c.status || !strings.Contains(body, c.want) {
				t.Errorf("got %s %s, want %d and %q", resp.Status, body, c.status, c.want)
			}
			if got := resp.Header.Get("Access-Control-Allow-Origin"); got != "*" {
				t.Errorf("allowed origin is %q", got)
			}
		})
	}

	// A wallet shows "message"; it is the detail.
	_, body := call(http.MethodPost, "/v1/pay/claim", `{"account":"`+wallet+`"}`, "Content-Type", "application/json")
	var p client.Problem
	check(t, json.Unmarshal([]byte(body), &p))
	if p.Message == "" || p.Message != p.Detail {
		t.Errorf("message %q is not the detail %q", p.Message, p.Detail)
	}

	// Behind a proxy that ends TLS the icon is asked for by https.
	_, body = call(http.MethodGet, "/v1/pay/claim", "", "X-Forwarded-Proto", "https")
	var l client.PayLabel
	check(t, json.Unmarshal([]byte(body), &l))
	if want := "https" + strings.TrimPrefix(h.url, "http") + "/v1/pay/icon.svg"; l.Icon != want {
		t.Errorf("icon is at %s, want %s", l.Icon, want)
	}

	// Elsewhere nothing is opened to other origins.
	resp, _ := call(http.MethodOptions, "/v1/claims", "")
	if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("OPTIONS of /v1/claims: %s, origin %q", resp.Status, resp.Header.Get("Access-Control-Allow-Origin"))
	}
}

package meter

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet/client"
)

// TestServe pays for each kind of request.
func TestServe(t *testing.T) {
	r := newRig(t, nil)
	p := r.newPayer(100_000)
	spent := uint64(0)
	for _, c := range []struct {
		name, path, body string
		fee              uint64
	}{
		{"chat", "", chatBody, 30},
		{"completion", "/v1/completions", `{"model":"chat","prompt":"x","max_tokens":5}`, 30},
		{"embedding", "/v1/embeddings", `{"model":"chat","input":["a","b"]}`, 15},
		{"image", "/v1/images/generations", `{"model":"pictures","prompt":"cat","n":2}`, 1000},
		{"one image", "/v1/images/generations", `{"model":"pictures","prompt":"cat"}`, 500},
		{"by time", "", `{"model":"by-time","messages":[]}`, 70},
		{"by request", "", `{"model":"by-request","messages":[]}`, 11},
		{"stream", "", `{"model":"chat","messages":[],"stream":true,"max_tokens":9}`, 30},
		{"stream by request", "", `{"model":"by-request","messages":[],"stream":true}`, 11},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := p.send(try{path: c.path, body: c.body, covers: spent + 10_000})
			if g.status != http.StatusOK || g.job == nil {
				t.Fatalf("answer %d %s, %v", g.status, g.body, g.problem)
			}
			if g.job.Fee.Base() != c.fee || g.job.Before.Base() != spent {
				t.Errorf("before %s fee %s, want %d and %d", g.job.Before, g.job.Fee, spent, c.fee)
			}
			spent += c.fee
		})
	}
	if s := p.state(); s.Spent.Base() != spent || s.Jobs != 9 || !s.Running.IsZero() {
		t.Errorf("channel is %+v, want %d spent", s, spent)
	}
	for _, h := range r.back.seen {
		for name := range h {
			if strings.HasPrefix(name, "Ionet-") {
				t.Errorf("the back end got %s", name)
			}
		}
		if name := h.Get("Authorization"); name != "" && name != "Bearer back-end-secret" {
			t.Errorf("the back end got authorization %q", name)
		}
	}
	if got := r.back.got[0]["model"]; got != "org/Chat-7B" {
		t.Errorf("the back end was asked for %q", got)
	}
}

// TestVoucherNeeded: what is not covered is not served, and the answer says what would be.
func TestVoucherNeeded(t *testing.T) {
	r := newRig(t, nil)
	p := r.newPayer(100_000)
	g := p.send(try{covers: 10})
	if g.status != http.StatusPaymentRequired || g.problem.Kind() != client.VoucherNeeded || g.problem.Required == nil || len(g.problem.Offer) == 0 {
		t.Fatalf("answer %d %+v", g.status, g.problem)
	}
	if r.back.calls.Load() != 0 {
		t.Error("the back end was asked")
	}
	need := g.problem.Required.Base()
	if g = p.send(try{covers: need - 1}); g.status != http.StatusPaymentRequired {
		t.Errorf("one less than needed: %d", g.status)
	}
	if g = p.send(try{covers: need}); g.status != http.StatusOK || g.job == nil {
		t.Errorf("what is needed: %d %v", g.status, g.problem)
	}
	// No headers at all: the offer.
	g = p.send(try{covers: 1, change: func(r *http.Request) { r.Header.Del(client.VoucherHeader) }})
	if g.status != http.StatusPaymentRequired || len(g.problem.Offer) == 0 {
		t.Errorf("without a voucher: %d %+v", g.status, g.problem)
	}
}

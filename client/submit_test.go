package client

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// A service that asks for more patience than a call has is asked once, and the caller
// learns how long; one that asks for little is asked again.
func TestRetryAfter(t *testing.T) {
	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	for _, c := range []struct {
		name, header string
		asked        int64
		from, to     time.Duration
	}{
		{"seconds", "7", 1, 7 * time.Second, 7 * time.Second},
		{"a day", "86400", 1, 24 * time.Hour, 24 * time.Hour},
		{"a date", in(time.Hour), 1, 59 * time.Minute, time.Hour},
		{"a date that is over", in(-time.Hour), 4, 0, 0},
		{"none", "", 4, 0, 0},
		{"nonsense", "soon", 4, 0, 0},
		{"before now", "-5", 4, 0, 0},
		{"beyond all time", "99999999999999999999", 4, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			api, asked := answering(t, problem(429, Busy, "busy", c.header))
			_, err := api.Submit(t.Context(), statements(2))
			var p *Problem
			if !errors.As(err, &p) || p.RetryAfter < c.from || p.RetryAfter > c.to || asked.Load() != c.asked {
				t.Errorf("asked %d times, got %v after %s; want %d times, %s to %s", asked.Load(), err, p.RetryAfter, c.asked, c.from, c.to)
			}
		})
	}
}

// What a problem says of patience comes through in a result too, in whole seconds.
func TestProblemInResult(t *testing.T) {
	b, err := json.Marshal(Problem{Type: ProblemPrefix + RateLimited, Title: "t", Status: 429, RetryAfter: 1500 * time.Millisecond})
	if err != nil || !strings.Contains(string(b), `"retry_after":2}`) {
		t.Errorf("got %s, %v", b, err)
	}
	if b, _ = json.Marshal(Problem{Title: "t"}); strings.Contains(string(b), "retry_after") {
		t.Errorf("got %s", b)
	}
	for text, want := range map[string]time.Duration{`{"retry_after":2}`: 2 * time.Second, `{"retry_after":-2}`: 0, `{"retry_after":9000000000000000000}`: 365 * 24 * time.Hour, `{}`: 0} {
		var p Problem
		if err := json.Unmarshal([]byte(text), &p); err != nil || p.RetryAfter != want {
			t.Errorf("%s is %s, %v", text, p.RetryAfter, err)
		}
	}
}

// A service, or what stands before it, that takes nothing compressed gets it as it is,
// and is not tried again.
func TestCompressionRefused(t *testing.T) {
	list := statements(400)
	var codings []string
	refuse := func(w http.ResponseWriter, r *http.Request) {
		if codings = append(codings, r.Header.Get("Content-Encoding")); r.Header.Get("Content-Encoding") != "" {
			problem(415, WrongMediaType, "no", "")(w, r)
			return
		}
		resultsFor(w, r)
	}
	api, _ := answering(t, refuse)
	for range 2 {
		if results, err := api.Submit(t.Context(), list); err != nil || len(results) != len(list) {
			t.Fatalf("%d results, %v", len(results), err)
		}
	}
	if got := strings.Join(codings, ","); got != "zstd,," {
		t.Errorf("codings %q", got)
	}
	api, _ = answering(t, func(w http.ResponseWriter, r *http.Request) {
		d, err := zstd.NewReader(r.Body, zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil || r.Header.Get("Content-Encoding") != "zstd" {
			html(500)(w, r)
			return
		}
		r.Body = io.NopCloser(d)
		resultsFor(w, r)
	})
	if results, err := api.Submit(t.Context(), list); err != nil || len(results) != len(list) {
		t.Errorf("compressed: %d results, %v", len(results), err)
	}
}

// A service that is short of decoders, or takes nothing that is compressed so much, gets
// that body as it is, at once; the next one comes compressed again.
func TestCompressionRefusedForNow(t *testing.T) {
	list := statements(400)
	for _, refused := range []Problem{
		{Type: ProblemPrefix + Busy, Status: 429, Field: codingField, RetryAfter: time.Hour},
		{Type: ProblemPrefix + BodyTooLarge, Status: 413, Field: codingField},
	} {
		var codings []string
		api, asked := answering(t, func(w http.ResponseWriter, r *http.Request) {
			if codings = append(codings, r.Header.Get("Content-Encoding")); r.Header.Get("Content-Encoding") == "" {
				resultsFor(w, r)
				return
			}
			w.Header().Set("Content-Type", ProblemMediaType)
			w.WriteHeader(refused.Status)
			json.NewEncoder(w).Encode(refused)
		})
		for range 2 {
			if results, err := api.Submit(t.Context(), list); err != nil || len(results) != len(list) {
				t.Fatalf("%d results, %v", len(results), err)
			}
		}
		if got := strings.Join(codings, ","); got != "zstd,,zstd," || asked.Load() != 4 {
			t.Errorf("after %d the codings are %q", refused.Status, got)
		}
	}
	// Who is refused for another reason asks again as it asked before.
	var codings []string
	api, _ := answering(t, func(w http.ResponseWriter, r *http.Request) {
		codings = append(codings, r.Header.Get("Content-Encoding"))
		problem(429, Busy, "too many statements", "")(w, r)
	})
	if _, err := api.Submit(t.Context(), list); !IsProblem(err, Busy) || strings.Join(codings, ",") != "zstd,zstd,zstd,zstd" {
		t.Errorf("%v after codings %q", err, codings)
	}
}

// A service that read no further says so, and what it answered before is not lost.
func TestSubmitInPart(t *testing.T) {
	list := statements(3)
	part := func(n int, p *Problem) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			out := Results{Problem: p}
			for i := range n {
				out.Results = append(out.Results, Result{ID: list[i].Statement.ID(), Status: Accepted})
			}
			json.NewEncoder(w).Encode(out)
		}
	}
	slow := &Problem{Type: ProblemPrefix + SlowBody, Status: 408, Detail: "too slow"}
	api, _ := answering(t, part(2, slow))
	if results, err := api.Submit(t.Context(), list); len(results) != 2 || !IsProblem(err, SlowBody) {
		t.Errorf("%d results, %v", len(results), err)
	}
	api, _ = answering(t, part(2, nil))
	if results, err := api.Submit(t.Context(), list); len(results) != 0 || err == nil {
		t.Errorf("too few without a word: %d results, %v", len(results), err)
	}
	list = append(list, list...)
	api, _ = answering(t, part(6, slow))
	if results, err := api.Submit(t.Context(), list[:3]); len(results) != 0 || err == nil {
		t.Errorf("too many: %d results, %v", len(results), err)
	}
	big := statements(1)[0]
	big.Statement.Body = make([]byte, 1<<16-1)
	many := make([]Presented, MaxStream>>16+2)
	for i := range many {
		many[i] = big
	}
	if _, err := api.Submit(t.Context(), many); err == nil || !strings.Contains(err.Error(), "at most 67108864 are taken") {
		t.Errorf("too large: %v", err)
	}
}

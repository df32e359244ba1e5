package worker

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet/client"
)

// TestManyHosts: hosts that are told the same at one moment come back at different ones,
// none before its time.
func TestManyHosts(t *testing.T) {
	const hosts = 10_000
	sample := time.Minute
	for name, c := range map[string]struct {
		err         error
		first, last time.Duration
	}{
		"told when":       {&client.Problem{Status: 429, RetryAfter: 2 * time.Second}, 2 * time.Second, 4 * time.Second},
		"wrapped":         {&apiError{&client.Problem{Status: 503, RetryAfter: 10 * time.Second}}, 10 * time.Second, 20 * time.Second},
		"a broken proxy":  {&client.Problem{Status: 503, RetryAfter: 24 * time.Hour}, maxRest, 2 * maxRest},
		"not told":        {errors.New("no route"), 0, 2 * time.Second},
		"not told, again": {errors.New("no route"), 0, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			var slots [20]int
			for range hosts {
				var p pace
				for p.took(c.err, time.Hour, sample); name == "not told, again" && p.failures < 8; {
					p.took(c.err, time.Hour, sample)
				}
				wait := p.until - time.Hour
				if wait < c.first || wait > c.last || !p.rests(time.Hour+c.first-1) && c.first > 0 || p.rests(p.until) {
					t.Fatalf("a host waits for %s, want %s..%s", wait, c.first, c.last)
				}
				slots[min(int(20*(wait-c.first)/(c.last-c.first)), 19)]++
			}
			for i, n := range slots {
				if n > hosts/4 {
					t.Errorf("%d of %d hosts come back in slot %d of %v", n, hosts, i, slots)
				}
			}
		})
	}
	var p pace
	p.took(errors.New("no route"), 0, sample)
	p.took(nil, time.Second, sample)
	if p.rests(time.Second) || p.failures != 0 {
		t.Errorf("after an answer: %+v", p)
	}
}

// TestRetryAfter: a service that asks for time is not called before.
func TestRetryAfter(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	s.live(1, 1)
	calls := 0
	var asked []int64
	s.stand(func(rw http.ResponseWriter, r *http.Request, service http.Handler) {
		calls++
		asked = append(asked, handTime.Load())
		rw.Header().Set("Retry-After", "11")
		rw.WriteHeader(http.StatusServiceUnavailable)
	})
	s.live(1, 5)
	for i := 1; i < len(asked); i++ {
		if d := asked[i] - asked[i-1]; d < 11 || d > 22+stageSample {
			t.Errorf("asked again after %d seconds, want 11..22 and the next sample", d)
		}
	}
	if calls < 2 {
		t.Errorf("asked %d times", calls)
	}
	s.stand(nil)
	s.live(2, 4)
	if all := s.uptimes(s.sealed(1)); len(all) != stageSamples {
		t.Errorf("epoch 1 has %d statements, want %d", len(all), stageSamples)
	}
	if got := s.saw(EventRefused); len(got) > 0 {
		t.Errorf("%v", got)
	}
}

// TestSmallerBatches: a proxy takes no large bodies, so the worker sends small ones.
func TestSmallerBatches(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	s.live(1, 1)
	const most = 1500 // of statements of about 400 bytes
	refused, taken := 0, 0
	limit := func(rw http.ResponseWriter, r *http.Request, service http.Handler) {
		body, err := io.ReadAll(r.Body)
		must(t, err)
		if len(body) > most {
			refused++
			rw.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		if r.Method == http.MethodPost {
			taken++
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		service.ServeHTTP(rw, r)
	}
	s.wire.down.Store(true)
	s.live(2, 0) // a backlog of five
	s.wire.down.Store(false)
	s.stand(limit)
	s.live(2, 4)
	if all := s.uptimes(s.sealed(1)); len(all) != stageSamples {
		t.Errorf("epoch 1 has %d statements, want %d", len(all), stageSamples)
	}
	if refused == 0 || refused > 3 || taken < 2 {
		t.Errorf("%d bodies were too large, %d were taken", refused, taken)
	}
}

package rpc

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// How long an endpoint that fails is asked last: doubled with each failure in a row.
const (
	firstRest   = 500 * time.Millisecond
	longestRest = 30 * time.Second
)

// pauses bounds how long a 429 can hold us, in units of Config.Pause: 5 s by default.
const pauses = 25

// An endpoint is behind when its newest slot lies so far below the newest that any
// endpoint told in the same while: far more than the slots between two commitments.
const (
	slotsBehind = 128
	sameWhile   = 10 * time.Second
)

// endpoint is a URL, the host that stands for it in errors, and what calls have shown
// of it. What they have shown decides only whom a read asks first and how long a call
// waits: what holds everywhere is asked of every endpoint, however ill.
type endpoint struct {
	url, host string
	limit     *rate.Limiter // nil: none
	known     atomic.Bool   // it is of Config.Cluster

	mu       sync.Mutex
	calls    uint64
	failed   uint64
	inRow    int           // failures since the last answer
	last     string        // the last failure
	latency  time.Duration // of answers, smoothed
	slot     uint64        // newest context slot of an answer, told at slotAt
	slotAt   time.Time
	restsTo  time.Time // reads ask others first until then
	pausedTo time.Time // it asked not to be called until then
}

// EndpointHealth is what calls have shown of an endpoint.
type EndpointHealth struct {
	Host     string
	Calls    uint64
	Failed   uint64
	InRow    int           // failures since the last answer
	Last     string        // the last failure; "" where there was none
	Latency  time.Duration // of answers, smoothed
	Slot     uint64        // newest that it told of, at any commitment; 0: of none yet
	Behind   bool          // so far below another endpoint's that reads ask that first
	Resting  bool          // reads ask others first, after failures
	PausedTo time.Time     // it asked to be left alone until then; zero where it did not
}

// Health returns the endpoints' health, in the order in which they were given.
func (c *Client) Health() []EndpointHealth {
	now, best := c.cfg.Now(), c.bestSlot()
	list := make([]EndpointHealth, len(c.endpoints))
	for i, e := range c.endpoints {
		e.mu.Lock()
		list[i] = EndpointHealth{e.host, e.calls, e.failed, e.inRow, e.last, e.latency, e.slot, e.isBehind(now, best), now.Before(e.restsTo), time.Time{}}
		if now.Before(e.pausedTo) {
			list[i].PausedTo = e.pausedTo
		}
		e.mu.Unlock()
	}
	return list
}

// bestSlot is the newest slot that an endpoint told of lately.
func (c *Client) bestSlot() uint64 {
	now := c.cfg.Now()
	var best uint64
	for _, e := range c.endpoints {
		e.mu.Lock()
		if now.Sub(e.slotAt) < sameWhile {
			best = max(best, e.slot)
		}
		e.mu.Unlock()
	}
	return best
}

// isBehind is false of one that told of no slot lately: asked again it shows; e.mu is held.
func (e *endpoint) isBehind(now time.Time, best uint64) bool {
	return now.Sub(e.slotAt) < sameWhile && e.slot+slotsBehind < best
}

// ordered returns the endpoints as a read asks them: the well ones as they were given,
// then those that are behind, that failed lately, that asked to be left alone.
func (c *Client) ordered() []*endpoint {
	if len(c.endpoints) == 1 {
		return c.endpoints
	}
	now, best := c.cfg.Now(), c.bestSlot()
	rank := func(e *endpoint) int {
		e.mu.Lock()
		defer e.mu.Unlock()
		switch {
		case now.Before(e.pausedTo):
			return 3
		case now.Before(e.restsTo):
			return 2
		case e.isBehind(now, best):
			return 1
		}
		return 0
	}
	ranks := make(map[*endpoint]int, len(c.endpoints))
	for _, e := range c.endpoints {
		ranks[e] = rank(e)
	}
	list := slices.Clone(c.endpoints)
	slices.SortStableFunc(list, func(a, b *endpoint) int { return cmp.Compare(ranks[a], ranks[b]) })
	return list
}

// isPaused reports whether the endpoint asked to be left alone.
func (c *Client) isPaused(e *endpoint) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return c.cfg.Now().Before(e.pausedTo)
}

// admit waits until the endpoint may be called: past what a 429 asked for and within
// the rate limit.
func (c *Client) admit(ctx context.Context, e *endpoint) error {
	e.mu.Lock()
	pause := e.pausedTo.Sub(c.cfg.Now())
	e.mu.Unlock()
	if pause > 0 {
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
	if e.limit != nil {
		return e.limit.Wait(ctx)
	}
	return nil
}

// note takes down how a call went. An error of the request itself is an answer too;
// a caller who gave up says nothing of the endpoint.
func (c *Client) note(e *endpoint, began time.Time, slot uint64, err error) {
	var node *Error
	ill := err != nil && (!errors.As(err, &node) || isCode(err, codeUnhealthy, codeInternal, codeMinContextSlot))
	if errors.Is(err, context.Canceled) {
		return
	}
	now := c.cfg.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls++
	if slot > 0 {
		e.slot, e.slotAt = slot, now
	}
	if !ill {
		e.inRow, e.restsTo, e.pausedTo = 0, time.Time{}, time.Time{}
		if took := now.Sub(began); e.latency == 0 {
			e.latency = took
		} else {
			e.latency += (took - e.latency) / 8
		}
		return
	}
	e.failed++
	e.inRow++
	e.last = err.Error()
	e.restsTo = now.Add(min(firstRest<<min(e.inRow-1, 10), longestRest))
	var t *TransportError
	if errors.As(err, &t) && t.Status == http.StatusTooManyRequests {
		pause := t.After
		if pause == 0 {
			pause = c.cfg.Pause << min(e.inRow-1, 10)
		}
		e.pausedTo = now.Add(min(pause, pauses*c.cfg.Pause))
	}
}

// contextSlot finds the slot of an answer's context without parsing the rest; 0 where
// it has none. It is a hint of how far the endpoint is, nothing more.
func contextSlot(result []byte) uint64 {
	const prefix, name = `{"context":{`, `"slot":`
	head := string(result[:min(len(result), 160)])
	if len(head) < len(prefix) || head[:len(prefix)] != prefix {
		return 0
	}
	for i := len(prefix); i+len(name) < len(head) && head[i] != '}'; i++ {
		if head[i:i+len(name)] != name {
			continue
		}
		var slot uint64
		for _, d := range []byte(head[i+len(name):]) {
			if d < '0' || d > '9' || slot > 1<<60 {
				break
			}
			slot = slot*10 + uint64(d-'0')
		}
		return slot
	}
	return 0
}

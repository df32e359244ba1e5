package web

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet/client"
)

// settled waits until f holds of the gates.
func (g *gates) settled(t *testing.T, what string, f func() bool) {
	t.Helper()
	for range 3000 {
		g.mu.Lock()
		ok := f()
		g.mu.Unlock()
		if ok {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	t.Fatalf("%s: %v are free, %d wait", what, g.free, len(g.waiting))
}

// patience sets how late a body may be, the one where its place is wanted, and ever.
func (g *gates) patience(room, slow time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.roomGrace, g.slowGrace = room, slow
}

// refused reads a refusal.
func refused(t *testing.T, conn net.Conn) *http.Response {
	t.Helper()
	check(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	check(t, err)
	return res
}

// hold waits until so many bodies of size bytes are all here and come no further, leaves
// nothing of k to others, and returns what these have of it.
func (g *gates) hold(t *testing.T, k kind, bodies, size int) (held int) {
	t.Helper()
	g.settled(t, "not all stand still", func() bool {
		here := 0
		held = 0
		for h := range g.waiting {
			if held += h.has[k]; h.moved == size {
				here++
			}
		}
		if here < bodies {
			return false
		}
		g.free[k] = 0
		return true
	})
	return held
}

// Whatever it is that bodies hold which come no further: who comes next is served at
// once, and one of them is told to come again.
func TestStalledBodiesMakeRoom(t *testing.T) {
	h := open(t)
	var many []byte
	for _, e := range h.strangers(600) {
		many = e.Append(many)
	}
	one := many[:len(many)/600]
	plain := make([]byte, 600<<10) // envelopes of zeros, the last one torn
	for at := 0; at < len(plain)-99; at += 99 + 0xffff {
		plain[at+97], plain[at+98] = 0xff, 0xff
	}
	zipped := readAll(t, squeezed("gzip", bytes.NewReader(plain[:smallBody-1])))
	frame := func(size int) []byte { return append(window(size)[:6], make([]byte, 15)...) }
	for _, c := range []struct {
		name, coding string
		of           kind
		stalled      int
		body         []byte
		next         string // its coding
		with         []byte
		status       int
	}{
		{"bytes", "", largeBytes, 3, plain, "", many, 200},
		{"bytes of small bodies", "gzip", smallBytes, 10, zipped[:len(zipped)-8], "", one, 404},
		{"gzip decoders", "gzip", gzips, 10, zipped[:20], "gzip", readAll(t, squeezed("gzip", bytes.NewReader(many))), 200},
		{"zstd decoders", "zstd", smallZstds, smallDecoders, frame(256 << 10), "zstd", readAll(t, squeezed("zstd", bytes.NewReader(many))), 200},
		{"zstd decoders of large windows", "zstd", largeZstds, largeDecoders, frame(8 << 20), "zstd", append(window(8 << 20)[:6], 0x01, 0, 0), 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.t = t
			g := h.openGates()
			g.patience(time.Hour, time.Hour)
			var stalled []net.Conn
			for range c.stalled {
				stalled = append(stalled, h.stall(t, c.coding, c.body))
			}
			held := g.hold(t, c.of, c.stalled, len(c.body))
			next := func() (client.Results, int) { return h.answered(flood{coding: c.next, body: bytes.NewReader(c.with)}) }
			if out, status := next(); status != http.StatusTooManyRequests || out.Problem.Kind() != client.Busy || (out.Problem.Field == "Content-Encoding") != (c.of >= gzips) {
				t.Fatalf("while nobody is late the next one gets status %d, %+v", status, out.Problem)
			}
			g.patience(-time.Hour, time.Hour)
			if out, status := next(); status != c.status {
				t.Errorf("the next one gets status %d, %+v", status, out.Problem)
			}
			g.mu.Lock()
			for h := range g.waiting {
				h.stop(slowBody())
			}
			g.mu.Unlock()
			away := 0
			for _, conn := range stalled {
				switch res := refused(t, conn); res.StatusCode {
				case http.StatusTooManyRequests:
					if away++; res.Header.Get("Retry-After") != "1" {
						t.Errorf("it is told to come again after %q", res.Header.Get("Retry-After"))
					}
				case http.StatusRequestTimeout:
				default:
					t.Errorf("one of them gets status %d", res.StatusCode)
				}
			}
			if away != 1 {
				t.Errorf("%d made room", away)
			}
			g.settled(t, "at the end", func() bool { return g.free[c.of] == held && len(g.waiting) == 0 })
		})
	}
}

// Who takes no answers makes room as well.
func TestUnreadAnswersMakeRoom(t *testing.T) {
	h := open(t)
	g := h.openGates()
	var many []byte
	for _, e := range h.strangers(600) {
		many = e.Append(many)
	}
	conn := h.stallOf(t, "", nil, client.MaxStream)
	check(t, conn.(*net.TCPConn).SetReadBuffer(4<<10))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for sent := 0; sent+len(many) < client.MaxStream; sent += len(many) {
			if _, err := conn.Write(many); err != nil {
				return
			}
		}
	}()
	g.patience(time.Hour, time.Hour)
	g.settled(t, "nothing is answered", func() bool {
		for h := range g.waiting {
			if !h.read && h.has[largeBytes] > 0 && time.Since(h.since) > 200*time.Millisecond {
				g.free[largeBytes], g.roomGrace = 0, -time.Hour
				return true
			}
		}
		return false
	})
	for range 3000 {
		if _, status := h.answered(flood{body: bytes.NewReader(many[:len(many)/2])}); status == http.StatusOK {
			<-ended
			return
		}
		time.Sleep(10 * time.Millisecond) // it reads, or buffers still take its answers
	}
	t.Error("nobody else is served")
}

// The one that is latest by what it sent and how long we waited for it makes room, if it
// has of what is short.
func TestLatest(t *testing.T) {
	g := newGates()
	now := time.Now()
	add := func(k kind, moved int, waited, since time.Duration) *holder {
		h := g.newHolder(nil, nil)
		h.has[k], h.moved, h.waited, h.since = 1, moved, waited, now.Add(-since)
		g.waiting[h] = struct{}{}
		return h
	}
	want := func(what string, k kind, want *holder) {
		t.Helper()
		if got := g.latest(k); got != want {
			t.Errorf("%s: got %+v, want %+v", what, got, want)
		}
	}
	want("nobody", gzips, nil)
	add(gzips, 1<<20, 0, 15*time.Second) // 16 s of the rate
	add(gzips, 0, 0, 10*time.Millisecond)
	want("nobody is late", gzips, nil)
	h := add(gzips, 0, 0, time.Second)
	want("one stalls", gzips, h)
	want("but has nothing of it", largeBytes, nil)
	h = add(gzips, 64<<10, 5*time.Second, time.Millisecond)
	want("one trickles", gzips, h)
	add(gzips, 128<<10, 5*time.Second, time.Millisecond)
	want("one trickles faster", gzips, h)
	h.ended = slowBody()
	if got := g.latest(gzips); got == nil || got == h {
		t.Errorf("one that was ended is ended again: %+v", got)
	}
}

// Who stalls, or sends a byte from time to time, is ended long before a chunk's time is
// over, though nobody else needs anything.
func TestSlowSendersAreEnded(t *testing.T) {
	h := open(t)
	good := h.strangers(1)[0].Append(nil)
	for name, more := range map[string][]byte{"stalls": nil, "trickles": good[50:]} {
		t.Run(name, func(t *testing.T) {
			h.t = t
			g := h.openGates()
			g.patience(time.Hour, 200*time.Millisecond)
			conn := h.stall(t, "", good[:50])
			go func() {
				for i := range more {
					if _, err := conn.Write(more[i : i+1]); err != nil {
						return
					}
					time.Sleep(20 * time.Millisecond)
				}
			}()
			res := refused(t, conn)
			var p client.Problem
			check(t, json.NewDecoder(res.Body).Decode(&p))
			if res.StatusCode != http.StatusRequestTimeout || p.Kind() != client.SlowBody {
				t.Errorf("status %d, %+v", res.StatusCode, p)
			}
			g.settled(t, "at the end", func() bool { return g.free == newGates().free })
		})
	}
}

package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// Offers that lead nowhere, however cheap and many, do not keep requests from who serves.
func TestPurseStrangers(t *testing.T) {
	for _, price := range []uint64{0, 1} {
		for _, c := range []struct {
			name string
			hook func(http.ResponseWriter, *http.Request) bool
		}{
			{name: "nobody is there"},
			{name: "fails", hook: func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }},
			{name: "refuses all", hook: func(w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(400)
				io.WriteString(w, `{"error":{"message":"no"}}`)
				return true
			}},
		} {
			t.Run(fmt.Sprintf("%s at a price of %d", c.name, price), func(t *testing.T) {
				s := newPurseStage(t)
				for i := range 40 {
					w := s.worker(fmt.Sprint("stranger ", i), price)
					if w.hook = c.hook; c.hook == nil {
						w.server.Close()
					}
				}
				honest := s.worker("honest", 2)
				p := s.open()
				served := 0
				for range 30 {
					a, _, err := chat(t, p, "hello")
					if err == nil && a.Worker == honest.key() {
						served++
					}
					s.now.Add(20)
				}
				if served < 24 {
					t.Errorf("%d of 30 requests were served", served)
				}
				held, _ := ionet.Sum(slices.Collect(maps.Values(s.opened))...)
				if held.Base() > testReserve/2 || c.hook == nil && len(s.opened) != 1 {
					t.Errorf("%d channels hold %s", len(s.opened), held)
				}
			})
		}
	}
}

// A cheaper stranger is tried now and then, and stays where it serves.
func TestPurseExplores(t *testing.T) {
	s := newPurseStage(t)
	dear := s.worker("dear", 3)
	p := s.open()
	mustChat(t, p, "hello")
	cheap := s.worker("cheap", 2)
	s.now.Add(60)
	if _, err := p.fetchOffers(t.Context(), "m"); err != nil {
		t.Fatal(err)
	}
	if r := mustChat(t, p, "hello"); r.Worker != cheap.key() {
		t.Error("the cheaper one is not tried")
	}
	cheap.hook = func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }
	if r := mustChat(t, p, "hello"); r.Worker != dear.key() {
		t.Error("the one that fails serves")
	}
}

// A worker that says for ever that it does not know the channel is asked three times.
func TestPurseUnknownChannelEnds(t *testing.T) {
	s := newPurseStage(t)
	w, honest := s.worker("liar", 1), s.worker("honest", 2)
	w.hook = func(out http.ResponseWriter, r *http.Request) bool {
		w.refuse(out, 402, UnknownChannel, nil)
		return true
	}
	if r := mustChat(t, s.open(), "hello"); r.Worker != honest.key() || w.asked != 1+maxHanded {
		t.Errorf("served by %s, the other was asked %d times", r.Worker, w.asked)
	}
}

// A worker can hold a request for as long as its patience, and no Retry-After is longer
// than a minute.
func TestPursePatience(t *testing.T) {
	s := newPurseStage(t)
	w := s.worker("a", 1)
	w.hook = func(_ http.ResponseWriter, r *http.Request) bool {
		io.Copy(io.Discard, r.Body) // or the server does not see that the purse is gone
		<-r.Context().Done()
		return true
	}
	p := s.open(func(c *PurseConfig) { c.Patience = 50 * time.Millisecond })
	if _, _, err := chat(t, p, "hello"); err == nil || !strings.Contains(err.Error(), "it sent nothing for 50ms") {
		t.Errorf("got %v", err)
	}
	s = newPurseStage(t)
	w = s.worker("b", 1)
	w.hook = func(out http.ResponseWriter, _ *http.Request) bool {
		out.Header().Set("Retry-After", "1000000")
		w.refuse(out, 429, AtCapacity, nil)
		return true
	}
	var refused *PurseError
	if _, _, err := chat(t, s.open(), "hello"); !errors.As(err, &refused) || refused.RetryAfter != longestWait {
		t.Errorf("got %v", err)
	}
}

// A worker that keeps one job open for ever, and puts each small bill at the end of what
// the voucher covers, gets no more than what was asked and what it was signed for.
func TestPurseHiddenJob(t *testing.T) {
	const most = 1000
	s := newPurseStage(t)
	w := s.worker("liar", 1)
	const before, lost, crooked = 0, 1, 2
	var phase atomic.Int64
	w.cut = func(int) bool {
		if !phase.CompareAndSwap(before, lost) {
			return false
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		clear(w.jobs) // "never heard of it"
		clear(w.answers)
		w.spent, w.reserved = ionet.Amount{}, ionet.MustAmount(1) // "and something runs"
		return true
	}
	w.tamper = func(j *proofs.Job) {
		if phase.Load() == crooked {
			j.Before, _ = w.covered.Sub(ionet.MustAmount(j.Units))
		}
	}
	w.hook = func(out http.ResponseWriter, r *http.Request) bool {
		switch phase.Load() {
		case before:
			return false
		case lost:
			panic(http.ErrAbortHandler) // the lost request's second try
		}
		v, signature, err := ParseVoucherHeader(r.Header.Get(VoucherHeader))
		if err != nil {
			t.Error(err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		want := w.spent.Base() + 2*most
		if v.Cumulative.Base() >= want || w.channel.Limit.Cmp(v.Cumulative) < 0 {
			if v.Cumulative.Cmp(w.covered) > 0 {
				w.covered, w.voucher = v.Cumulative, signature
			}
			return false
		}
		required, spent, zero := ionet.MustAmount(want), ionet.MustAmount(want-900), ionet.Amount{}
		w.refuse(out, 402, VoucherNeeded, func(m *MeterProblem) {
			m.Required, m.Spent, m.Running, m.Limit = &required, &spent, &zero, &w.channel.Limit
		})
		return true
	}
	p := s.open(func(c *PurseConfig) { c.Most = ionet.MustAmount(most) })
	if _, _, err := chat(t, p, "lost"); err == nil {
		t.Fatal("not lost")
	}
	phase.Store(crooked)
	for range 50 {
		if _, _, err := chat(t, p, "hello"); err != nil {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, ch := range p.channels {
		t.Logf("vouchers cover %s, statements make %s; left %q", ch.signed, ch.spans.known(), p.left[w.key()])
		if more, _ := ch.signed.Sub(ch.spans.known()); more.Base() > 3*most {
			t.Errorf("vouchers cover %s, statements make %s: %s could be billed for one job that is open; left %q", ch.signed, ch.spans.known(), more, p.left[w.key()])
		}
	}
}

// A worker that tells of no outcome is asked for nothing more, until it does.
func TestPurseOwingWorker(t *testing.T) {
	s := newPurseStage(t)
	w := s.worker("a", 1)
	var fails atomic.Bool
	var asked atomic.Int64
	w.hook = func(http.ResponseWriter, *http.Request) bool {
		if !fails.Load() {
			return false
		}
		asked.Add(1)
		panic(http.ErrAbortHandler)
	}
	p := s.open()
	mustChat(t, p, "hello")
	fails.Store(true)
	w.mu.Lock()
	w.reserved = ionet.MustAmount(1) // "something runs"
	w.mu.Unlock()
	for range 30 {
		chat(t, p, "hello")
	}
	if n := asked.Load(); n != 2*(maxUnknown+1) {
		t.Errorf("asked %d times", n)
	}
	var refused *PurseError
	if _, _, err := chat(t, p, "hello"); !errors.As(err, &refused) || refused.Code != CodeWorkers || !strings.Contains(refused.Message, "has yet to tell") {
		t.Errorf("got %v", err)
	}
	fails.Store(false)
	w.mu.Lock()
	w.reserved = ionet.Amount{}
	w.mu.Unlock()
	s.now.Add(10)
	for p.Settle(t.Context()) > 0 {
	}
	mustChat(t, p, "hello")
}

// No job bills more than its request was signed for, however much vouchers cover; nor more
// than a stream's own usage.
func TestPurseStreamBill(t *testing.T) {
	stream := func(p *Purse, in Inference) (*Answer, error) {
		a, err := p.Do(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		_, err = io.Copy(io.Discard, a.Body)
		return a, err
	}
	s := newPurseStage(t)
	w := s.worker("a", 1)
	p := s.open(func(c *PurseConfig) { c.Most = ionet.MustAmount(1000) })
	mustChat(t, p, "hello")
	w.mu.Lock()
	w.covered = ionet.MustAmount(1500) // as by the vouchers of many at once
	w.voucher = proofs.SignVoucher(testKey("session"), w.channel.Channel, w.covered)
	w.mu.Unlock()
	p.mu.Lock()
	p.channels[w.channel.Channel].signed = ionet.MustAmount(1500)
	p.mu.Unlock()
	w.tamper = func(j *proofs.Job) { j.Units = 1001 }
	if _, err := stream(p, chatOf("hi", true)); err == nil || !strings.Contains(err.Error(), "the request was allowed 1000") {
		t.Errorf("got %v", err)
	}
	usage := chatOf("hi", true)
	usage.Body = []byte(strings.Replace(string(usage.Body), `"stream":true`, `"stream":true,"stream_options":{"include_usage":true}`, 1))
	for _, units := range []uint64{7, 8} {
		s := newPurseStage(t)
		w := s.worker("b", 1)
		p := s.open()
		w.usage = 7
		w.tamper = func(j *proofs.Job) { j.Units = units }
		a, err := stream(p, usage)
		if r, _ := a.Receipt(); units == 7 && (err != nil || r.Units != 7) || units > 7 && (err == nil || !strings.Contains(err.Error(), "its answer says 7")) {
			t.Errorf("%d units: %v", units, err)
		}
	}
}

// Usage is read of a stream however it is cut.
func TestStreamUsage(t *testing.T) {
	text := "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\"\"}}],\"usage\":null}\r\n\r\n" +
		"data: " + strings.Repeat("x", maxLine) + "\n\n" +
		"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}\n\ndata: [DONE]\n\n"
	for _, step := range []int{1, 2, 7, 100, len(text)} {
		var s streamUsage
		for b := []byte(text); len(b) > 0; b = b[min(step, len(b)):] {
			s.take(b[:min(step, len(b))])
		}
		if s.used != (used{7, true}) {
			t.Errorf("in steps of %d: %+v", step, s.used)
		}
	}
}

// The log has the receipt of another's job under the id of ours: that is not our worker's
// doing, and ours is found.
func TestPurseReceiptOfAnother(t *testing.T) {
	s := newPurseStage(t)
	w := s.worker("a", 1)
	var lost atomic.Bool
	w.hook = func(http.ResponseWriter, *http.Request) bool {
		if lost.Load() {
			panic(http.ErrAbortHandler)
		}
		return false
	}
	p := s.open()
	mustChat(t, p, "hello")
	first := p.Channels()[0].Spent
	var ours proofs.Envelope
	w.cut = func(served int) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, statement := range w.jobs {
			e, err := oneStatement(statement)
			if err != nil {
				t.Error(err)
			}
			if j, err := proofs.ParseJob(e.Body); err == nil && j.Before == first {
				ours = e
			}
		}
		clear(w.jobs) // sealed, and dropped
		lost.Store(true)
		return true
	}
	if _, _, err := chat(t, p, "lost"); err == nil {
		t.Fatal("not lost")
	}
	w.mu.Lock()
	statement := ours
	w.mu.Unlock()
	j, err := proofs.ParseJob(statement.Body)
	if err != nil {
		t.Fatal(err)
	}
	j.Channel[0] ^= 1
	body, err := j.Encode()
	if err != nil {
		t.Fatal(err)
	}
	record := func(e proofs.Envelope) []byte {
		b, err := proofs.Record{Index: 1, Accepted: s.now.Load(), Entry: proofs.Receipt{Renter: publicOf(testKey("renter")), ProviderPart: j.Fee, TotalFees: j.Fee, TotalJobs: 1, Statement: e}}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	s.mu.Lock()
	s.receipt = record(proofs.Sign(s.network.ID(), proofs.KindJob, testKey("another worker"), body))
	s.receipts = [][]byte{s.receipt, record(statement)}
	s.mu.Unlock()
	s.now.Add(10)
	for p.Settle(t.Context()) > 0 {
	}
	if ch := p.Channels()[0]; ch.Left != "" || ch.Spent != w.spent || ch.Unknown != 0 {
		t.Errorf("%+v", ch)
	}
}

// Offers lead to the Internet: not into the renter's network, unless he says so.
func TestPurseInside(t *testing.T) {
	for _, endpoint := range []string{"ftp://a", "http://", "http://:80", "http://a?", "http://a/x?y=z", "http://a#", "http://a/#x", "http://u@a", "http://u:p@a/"} {
		if checkEndpoint(endpoint) == nil {
			t.Errorf("%s is an endpoint", endpoint)
		}
	}
	for _, a := range []string{"127.0.0.1", "::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "fe80::1%eth0", "fd00::1", "0.0.0.0", "::", "100.64.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "224.0.0.1", "255.255.255.255", "2002:7f00:1::"} {
		if !isInside(netip.MustParseAddr(a)) {
			t.Errorf("%s is outside", a)
		}
	}
	for _, a := range []string{"1.1.1.1", "2606:4700::1111", "172.32.0.1", "100.128.0.1"} {
		if isInside(netip.MustParseAddr(a)) {
			t.Errorf("%s is inside", a)
		}
	}
	if !isInsideToo("http://127.0.0.1:1")() || !isInsideToo("https://localhost/x")() || isInsideToo("http://192.0.2.1")() {
		t.Error("the service's own address")
	}
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer server.Close()
	for _, allowed := range []bool{false, true} {
		transport := newWorkerTransport(func() bool { return allowed })
		_, err := (&http.Client{Transport: transport}).Post(server.URL+"/v1/chat/completions", "application/json", nil)
		transport.CloseIdleConnections()
		var inside *insideError
		if allowed != (err == nil) || err != nil && !errors.As(err, &inside) {
			t.Errorf("allowed %v: %v", allowed, err)
		}
	}
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
}

// Whole answers share a room: what is beyond it comes one at a time, and all end.
func TestRoom(t *testing.T) {
	r := newRoom(2 * roomStep)
	var most, now atomic.Int64
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			b, h, err := r.read(t.Context(), io.LimitReader(zeros{}, 3*roomStep+5), maxBody)
			if err != nil || len(b) != 3*roomStep+5 {
				t.Errorf("%d bytes, %v", len(b), err)
				return
			}
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			now.Add(-1)
			h.letGo()
			h.letGo()
		})
	}
	wait.Wait()
	if r.free != 2*roomStep || len(r.turn) != 0 || most.Load() > 1 {
		t.Errorf("%d is free, %d at once", r.free, most.Load())
	}
	if _, _, err := r.read(t.Context(), zeros{}, 3*roomStep); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("too large: %v", err)
	}
	r.turn <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := r.read(ctx, zeros{}, 3*roomStep); !errors.Is(err, context.Canceled) {
		t.Errorf("no turn: %v", err)
	}
	if r.free != 2*roomStep {
		t.Errorf("%d is free", r.free)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

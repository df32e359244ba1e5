package meter

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// parts are what opens a channel, to be changed before it is signed.
type parts struct {
	session proofs.Session
	open    proofs.ChannelOpen
	ack     proofs.Arrival

	renter, opener, acker byte // which testKey signs
	of                    *ionet.Hash
}

func (r *rig) openingOf(t *testing.T, change func(*parts)) client.ChannelOpening {
	t.Helper()
	now := r.clock.Load()
	x := &parts{renter: 3, opener: 4, acker: 2}
	x.session = proofs.Session{Renter: public(renterKey), Key: public(sessionKey), Reserve: ionet.MustAmount(1000), Issued: now - 10, Expires: now + 1000}
	x.open = proofs.ChannelOpen{Worker: public(workerKey), Limit: ionet.MustAmount(500), Salt: 9, OpenSlot: 3, Expires: now + 500}
	address, err := proofs.ChannelAddress(x.session.Renter, x.open.Worker, r.network.Mint, x.session.Key, x.open.Salt, x.open.OpenSlot)
	must(t, err)
	x.open.Channel = address
	if change != nil {
		change(x)
	}
	text, err := x.session.Text(r.network.ID())
	must(t, err)
	session := proofs.Sign(r.network.ID(), proofs.KindSession, testKey(x.renter), []byte(text))
	if x.open.Session.IsZero() {
		x.open.Session = session.ID()
	}
	body, err := x.open.Encode()
	must(t, err)
	open := proofs.Sign(r.network.ID(), proofs.KindChannelOpen, testKey(x.opener), body)
	id := open.ID()
	if x.of != nil {
		id = *x.of
	}
	ack := proofs.SignAcks(r.network.ID(), testKey(x.acker), x.ack, []ionet.Hash{id})[0]
	return client.ChannelOpening{Session: session.Append(nil), Open: open.Append(nil), Ack: ack.Append(nil)}
}

// TestOpenings: a channel is taken only where all three signed for it, and it is ours.
func TestOpenings(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct {
		name   string
		change func(*parts)
		field  string
		kind   string
	}{
		{"another renter's signature", func(x *parts) { x.renter = 9 }, "session", client.InvalidParameter},
		{"another key's opening", func(x *parts) { x.opener = 9 }, "open", client.InvalidParameter},
		{"another session", func(x *parts) { x.open.Session = ionet.Hash{1} }, "open", client.InvalidParameter},
		{"another address", func(x *parts) { x.open.Salt++ }, "open", client.InvalidParameter},
		{"another slot", func(x *parts) { x.open.OpenSlot++ }, "open", client.InvalidParameter},
		{"another worker", func(x *parts) {
			x.open.Worker = public(testKey(9))
			x.open.Channel, _ = proofs.ChannelAddress(x.session.Renter, x.open.Worker, r.network.Mint, x.session.Key, 9, 3)
		}, "open", client.OtherWorker},
		{"no limit", func(x *parts) { x.open.Limit = ionet.Amount{} }, "open", client.InvalidParameter},
		{"above the reserve", func(x *parts) { x.open.Limit = ionet.MustAmount(1001) }, "open", client.InvalidParameter},
		{"after the session", func(x *parts) { x.open.Expires = x.session.Expires + 1 }, "open", client.InvalidParameter},
		{"expired", func(x *parts) { x.open.Expires = r.clock.Load() }, "open", client.InvalidParameter},
		{"another service's ack", func(x *parts) { x.acker = 9 }, "ack", client.InvalidParameter},
		{"another statement's ack", func(x *parts) { x.of = &ionet.Hash{1} }, "ack", client.InvalidParameter},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, p := r.handIn(r.openingOf(t, c.change)); p == nil || p.Kind() != c.kind || p.Field != c.field {
				t.Errorf("got %+v, want %s of %s", p, c.kind, c.field)
			}
		})
	}
	good := r.openingOf(t, nil)
	for name, change := range map[string]func(*client.ChannelOpening){
		"session": func(o *client.ChannelOpening) { o.Session = o.Open },
		"open":    func(o *client.ChannelOpening) { o.Open = append(o.Open[:len(o.Open):len(o.Open)], 0) },
		"ack":     func(o *client.ChannelOpening) { o.Ack = nil },
	} {
		bad := good
		change(&bad)
		if _, p := r.handIn(bad); p == nil || p.Field != name {
			t.Errorf("%s changed: %+v", name, p)
		}
	}
	for _, part := range [][]byte{good.Session, good.Open, good.Ack} {
		for i := range part {
			part[i] ^= 1
			if _, p := r.handIn(good); p == nil {
				t.Fatalf("byte %d flipped, and taken", i)
			}
			part[i] ^= 1
		}
	}
	if len(r.meter.journal.book.channels) != 0 {
		t.Error("a refused channel is kept")
	}
	out, p := r.handIn(good)
	if p != nil || out.Limit.Base() != 500 {
		t.Errorf("the good one: %+v, %+v", out, p)
	}
	if _, p := r.handIn(r.openingOf(t, func(x *parts) { x.session.Reserve, x.open.Limit = ionet.MustAmount(2000), ionet.MustAmount(600) })); p == nil || p.Field != "open" {
		t.Errorf("a greater limit by another session: %+v", p)
	}
	resp, err := http.Post(r.server.URL+"/ionet/v1/channels", "application/json", strings.NewReader(`{"session":`))
	must(t, err)
	defer resp.Body.Close()
	if p := readProblem(t, resp); p.Kind() != client.MalformedJSON {
		t.Errorf("cut JSON: %+v", p)
	}
}

// TestTopUp: a limit only grows, and survives a restart.
func TestTopUp(t *testing.T) {
	r := newRig(t, nil)
	p := r.sessionOf(100_000)
	need := uint64(len(chatBody)+promptOverhead+20) * 3
	if _, problem := p.handIn(need - 1); problem != nil {
		t.Fatal(problem)
	}
	g := p.send(try{covers: 50_000})
	if g.problem == nil || g.problem.Kind() != client.VoucherNeeded || g.problem.Required.Cmp(*g.problem.Limit) <= 0 || g.problem.Required.Base() != need {
		t.Fatalf("beyond the limit: %+v", g.problem)
	}
	if out, problem := p.handIn(need); problem != nil || out.Limit.Base() != need {
		t.Fatalf("top-up: %+v %+v", out, problem)
	}
	if g = p.send(try{covers: 50_000}); g.job == nil {
		t.Fatalf("topped up: %+v", g.problem)
	}
	if out, problem := p.handIn(need - 1); problem != nil || out.Limit.Base() != need || out.Spent.Base() != 30 {
		t.Errorf("a smaller opening again: %+v %+v", out, problem)
	}
	r.restart()
	if s := p.state(); s.Limit.Base() != need || s.Spent.Base() != 30 || s.Jobs != 1 {
		t.Errorf("after a restart: %+v", s)
	}
}

// TestTerms: caps and times of the session and the channel are held before serving.
func TestTerms(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Silence, c.Margin = 1000*time.Hour, 1 })
	cheap := r.newPayer(100_000, proofs.PriceCap{Model: "chat", Price: ionet.MustAmount(2), Per: 1})
	if g := cheap.send(try{covers: 50_000}); g.problem == nil || g.problem.Kind() != client.PriceAboveCap || g.status != http.StatusForbidden {
		t.Errorf("above the cap: %+v", g.problem)
	}
	other := r.newPayer(100_000, proofs.PriceCap{Model: "other", Price: ionet.MustAmount(2), Per: 1})
	if g := other.send(try{covers: 50_000}); g.problem == nil || g.problem.Kind() != client.PriceAboveCap {
		t.Errorf("a model without a cap: %+v", g.problem)
	}
	exact := r.newPayer(100_000, proofs.PriceCap{Model: "chat", Price: ionet.MustAmount(300), Per: 100})
	if g := exact.send(try{covers: 50_000}); g.job == nil {
		t.Errorf("at the cap: %+v", g.problem)
	}
	r.clock.Store(exact.open.Expires - 1)
	must(t, r.meter.step(t.Context())) // the offer is renewed
	if g := exact.send(try{covers: 50_000}); g.job == nil {
		t.Errorf("a second before its end: %+v", g.problem)
	}
	r.clock.Add(1)
	if g := exact.send(try{covers: 50_000}); g.problem == nil || g.problem.Kind() != client.Expired {
		t.Errorf("expired: %+v", g.problem)
	}
	if r.back.calls.Load() != 2 {
		t.Error("the back end was asked for what is not paid")
	}
}

// TestBatchPath: a job in a batch is proven to be there.
func TestBatchPath(t *testing.T) {
	r, s := withService(t, func(c *Config) { c.BatchJobs = 5 })
	p := r.newPayer(100_000)
	s.knows(p)
	var jobs []got
	for range 7 {
		jobs = append(jobs, p.send(try{covers: 50_000}))
	}
	must(t, r.steps(1))
	check := func(when string) {
		t.Helper()
		for i, g := range jobs[:5] {
			var out client.WorkerJob
			if status := p.get("/ionet/v1/jobs/"+p.open.Channel.String()+"/"+client.ID(g.job.ID).String(), &out); status != http.StatusOK {
				t.Fatalf("%s: job %d answers %d", when, i, status)
			}
			e, err := oneEnvelope(out.Batch)
			must(t, err)
			must(t, e.Verify(r.network.ID()))
			b, err := proofs.ParseJobBatch(e.Body)
			must(t, err)
			j, err := proofs.CheckInBatch(b, proofs.BatchLeaf(*g.job), out.Index, out.Path)
			must(t, err)
			if j.ID != g.job.ID || out.Size != 5 || b.Count != 5 {
				t.Errorf("%s: job %d is %+v in %+v", when, i, j, b)
			}
		}
	}
	check("batched")
	var loose client.WorkerJob
	if p.get("/ionet/v1/jobs/"+p.open.Channel.String()+"/"+client.ID(jobs[6].job.ID).String(), &loose); loose.Batch != nil || len(loose.Statement) == 0 {
		t.Errorf("a job that waits: %+v", loose)
	}
	s.set(func() { s.sealed = len(s.logged) })
	must(t, r.steps(3))
	r.restart()
	check("sealed, after a restart")
	r.clock.Add(int64(batchKeep.Seconds()) + 1)
	s.set(func() { s.sealed = len(s.logged) })
	must(t, r.steps(2))
	var gone json.RawMessage
	if status := p.get("/ionet/v1/jobs/"+p.open.Channel.String()+"/"+client.ID(jobs[0].job.ID).String(), &gone); status != http.StatusNotFound {
		t.Errorf("a day later the job answers %d", status)
	}
	q := try{covers: 50_000, job: jobs[0].job.ID}
	if g := p.send(q); g.problem == nil || g.problem.Kind() != client.Expired && g.problem.Kind() != client.JobDone && g.problem.Kind() != client.JobConflict {
		t.Errorf("its id again: %+v", g)
	}
}

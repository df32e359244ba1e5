package meter

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// TestPublicVoucher: who has a channel's vouchers and jobs, as the log shows them to all,
// can't spend it, and does not get them here.
func TestPublicVoucher(t *testing.T) {
	r := newRig(t, nil)
	p := r.newPayer(1_000_000)
	first := try{covers: 100_000}
	if g := p.send(first); g.job == nil {
		t.Fatal(g.problem)
	}
	var seen client.WorkerChannel
	if r.get("/ionet/v1/channels/"+p.open.Channel.String(), &seen); seen.Last != nil || seen.Spent.Base() != 30 {
		t.Errorf("a stranger sees %+v", seen)
	}
	job := "/ionet/v1/jobs/" + p.open.Channel.String() + "/" + client.ID(lastJob(t, p.state())).String()
	var refused client.MeterProblem
	if status := r.get(job, &refused); status != http.StatusUnauthorized || refused.Field != proofs.ReadHeader {
		t.Errorf("a stranger's look at a job is answered %d %+v", status, refused)
	}
	var own client.WorkerJob
	if status := p.get(job, &own); status != http.StatusOK || len(own.Statement) == 0 {
		t.Errorf("the renter's own is answered %d", status)
	}
	other := payer{r: r, key: renterKey, open: p.open} // some key, not the session's
	if status := other.get(job, &refused); status != http.StatusUnauthorized {
		t.Errorf("another key's look at a job is answered %d", status)
	}
	signedFor := p.request(&try{covers: 100_000, job: [16]byte{1}}) // what a request's headers say, of another body
	for name, change := range map[string]func(*http.Request){
		"no signature":      func(q *http.Request) { q.Header.Del(proofs.RequestHeader) },
		"no most":           func(q *http.Request) { q.Header.Del(proofs.MostHeader) },
		"two most":          func(q *http.Request) { q.Header.Add(proofs.MostHeader, "5") },
		"leading zero":      func(q *http.Request) { q.Header.Set(proofs.MostHeader, "0100000") },
		"another most":      func(q *http.Request) { q.Header.Set(proofs.MostHeader, "100001") },
		"another job":       func(q *http.Request) { q.Header.Set(client.JobHeader, strings.Repeat("ab", 16)) },
		"another salt":      func(q *http.Request) { q.Header.Set(client.SaltHeader, strings.Repeat("ab", 32)) },
		"another's request": func(q *http.Request) { q.Header.Set(proofs.RequestHeader, signedFor.Header.Get(proofs.RequestHeader)) },
		"padding":           func(q *http.Request) { q.Header.Set(proofs.RequestHeader, q.Header.Get(proofs.RequestHeader)+"==") },
	} {
		g := p.send(try{covers: 100_000, change: change})
		if g.status != http.StatusUnauthorized || g.problem.Kind() != client.RequestSignature || !strings.HasPrefix(g.problem.Field, "Ionet-") {
			t.Errorf("%s: answer %d %+v", name, g.status, g.problem)
		}
	}
	if s := p.state(); s.Spent.Base() != 30 || s.Jobs != 1 || !s.Running.IsZero() {
		t.Errorf("channel is %+v", s)
	}
}

// lastJob is the id of the last job that a channel shows.
func lastJob(t *testing.T, c client.WorkerChannel) [16]byte {
	t.Helper()
	e, err := oneEnvelope(c.Last)
	must(t, err)
	j, err := proofs.ParseJob(e.Body)
	must(t, err)
	return j.ID
}

// TestMost: nothing is served that may cost more than the renter signed for, and nothing
// is billed above it.
func TestMost(t *testing.T) {
	r := newRig(t, nil)
	p := r.newPayer(1_000_000)
	r.back.answer(says(200, jsonMedia, `{"usage":{"prompt_tokens":100000,"completion_tokens":100000}}`))
	bound := uint64(len(chatBody)+promptOverhead+20) * 3
	for _, most := range []uint64{1, bound - 1} {
		g := p.send(try{covers: 100_000, most: most})
		if g.status != http.StatusPaymentRequired || g.problem.Kind() != client.VoucherNeeded || g.problem.Most == nil || g.problem.Most.Base() != bound {
			t.Errorf("most %d: answer %d %+v", most, g.status, g.problem)
		}
	}
	if g := p.send(try{covers: 10, most: 1}); g.problem == nil || g.problem.Most == nil || g.problem.Most.Base() != bound || g.problem.Required.Base() != bound {
		t.Errorf("neither voucher nor most is enough: %+v", g.problem)
	}
	if g := p.send(try{covers: 100_000, most: bound}); g.job == nil || g.job.Fee.Base() != bound {
		t.Errorf("at the bound: %+v %+v", g.job, g.problem)
	}
}

// TestOverChannel: an opening is good for ever, the channel is not. It is not served where
// the service says so, at once as after a restart; where nobody answers it is.
func TestOverChannel(t *testing.T) {
	r, s := withService(t, nil)
	p := r.sessionOf(200_000)
	s.knows(p)
	s.set(func() { c := s.channels[p.open.Channel]; c.state, c.terms.Over = client.StateOver, true })
	if _, bad := p.handIn(100_000); bad != nil {
		t.Fatal(bad)
	}
	for range 2 {
		if g := p.send(try{covers: 100_000}); g.problem == nil || g.problem.Kind() != client.Closed {
			t.Errorf("on a channel that is over: %+v", g)
		}
		r.restart()
	}
	s.set(func() { s.down = true })
	r.restart()
	if g := p.send(try{covers: 100_000}); g.job == nil {
		t.Errorf("while nobody answers: %+v", g.problem)
	}
	s.set(func() { s.down = false })
	r.clock.Add(int64(askPause.Seconds()))
	if g := p.send(try{covers: 100_000}); g.problem == nil || g.problem.Kind() != client.Closed {
		t.Errorf("when it answers again: %+v", g)
	}
}

// TestLateJob: the service is asked before a batch is signed, and a job that was served
// when the channel had been closed does not take those before it with it.
func TestLateJob(t *testing.T) {
	r, s := withService(t, func(c *Config) { c.BatchJobs = 10 })
	p := r.newPayer(100_000)
	s.knows(p)
	must(t, r.steps(1))
	for range 3 {
		p.send(try{covers: 50_000})
	}
	s.set(func() {
		c := s.channels[p.open.Channel]
		c.state, c.terms.Closing = client.StateClosing, r.clock.Load()
	})
	r.clock.Add(61)
	if g := p.send(try{covers: 50_000}); g.job == nil { // nobody told the worker yet
		t.Fatal(g.problem)
	}
	_ = r.steps(1)
	if spent, jobs := s.spent(p); spent != 90 || jobs != 3 {
		t.Errorf("the service has %d spent by %d jobs", spent, jobs)
	}
	if g := p.send(try{covers: 50_000}); g.problem == nil || g.problem.Kind() != client.Closed {
		t.Errorf("served on a channel that closes: %+v", g)
	}
}

// TestStreamNotAskedFor: a back end that reads a request otherwise than we do gives
// nothing for nothing.
func TestStreamNotAskedFor(t *testing.T) {
	r := newRig(t, nil)
	p := r.newPayer(1_000_000)
	r.back.answer(func(w http.ResponseWriter, _ *http.Request) { r.back.events(w, nil) })
	if g := p.send(try{covers: 100_000}); g.status != http.StatusBadGateway || g.problem.Kind() != client.BackEndFailed {
		t.Errorf("answer %d %s", g.status, g.body)
	}
}

// TestHangUpAtTheEnd: who leaves behind the last token pays for the prompt as well.
func TestHangUpAtTheEnd(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Linger = time.Hour })
	p := r.newPayer(10_000_000)
	left := make(chan struct{})
	r.back.answer(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", eventsMedia)
		io.WriteString(w, oneChunk)
		w.(http.Flusher).Flush()
		<-left
		io.WriteString(w, oneChunk+"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":20000,\"completion_tokens\":2}}\n\n")
	})
	q := try{body: `{"model":"chat","stream":true,"max_tokens":20,"messages":[{"role":"user","content":"` + strings.Repeat("word ", 20000) + `"}]}`, covers: 1_000_000}
	resp, err := http.DefaultClient.Do(p.request(&q))
	must(t, err)
	_, err = io.ReadFull(resp.Body, make([]byte, len(oneChunk)))
	must(t, err)
	resp.Body.Close()
	close(left)
	for p.state().Spent.IsZero() {
		runtime.Gosched()
	}
	if spent := p.state().Spent.Base(); spent != 20002*3 {
		t.Errorf("20002 tokens at 3 cost %d", spent)
	}
}

// TestSlowBodies: who has a channel holds no places with bodies that do not come, and with
// a voucher that covers nothing he is not read at all.
func TestSlowBodies(t *testing.T) {
	r := newRig(t, nil)
	p, honest := r.newPayer(1), r.newPayer(100_000)
	dial := func(covers uint64) net.Conn {
		req := p.request(&try{covers: covers})
		conn, err := net.Dial("tcp", r.server.Listener.Addr().String())
		must(t, err)
		t.Cleanup(func() { conn.Close() })
		fmt.Fprintf(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n")
		must(t, req.Header.Write(conn))
		fmt.Fprint(conn, "\r\n{")
		return conn
	}
	for range 40 {
		dial(1)
	}
	for reading := int64(0); reading < 40*leastBody; {
		r.meter.journal.mu.Lock()
		reading = r.meter.journal.book.channels[p.open.Channel].reading
		r.meter.journal.mu.Unlock()
		runtime.Gosched()
	}
	if g := honest.send(try{covers: 10_000}); g.job == nil {
		t.Errorf("an honest renter gets %d %+v", g.status, g.problem)
	}
	answer, poor := make([]byte, 12), dial(0)
	fmt.Fprint(poor, strings.Repeat(" ", 99)) // or the server would wait for it before it answers
	_, err := io.ReadFull(poor, answer)
	if must(t, err); string(answer) != "HTTP/1.1 402" {
		t.Errorf("a voucher that covers nothing is answered %q", answer)
	}
	if g := p.send(try{covers: 1, body: strings.Repeat(" ", 1<<20)}); g.status == http.StatusTooManyRequests {
		t.Errorf("a body in the channel's room is answered %+v", g.problem)
	}
}

// TestBodiesOfAChannel: of one channel bodies are on their way in bounded number.
func TestBodiesOfAChannel(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxBody = leastBody })
	p := r.newPayer(100_000)
	r.meter.journal.mu.Lock()
	ch := r.meter.journal.book.channels[p.open.Channel]
	ch.reading = channelBodies * 4 * leastBody
	r.meter.journal.mu.Unlock()
	if g := p.send(try{covers: 10_000}); g.status != http.StatusTooManyRequests || g.problem.Kind() != client.AtCapacity {
		t.Errorf("beyond the room: %d %+v", g.status, g.problem)
	}
	r.meter.journal.mu.Lock()
	ch.reading -= leastBody
	r.meter.journal.mu.Unlock()
	if g := p.send(try{covers: 10_000}); g.job == nil {
		t.Errorf("within it: %+v", g.problem)
	}
}

// TestCheapChannels: channels that cost next to nothing keep out nobody who pays.
func TestCheapChannels(t *testing.T) {
	r, s := withService(t, func(c *Config) { c.JournalBytes = minJournalBytes })
	honest := r.newPayer(100_000)
	s.knows(honest)
	if g := honest.send(try{covers: 10_000}); g.job == nil {
		t.Fatal(g.problem)
	}
	for range 400 { // more than there is room for
		if _, bad := r.sessionOf(2).handIn(1); bad != nil {
			t.Fatalf("a channel is refused: %v", bad)
		}
	}
	if n := len(r.meter.journal.book.channels); n > 250 {
		t.Errorf("%d channels are kept", n)
	}
	if g := honest.send(try{covers: 20_000}); g.job == nil {
		t.Errorf("an honest renter gets %d %+v", g.status, g.problem)
	}
	late := r.newPayer(100_000)
	s.knows(late)
	if g := late.send(try{covers: 10_000}); g.job == nil {
		t.Errorf("an honest renter who comes later gets %d %+v", g.status, g.problem)
	}
	if s := honest.state(); s.Jobs != 2 {
		t.Errorf("the channel is %+v", s)
	}
	r.checkLive()

	// What is over and sealed goes too, where room is short; not before.
	s.set(func() { s.sealed = len(s.logged) })
	must(t, r.steps(2))
	s.set(func() { s.sealed = len(s.logged); s.channels[honest.open.Channel].state = client.StateOver })
	must(t, r.steps(2))
	for !r.short() {
		if _, bad := r.sessionOf(2).handIn(1); bad != nil {
			t.Fatal(bad)
		}
	}
	r.clock.Add(int64(askIdle.Seconds()))
	must(t, r.steps(3))
	if r.meter.journal.book.channels[honest.open.Channel] != nil {
		t.Error("a channel that is over is kept")
	}
	if r.meter.journal.book.channels[late.open.Channel] == nil {
		t.Error("a channel that served is forgotten")
	}
	r.restart()
	if s := late.state(); s.Jobs != 1 {
		t.Errorf("after a restart the channel is %+v", s)
	}

	r.writeOffer("least_limit = \"1000\"\n" + fmt.Sprintf(offerText, 16, r.back.URL))
	r.restart()
	if _, bad := r.sessionOf(2000).handIn(999); bad == nil || bad.Field != "open" {
		t.Errorf("below the least limit: %+v", bad)
	}
	if _, bad := r.sessionOf(2000).handIn(1000); bad != nil {
		t.Errorf("at the least limit: %+v", bad)
	}
}

func (r *rig) short() bool {
	r.meter.journal.mu.Lock()
	defer r.meter.journal.mu.Unlock()
	return r.meter.journal.short()
}

// TestRemoteMedia: nothing is fetched from where a renter says, unless the offer file lets
// him.
func TestRemoteMedia(t *testing.T) {
	text := fmt.Sprintf(offerText, 16, "http://127.0.0.1:1")
	models := mustOffer(t, text).Models
	open := mustOffer(t, strings.Replace(text, `price = "3"`, "price = \"3\"\nremote_media = true", 1)).Models
	content := func(s string) string {
		return `"messages":[{"role":"user","content":[{"type":"text","text":"see http://x"},` + s + `]}]`
	}
	for _, c := range []struct {
		members string
		remote  bool
	}{
		{`"messages":[{"role":"user","content":"http://169.254.169.254/ is a URL"}]`, false},
		{`"prompt":"http://x","user":"http://x"`, false},
		{content(`{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}`), false},
		{content(`{"type":"image_url","image_url":{"url":"DATA:image/png;base64,AA==","detail":"low"}}`), false},
		{content(`{"type":"image","image":"aGVsbG8="}`), false},
		{content(`{"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}}`), false},
		{`"tools":[{"function":{"parameters":{"properties":{"url":{"type":"string","default":"http://x"}}}}}],"messages":[{"tool_calls":[{"function":{"arguments":"{\"url\":\"http://x\"}"}}]}]`, false},
		{content(`{"type":"image_url","image_url":{"url":"http://169.254.169.254/latest"}}`), true},
		{content(`{"type":"image_url","image_url":"https://x/y.png"}`), true},
		{content(`{"type":"image_url","image_url":{"url":" file:///etc/passwd"}}`), true},
		{content(`{"type":"image_url","image_url":{"\u0075rl":"ht\u0074p://x"}}`), true},
		{content(`{"type":"image_url","Image_URL":{"URL":"http://x"}}`), true},
		{content(`{"type":"image_url","image_url":{"url":"http://x","url":"data:,"}}`), true},
		{content(`{"type":"video_url","video_url":{"n":1,"deep":[null,{"url":["data:,","http://x"]}]}}`), true},
		{content(`{"type":"image","image":"http://x"}`), true},
		{`"images":["http://x"]`, true},
		{`"audio":"file:/etc/passwd"`, true},
		{`"input":[{"image_url":"//x/y"}]`, true},
	} {
		body := []byte(`{"model":"chat",` + c.members + `}`)
		_, p := parseRequest(&endpoints[0], body, models)
		if (p != nil) != c.remote || p != nil && p.Kind() != client.InvalidParameter {
			t.Errorf("%s: got %+v, remote is %v", c.members, p, c.remote)
		}
		if _, p = parseRequest(&endpoints[0], body, open); p != nil {
			t.Errorf("%s: refused where it is allowed: %+v", c.members, p)
		}
	}
}

// TestOtherCase: what another reader could take for a member that counts is refused, and
// a bound is always told to the back end.
func TestOtherCase(t *testing.T) {
	models := mustOffer(t, fmt.Sprintf(offerText, 16, "http://127.0.0.1:1")).Models
	for _, members := range []string{`"Stream":true`, `"\u017ftream":true`, `"MAX_TOKENS":5`, `"N":3`, `"Model":"x"`, `"Messages":[]`, `"stream":true,"stream_options":{"Include_Usage":false}`, `"stream":true,"Stream_options":{}`} {
		if _, p := parseRequest(&endpoints[0], []byte(`{"model":"chat",`+members+`}`), models); p == nil || p.Field == "" {
			t.Errorf("%s is taken", members)
		}
	}
	for members, want := range map[string]string{
		`"temperature":0`: `"max_tokens":100`, `"max_tokens":7`: `"max_tokens":7`, `"max_completion_tokens":8`: `"max_tokens":8`,
		`"max_tokens":null,"max_completion_tokens":null`: `"max_tokens":100`,
	} {
		r, p := parseRequest(&endpoints[0], []byte(`{"model":"chat",`+members+`}`), models)
		if p != nil || !bytes.Contains(r.upgrade, []byte(want)) {
			t.Errorf("%s: the back end gets %s, %+v", members, r.upgrade, p)
		}
	}
	for _, members := range []string{`"max_tokens":0`, `"max_completion_tokens":0`, `"max_tokens":5,"max_completion_tokens":0`} {
		if _, p := parseRequest(&endpoints[0], []byte(`{"model":"chat",`+members+`}`), models); p == nil {
			t.Errorf("%s is taken", members)
		}
	}
}

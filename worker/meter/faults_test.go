package meter

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

const streamBody = `{"model":"chat","messages":[],"stream":true,"max_tokens":9}`

// says answers with that status, type and body.
func says(status int, media, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// cuts answers with that body, and breaks the connection.
func cuts(media, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		io.WriteString(w, body)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

const (
	jsonMedia   = "application/json"
	eventsMedia = "text/event-stream"
	oneChunk    = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n"
)

// TestBackEnds: what a back end says and does, and what that costs.
func TestBackEnds(t *testing.T) {
	usage := func(s string) http.HandlerFunc { return says(200, jsonMedia, `{"choices":[],"usage":`+s+`}`) }
	stream := func(s string) http.HandlerFunc { return says(200, eventsMedia, s) }
	bound := uint64(len(chatBody)+promptOverhead+20) * 3
	for _, c := range []struct {
		name, body string
		back       http.HandlerFunc
		status     int
		fee        uint64 // 0: no job
		problem    string
		cut        bool
	}{
		{name: "500", back: says(500, jsonMedia, `{}`), status: 502, problem: client.BackEndFailed},
		{name: "503", back: says(503, jsonMedia, `{}`), status: 503, problem: client.BackEndFailed},
		{name: "401", back: says(401, jsonMedia, `{}`), status: 502, problem: client.BackEndFailed},
		{name: "redirect", back: says(307, jsonMedia, `{}`), status: 502, problem: client.BackEndFailed},
		{name: "cut", back: cuts(jsonMedia, `{"usage":{"prompt_tokens":1`), status: 502, problem: client.BackEndFailed},
		{name: "hangs up", back: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, status: 502, problem: client.BackEndFailed},
		{name: "the renter's mistake", back: says(400, jsonMedia, `{"error":{"message":"too long"}}`), status: 400},
		{name: "usage", back: usage(`{"prompt_tokens":1,"completion_tokens":2}`), status: 200, fee: 9},
		{name: "total only", back: usage(`{"total_tokens":4}`), status: 200, fee: 12},
		{name: "llama.cpp's own", back: says(200, jsonMedia, `{"content":"x","tokens_predicted":3,"tokens_evaluated":4}`), status: 200, fee: 21},
		{name: "huge usage", back: usage(`{"prompt_tokens":18446744073709551615,"completion_tokens":18446744073709551615}`), status: 200, fee: bound},
		{name: "usage beyond the bound", back: usage(`{"prompt_tokens":100000,"completion_tokens":2}`), status: 200, fee: bound},
		{name: "negative usage", back: usage(`{"prompt_tokens":-5,"completion_tokens":2}`), status: 200},
		{name: "half usage", back: usage(`{"completion_tokens":2}`), status: 200},
		{name: "fractions", back: usage(`{"prompt_tokens":1.5,"completion_tokens":2}`), status: 200},
		{name: "text", back: usage(`"many"`), status: 200},
		{name: "no usage", back: says(200, jsonMedia, `{"choices":[]}`), status: 200},
		{name: "zero usage", back: usage(`{"prompt_tokens":0,"completion_tokens":0}`), status: 200},
		{name: "no JSON", back: says(200, "text/html", `<html>`), status: 200},

		{name: "stream", body: streamBody, back: stream(oneChunk + "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n"), status: 200, fee: 6},
		{name: "stream without usage", body: streamBody, back: stream(oneChunk + oneChunk + "data: [DONE]\n\n"), status: 200, fee: 6},
		{name: "usage grows", body: streamBody, back: stream(strings.Replace(oneChunk, "]}", `],"usage":{"prompt_tokens":1,"completion_tokens":1}}`, 1) + strings.Replace(oneChunk, "]}", `],"usage":{"prompt_tokens":1,"completion_tokens":2}}`, 1)), status: 200, fee: 9},
		{name: "carriage returns", body: streamBody, back: stream(strings.ReplaceAll(oneChunk+oneChunk, "\n", "\r\n")), status: 200, fee: 6},
		{name: "stream ends without a blank line", body: streamBody, back: stream(oneChunk + strings.TrimSpace(oneChunk)), status: 200, fee: 6},
		{name: "empty stream", body: streamBody, back: stream(""), status: 200},
		{name: "role only", body: streamBody, back: stream("data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"), status: 200},
		{name: "a tool is called", body: streamBody, back: stream("data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0}]}}]}\n\n"), status: 200, fee: 3},
		{name: "error within a stream", body: streamBody, back: stream(oneChunk + "data: {\"error\":{\"message\":\"out of memory\"}}\n\ndata: [DONE]\n\n"), status: 200},
		{name: "cut stream", body: streamBody, back: cuts(eventsMedia, oneChunk), status: 200, cut: true},
		{name: "no stream though asked for", body: streamBody, back: usage(`{"prompt_tokens":1,"completion_tokens":2}`), status: 502, problem: client.BackEndFailed},
		{name: "stream refused", body: streamBody, back: says(500, eventsMedia, oneChunk), status: 502, problem: client.BackEndFailed},

		{name: "images", body: `{"model":"pictures","n":2}`, back: says(200, jsonMedia, `{"data":[{},{}]}`), status: 200, fee: 1000},
		{name: "fewer images", body: `{"model":"pictures","n":2}`, back: says(200, jsonMedia, `{"data":[{}]}`), status: 200, fee: 500},
		{name: "more images", body: `{"model":"pictures","n":2}`, back: says(200, jsonMedia, `{"data":[{},{},{}]}`), status: 200, fee: 1000},
		{name: "the picture itself", body: `{"model":"pictures"}`, back: says(200, "image/png", "\x89PNG"), status: 200, fee: 500},
		{name: "no image", body: `{"model":"pictures"}`, back: says(200, jsonMedia, `{}`), status: 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			p := r.newPayer(10_000_000)
			r.back.answer(c.back)
			q := try{body: c.body, covers: 1_000_000}
			if strings.Contains(c.body, "pictures") {
				q.path = "/v1/images/generations"
			}
			g := p.send(q)
			if g.status != c.status || (g.cut != nil) != c.cut {
				t.Errorf("status %d, %v, want %d: %s %+v", g.status, g.cut, c.status, g.body, g.problem)
			}
			kind := ""
			if g.problem != nil {
				kind = g.problem.Kind()
			}
			if kind != c.problem {
				t.Errorf("problem %q, want %q", kind, c.problem)
			}
			fee := uint64(0)
			if g.job != nil {
				fee = g.job.Fee.Base()
			}
			if fee != c.fee {
				t.Errorf("fee %d, want %d: %s", fee, c.fee, g.body)
			}
			if s := p.state(); s.Spent.Base() != c.fee || !s.Running.IsZero() {
				t.Errorf("channel is %+v", s)
			}
			if unbilled := g.header.Get(client.UnbilledHeader); (unbilled != "") != (c.fee == 0 && c.status == 200 && !c.cut) {
				t.Errorf("unbilled is %q", unbilled)
			}
		})
	}
}

// TestUsageChunk: the chunk that tells usage is for those who asked for it.
func TestUsageChunk(t *testing.T) {
	r := newRig(t, nil)
	p := r.newPayer(1_000_000)
	if g := p.send(try{body: streamBody, covers: 10_000}); strings.Contains(string(g.body), "usage") || !strings.HasSuffix(string(g.body), "data: [DONE]\n\n") || g.job.Fee.Base() != 30 {
		t.Errorf("not asked for, the stream is %s", g.body)
	}
	asked := strings.Replace(streamBody, `"stream":true`, `"stream":true,"stream_options":{"include_usage":true,"other":1}`, 1)
	if g := p.send(try{body: asked, covers: 10_000}); strings.Count(string(g.body), "usage") != 1 {
		t.Errorf("asked for, the stream is %s", g.body)
	}
	options := r.back.got[1]["stream_options"].(map[string]any)
	if options["include_usage"] != true || options["other"] != 1.0 {
		t.Errorf("the back end got %v", options)
	}
}

// TestAtOnce: a stream's events pass while it goes on.
func TestAtOnce(t *testing.T) {
	r := newRig(t, nil)
	p := r.newPayer(1_000_000)
	more := make(chan struct{})
	r.back.answer(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", eventsMedia)
		for range 3 {
			io.WriteString(w, oneChunk)
			w.(http.Flusher).Flush()
			<-more
		}
	})
	q := try{body: streamBody, covers: 10_000}
	resp, err := http.DefaultClient.Do(p.request(&q))
	must(t, err)
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for range 3 { // each is read before the next is made
		line, err := lines.ReadString('\n')
		must(t, err)
		if !strings.HasPrefix(line, "data: {") {
			t.Errorf("line is %q", line)
		}
		_, err = lines.ReadString('\n')
		must(t, err)
		more <- struct{}{}
	}
	_, err = io.Copy(io.Discard, lines)
	must(t, err)
	if resp.Trailer.Get(client.StatementHeader) == "" {
		t.Error("no statement in the trailer")
	}
}

// TestHangUp: a renter who leaves a stream pays for what was produced and for his prompt by
// its bytes, and the back end is stopped.
func TestHangUp(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Linger = time.Millisecond })
	p := r.newPayer(1_000_000)
	stopped := make(chan struct{})
	r.back.answer(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", eventsMedia)
		for range 4 {
			io.WriteString(w, oneChunk)
		}
		w.(http.Flusher).Flush()
		<-req.Context().Done()
		close(stopped)
	})
	q := try{body: streamBody, covers: 10_000}
	ctx, leave := context.WithCancel(t.Context())
	resp, err := http.DefaultClient.Do(p.request(&q).WithContext(ctx))
	must(t, err)
	_, err = io.ReadFull(resp.Body, make([]byte, 4*len(oneChunk)))
	must(t, err)
	leave()
	resp.Body.Close()
	<-stopped
	var job client.WorkerJob
	path := "/ionet/v1/jobs/" + p.open.Channel.String() + "/" + hex.EncodeToString(q.job[:])
	for status := 0; status != http.StatusOK; {
		status = p.get(path, &job)
	}
	e, err := oneEnvelope(job.Statement)
	must(t, err)
	j, err := proofs.ParseJob(e.Body)
	must(t, err)
	if j.Units != uint64(4+(len(streamBody)+3)/4) || j.Fee.Base() != 3*j.Units || j.Response != proofs.ResponseHash(q.salt, []byte(strings.Repeat(oneChunk, 4))) {
		t.Errorf("four chunks cost %s", j.Fee)
	}
	r.back.answer(nil)
	if g := p.send(q); g.problem == nil || g.problem.Kind() != client.JobDone || len(g.problem.Statement) == 0 {
		t.Errorf("the same job again: %+v", g)
	}
}

// TestLostAnswer: who loses an answer that is no stream gets it by the same job id, and
// pays once.
func TestLostAnswer(t *testing.T) {
	r := newRig(t, nil)
	p := r.newPayer(1_000_000)
	begun, goOn := make(chan struct{}), make(chan struct{})
	r.back.answer(func(w http.ResponseWriter, _ *http.Request) {
		begun <- struct{}{}
		<-goOn
		r.back.usual(w, "/v1/chat/completions", nil)
	})
	q := try{covers: 10_000}
	ctx, leave := context.WithCancel(t.Context())
	lost := make(chan error, 1)
	req := p.request(&q).WithContext(ctx)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		lost <- err
	}()
	<-begun
	if g := p.send(q); g.problem == nil || g.problem.Kind() != client.JobRunning || g.header.Get("Retry-After") == "" {
		t.Errorf("while it runs: %+v", g)
	}
	leave()
	if <-lost == nil {
		t.Fatal("the answer was not lost")
	}
	close(goOn)
	g := p.send(q)
	for g.problem != nil && g.problem.Kind() == client.JobRunning {
		g = p.send(q)
	}
	if g.job == nil || g.job.Fee.Base() != 30 {
		t.Fatalf("the answer again: %+v", g)
	}
	r.back.answer(nil)
	if again := p.send(q); again.id != g.id || string(again.body) != string(g.body) {
		t.Errorf("the answer a third time: %+v", again)
	}
	other := q
	other.body = strings.Replace(chatBody, "hello", "hullo", 1)
	if g := p.send(other); g.problem == nil || g.problem.Kind() != client.JobConflict {
		t.Errorf("another request by the same id: %+v", g)
	}
	salted := q
	salted.salt[0] = 1
	if g := p.send(salted); g.problem == nil || g.problem.Kind() != client.JobConflict {
		t.Errorf("another salt by the same id: %+v", g)
	}
	if s := p.state(); s.Spent.Base() != 30 || s.Jobs != 1 {
		t.Errorf("channel is %+v", s)
	}
	r.restart() // answers are in memory
	if g := p.send(q); g.problem == nil || g.problem.Kind() != client.JobDone || len(g.problem.Statement) == 0 {
		t.Errorf("after a restart: %+v", g)
	}
	if calls := r.back.calls.Load(); calls != 1 {
		t.Errorf("the back end was asked %d times", calls)
	}
}

// TestFailedAgain: a job that failed costs nothing and may be tried again by its id.
func TestFailedAgain(t *testing.T) {
	r := newRig(t, nil)
	p := r.newPayer(1_000_000)
	for _, body := range []string{chatBody, streamBody} {
		q := try{body: body, covers: 10_000, job: [16]byte{byte(len(body))}}
		r.back.answer(cuts(eventsMedia, oneChunk))
		if g := p.send(q); g.job != nil {
			t.Errorf("a cut answer was billed: %+v", g.job)
		}
		r.back.answer(nil)
		if g := p.send(q); g.job == nil || g.job.Fee.Base() != 30 {
			t.Errorf("not served again: %+v", g)
		}
	}
}

// TestStreamAgain: a stream that is kept is given again with its trailer.
func TestStreamAgain(t *testing.T) {
	r := newRig(t, nil)
	p := r.newPayer(1_000_000)
	q := try{body: streamBody, covers: 10_000, job: [16]byte{1}}
	first, again := p.send(q), p.send(q)
	if first.job == nil || again.id != first.id || string(again.body) != string(first.body) || again.header.Get("Content-Type") != eventsMedia {
		t.Errorf("the stream again: %+v", again)
	}
}

// TestSlowBackEnds are ended: as a whole, and where a stream stops.
func TestSlowBackEnds(t *testing.T) {
	for _, c := range []struct {
		name   string
		config func(*Config)
		body   string
		cut    bool
	}{
		{"a stream that stops", func(c *Config) { c.Stall = 50 * time.Millisecond }, streamBody, true},
		{"an answer that does not end", func(c *Config) { c.Timeout = 50 * time.Millisecond }, chatBody, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, c.config)
			p := r.newPayer(1_000_000)
			over := make(chan struct{})
			defer close(over)
			r.back.answer(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", eventsMedia)
				io.WriteString(w, oneChunk)
				w.(http.Flusher).Flush()
				<-over
			})
			g := p.send(try{body: c.body, covers: 10_000})
			if g.job != nil || (g.cut != nil) != c.cut || (g.problem != nil) == c.cut {
				t.Errorf("answer is %+v", g)
			}
			if s := p.state(); !s.Spent.IsZero() || !s.Running.IsZero() {
				t.Errorf("channel is %+v", s)
			}
		})
	}
}

// TestCapacity: as many requests run as the offer says.
func TestCapacity(t *testing.T) {
	r := newRig(t, nil)
	r.writeOffer(fmt.Sprintf(offerText, 1, r.back.URL))
	r.restart()
	p := r.newPayer(1_000_000)
	begun, goOn := make(chan struct{}), make(chan struct{})
	r.back.answer(func(w http.ResponseWriter, _ *http.Request) {
		begun <- struct{}{}
		<-goOn
		r.back.usual(w, "/v1/chat/completions", nil)
	})
	q := try{covers: 10_000}
	req, done := p.request(&q), make(chan got)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		done <- p.read(&q, resp)
	}()
	<-begun
	if g := p.send(try{covers: 10_000}); g.problem == nil || g.problem.Kind() != client.AtCapacity || g.status != 429 || g.header.Get("Retry-After") == "" {
		t.Errorf("one more than there are places: %+v", g)
	}
	close(goOn)
	if g := <-done; g.job == nil {
		t.Errorf("the first was not served: %+v", g)
	}
	go func() { <-begun }()
	if g := p.send(try{covers: 10_000}); g.job == nil {
		t.Errorf("the place was not given back: %+v", g)
	}
}

// TestBadRequests: what is wrong with a request is named, and costs nothing.
func TestBadRequests(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxBody = 4096 })
	p := r.newPayer(1_000_000)
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	twice := func(name string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Add(name, r.Header.Get(name)) }
	}
	good, err := client.EncodeVoucher(proofs.Voucher{Channel: p.open.Channel, Cumulative: ionet.MustAmount(10_000), Expiry: 5}, [64]byte{})
	must(t, err)
	stranger, err := client.EncodeVoucher(proofs.Voucher{Channel: ionet.Key{9}, Cumulative: ionet.MustAmount(10_000)}, [64]byte{})
	must(t, err)
	for _, c := range []struct {
		name   string
		q      try
		status int
		kind   string
		field  string
	}{
		{"no JSON", try{body: `{`}, 400, client.MalformedJSON, ""},
		{"an array", try{body: `[]`}, 400, client.MalformedJSON, ""},
		{"null", try{body: `null`}, 400, client.MalformedJSON, ""},
		{"two values", try{body: chatBody + chatBody}, 400, client.MalformedJSON, ""},
		{"no model", try{body: `{"messages":[]}`}, 400, client.InvalidParameter, "model"},
		{"other model", try{body: `{"model":"gpt-9"}`}, 404, client.ModelNotOffered, ""},
		{"model of another unit", try{body: `{"model":"pictures"}`}, 404, client.ModelNotOffered, ""},
		{"n", try{body: `{"model":"chat","n":0}`}, 400, client.InvalidParameter, "n"},
		{"many choices", try{body: `{"model":"chat","n":129}`}, 400, client.InvalidParameter, "n"},
		{"max_tokens", try{body: `{"model":"chat","max_tokens":-1}`}, 400, client.InvalidParameter, "max_tokens"},
		{"max_tokens as text", try{body: `{"model":"chat","max_tokens":"1"}`}, 400, client.InvalidParameter, "max_tokens"},
		{"max_completion_tokens", try{body: `{"model":"chat","max_completion_tokens":1e3}`}, 400, client.InvalidParameter, "max_completion_tokens"},
		{"best_of", try{body: `{"model":"chat","best_of":1000}`}, 400, client.InvalidParameter, "best_of"},
		{"n_predict", try{body: `{"model":"chat","n_predict":5}`}, 400, client.InvalidParameter, "n_predict"},
		{"stream", try{body: `{"model":"chat","stream":1}`}, 400, client.InvalidParameter, "stream"},
		{"stream of images", try{path: "/v1/images/generations", body: `{"model":"pictures","stream":true}`}, 400, client.InvalidParameter, "stream"},
		{"stream_options", try{body: `{"model":"chat","stream":true,"stream_options":[]}`}, 400, client.InvalidParameter, "stream_options"},
		{"include_usage", try{body: `{"model":"chat","stream":true,"stream_options":{"include_usage":2}}`}, 400, client.InvalidParameter, "stream_options"},
		{"more answers than a request has", try{body: `{"model":"by-request","n":2}`}, 400, client.InvalidParameter, "n"},
		{"too many images", try{path: "/v1/images/generations", body: `{"model":"pictures","n":5}`}, 400, client.InvalidParameter, "n"},
		{"dear beyond amounts", try{body: `{"model":"chat","n":128,"best_of":128,"prompt":["a","b"],"max_tokens":2147483647}`}, 402, client.VoucherNeeded, ""},
		{"large body", try{body: `{"model":"chat","x":"` + strings.Repeat("x", 5000) + `"}`}, 413, client.BodyTooLarge, ""},
		{"media type", try{change: header("Content-Type", "text/plain")}, 415, client.WrongMediaType, ""},
		{"coding", try{change: header("Content-Encoding", "gzip")}, 415, client.WrongMediaType, ""},
		{"voucher", try{change: header(client.VoucherHeader, "????")}, 400, client.InvalidParameter, client.VoucherHeader},
		{"short voucher", try{change: header(client.VoucherHeader, base64.RawURLEncoding.EncodeToString(make([]byte, 113)))}, 400, client.InvalidParameter, client.VoucherHeader},
		{"no magic", try{change: header(client.VoucherHeader, base64.RawURLEncoding.EncodeToString(make([]byte, 114)))}, 400, client.InvalidParameter, client.VoucherHeader},
		{"voucher that expires", try{change: header(client.VoucherHeader, good)}, 400, client.InvalidParameter, client.VoucherHeader},
		{"unknown channel", try{change: header(client.VoucherHeader, stranger)}, 402, client.UnknownChannel, ""},
		{"two vouchers", try{change: twice(client.VoucherHeader)}, 400, client.InvalidParameter, client.VoucherHeader},
		{"no job", try{change: header(client.JobHeader, "")}, 400, client.InvalidParameter, client.JobHeader},
		{"long job", try{change: header(client.JobHeader, strings.Repeat("0", 34))}, 400, client.InvalidParameter, client.JobHeader},
		{"two jobs", try{change: twice(client.JobHeader)}, 400, client.InvalidParameter, client.JobHeader},
		{"salt", try{change: header(client.SaltHeader, strings.Repeat("g", 64))}, 400, client.InvalidParameter, client.SaltHeader},
		{"offer", try{change: header(client.OfferHeader, "12")}, 400, client.InvalidParameter, client.OfferHeader},
		{"offer that nobody made", try{change: header(client.OfferHeader, strings.Repeat("0a", 32))}, 402, client.OfferChanged, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.q.covers = 500_000
			g := p.send(c.q)
			if g.problem == nil || g.status != c.status || g.problem.Kind() != c.kind || g.problem.Field != c.field {
				t.Errorf("answer %d %+v, want %d %s %s", g.status, g.problem, c.status, c.kind, c.field)
			}
		})
	}
	if r.back.calls.Load() != 0 {
		t.Error("the back end was asked")
	}
	// A forged voucher: right form, wrong key.
	p.key = renterKey
	if g := p.send(try{covers: 10_000}); g.status != http.StatusForbidden || g.problem.Kind() != client.WrongVoucher {
		t.Errorf("forged voucher: %+v", g)
	}
	if s := p.state(); !s.Spent.IsZero() || !s.Running.IsZero() || s.Covered.Base() > 500_000 {
		t.Errorf("channel is %+v", s)
	}
}

package meter

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testKey is the n-th key of the tests.
func testKey(n byte) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte{n})
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(k ed25519.PrivateKey) ionet.Key { return ionet.Key(k.Public().(ed25519.PublicKey)) }

var (
	workerKey, serviceKey = testKey(1), testKey(2)
	renterKey, sessionKey = testKey(3), testKey(4)
)

// testNetwork is a network whose service has serviceKey.
func testNetwork(t testing.TB) *ionet.Network {
	t.Helper()
	n := ionet.Network{
		Version: 1, Name: "meter", Cluster: public(testKey(10)), Mint: public(testKey(11)), Decimals: 8, Start: 1_700_000_000, EpochSeconds: 3600, Samples: 60,
		Policy:   ionet.Hash{1},
		Schedule: ionet.ScheduleInfo{Epochs: 1, FirstYearRate: "1", StepsPerYear: 1, Decay: "1", EpochsPerStep: 1, Hash: ionet.Hash{1}},
		Keys:     ionet.NetworkKeys{Operator: public(testKey(12)), Fees: public(testKey(13)), Service: public(serviceKey), Lane: public(testKey(14))},
		Vaults:   ionet.Vaults{Reward: public(testKey(15)), Fee: public(testKey(16))},
		Authorities: ionet.Authorities{
			Mint: public(testKey(12)), Reward: public(testKey(12)), Fee: public(testKey(13)),
		},
		Lanes: []ionet.Lane{
			{Name: "epoch", Address: public(testKey(17))}, {Name: "seal", Address: public(testKey(18))},
			{Name: "pay-0", Address: public(testKey(19))}, {Name: "claim-0", Address: public(testKey(20))},
		},
	}
	file, err := ionet.EncodeNetwork(n)
	must(t, err)
	parsed, err := ionet.ParseNetwork(file)
	must(t, err)
	return parsed
}

// offerText is the offer of most tests: a token costs 3.
const offerText = `
endpoint = "http://worker.example"
capacity = %d
expires_after = "1h"
[[models]]
name = "chat"
unit = "token"
price = "3"
per = 1
max_units = 100
backend = "%[2]s"
upstream = "org/Chat-7B"
authorization = "Bearer back-end-secret"
[[models]]
name = "pictures"
unit = "image"
price = "500"
per = 1
max_units = 4
backend = "%[2]s"
[[models]]
name = "by-time"
unit = "second"
price = "70"
per = 1
max_units = 60
backend = "%[2]s/v1"
[[models]]
name = "by-request"
unit = "request"
price = "11"
per = 1
backend = "%[2]s"
`

// rig is a meter between renters and a back end.
type rig struct {
	t       testing.TB
	network *ionet.Network
	back    *backEnd
	meter   *Meter
	server  *httptest.Server
	cfg     Config
	clock   atomic.Int64 // Unix seconds
}

func newRig(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, network: testNetwork(t), back: newBackEnd(t)}
	r.clock.Store(1_800_000_000)
	dir := t.TempDir()
	r.cfg = Config{
		Network: r.network, Key: workerKey, OfferFile: filepath.Join(dir, "offer.toml"), Journal: filepath.Join(dir, "meter"),
		Now: func() time.Time { return time.Unix(r.clock.Load(), 0) }, Logger: slog.New(slog.NewTextHandler(testLog{t}, nil)),
	}
	r.writeOffer(fmt.Sprintf(offerText, 16, r.back.URL))
	if change != nil {
		change(&r.cfg)
	}
	r.start()
	return r
}

type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	if testing.Verbose() {
		l.t.Logf("%s", b)
	}
	return len(b), nil
}

func (r *rig) writeOffer(text string) { must(r.t, os.WriteFile(r.cfg.OfferFile, []byte(text), 0o600)) }

// start opens the meter on the journal that is there.
func (r *rig) start() {
	r.t.Helper()
	m, err := New(r.cfg)
	must(r.t, err)
	server := httptest.NewServer(m.Handler())
	r.meter, r.server = m, server
	r.t.Cleanup(func() { server.Close(); m.Close() })
}

// restart stops the meter as a kill would, and starts another one.
func (r *rig) restart() {
	r.t.Helper()
	r.server.CloseClientConnections()
	r.server.Close()
	must(r.t, r.meter.Close())
	r.start()
}

// payer is a renter's session and channel.
type payer struct {
	r       *rig
	key     ed25519.PrivateKey
	session proofs.Envelope
	open    proofs.ChannelOpen
	jobs    atomic.Uint64
}

// newPayer makes a session and a channel of that limit, and hands it in.
func (r *rig) newPayer(limit uint64, caps ...proofs.PriceCap) *payer {
	r.t.Helper()
	p := r.sessionOf(limit*2, caps...)
	out, problem := p.handIn(limit)
	if problem != nil {
		r.t.Fatal(problem)
	}
	if out.Limit.Base() != limit || out.Channel != p.open.Channel {
		r.t.Fatalf("channel is %+v", out)
	}
	return p
}

var payers atomic.Uint64

func (r *rig) sessionOf(reserve uint64, caps ...proofs.PriceCap) *payer {
	r.t.Helper()
	now := r.clock.Load()
	s := proofs.Session{Renter: public(renterKey), Key: public(sessionKey), Reserve: ionet.MustAmount(reserve), Caps: caps, Issued: now - 10, Expires: now + 100_000}
	text, err := s.Text(r.network.ID())
	must(r.t, err)
	p := &payer{r: r, key: sessionKey, session: proofs.Sign(r.network.ID(), proofs.KindSession, renterKey, []byte(text))}
	salt := proofs.ChannelSalt(r.network.ID(), p.session.ID(), payers.Add(1))
	address, err := proofs.ChannelAddress(s.Renter, public(workerKey), r.network.Mint, s.Key, salt, 7)
	must(r.t, err)
	p.open = proofs.ChannelOpen{Session: p.session.ID(), Worker: public(workerKey), Channel: address, Salt: salt, OpenSlot: 7, Expires: now + 50_000}
	return p
}

// handIn hands the channel in with that limit, acked by the service.
func (p *payer) handIn(limit uint64) (client.WorkerChannel, *client.MeterProblem) {
	p.r.t.Helper()
	p.open.Limit = ionet.MustAmount(limit)
	body, err := p.open.Encode()
	must(p.r.t, err)
	open := proofs.Sign(p.r.network.ID(), proofs.KindChannelOpen, p.key, body)
	ack := proofs.SignAcks(p.r.network.ID(), serviceKey, proofs.Arrival{Epoch: 1}, []ionet.Hash{open.ID()})[0]
	return p.r.handIn(client.ChannelOpening{Session: p.session.Append(nil), Open: open.Append(nil), Ack: ack.Append(nil)})
}

func (r *rig) handIn(in client.ChannelOpening) (out client.WorkerChannel, p *client.MeterProblem) {
	r.t.Helper()
	body, err := json.Marshal(in)
	must(r.t, err)
	resp, err := http.Post(r.server.URL+"/ionet/v1/channels", "application/json", bytes.NewReader(body))
	must(r.t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return out, readProblem(r.t, resp)
	}
	must(r.t, json.NewDecoder(resp.Body).Decode(&out))
	return out, nil
}

func readProblem(t testing.TB, resp *http.Response) *client.MeterProblem {
	t.Helper()
	p := &client.MeterProblem{}
	if got := resp.Header.Get("Content-Type"); got != client.ProblemMediaType {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("answer %s has type %q: %s", resp.Status, got, body)
	}
	must(t, json.NewDecoder(resp.Body).Decode(p))
	if p.Status != resp.StatusCode {
		t.Fatalf("problem says %d, answer %d", p.Status, resp.StatusCode)
	}
	return p
}

// get reads JSON from the meter.
func (r *rig) get(path string, out any) int {
	r.t.Helper()
	resp, err := http.Get(r.server.URL + path)
	must(r.t, err)
	defer resp.Body.Close()
	must(r.t, json.NewDecoder(resp.Body).Decode(out))
	return resp.StatusCode
}

// get reads what is the payer's own.
func (p *payer) get(path string, out any) int {
	p.r.t.Helper()
	req, err := http.NewRequestWithContext(p.r.t.Context(), http.MethodGet, p.r.server.URL+path, nil)
	must(p.r.t, err)
	req.Header.Set(proofs.ReadHeader, proofs.SignRead(p.r.network.ID(), p.key, time.Now(), http.MethodGet, path))
	resp, err := http.DefaultClient.Do(req)
	must(p.r.t, err)
	defer resp.Body.Close()
	must(p.r.t, json.NewDecoder(resp.Body).Decode(out))
	return resp.StatusCode
}

func (p *payer) state() (c client.WorkerChannel) {
	p.r.t.Helper()
	if status := p.get("/ionet/v1/channels/"+p.open.Channel.String(), &c); status != http.StatusOK {
		p.r.t.Fatalf("channel answers %d", status)
	}
	return c
}

// try is one request of a renter.
type try struct {
	path   string // chat completions by default
	body   string
	covers uint64
	most   uint64   // what it covers by default
	job    [16]byte // drawn where it is zero
	salt   [32]byte
	change func(*http.Request)
}

// got is what a request was answered with.
type got struct {
	status  int
	header  http.Header // with trailers
	body    []byte
	cut     error // the answer breaks off
	problem *client.MeterProblem
	job     *proofs.Job
	id      ionet.Hash
}

const chatBody = `{"model":"chat","messages":[{"role":"user","content":"hello"}],"max_tokens":20}`

func (p *payer) request(q *try) *http.Request {
	p.r.t.Helper()
	if q.path == "" {
		q.path = "/v1/chat/completions"
	}
	if q.body == "" {
		q.body = chatBody
	}
	if q.job == [16]byte{} {
		h := sha256.Sum256(fmt.Appendf(p.open.Channel[:], "%d", p.jobs.Add(1)))
		q.job = [16]byte(h[:])
	}
	cumulative := ionet.MustAmount(q.covers)
	voucher, err := client.EncodeVoucher(proofs.Voucher{Channel: p.open.Channel, Cumulative: cumulative}, proofs.SignVoucher(p.key, p.open.Channel, cumulative))
	must(p.r.t, err)
	req, err := http.NewRequestWithContext(p.r.t.Context(), http.MethodPost, p.r.server.URL+q.path, strings.NewReader(q.body))
	must(p.r.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(client.VoucherHeader, voucher)
	req.Header.Set(client.JobHeader, hex.EncodeToString(q.job[:]))
	req.Header.Set(client.SaltHeader, hex.EncodeToString(q.salt[:]))
	most := ionet.MustAmount(q.most)
	if q.most == 0 {
		most = ionet.MustAmount(q.covers)
	}
	signed := proofs.SignRequest(p.r.network.ID(), p.key, p.open.Channel, q.job, proofs.RequestHash(q.salt, q.path, []byte(q.body)), most)
	req.Header.Set(proofs.MostHeader, most.String())
	req.Header.Set(proofs.RequestHeader, proofs.EncodeRequestSignature(signed))
	if q.change != nil {
		q.change(req)
	}
	return req
}

// send makes a request and checks all that a renter can check of a good answer.
func (p *payer) send(q try) got {
	p.r.t.Helper()
	req := p.request(&q)
	resp, err := http.DefaultClient.Do(req)
	must(p.r.t, err)
	return p.read(&q, resp)
}

func (p *payer) read(q *try, resp *http.Response) got {
	p.r.t.Helper()
	defer resp.Body.Close()
	g := got{status: resp.StatusCode, header: resp.Header}
	if resp.StatusCode >= 400 && resp.Header.Get("Content-Type") == client.ProblemMediaType {
		g.problem = readProblem(p.r.t, resp)
		return g
	}
	g.body, g.cut = io.ReadAll(resp.Body)
	for name, v := range resp.Trailer {
		if len(v) > 0 {
			g.header[name] = v
		}
	}
	if s := g.header.Get(client.StatementHeader); s != "" {
		e, err := client.ParseStatementHeader(s)
		must(p.r.t, err)
		must(p.r.t, e.Verify(p.r.network.ID()))
		j, err := proofs.ParseJob(e.Body)
		must(p.r.t, err)
		g.job, g.id = &j, e.ID()
		p.checkJob(q, g, e)
	}
	return g
}

func (p *payer) checkJob(q *try, g got, e proofs.Envelope) {
	t := p.r.t
	t.Helper()
	j := g.job
	if e.Signer != public(workerKey) || j.Channel != p.open.Channel || j.ID != q.job {
		t.Errorf("job %x of %s by %s", j.ID, j.Channel, e.Signer)
	}
	if j.Request != proofs.RequestHash(q.salt, q.path, []byte(q.body)) {
		t.Error("request hash is of other bytes")
	}
	if j.Response != proofs.ResponseHash(q.salt, g.body) {
		t.Errorf("response hash is of other bytes than %q", g.body)
	}
	if err := proofs.VerifyVoucher(public(p.key), j.Channel, j.Cumulative, j.Voucher); err != nil {
		t.Error(err)
	}
}

// backEnd speaks OpenAI's API, and fails as it is told to.
type backEnd struct {
	*httptest.Server
	mu    sync.Mutex
	serve http.HandlerFunc // instead of the usual answers
	seen  []http.Header
	got   []map[string]any
	calls atomic.Int64
}

func newBackEnd(t testing.TB) *backEnd {
	b := &backEnd{}
	b.Server = httptest.NewServer(http.HandlerFunc(b.handle))
	t.Cleanup(b.Server.Close)
	return b
}

// answer sets what is answered from now on.
func (b *backEnd) answer(h http.HandlerFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.serve = h
}

func (b *backEnd) handle(w http.ResponseWriter, r *http.Request) {
	b.calls.Add(1)
	var in map[string]any
	body, _ := io.ReadAll(r.Body)
	_ = json.Unmarshal(body, &in)
	b.mu.Lock()
	b.seen, b.got = append(b.seen, r.Header.Clone()), append(b.got, in)
	serve := b.serve
	b.mu.Unlock()
	if serve != nil {
		r.Body = io.NopCloser(bytes.NewReader(body))
		serve(w, r)
		return
	}
	b.usual(w, r.URL.Path, in)
}

// usual answers as vLLM does: a prompt of 7 tokens, an answer of 3.
func (b *backEnd) usual(w http.ResponseWriter, path string, in map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	switch path {
	case "/v1/chat/completions", "/v1/completions":
		if in["stream"] == true {
			b.events(w, in)
			return
		}
		fmt.Fprint(w, `{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"one two three"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}`)
	case "/v1/embeddings":
		fmt.Fprint(w, `{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"usage":{"prompt_tokens":5,"total_tokens":5}}`)
	case "/v1/images/generations":
		n, _ := in["n"].(float64)
		fmt.Fprintf(w, `{"created":1,"data":[%s]}`, strings.TrimSuffix(strings.Repeat(`{"b64_json":"AA=="},`, max(int(n), 1)), ","))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (b *backEnd) events(w http.ResponseWriter, in map[string]any) {
	w.Header().Set("Content-Type", "text/event-stream")
	say := func(s string) {
		fmt.Fprintf(w, "data: %s\n\n", s)
		w.(http.Flusher).Flush()
	}
	say(`{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}`)
	for _, word := range []string{"one", " two", " three"} {
		say(fmt.Sprintf(`{"id":"c","choices":[{"index":0,"delta":{"content":%q}}]}`, word))
	}
	say(`{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`)
	if options, _ := in["stream_options"].(map[string]any); options["include_usage"] == true {
		say(`{"id":"c","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}`)
	}
	say(`[DONE]`)
}
